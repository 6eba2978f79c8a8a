"""Which images, clips and captions of a folder are used, and which files are passed over and why."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

from PIL import Image, features

from ..folders import entries, files_in

CLIP_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".webm", ".wmv",
)  # fmt: skip
CAPTION_SUFFIXES = (".txt", ".caption")  # the first that is there counts
_HEIF = (".heic", ".heif", ".hif")
_SHOWN = 10  # names in a message

# Pillow's own names.  It reads more, of which one (EPS) runs a program.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
_SUFFIXES = (
    ".apng", ".avif", ".bmp", ".dib", ".gif", *_HEIF, ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".ppm",
    ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip


def _known_to_pillow() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Formats and endings that this Pillow reads, with pillow-heif where it is installed."""
    Image.init()
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    formats = [name for name in _FORMATS if name in Image.OPEN and (name != "AVIF" or features.check("avif"))]
    endings = Image.registered_extensions()
    return tuple(formats), tuple(suffix for suffix in _SUFFIXES if endings.get(suffix) in formats)


IMAGE_FORMATS, IMAGE_SUFFIXES = _known_to_pillow()


class Captions:
    """The captions of a folder: texts named as an image or clip is, "1.txt" or "1.CAPTION" for "1.png".

    A name in another case counts where only one file has it.
    """

    def __init__(self, folder: Path) -> None:
        self._exact: dict[str, Path] = {}
        self._folded: dict[str, list[Path]] = {}
        for suffix in CAPTION_SUFFIXES:
            for path in files_in(folder, (suffix,)):
                self._exact.setdefault(path.stem, path)
                self._folded.setdefault(path.stem.casefold(), []).append(path)

    def of(self, media: Path) -> Path | None:
        """The caption of an image or clip, or None."""
        if media.stem in self._exact:
            return self._exact[media.stem]
        alike = self._folded.get(media.stem.casefold(), [])
        return alike[0] if len({path.stem for path in alike}) == 1 else None


def passed_over(folder: Path, used: Collection[Path], what: str = "image") -> str:
    """ "; passed over: IMG_1.HEIC (format: pip install pillow-heif), 1.caption (...)", or nothing.

    Args:
        folder: whose files are told of.
        used: those that are used; their captions are found.
        what: they are: "image", "clip" or "mask".
    """
    captions = Captions(folder)
    read = {captions.of(path) for path in used} if what != "mask" else set()
    left = [path for path in entries(folder) if path not in used and path not in read]
    reasons = [f"{path.name} ({_why(path, what)})" for path in left[:_SHOWN]]
    more = [f"{len(left) - _SHOWN} more"] if len(left) > _SHOWN else []
    return f"; passed over: {', '.join([*reasons, *more])}" if left else ""


def heif_problem(path: Path) -> str | None:
    """What to do about a phone's image that this Pillow does not read; None for any other."""
    with path.open("rb") as file:
        head = file.read(12)
    if (
        "HEIF" in IMAGE_FORMATS
        or head[4:8] != b"ftyp"
        or head[8:12] not in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
    ):
        return None
    return "is HEIC, which needs pillow-heif: pip install pillow-heif, or save it as JPEG"


def _why(path: Path, what: str) -> str:
    suffix = path.suffix.lower()
    if path.is_dir():
        return "a folder"
    if not path.exists():
        return "a link that leads nowhere"
    if suffix in CAPTION_SUFFIXES:
        return f"caption of no {what}, or of one that has another"
    if suffix in _HEIF and suffix not in IMAGE_SUFFIXES:
        return "format: pip install pillow-heif, or save it as JPEG"
    return f"not the name of a {what} in use" if suffix in IMAGE_SUFFIXES and what == "mask" else "format"
