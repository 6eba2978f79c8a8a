"""Text files from whatever editor wrote them: the one function that reads captions, prompts, JSON, TOML and CSV.

UTF-8 with or without a byte-order mark, UTF-16 and UTF-32 with one.  Older editors write a code page of Windows, and
nothing in a file says which.  Such a file is read where all of Windows' Latin code pages agree on its bytes (curly
quotes, dashes, an e with an acute accent); otherwise it is refused with the byte, its line, and what to do.
"""

from __future__ import annotations

import codecs
import json
import sys
from pathlib import Path
from typing import Any

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LATIN = ("cp1252", "cp1250", "cp1254", "cp1257")  # Western and Central European, Turkish, Baltic


def _agreed() -> dict[int, str]:
    """Bytes beyond ASCII that all of Windows' Latin code pages read as one character."""
    read = {byte: {bytes([byte]).decode(page, "replace") for page in _LATIN} for byte in range(0x80, 0x100)}
    return {byte: min(those) for byte, those in read.items() if len(those) == 1 and "\ufffd" not in those}


_AGREED = _agreed()
_PUNCTUATION = frozenset(byte for byte in _AGREED if byte < 0xA0)  # quotes, dashes, an ellipsis: may follow each other


def read_text(path: Path, what: str = "text") -> str:
    """All of a text file, with ``\\n`` as its line ends.

    Args:
        path: the file.
        what: begins a message: "caption", "grid", ...

    Raises:
        FileNotFoundError: no such file.
        ValueError: its encoding is not known for sure, or it is no text; names the file, the byte, and what to do.
    """
    content = path.read_bytes()
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise ValueError(
                f"{what}: {path} begins as {encoding.removesuffix('-sig').upper()} but is damaged at byte {error.start}"
                f" ({error.reason}); save it as UTF-8"
            ) from error
        text = _from_code_page(content, path, what)
    if "\0" in text:
        raise ValueError(
            f"{what}: {path} holds NUL bytes, so it is no text, or UTF-16 without a byte-order mark; save it as UTF-8"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _from_code_page(content: bytes, path: Path, what: str) -> str:
    """Windows-1252 where no other of Windows' Latin code pages reads anything else.

    Two such bytes in a row are refused unless both are punctuation: letters of Cyrillic, Greek, Chinese and Japanese
    code pages come in rows.
    """
    before = None
    for place, byte in enumerate(content):
        pair = before is not None and not {before, byte} <= _PUNCTUATION
        if byte >= 0x80 and (byte not in _AGREED or pair):
            line = content.count(b"\n", 0, place) + 1
            raise ValueError(
                f"{what}: {path} is not UTF-8, and byte 0x{byte:02X} in line {line} means other letters in other "
                "encodings; open it in the editor that wrote it and save it as UTF-8"
            )
        before = byte if byte >= 0x80 else None
    return content.decode("cp1252")


def read_json(path: Path, what: str = "file") -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON, or in an encoding that is not known for sure; names the file.
    """
    text = read_text(path, what)
    try:
        return json.loads(text)
    except ValueError as error:  # of syntax, or a number of thousands of digits
        raise ValueError(f"{what}: {path} is no JSON ({error}); copy or write it again") from error
    except RecursionError as error:
        raise ValueError(f"{what}: {path} is no JSON of ours (nested too deeply)") from error


def read_json_object(path: Path, what: str = "file") -> dict[str, Any]:
    """The object that a JSON file holds; errors as ``read_json``, and ValueError for a list or a single value."""
    read = read_json(path, what)
    if not isinstance(read, dict):
        raise ValueError(f"{what}: {path} holds a JSON {type(read).__name__}, must be an object {{...}}")
    return read


def read_toml(path: Path, what: str = "file") -> dict[str, Any]:
    """What a TOML file holds; errors as ``read_json``."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    text = read_text(path, what)
    try:
        return tomllib.loads(text)
    except ValueError as error:  # of syntax, or a number of thousands of digits
        raise ValueError(f"{what}: {path} is no TOML ({error})") from error
    except RecursionError as error:
        raise ValueError(f"{what}: {path} is no TOML of ours (nested too deeply)") from error
