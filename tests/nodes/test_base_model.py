"""Load Video Base: bases in every diffusers folder, memory modes, and what is said where memory is full."""

from __future__ import annotations

import dataclasses
import sys
from types import ModuleType
from typing import Any

import comfy_stub
import pytest
import torch


def packs(module: str) -> ModuleType:
    """A module of the pack as ComfyUI imported it: its classes are not those that tests import."""
    return next(m for name, m in sys.modules.items() if name.endswith(f"-videomage.{module}"))


def test_bases_are_found_in_every_diffusers_folder(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    from videomage_core.model.base_folder import EMOJI_BASE

    (host.home / "models" / "diffusers" / "deep").mkdir()
    (host.home / "models" / "diffusers" / "deep" / "zeroscope").symlink_to(EMOJI_BASE)
    other = host.home / "models" / "diffusers" / "sd15" / "unet"
    other.mkdir(parents=True)
    (other / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    choice = nodes["VideoMage_LoadBase"].define_schema().inputs[0]
    assert choice.positional[0] == ["emoji base (built in)", "deep/zeroscope"]
    with pytest.raises(FileNotFoundError, match=r"'gone' is not in models/diffusers"):
        nodes["VideoMage_LoadBase"].execute("gone", "auto", "auto")


def test_a_base_that_is_not_there_is_said_when_queued(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    check = nodes["VideoMage_LoadBase"].validate_inputs
    assert check("emoji base (built in)") is True and check(None) is True and check() is True
    said = check("zeroscope_v2_576w")
    assert "'zeroscope_v2_576w' is not in models/diffusers" in said
    assert all(part in said for part in ("cerspense/zeroscope_v2_576w on Hugging Face", "CC-BY-NC-4.0", "unet, vae"))
    for part in ("unet", "text_encoder"):
        (host.home / "models" / "diffusers" / "zeroscope_v2_576w" / part).mkdir(parents=True)
    assert "lacks vae, tokenizer, scheduler" in check("zeroscope_v2_576w")
    assert "is not in models/diffusers" in check("../diffusers/zeroscope_v2_576w")


@pytest.mark.parametrize(("memory", "modes"), [("auto", "high medium low"), ("low", "low low low")])
def test_a_base_works_in_the_mode_that_is_asked_for_or_fits(
    nodes: dict[str, Any], host: comfy_stub.Host, memory: str, modes: str
) -> None:
    base = nodes["VideoMage_LoadBase"].execute("emoji base (built in)", "fp32", memory).result[0]
    required_memory, workloads_for, modes_of = (
        vars(packs("videomage_core.model.memory"))[n] for n in ("required_memory", "workloads_for", "MODES")
    )
    asked = {"method": "the base alone", "steps": 1, "frames": 8, "height": 48, "width": 48, "guidance_scale": 5.0}
    workloads = workloads_for(base.preset.sampling)
    made = []
    for name, mode in zip(("high", "medium", "low"), modes.split(), strict=True):
        host.free_memory = required_memory(base.backbone, workloads, modes_of[name])
        host.loaded.clear()
        made.append(nodes["VideoMage_SampleVideo"].execute(base, "a dog", seed=0, **asked).result[0])
        assert base.backbone.memory.name == mode
        assert [patcher.model.part for patcher in host.loaded] == base.backbone.resident(base.backbone.memory)
    assert all(torch.allclose(video, made[0], atol=1 / 255) for video in made)


def test_comfyui_is_asked_for_the_memory_of_the_work(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    """More of a video takes more, "low" less; and a size that the base cannot make is said before it is loaded."""
    comfy_memory, engine = packs("nodes.comfy_memory"), packs("videomage_core.model.memory")
    low, high = (
        nodes["VideoMage_LoadBase"].execute("emoji base (built in)", "fp32", m).result[0] for m in ("low", "high")
    )

    def asked(base: Any, **change: Any) -> int:
        workloads = engine.workloads_for(dataclasses.replace(base.preset.motion, **change))
        with comfy_memory.on_device(base, "nothing", workloads):
            return host.memory_required[-1]

    longer, larger, usual = asked(high, frames=16), asked(high, height=96), asked(high, frames=8)
    assert usual < longer == larger < 2 * usual, "the margin on the weights stays"
    assert 0 < asked(low) < usual
    loads = len(host.memory_required)
    with pytest.raises(ValueError, match="multiples of 4"):
        asked(high, width=50)
    assert len(host.memory_required) == loads
    plain = {"method": "the base alone", "steps": 1, "frames": 8, "height": 48, "width": 48, "guidance_scale": 5.0}
    nodes["VideoMage_SampleVideo"].execute(high, "a dog", seed=0, **plain)
    assert 0 < host.memory_required[-1] < usual, "no gradients"


@pytest.mark.parametrize(
    "error",
    [
        comfy_stub.OutOfMemory("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_full_memory_is_said_with_what_to_lower(nodes: dict[str, Any], host: comfy_stub.Host, error: Exception) -> None:
    memory = packs("nodes.comfy_memory")

    def said(mode: str) -> str:
        base = nodes["VideoMage_LoadBase"].execute("emoji base (built in)", "fp32", mode).result[0]
        with pytest.raises(RuntimeError) as raised, memory.on_device(base, "frames", []):
            raise error
        return str(raised.value)

    assert said("high").endswith(
        "in the memory mode 'high'; everything was freed. Set the base's memory mode to 'medium' or 'low': a training "
        "then resumes from its last checkpoint. Or lower frames"
    )
    assert said("low").endswith("in the memory mode 'low'; everything was freed. Lower frames")
    load = sys.modules["comfy.model_management"].load_models_gpu

    def full(*_: Any, **__: Any) -> None:
        raise error

    sys.modules["comfy.model_management"].load_models_gpu = full  # before the base is in its mode
    try:
        assert "in the memory mode 'low'" in said("low")
    finally:
        sys.modules["comfy.model_management"].load_models_gpu = load
    assert host.freed
    freed = pytest.raises(RuntimeError, match=r"^VideoMage ran out of memory; everything was freed\. Lower it$")
    with freed, memory.reserve_memory(1, "Lower it"):
        raise error
    with pytest.raises(RuntimeError, match=r"^shapes"), memory.reserve_memory(1, "Lower it"):
        raise RuntimeError("shapes do not fit")
