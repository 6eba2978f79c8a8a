"""Whether an output can be written, asked before the work that makes it."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path, PurePath

_WINDOWS = os.name == "nt"
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)


def require_output_file(path: Path, what: str) -> None:
    """Raise unless a file can be written at ``path``; folders that are missing will be made.

    Args:
        path: the file.
        what: begins a message: the flag or input that names it.

    Raises:
        ValueError: a folder has that name, a file stands where a folder should, a name the system cannot have, or no
            right to write there.
    """
    _require_names(path, what)
    if os.path.isdir(path):  # Path's own raises for a name that is too long
        raise ValueError(f"{what}: {path} is a folder; give a file in it, e.g. {path / 'result'}{path.suffix}")
    if _WINDOWS and os.path.exists(path) and not os.access(path, os.W_OK):
        raise ValueError(f"{what}: {path} is there and write-protected; choose another name, or lift the protection")
    _require_writable(path.parent, path, what)


def require_output_folder(path: Path, what: str) -> None:
    """The same of a folder of files."""
    _require_names(path, what)
    _require_writable(path, path, what)


def illegal_on_windows(name: str) -> str | None:
    """Why Windows cannot have a file of this name, or None."""
    if (match := _FORBIDDEN.search(name)) is not None:
        return f"the character {match.group()!r}"
    if _DEVICE.match(name):
        return "the name of a device"
    return "a dot or blank at its end" if name.endswith((".", " ")) and name not in (".", "..") else None


def _require_names(path: Path, what: str) -> None:
    """No part of a path has a name that this system cannot have."""
    if "\0" in str(path):
        raise ValueError(f"{what}: got {str(path)!r}, which holds a NUL; choose another name")
    for part in PurePath(path).parts:
        why = illegal_on_windows(part) if _WINDOWS and part != path.anchor else None
        if why is not None:
            raise ValueError(f"{what}: got {path}, and {part!r} has {why}, which Windows does not allow; rename it")


def _require_writable(folder: Path, path: Path, what: str) -> None:
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise ValueError(f"{what}: {path} cannot be written: {there} is no folder; choose another place")
    try:
        for part in path.absolute().parts[len(there.absolute().parts) :]:
            with contextlib.suppress(FileNotFoundError):
                (there / part).lstat()  # says so if the name is too long for this disk
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(
            f"{what}: {path} cannot be written ({error.strerror or error}); choose another place or name"
        ) from error
