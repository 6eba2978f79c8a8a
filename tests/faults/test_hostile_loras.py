"""LoRA files from strangers: a clear error or a right result, never a crash, and the base stays as it was."""

from __future__ import annotations

import time

import pytest
import torch

from tests.faults.hostile_files import CHANGES, mutated
from videomage_core.data.external_lora import load_external_lora
from videomage_core.data.lora_file import apply_loras, describe, load_lora, read_header, save_lora

COUNT = 216  # twelve of each kind


@pytest.fixture(scope="module")
def good(tmp_path_factory, make_lora_model, shared_emoji_base):
    path = tmp_path_factory.mktemp("good") / "dog.safetensors"
    save_lora(path, make_lora_model(shared_emoji_base, 1, "<dog>", "dog"))
    return path.read_bytes()


@pytest.mark.parametrize("kind", range(len(CHANGES)), ids=[name.replace(" ", "_") for name, _ in CHANGES])
def test_a_changed_file_is_refused_or_right(kind, good, emoji_base, tmp_path):
    for number in range(kind, COUNT, len(CHANGES)):
        name, content = mutated(good, number)
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(content)
        began = time.monotonic()
        try:
            lora_model = load_lora(path)
        except ValueError as error:
            assert str(error).startswith("LoRA: ") and len(str(error)) < 2000, f"{name} {number}"
        else:
            describe(lora_model)
            try:
                with apply_loras(emoji_base, [(lora_model, 1.0)]) as tokens, torch.no_grad():
                    emoji_base.encode_prompt([f"a {tokens[0].name} on grass"], tokens)
            except ValueError:
                pass
        for read in (read_header, lambda p: load_external_lora(emoji_base, p, "sks dog", "dog")):
            try:
                read(path)
            except ValueError as error:
                assert len(str(error)) < 2000
        assert time.monotonic() - began < 20, f"{name} {number} hangs"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{n}.safetensors" for n in range(kind, COUNT, len(CHANGES))
    ), "nothing else is written"
