"""A training that is cancelled, fails or finds no memory leaves the base as it was."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Callable
from typing import Any

import comfy_stub
import pytest
import torch

from tests.nodes.small_trainings import FUSION, MOTION, load_base, train_subject, weights_of
from videomage_core.data.lora_file import LoraModel
from videomage_core.presets import EMOJI


def test_the_first_line_of_an_error_is_kept_until_the_next_run(
    nodes: dict[str, Any], host: comfy_stub.Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(nodes)

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("the cable is out\nand more")

    with monkeypatch.context() as patched:
        patched.setattr(type(base.backbone), "predict", broken)
        with pytest.raises(ValueError, match="the cable is out"):
            train_subject(nodes, base)
    states = [state for event, state in host.events if event == "videomage.training"]
    assert states[-1]["error"] == "the cable is out" and not states[-1]["live"]
    kept = host.home / "output" / "videomage" / "dog.subject.7.json"
    assert json.loads(kept.read_text())["error"] == "the cable is out"
    train_subject(nodes, base)
    assert json.loads(kept.read_text())["error"] == ""


def test_cancel_leaves_the_base_as_it_was_and_the_next_run_goes_on(
    nodes: dict[str, Any], host: comfy_stub.Host, caplog: pytest.LogCaptureFixture
) -> None:
    base = load_base(nodes)
    before = weights_of(base)
    host.interrupt_at = 2
    with pytest.raises(comfy_stub.Interrupted):
        train_subject(nodes, base, steps=4)
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(base), strict=True))
    assert not any(p.requires_grad for p in base.backbone.unet.parameters())
    state = [state for event, state in host.events if event == "videomage.training"][-1]
    assert not state["live"] and state["done"] < 4 and not state["error"]
    assert train_subject(nodes, base, steps=4).result[2].shape == (8, 48, 48, 3)


def test_out_of_memory_frees_everything_and_says_what_to_lower(
    nodes: dict[str, Any], host: comfy_stub.Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(nodes)

    def full(*_: Any, **__: Any) -> None:
        raise comfy_stub.OutOfMemory

    monkeypatch.setattr(type(base.backbone), "encode_prompt", full)
    with pytest.raises(RuntimeError, match=r"memory mode to 'medium' or 'low'.*lower frames, width and height"):
        train_subject(nodes, base)
    assert host.freed


def bytes_alive() -> int:
    """Of all tensors that anything still holds."""
    gc.collect()
    return sum(o.numel() * o.element_size() for o in gc.get_objects() if issubclass(type(o), torch.Tensor))


@pytest.mark.parametrize("stage", ["SCSSampler", "FuseSubjects", "TrainMotion"])
def test_every_stage_stops_within_a_step_and_leaves_base_and_memory_as_they_were(
    nodes: dict[str, Any], host: comfy_stub.Host, make_lora_model: Callable[..., LoraModel], stage: str
) -> None:
    base = load_base(nodes)
    dog, cat = (make_lora_model(base.backbone, i, f"<{name}>", name) for i, name in enumerate(("dog", "cat")))
    motion = make_lora_model(base.backbone, 3, None)
    clip, pig, cat_mask, prompt, subjects = nodes["VideoMage_ExampleMotion"].execute().result
    collaborative = dataclasses.asdict(dataclasses.replace(EMOJI.collaborative, steps=4, tau=2, ddim_inversion_steps=2))

    def run() -> None:
        node = nodes[f"VideoMage_{stage}"]
        if stage == "SCSSampler":
            node.execute(base, dog, motion, "a <dog> is jumping", 0, **collaborative)
        elif stage == "FuseSubjects":
            node.execute(base, "both", "", "", lora_1=dog, lora_2=cat, **FUSION)
        else:
            node.execute(base, clip, prompt, subjects, "riding", mask_1=pig, mask_2=cat_mask, **MOTION)

    before, modules, left = weights_of(base), list(base.backbone.unet.modules()), []
    for asked in (1, 3):  # the first leaves behind what is kept on purpose
        host.progress.clear()
        host.interrupt_at = asked
        try:
            run()
        except comfy_stub.Interrupted:
            pass
        else:
            pytest.fail("it was not cancelled")
        assert len(host.progress) == asked  # no step more
        left.append(bytes_alive())
        assert list(base.backbone.unet.modules()) == modules  # no adapter
        assert all(torch.equal(a, b) for a, b in zip(before, weights_of(base), strict=True))
        assert not any(m._forward_hooks or m._forward_pre_hooks or m.training for m in modules)
        assert not any(p.requires_grad for p in base.backbone.unet.parameters())
    assert left[1] <= left[0]
