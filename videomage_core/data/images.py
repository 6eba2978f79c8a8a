"""Still images, from files to tensors.

Shapes: H W pixels.  The engine's pixels are float32 in -1..1, channels first.  A
``size`` is always (height, width).  Whatever a file holds is turned upright, composited on a
plain background where it is transparent, and cut or padded to the size asked for.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps

Size = tuple[int, int]
Colour = tuple[int, int, int]
Fit = Literal["crop", "pad"]

WHITE: Colour = (255, 255, 255)
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

# All that Pillow is known to raise on damaged or hostile files.
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Picture:
    """A still.

    Attributes:
        pixels: [3, H, W] float32 in -1..1, transparent parts composited on the background.
        alpha: [H, W] float32 in 0..1, or None if the file has no transparency; 0 where padded.
    """

    pixels: torch.Tensor
    alpha: torch.Tensor | None


def load_image(
    path: str | Path, size: Size | None = None, fit: Fit = "crop", background: Colour = WHITE
) -> torch.Tensor:
    """The pixels of ``load_picture``: [3, H, W] float32 in -1..1."""
    return load_picture(path, size, fit, background).pixels


def load_picture(path: str | Path, size: Size | None = None, fit: Fit = "crop", background: Colour = WHITE) -> Picture:
    """Read an image file of any mode, upright as its EXIF orientation says; of an animation, the first frame.

    Args:
        path: the file.
        size: (H, W) of the result; None keeps the file's.
        fit: "crop" cuts centrally to the aspect of ``size``; "pad" keeps all and adds background.
        background: RGB 0..255, under transparent parts and around padded ones.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder, a damaged file or an unknown format; a wrong ``size`` or ``fit``.
    """
    check_fit(size, fit)
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"image: {path} is a folder, give one image file ({', '.join(IMAGE_SUFFIXES)})")
    if not path.exists():
        raise FileNotFoundError(f"image: {path} does not exist, give an image file ({', '.join(IMAGE_SUFFIXES)})")
    try:
        with Image.open(path) as image:
            upright = _eight_bits(ImageOps.exif_transpose(image))
            rgba = upright.convert("RGBA")
    except _UNREADABLE as error:
        raise ValueError(
            f"image: {path} cannot be read ({error}); it is damaged or of an unknown format: "
            f"save it anew as PNG or JPEG (allowed: {', '.join(IMAGE_SUFFIXES)})"
        ) from error
    pixels = to_pixels(fitted(on_background(rgba, background), size, fit, background))
    if not _has_alpha(upright):
        return Picture(pixels, None)
    alpha = np.array(fitted(rgba.getchannel("A"), size, fit, 0))
    return Picture(pixels, torch.from_numpy(alpha).float() / 255)


def load_images(
    source: str | Path | Sequence[str | Path], size: Size | None = None, fit: Fit = "crop", background: Colour = WHITE
) -> list[torch.Tensor]:
    """The pixels of ``load_pictures``: N times [3, H, W] float32 in -1..1."""
    return [picture.pixels for picture in load_pictures(source, size, fit, background)]


def load_pictures(
    source: str | Path | Sequence[str | Path], size: Size | None = None, fit: Fit = "crop", background: Colour = WHITE
) -> list[Picture]:
    """Read several images: those of a folder, in the order a person would count them, or the files named.

    Raises:
        FileNotFoundError, ValueError: as ``load_picture``, about the first file that fails; a
            folder without images; an empty list.
    """
    paths = list_images(source) if isinstance(source, (str, Path)) else [Path(path) for path in source]
    if not paths:
        raise ValueError("images: got an empty list, give at least one file, or a folder of images")
    return [load_picture(path, size, fit, background) for path in paths]


def list_images(folder: str | Path, what: str = "images") -> list[Path]:
    """The image files of a folder, 2 before 10; other files and hidden ones are passed over; errors name ``what``."""
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"{what}: {folder} does not exist, give a folder of images")
    if not folder.is_dir():
        raise ValueError(f"{what}: {folder} is a file, give a folder of images, or a list of files")
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise ValueError(f"{what}: {folder} holds no image; allowed: {', '.join(IMAGE_SUFFIXES)}")
    return sorted(found, key=_counting_order)


def _counting_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.findall(r"\d+|\D+", path.stem.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


def check_fit(size: Size | None, fit: str) -> None:
    """Raise a ValueError unless ``size`` is None or (height, width) and ``fit`` is known."""
    problems = []
    if size is not None and (len(size) != 2 or min(size) < 1):
        problems.append(f"size: got {size}, must be (height, width) in pixels, each at least 1")
    if fit not in ("crop", "pad"):
        problems.append(f"fit: got {fit!r}, allowed: 'crop', 'pad'")
    if problems:
        raise ValueError("; ".join(problems))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, which Pillow would clip at 255, as 8 bits; all else unchanged."""
    if image.mode.startswith("I"):  # "I;16" and its byte orders; "I" is how older Pillow reads 16-bit PNG
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((values.clip(0, 65535) / 257).round().astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose white is unknown")
    return image


def _has_alpha(image: Image.Image) -> bool:
    return image.getbands()[-1] in ("A", "a") or "transparency" in image.info


def on_background(rgba: Image.Image, background: Colour) -> Image.Image:
    """An RGBA image composited on a plain colour, RGB."""
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (*background, 255)), rgba).convert("RGB")


def fitted(image: Image.Image, size: Size | None, fit: Fit, colour: Colour | int) -> Image.Image:
    """Cut or padded to ``size`` (H, W), resized with antialiasing."""
    if size is None:
        return image
    height, width = size
    if fit == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS, color=colour)


def to_pixels(image: Image.Image) -> torch.Tensor:
    """RGB image -> [3, H, W] in -1..1."""
    values = torch.from_numpy(np.array(image)).permute(2, 0, 1)  # [H,W,3] -> [3,H,W]
    return values.float() / 127.5 - 1


def save_mask(mask: torch.Tensor, path: Path) -> None:
    """Write a mask [H, W] in 0..1 as a grey image, white where it is 1; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((mask.clamp(0, 1) * 255).round().byte().cpu().numpy()).save(path)
