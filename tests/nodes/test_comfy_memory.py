"""What the pack asks of ComfyUI's memory management, and what it leaves alone."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import comfy_stub
import pytest
import torch


class Loaded:
    """ComfyUI's LoadedModel: it holds its patcher weakly, so that ``model`` may be None."""

    def __init__(self, model: Any, size: int = 0, device: str = "cpu") -> None:
        self.model, self.size, self.device = model, size, torch.device(device)
        self.unloaded = False

    def model_loaded_memory(self) -> int:
        assert self.model is not None, "asked of a model that is gone"
        return self.size

    def model_unload(self) -> None:
        self.unloaded = True


@pytest.fixture
def management(nodes: dict[str, Any]) -> Any:
    return sys.modules["comfy.model_management"]


@pytest.fixture
def memory(nodes: dict[str, Any]) -> Any:
    return next(module for name, module in sys.modules.items() if name.endswith(".nodes.comfy_memory"))


@pytest.fixture
def base(nodes: dict[str, Any]) -> Any:
    return nodes["VideoMage_LoadBase"].execute("emoji base (built in)", "fp32", "high").result[0]


def test_a_change_of_mode_unloads_our_own_parts_alone(base: Any, memory: Any, management: Any) -> None:
    modes = sys.modules[memory.MemoryMode.__module__.replace("backbone", "memory")]
    own = [Loaded(patcher) for patcher in base.patchers_for(modes.HIGH)]
    others = [Loaded(SimpleNamespace()), Loaded(None)]
    management.current_loaded_models[:] = [others[0], *own, others[1]]
    base.unload()
    assert own and all(loaded.unloaded for loaded in own)
    assert management.current_loaded_models == others and not any(loaded.unloaded for loaded in others)


def test_room_counts_living_models_of_the_device_alone(memory: Any, management: Any, host: comfy_stub.Host) -> None:
    device = torch.device("cuda", 0)
    management.current_loaded_models[:] = [
        Loaded(SimpleNamespace(), 5, "cuda:0"),
        Loaded(None, 7, "cuda:0"),
        Loaded(SimpleNamespace(), 9),
    ]
    assert memory.available_memory(device) == host.free_memory + 5


def test_a_base_tells_the_cache_how_much_it_weighs(base: Any) -> None:
    parts = (base.backbone.network, base.backbone.vae, base.backbone.prompts.text_encoder)
    assert base.get_ram_usage() == sum(t.nbytes for part in parts for t in part.state_dict().values()) > 2**20


def test_newer_hosts_are_asked_what_a_full_device_is(
    memory: Any, management: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = RuntimeError("accelerator error 2")
    assert not memory._is_full(strange)
    monkeypatch.setattr(management, "is_oom", lambda error: error is strange, raising=False)
    discarded: list[bool] = []
    monkeypatch.setattr(management, "discard_cuda_async_error", lambda: discarded.append(True), raising=False)
    assert memory._is_full(strange) and not discarded, "there is no CUDA error to discard on a CPU"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert memory._is_full(strange) and discarded == [True]
    assert not memory._is_full(ValueError("shapes")) and discarded == [True]


@pytest.mark.parametrize("way", ["load", "patch_model", "unpatch_model"])
def test_weights_are_never_moved_in_inference_mode(
    base: Any, memory: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """What is made in inference mode is an inference tensor, and can never be trained through."""
    patcher = next(iter(base.patchers_for(base.backbone.memory)))
    seen: list[bool] = []
    stock = type(patcher).__mro__[1]
    monkeypatch.setattr(stock, way, lambda self: seen.append(torch.is_inference_mode_enabled()), raising=False)
    with torch.inference_mode():
        getattr(patcher, way)()
    assert seen == [False]
