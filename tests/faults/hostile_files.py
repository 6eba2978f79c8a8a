"""Files that a stranger might share: real LoRA files, each changed in one way, from a slip to malice."""

from __future__ import annotations

import base64
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Header = dict[str, Any]
Change = Callable[[Header, random.Random], None]  # of a header, in place
DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I8", "U8", "BOOL", "F8_E4M3", "C64", "X1", "", None, 7)
ODD = (None, True, 0, -1, 2**70, 1e308, "", "x" * 10_000, "\x00", "../../x", "日本語", [], {}, [[]], [None], {"": None})


def mutated(good: bytes, number: int) -> tuple[str, bytes]:
    """The ``number``-th changed file: what was done, and its bytes; the same for the same number."""
    chance = random.Random(number)
    name, change = CHANGES[number % len(CHANGES)]
    return name, change(good, chance)


def parts(file: bytes) -> tuple[Header, bytes]:
    (length,) = struct.unpack("<Q", file[:8])
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def joined(header: Any, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _in_header(change: Change) -> Callable[[bytes, random.Random], bytes]:
    def changed(file: bytes, chance: random.Random) -> bytes:
        header, data = parts(file)
        change(header, chance)
        return joined(header, data)

    return changed


def _in_about(change: Change) -> Callable[[bytes, random.Random], bytes]:
    """What stands under "videomage" in the metadata."""

    def changed(header: Header, chance: random.Random) -> None:
        about = json.loads(header["__metadata__"]["videomage"])
        change(about, chance)
        header["__metadata__"]["videomage"] = json.dumps(about)

    return _in_header(changed)


def _tensor(header: Header, chance: random.Random) -> Header:
    return dict.__getitem__(header, chance.choice(sorted(key for key in header if key != "__metadata__")))


def _wrong_length(file: bytes, chance: random.Random) -> bytes:
    length = chance.choice([0, 1, 2**31, 2**63 - 1, 2**64 - 1, len(file), len(file) - 8, chance.randrange(len(file))])
    return struct.pack("<Q", length) + file[8:]


def _cut(file: bytes, chance: random.Random) -> bytes:
    return file[: chance.choice([0, 1, 7, 8, 9, chance.randrange(len(file)), len(file) - 1])]


def _flipped(file: bytes, chance: random.Random) -> bytes:
    (length,) = struct.unpack("<Q", file[:8])
    changed = bytearray(file)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(8, 8 + length)] = chance.randrange(256)
    return bytes(changed)


def _noise_in_weights(file: bytes, chance: random.Random) -> bytes:
    header, data = parts(file)
    return joined(header, chance.randbytes(len(data)))  # infinities and no numbers among them


def _deep(file: bytes, chance: random.Random) -> bytes:
    header, data = parts(file)
    depth = chance.choice([500, 100_000])
    header["__metadata__"]["videomage"] = "[" * depth + "]" * depth
    return joined(header, data)


def _megabytes(file: bytes, chance: random.Random) -> bytes:
    header, data = parts(file)
    header["__metadata__"][chance.choice(["videomage", "other"])] = "x" * chance.choice([2_000_000, 20_000_000])
    return joined(header, data)


def _other_dtype(header: Header, chance: random.Random) -> None:
    _tensor(header, chance)["dtype"] = chance.choice(DTYPES)


def _other_shape(header: Header, chance: random.Random) -> None:
    tensor = _tensor(header, chance)
    shape = list(tensor["shape"])
    tensor["shape"] = chance.choice(
        [shape[::-1], [], [*shape, 1], [0, *shape[1:]], [-1, *shape[1:]], [2**62, 4], None, "4", [1] * 80, [1.5, 2]]
    )


def _other_offsets(header: Header, chance: random.Random) -> None:
    tensor = _tensor(header, chance)
    first, last = tensor["data_offsets"]
    tensor["data_offsets"] = chance.choice([[last, first], [first, last + 8], [-8, last], [0, 2**63], [], None])


def _other_key(header: Header, chance: random.Random) -> None:
    key = chance.choice(sorted(key for key in header if key != "__metadata__"))
    header[chance.choice(["", "unet.", "unet..lora_A.weight", "lora_emb.", "../x", key.upper(), "a" * 5000])] = (
        header.pop(key)
    )


def _missing_key(header: Header, chance: random.Random) -> None:
    header.pop(chance.choice(sorted(key for key in header if key != "__metadata__")))


def _no_metadata(header: Header, chance: random.Random) -> None:
    header["__metadata__"] = chance.choice([None, {}, [], "x", {"videomage": 3}, {"videomage": ""}, {"videomage": "3"}])


def _odd_entry(about: Header, chance: random.Random) -> None:
    about[chance.choice(sorted(about))] = chance.choice(ODD)


def _missing_entry(about: Header, chance: random.Random) -> None:
    about.pop(chance.choice(sorted(about)))


def _odd_token(about: Header, chance: random.Random) -> None:
    token = chance.choice(about["tokens"])
    token[chance.choice(["name", "superclass"])] = chance.choice(
        [*ODD, "<a><b>", "no brackets", "<a b>", "<" + "x" * 500 + ">", "<dog>\n<dog>", "<../dog>", "dog " * 200]
    )


def _odd_tokens(about: Header, chance: random.Random) -> None:
    about["tokens"] = chance.choice([about["tokens"] * 2, about["tokens"] * 5000, [3], ["<dog>"], {"name": "<dog>"}])


def _odd_mark(about: Header, chance: random.Random) -> None:
    about["fingerprint"][chance.choice(["architecture", "weights"])] = chance.choice([*ODD, [1e308] * 16, ["x"] * 16])


def _odd_image(about: Header, chance: random.Random) -> None:
    bomb = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">II", 60_000, 60_000) + b"\x08\x02\0\0\0"
    )
    about["thumbnail"] = chance.choice(
        [
            "%%%",
            base64.b64encode(chance.randbytes(300)).decode(),
            base64.b64encode(bomb).decode(),
            5,
            ["x"],
            "A" * 10**6,
        ]
    )


CHANGES: list[tuple[str, Callable[[bytes, random.Random], bytes]]] = [
    ("header's length", _wrong_length),
    ("cut short", _cut),
    ("bytes of the header", _flipped),
    ("noise for weights", _noise_in_weights),
    ("deep metadata", _deep),
    ("megabytes of metadata", _megabytes),
    ("a tensor's dtype", _in_header(_other_dtype)),
    ("a tensor's shape", _in_header(_other_shape)),
    ("a tensor's place", _in_header(_other_offsets)),
    ("a tensor's name", _in_header(_other_key)),
    ("a tensor left out", _in_header(_missing_key)),
    ("no metadata", _in_header(_no_metadata)),
    ("an entry of an odd kind", _in_about(_odd_entry)),
    ("an entry left out", _in_about(_missing_entry)),
    ("a token's name or class", _in_about(_odd_token)),
    ("the list of tokens", _in_about(_odd_tokens)),
    ("the base's fingerprint", _in_about(_odd_mark)),
    ("the thumbnail", _in_about(_odd_image)),
]


def write_all(good: Path, folder: Path, count: int) -> list[tuple[str, Path]]:
    """``count`` changed files: what was done to each, and where it lies."""
    written = []
    for number in range(count):
        name, content = mutated(good.read_bytes(), number)
        path = folder / f"{number}.safetensors"
        path.write_bytes(content)
        written.append((name, path))
    return written
