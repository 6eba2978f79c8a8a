"""What a LoRA file says of itself in its metadata, one JSON text under "videomage": written here, and read.

A file may come from anyone, so everything is checked before it is used: a clear error, or what was written.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from PIL import Image

from ..model.fingerprint import Fingerprint

Kind = Literal["subject", "motion", "fusion"]
FORMAT = 1
THUMBNAIL = 128  # pixels a side, at most
# Far beyond what is ever written: a file that says more was made to do harm.
MOST_METADATA, MOST_NAME, MOST_TOKENS, MOST_RANK = 4_000_000, 200, 64, 4096


@dataclass(frozen=True)
class LoraMetadata:
    """What stands under "videomage", checked."""

    kind: Kind
    base: str
    fingerprint: Fingerprint
    tokens: tuple[tuple[str, str], ...]
    rank: int
    details: dict[str, Any]
    thumbnail: Image.Image | None


def read_metadata(metadata: dict[str, str], name: str) -> LoraMetadata:
    """Read the metadata of a file that may come from anyone."""
    if "videomage" not in metadata:
        raise ValueError(
            f"LoRA: {name} was not written by VideoMage (its metadata lacks 'videomage'); an ordinary LoRA needs its "
            "trigger words and the kind of thing it is: in Load VideoMage LoRA, or by fuse --trigger"
        )
    text = metadata["videomage"]
    if len(text) > MOST_METADATA:
        raise ValueError(f"LoRA: the metadata of {name} has {len(text)} characters, allowed are {MOST_METADATA}")
    try:
        about = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"LoRA: the metadata of {name} cannot be read ({error})") from error
    if not isinstance(about, dict):
        raise ValueError(f"LoRA: the metadata of {name} cannot be read (it is a {type(about).__name__})")
    if about.get("format") != FORMAT:
        raise ValueError(
            f"LoRA: {name} is of format {shortened(about.get('format'))}, allowed is {FORMAT}; update VideoMage"
        )
    if about.get("kind") not in get_args(Kind):
        raise ValueError(f"LoRA: {name} is a {shortened(about.get('kind'))}, allowed: {', '.join(get_args(Kind))}")
    base, rank, tokens, details = (about.get(entry) for entry in ("base", "rank", "tokens", "details"))
    if not isinstance(base, str) or len(base) > MOST_NAME:
        raise ValueError(damaged(name, f"names the base {shortened(base)}"))
    if not isinstance(rank, int) or not 1 <= rank <= MOST_RANK:
        raise ValueError(damaged(name, f"is of rank {shortened(rank)}"))
    if not isinstance(details, dict):
        raise ValueError(damaged(name, f"has the details {shortened(details)}"))
    if not isinstance(tokens, list) or len(tokens) > MOST_TOKENS or not all(_is_token(token) for token in tokens):
        raise ValueError(damaged(name, f"has the tokens {shortened(tokens)}"))
    named = tuple((str(token["name"]), str(token["superclass"])) for token in tokens)
    return LoraMetadata(
        about["kind"], base, _fingerprint(about.get("fingerprint"), name), named, rank, details,
        image_from_text(about.get("thumbnail")),
    )  # fmt: skip


def _is_token(token: Any) -> bool:
    if not isinstance(token, dict):
        return False
    texts = (token.get("name"), token.get("superclass"))
    return all(isinstance(text, str) and 0 < len(text) <= MOST_NAME and text.isprintable() for text in texts)


def _fingerprint(stored: Any, name: str) -> Fingerprint:
    architecture, weights = (
        stored.get(entry) if isinstance(stored, dict) else None for entry in ("architecture", "weights")
    )
    numbers = isinstance(weights, list) and all(isinstance(w, int | float) and abs(w) < 1e6 for w in weights)
    if not isinstance(architecture, str) or len(architecture) > MOST_NAME or not numbers or weights is None:
        raise ValueError(damaged(name, f"has no fingerprint of its base but {shortened(stored)}"))
    return Fingerprint(architecture, tuple(weights))


def damaged(name: str, what: str) -> str:
    return f"LoRA: {name} {what}; it was changed after it was written, copy it again"


def shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}..."


def image_to_text(image: Image.Image | None) -> str | None:
    if image is None:
        return None
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def image_from_text(text: str | None) -> Image.Image | None:
    """The thumbnail, or None if there is none that can be trusted: the file may come from anyone."""
    if not isinstance(text, str):
        return None
    try:
        image = Image.open(io.BytesIO(base64.b64decode(text)), formats=("PNG",))
        return image.convert("RGB") if max(image.size) <= THUMBNAIL else None
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
