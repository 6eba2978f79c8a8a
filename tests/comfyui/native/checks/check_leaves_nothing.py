"""A run leaves the MODELs as they were, to the bit, however it ends; and weights are patched once, before it."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import comfy.model_management as management
import pytest
import tiny_wan as tiny
import torch
from check_guider import CONFIG, built, close
from videomage_pack.nodes.native import gradients, recording

GUIDED = dataclasses.replace(CONFIG, tau=2, step_size=0.02, recorded_blocks="1-3")


@pytest.fixture
def pair(wan: Any) -> list[Any]:
    """Subject's and motion's MODEL behind a speed-up LoRA that both have."""
    shared = tiny.with_lora(wan, tiny.lora_patches(wan, 7), 0.5)
    return [tiny.with_lora(shared, tiny.lora_patches(wan, seed), 0.8) for seed in (1, 2)]


class Broken(Exception):
    pass


def at_step(number: int, raised: type[BaseException]) -> dict[str, Any]:
    def callback(step: int, *_: Any) -> None:
        if step == number:
            raise raised

    return {"callback": callback}


def cancelled() -> dict[str, Any]:
    """By the button, in the first step."""

    def callback(step: int, *_: Any) -> None:
        if step == 0:
            management.interrupt_current_processing()

    return {"callback": callback}


def breaks_in(monkeypatch: Any, owner: Any, name: str, call: int) -> dict[str, Any]:
    """An error in the given call of a function."""
    calls, function = [0], getattr(owner, name)

    def instead(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            raise Broken
        return function(*given, **named)

    monkeypatch.setattr(owner, name, instead)
    return {}


ENDS: dict[str, tuple[Any, Any]] = {
    "success": (lambda _: {}, None),
    "error after a guided step": (lambda _: at_step(0, Broken), Broken),
    "error after a plain step": (lambda _: at_step(3, Broken), Broken),
    "error in a recorded forward": (lambda patch: breaks_in(patch, recording, "cross_maps", 5), Broken),
    "error in a backward pass": (lambda patch: breaks_in(patch, gradients, "linear_weight", 9), Broken),
    "cancelled in guided steps": (lambda _: cancelled(), management.InterruptProcessingException),
    # In its own samplers the core cancels in the callback that moves the progress bar.
    "cancelled in plain steps": (
        lambda _: at_step(2, management.InterruptProcessingException),
        management.InterruptProcessingException,
    ),
}


def state(patcher: Any) -> Any:
    """All that a MODEL carries; patches by identity."""
    patches = {key: [tuple(map(id, patch)) for patch in value] for key, value in patcher.patches.items()}
    return patches, patcher.patches_uuid, repr(patcher.model_options), dict(patcher.object_patches)


@pytest.mark.parametrize("end", ENDS)
def check_models_are_as_before_however_it_ends(wan, pair, end, monkeypatch):
    prepare, raised = ENDS[end]
    weights, models = tiny.weights(wan), [wan, *pair]
    before, fresh = [state(model) for model in models], tiny.run(built(*pair, GUIDED), steps=4)
    rope = {name: getattr(sys.modules["comfy.ldm.wan.model"], name, None) for name in gradients.ROPE}
    one = built(*pair, GUIDED)
    options = repr(one.model_options)
    with monkeypatch.context() as patch:
        given = prepare(patch)
        if raised is None:
            assert torch.equal(tiny.run(one, steps=4, **given), fresh)
        else:
            with pytest.raises(raised):
                tiny.run(one, steps=4, **given)
    assert [state(model) for model in models] == before and repr(one.model_options) == options
    assert one.branches.current is None and not one.branches._placed
    assert rope == {name: getattr(sys.modules["comfy.ldm.wan.model"], name, None) for name in gradients.ROPE}
    assert not any("forward" in vars(module) for module in wan.model.modules())
    assert not torch.is_inference_mode_enabled()
    one.model_patcher.unpatch_model()
    after = tiny.weights(wan)
    assert all(torch.equal(weights[name], after[name]) for name in weights)
    assert torch.equal(tiny.run(one, steps=4), fresh), "and it samples again"


def check_weights_are_patched_once_and_never_between_branches(wan, pair, monkeypatch):
    """Three subjects and a motion, guided and plain steps: one load, and no weight is touched after the first pass."""
    events: list[str] = []
    kind = type(wan)
    for name in ("load", "patch_model", "unpatch_model", "patch_weight_to_device"):
        function = getattr(kind, name)
        monkeypatch.setattr(
            kind, name, lambda *g, function=function, name=name, **n: events.append(name) or function(*g, **n)
        )
    forward = wan.model.diffusion_model.forward
    monkeypatch.setattr(
        wan.model.diffusion_model, "forward", lambda *g, **n: events.append("forward") or forward(*g, **n)
    )
    others = {
        f"model_subject_{n}": tiny.with_lora(pair[0], tiny.lora_patches(wan, seed)) for n, seed in ((2, 3), (3, 4))
    }
    got = tiny.run(built(*pair, GUIDED, **others), steps=4)
    first, last = events.index("forward"), len(events) - events[::-1].index("forward")
    assert set(events[first:last]) == {"forward"} and events.count("forward") > 20
    assert events.count("load") == 1 and events[:first].count("patch_weight_to_device") > 0
    assert close(got, tiny.run(built(*pair, GUIDED, **others), steps=4))
