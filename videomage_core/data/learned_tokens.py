"""Learned token vectors of a LoRA file, whatever model its layers are for: the keys ``lora_emb.<name>``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ..model.prompt_spans import MarkedSubject
from ..model.text import SpecialToken
from .lora_metadata import MOST_TOKENS, damaged, read_metadata

_KEY = "lora_emb."


def read_learned_tokens(path: Path, superclasses: dict[str, str]) -> list[SpecialToken]:
    """The tokens of a file with their vectors; none of its layers is read.

    Args:
        path: a safetensors file.
        superclasses: by token, in lower case; goes before what the file says.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a whole safetensors file; no token in it; or one whose superclass nobody has given.
    """
    if not path.is_file():
        raise FileNotFoundError(f"learned_tokens: {path.name} is not there; refresh the page, or choose another")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            keys = [key for key in file.keys() if key.startswith(_KEY)][:MOST_TOKENS]  # noqa: SIM118 - not a dict
            vectors = {f"<{key[len(_KEY) :]}>": file.get_tensor(key).clone() for key in keys}
    except SafetensorError as error:
        raise ValueError(
            f"learned_tokens: {path.name} is not a whole safetensors file ({error}); copy it again"
        ) from error
    if not vectors:
        raise ValueError(
            f"learned_tokens: {path.name} holds no learned vectors; choose 'none', and name its subject by the trigger "
            "words it was trained with"
        )
    own = read_metadata(metadata, path.name).tokens if "videomage" in metadata else ()
    said = {name.lower(): superclass for name, superclass in own} | superclasses
    tokens = []
    for name, rows in vectors.items():
        if not rows.is_floating_point() or not bool(rows.float().isfinite().all()):
            raise ValueError(damaged(path.name, f"has no vectors of finite numbers for {name}"))
        if name.lower() not in said:
            raise ValueError(f"subjects: {path.name} does not say what {name} is; write a line: {name} = dog")
        tokens.append(SpecialToken(name, rows.float().reshape(-1, rows.shape[-1]), said[name.lower()]))
    return tokens


def with_learned(
    prompt: str, subjects: Sequence[MarkedSubject], tokens: Sequence[SpecialToken]
) -> tuple[list[MarkedSubject], dict[str, torch.Tensor]]:
    """The subjects of a prompt, those among learned tokens that it names too, and the vectors [k, D] by their words."""
    known = {one.words.lower() for one in subjects}
    named = [t for t in tokens if t.name.lower() in prompt.lower() and t.name.lower() not in known]
    everyone = [*subjects, *(MarkedSubject(token.name, token.superclass) for token in named)]
    vectors = {token.name.lower(): token.vectors for token in tokens}
    return everyone, {one.words: vectors[one.words.lower()] for one in everyone if one.words.lower() in vectors}
