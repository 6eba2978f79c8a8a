"""Learned vectors of any LoRA file: of ours with its superclasses, of another with those the user gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from videomage_core.data.learned_tokens import read_learned_tokens, with_learned
from videomage_core.model.prompt_spans import MarkedSubject
from videomage_core.model.text import SpecialToken

ABOUT: dict[str, Any] = {
    "format": 1, "kind": "subject", "base": "wan", "rank": 4, "details": {},
    "fingerprint": {"architecture": "wan", "weights": [0.5]}, "tokens": [{"name": "<toy>", "superclass": "bear"}],
}  # fmt: skip


def written(path: Path, vectors: torch.Tensor | None, ours: bool = True) -> Path:
    tensors = {"diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.zeros(4, 8)}
    if vectors is not None:
        tensors["lora_emb.toy"] = vectors
    save_file(tensors, path, metadata={"videomage": json.dumps(ABOUT)} if ours else None)
    return path


def test_vectors_come_with_the_superclass_of_file_or_user(tmp_path: Path) -> None:
    rows = torch.randn(2, 8)
    (token,) = read_learned_tokens(written(tmp_path / "a.safetensors", rows), {})
    assert (token.name, token.superclass) == ("<toy>", "bear") and torch.equal(token.vectors, rows)
    (token,) = read_learned_tokens(tmp_path / "a.safetensors", {"<toy>": "robot"})
    assert token.superclass == "robot"
    (token,) = read_learned_tokens(written(tmp_path / "b.safetensors", rows[0], ours=False), {"<toy>": "dog"})
    assert token.vectors.shape == (1, 8)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"c\.safetensors is not there"):
        read_learned_tokens(tmp_path / "c.safetensors", {})
    with pytest.raises(ValueError, match=r"holds no learned vectors; choose 'none'"):
        read_learned_tokens(written(tmp_path / "d.safetensors", None), {})
    with pytest.raises(ValueError, match=r"does not say what <toy> is; write a line: <toy> = dog"):
        read_learned_tokens(written(tmp_path / "e.safetensors", torch.zeros(1, 8), ours=False), {})
    with pytest.raises(ValueError, match="no vectors of finite numbers for <toy>"):
        read_learned_tokens(written(tmp_path / "f.safetensors", torch.full((1, 8), float("nan"))), {})
    (tmp_path / "g.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        read_learned_tokens(tmp_path / "g.safetensors", {})


def test_tokens_that_the_prompt_names_join_the_subjects() -> None:
    tokens = [SpecialToken(name, torch.randn(1, 4), "bear") for name in ("<toy>", "<cat>", "<far>")]
    box = [MarkedSubject("sks", "dog"), MarkedSubject("<Cat>", "tiger")]
    subjects, vectors = with_learned("a <TOY> rides sks and a <cat>", box, tokens)
    assert subjects == [*box, MarkedSubject("<toy>", "bear")]
    assert set(vectors) == {"<Cat>", "<toy>"} and torch.equal(vectors["<Cat>"], tokens[1].vectors)
