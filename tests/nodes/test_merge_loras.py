"""Merge Subject LoRAs without ComfyUI: what it asks for, what it refuses before anything runs, and what it reads.

What core makes of it is in ``tests/comfyui/native/test_merge_loras.py``.
"""

from __future__ import annotations

import os
from typing import Any

import comfy_stub
import pytest
import torch
from safetensors.torch import save_file

NODE = "VideoMage_MergeSubjectLoRAs"


def write(host: comfy_stub.Host, name: str) -> None:
    key = "diffusion_model.blocks.0.self_attn.q"
    tensors = {f"{key}.lora_A.weight": torch.ones(1, 4), f"{key}.lora_B.weight": torch.ones(4, 1)}
    save_file(tensors, host.home / "models" / "loras" / name)


def test_rows_of_a_file_and_its_weight(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    write(host, "a.safetensors")
    inputs = {one.id: one for one in nodes[NODE].define_schema().inputs}
    assert [name for name in inputs if name.startswith("lora_")] == [f"lora_{i}" for i in range(1, 9)]
    assert [name for name in inputs if name.startswith("weight_")] == [f"weight_{i}" for i in range(1, 9)]
    assert inputs["lora_1"].positional[0] == ["a.safetensors"] and not inputs["lora_1"].optional
    assert inputs["lora_8"].positional[0] == ["none", "a.safetensors"] and inputs["lora_8"].optional
    assert all(one.about.get("tooltip") for one in inputs.values())
    assert inputs["expert"].extra_dict == inputs["dtype"].extra_dict == {"advanced": True}


@pytest.mark.parametrize("name", ["../x", "a/b", "con", "x" * 101])
def test_a_file_name_that_cannot_be_is_refused_when_queued_and_when_run(nodes: dict[str, Any], host, name: str) -> None:
    write(host, "a.safetensors")
    assert "file name: got" in nodes[NODE].validate_inputs(name)
    with pytest.raises(ValueError, match="file name: got"):
        nodes[NODE].execute(
            model=object(), strength=1.0, file_name=name, expert="auto", dtype="fp32", lora_1="a.safetensors"
        )
    assert nodes[NODE].validate_inputs("") is True and nodes[NODE].validate_inputs(None) is True


def test_it_runs_again_when_a_file_changed(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    write(host, "a.safetensors")
    chosen = {"lora_1": "a.safetensors", "weight_1": 1.0, "lora_2": "none"}
    before = nodes[NODE].fingerprint_inputs(**chosen)
    assert nodes[NODE].fingerprint_inputs(**chosen) == before
    assert nodes[NODE].fingerprint_inputs(**{**chosen, "weight_1": 0.5}) != before
    os.utime(host.home / "models" / "loras" / "a.safetensors", (1, 1))
    assert nodes[NODE].fingerprint_inputs(**chosen) != before


def test_nothing_chosen_or_a_broken_file_is_said_before_the_model_is_touched(nodes: dict[str, Any], host: Any) -> None:
    write(host, "a.safetensors")
    settings = {"model": object(), "strength": 1.0, "file_name": "", "expert": "auto", "dtype": "fp32"}
    with pytest.raises(ValueError, match="lora_1: choose at least one LoRA"):
        nodes[NODE].execute(**settings, lora_1="a.safetensors", weight_1=0.0)
    (host.home / "models" / "loras" / "b.safetensors").write_bytes(b"GGUF" + b"\0" * 80)
    with pytest.raises(ValueError, match=r"b\.safetensors is a GGUF file"):
        nodes[NODE].execute(**settings, lora_1="b.safetensors")
    with pytest.raises(ValueError, match="model: got 'x', wire a node's output"):
        nodes[NODE].execute(**{**settings, "model": "x"}, lora_1="a.safetensors")
