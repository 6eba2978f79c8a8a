"""Why a file that should be an image, a clip or weights cannot be read: what it really is, and what to do."""

from __future__ import annotations

import json
from pathlib import Path

_POINTER = b"version https://git-lfs.github.com/spec/"
_AGAIN = "download or copy it again"
_OTHERS = {b"<svg": "an SVG drawing", b"8BPS": "a Photoshop file", b"%PDF-": "a PDF"}


def file_problem(path: Path) -> str | None:
    """What is wrong with a file that could not be read, as the end of "x.bin ..."; None if its first bytes look right.

    Known are: an empty file, a Git LFS pointer, a web page or a server's error saved under the name, and a safetensors
    or PyTorch file that ends too early.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
            header = file.read(max(0, min(8 + int.from_bytes(head[:8], "little"), 100_000_000) - len(head)))
    except OSError as error:
        return f"cannot be opened ({error.strerror or error})"
    if not size:
        return f"is empty; {_AGAIN}"
    if head.startswith(_POINTER):
        return "is a Git LFS pointer, not the file itself; run 'git lfs pull' in its repository, or download the file"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    other = next((what for start, what in _OTHERS.items() if head.startswith(start)), None)
    if other is not None or (text.startswith(b"<?xml") and b"<svg" in text):
        return f"is {other or 'an SVG drawing'} under this name; export it from the program that made it"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return (
            "is a web page saved under this name; download the file itself (on a model's page: 'Files', then the arrow "
            "beside the file)"
        )
    if text.startswith((b'{"error', b"entry not found", b"access to model", b"repository not found", b"unauthorized")):
        return f"holds a server's answer, not the file: {head[:80].decode('utf-8', 'replace')!r}; log in, or {_AGAIN}"
    if path.suffix.lower() == ".safetensors":
        return _cut_safetensors(head + header, size)
    if head.startswith(b"PK\x03\x04") and not _ends_as_zip(path, size):
        return f"ends too early ({size} bytes); {_AGAIN}"
    return None


def _cut_safetensors(start: bytes, size: int) -> str | None:
    """A safetensors file says in its header where its last tensor ends."""
    length = int.from_bytes(start[:8], "little")
    if size < 8 or start[8:9] != b"{":
        kind = "a PyTorch pickle" if start.startswith((b"PK\x03\x04", b"\x80")) else "no safetensors file"
        return f"is {kind} under this name; {_AGAIN}"
    if 8 + length > size:
        return f"ends too early (in its header, after {size} bytes); {_AGAIN}"
    try:
        tensors = json.loads(start[8 : 8 + length])
        end = max((t["data_offsets"][1] for n, t in tensors.items() if n != "__metadata__"), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return f"has a damaged header; {_AGAIN}"
    whole = 8 + length + int(end)
    return f"ends too early ({size} of {whole} bytes); {_AGAIN}" if size < whole else None


def _ends_as_zip(path: Path, size: int) -> bool:
    """Whether the directory that ends a zip, as PyTorch writes, is there."""
    with path.open("rb") as file:
        file.seek(max(0, size - 65_557))
        return b"PK\x05\x06" in file.read()
