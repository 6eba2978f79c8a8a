"""Still images, from files to tensors.

Shapes: H W pixels.  The engine's pixels are float32 in -1..1, channels first.  A
``size`` is always (height, width).  Whatever a file holds is turned upright, composited on a
plain background where it is transparent, and cut or padded to the size asked for.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps

from ..file_problem import file_problem
from ..folders import files_in
from .media_files import IMAGE_FORMATS, IMAGE_SUFFIXES, heif_problem, passed_over

Size = tuple[int, int]
Colour = tuple[int, int, int]
Fit = Literal["crop", "pad"]

WHITE: Colour = (255, 255, 255)
MODELS_SEE: Size = (1024, 1024)  # (H, W): no segmenter or metric sees more, SAM 2 as much
_T = Image.Transpose
_TURNS = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}

# All that Pillow is known to raise on damaged or hostile files.
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error)


class _OtherPixelsError(ValueError):
    """A file that is whole, but whose pixels have no known meaning."""


@dataclass(frozen=True)
class LoadedImage:
    """A still.

    Attributes:
        pixels: [3, H, W] float32 in -1..1, transparent parts composited on the background.
        alpha: [H, W] float32 in 0..1, or None if the file has no transparency; 0 where padded.
        source_size: (H, W) of the file, upright.
    """

    pixels: torch.Tensor
    alpha: torch.Tensor | None
    source_size: Size


def load_image(
    path: str | Path, size: Size | None = None, fit: Fit = "crop", background: Colour = WHITE
) -> torch.Tensor:
    """The pixels of ``read_image``: [3, H, W] float32 in -1..1."""
    return read_image(path, size, fit, background).pixels


def read_image(
    path: str | Path,
    size: Size | None = None,
    fit: Fit = "crop",
    background: Colour = WHITE,
    min_size: Size | None = None,
) -> LoadedImage:
    """Read an image file of any mode, upright as its EXIF orientation says; of an animation, the first frame.

    Args:
        path: the file.
        size: (H, W) of the result; None keeps the file's.
        fit: "crop" cuts centrally to the aspect of ``size``; "pad" keeps all and adds background.
        background: RGB 0..255, under transparent parts and around padded ones.
        min_size: without a ``size``: a larger image is shrunk while it is read, its aspect kept, to the smallest
            that covers (H, W); None keeps the file's size.

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
    least = min_size if size is None else (2 * size[0], 2 * size[1])
    rgb, source_size = _read(path, least)
    alpha = rgb.getchannel("A") if rgb.mode == "RGBA" else None
    opaque = rgb if alpha is None else on_background(rgb, background)
    pixels = to_pixels(fitted(opaque, size, fit, background))
    if alpha is None:
        return LoadedImage(pixels, None, source_size)
    opacity = np.array(fitted(alpha, size, fit, 0))
    return LoadedImage(pixels, torch.from_numpy(opacity).float() / 255, source_size)


def _read(path: Path, least: Size | None) -> tuple[Image.Image, Size]:
    """A file as RGB, or as RGBA if it has transparency, upright and shrunk, and how large (H, W) it was."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of what is read all the same
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                return _upright(image, least)
    except Image.DecompressionBombError as error:
        count = int(next(iter(re.findall(r"\d+", str(error))), 0)) / 1e6
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise ValueError(
            f"image: {path} has {count:.0f} megapixels, at most {most:.0f} are read; save a smaller copy of it"
        ) from error
    except _OtherPixelsError as error:
        raise ValueError(f"image: {path} {error}") from error
    except _UNREADABLE as error:
        why = file_problem(path) or heif_problem(path)
        raise ValueError(
            f"image: {path} cannot be read"
            + (
                f": it {why}"
                if why
                else f" ({error}); it is damaged or of an unknown format: save it anew as PNG or JPEG"
            )
            + ("" if why else f" (allowed: {', '.join(IMAGE_SUFFIXES)})")
        ) from error


def _upright(image: Image.Image, least: Size | None) -> tuple[Image.Image, Size]:
    if image.format == "TIFF":
        image.load()  # which turns it, alone of all formats
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    lying = turn in (_T.TRANSPOSE, _T.ROTATE_270, _T.TRANSVERSE, _T.ROTATE_90)
    source_size = image.size if lying else image.size[::-1]
    target = _shrunk_size(image.size, least[::-1] if least is not None and lying else least)
    if target is not None:
        image.draft(None, (2 * target[0], 2 * target[1]))  # a JPEG is decoded at a half, a quarter or an eighth
    image = _eight_bits(image).convert("RGBA" if _has_alpha(image) else "RGB")
    if target is not None:
        image = image.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image if turn is None else image.transpose(turn), source_size


def shrunk(image: Image.Image, least: Size | None) -> Image.Image:
    """An image made smaller, its aspect kept, that still covers ``least`` (H, W); None, or a smaller one: as it is."""
    target = _shrunk_size(image.size, least)
    return image if target is None else image.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _shrunk_size(size: tuple[int, int], least: Size | None) -> tuple[int, int] | None:
    """(width, height) of what ``shrunk`` makes of an image of (width, height); None where it stays as it is."""
    if least is None:
        return None
    width, height = size
    scale = max(least[0] / height, least[1] / width)
    return None if scale >= 1 else (max(1, round(width * scale)), max(1, round(height * scale)))


def load_images(
    source: str | Path | Sequence[str | Path], size: Size | None = None, fit: Fit = "crop", background: Colour = WHITE
) -> list[torch.Tensor]:
    """Several images, each [3, H, W] float32 in -1..1: the files named, or those of a folder, 2 before 10.

    Raises:
        FileNotFoundError, ValueError: as ``read_image``, about the first file that fails; a
            folder without images; an empty list.
    """
    paths = list_images(source) if isinstance(source, (str, Path)) else [Path(path) for path in source]
    if not paths:
        raise ValueError("images: got an empty list, give at least one file, or a folder of images")
    return [load_image(path, size, fit, background) for path in paths]


def list_images(folder: str | Path, what: str = "images") -> list[Path]:
    """The image files of a folder, 2 before 10; other files and hidden ones are passed over; errors name ``what``."""
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"{what}: {folder} does not exist, give a folder of images")
    if not folder.is_dir():
        raise ValueError(f"{what}: {folder} is a file, give a folder of images, or a list of files")
    images = files_in(folder, IMAGE_SUFFIXES)
    if not images:
        raise ValueError(
            f"{what}: {folder} holds no image; allowed: {', '.join(IMAGE_SUFFIXES)}{passed_over(folder, [])}"
        )
    return images


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
        raise _OtherPixelsError("holds floating-point numbers, whose white is unknown; save it anew as PNG")
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
