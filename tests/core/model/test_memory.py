"""Memory modes: the same results, to rounding, with less on the device; and which of them fits."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from videomage_core.config import CollaborativeConfig, FusionConfig, MotionConfig, SamplingConfig, SubjectConfig
from videomage_core.model import lora, placement
from videomage_core.model.memory import (
    HIGH,
    LOW,
    MEDIUM,
    MODES,
    choose_mode,
    free_memory,
    required_memory,
    workloads_for,
)

ELSEWHERE = torch.device("cpu", 0)  # the same memory under another name, so that weights have a way to go


@pytest.fixture
def base(emoji_base):
    yield emoji_base
    emoji_base.use_memory(HIGH)


def outputs(base) -> list[torch.Tensor]:
    """Everything that a stage asks of a base: text, video, prediction under a LoRA, gradients to it and to latents."""
    generator = torch.Generator().manual_seed(0)
    with lora.restore_adapters(base):
        parameters = lora.add(base, "x", base.targets("spatial"), rank=2)
        for parameter in parameters:
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
        x = torch.randn(2, *base.latent_shape(3, 24, 24), generator=generator)
        level = base.levels(10)[4]
        with torch.no_grad():
            text = base.encode_prompt(["a dog", "a cat on grass"])
            with lora.use_adapters(base, {"x": 0.7}):
                plain = base.predict(x, level, text)
            seen = base.decode_video(plain)
            again = base.encode_video(seen)
        with lora.use_adapters(base, {"x": 1.0}):
            moving = x.clone().requires_grad_()
            loss = base.predict(moving, base.random_level(2, generator), text).square().mean()
            gradients = torch.autograd.grad(loss, [moving, *parameters])
    return [text, plain, seen, again, loss.detach(), *gradients]


@pytest.mark.parametrize("mode", [MEDIUM, LOW, dataclasses.replace(LOW, keep_encoders=True)], ids=lambda m: m.name)
def test_a_mode_changes_memory_and_nothing_else(base, mode):
    before = {name: weight.clone() for name, weight in base.unet.state_dict().items()}
    wanted = outputs(base)
    base.use_memory(mode, ELSEWHERE)
    for have, want in zip(outputs(base), wanted, strict=True):
        torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))
    base.use_memory(HIGH)
    for have, want in zip(outputs(base), wanted, strict=True):
        assert torch.equal(have, want)
    assert all(torch.equal(weight, before[name]) for name, weight in base.unet.state_dict().items())
    assert not any("forward" in vars(block) for block in base.unet.down_blocks[0].resnets)


def test_in_low_one_layer_is_on_the_device_at_a_time(base, monkeypatch):
    here: list[torch.nn.Module] = []
    most, visits, brought = [0], [0], placement.offloaded

    def watched(device, layer, forward, *arguments, **named):
        def inside(*arguments, **named):
            here.append(layer)
            most[0], visits[0] = max(most[0], len(here)), visits[0] + 1
            assert all(w.data_ptr() != home[id(w)] for w in layer.parameters() if id(w) in home)
            try:
                return forward(*arguments, **named)
            finally:
                here.remove(layer)

        return brought(device, layer, inside, *arguments, **named)

    monkeypatch.setattr(placement, "offloaded", watched)
    base.use_memory(LOW, ELSEWHERE)
    home = {id(w): w.data_ptr() for layer in base.checkpointed_layers() for w in layer.parameters()}
    to = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda t, *a, **n: t.clone() if a == (ELSEWHERE,) else to(t, *a, **n))
    x, text = torch.zeros(1, *base.latent_shape(2, 24, 24)), base.encode_prompt(["a dog"]).detach()
    with torch.no_grad():
        base.predict(x, base.levels(10)[4], text)
    assert most == [1] and visits[0] == len(base.checkpointed_layers())
    moving = x.clone().requires_grad_()
    base.predict(moving, base.levels(10)[4], text).sum().backward()
    assert most == [1] and visits[0] == 3 * len(base.checkpointed_layers()), (
        "forward, and once more in the backward pass"
    )
    assert {id(w): w.data_ptr() for layer in base.checkpointed_layers() for w in layer.parameters()} == home


def test_what_is_away_comes_when_used_and_leaves(base, monkeypatch):
    moves: list[str] = []
    base.use_memory(MEDIUM)
    monkeypatch.setattr(type(base), "device", property(lambda _: ELSEWHERE))
    for name, part in {"vae": base.vae, "text": base.prompts.text_encoder}.items():
        monkeypatch.setattr(part, "to", lambda device, name=name: moves.append(f"{name} to {device}"))
    with torch.no_grad():
        base.encode_prompt(["a dog"])
        base.decode_video(torch.zeros(1, *base.latent_shape(2, 24, 24)))
    assert moves == ["text to cpu:0", "text to cpu", "vae to cpu:0", "vae to cpu"]
    moves.clear()
    base.encode_prompt(["a dog"])  # with gradients: its weights are needed in the backward pass
    assert moves == ["text to cpu:0"]


def test_what_gradients_keep_on_the_device_can_be_put_away(base, monkeypatch):
    moves: list[str] = []
    base.use_memory(MEDIUM)
    for name, part in {"vae": base.vae, "text": base.prompts.text_encoder}.items():
        monkeypatch.setattr(part, "to", lambda device, name=name: moves.append(f"{name} to {device}"))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(type(base), "device", property(lambda _: ELSEWHERE))
        base.encode_prompt(["a dog"])
        base.put_away()
    assert moves == ["text to cpu:0", "vae to cpu", "text to cpu"]
    moves.clear()
    monkeypatch.undo()
    base.use_memory(HIGH)
    base.put_away()
    assert moves == []


def test_a_part_for_which_memory_runs_out_goes_back(base, monkeypatch):
    moves: list[str] = []

    def to(device):
        moves.append(str(device))
        if device == ELSEWHERE:
            raise torch.OutOfMemoryError("CUDA out of memory")

    base.use_memory(MEDIUM)
    monkeypatch.setattr(type(base), "device", property(lambda _: ELSEWHERE))
    monkeypatch.setattr(base.vae, "to", to)
    with pytest.raises(torch.OutOfMemoryError):
        base.encode_video(torch.zeros(1, 3, 1, 24, 24))
    assert moves == ["cpu:0", "cpu"]


def test_a_layer_for_which_memory_runs_out_halfway_goes_back(base, monkeypatch):
    base.use_memory(LOW, ELSEWHERE)
    before = [tensor.data_ptr() for tensor in base.unet.parameters()]
    ask, moved = torch.Tensor.to, []

    def to(tensor, *given, **named):
        if given[:1] == (ELSEWHERE,):
            moved.append(tensor)
            if len(moved) == 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return tensor.clone()  # as if it were on another device
        return ask(tensor, *given, **named)

    x, text = torch.zeros(1, *base.latent_shape(1, 24, 24)), torch.zeros(1, 77, base.unet.config.cross_attention_dim)
    with monkeypatch.context() as full:
        full.setattr(torch.Tensor, "to", to)
        with pytest.raises(torch.OutOfMemoryError), torch.no_grad():
            base.predict(x, base.levels(10)[4], text)
    assert len(moved) == 3
    assert [tensor.data_ptr() for tensor in base.unet.parameters()] == before


def test_guidance_halves_go_one_after_the_other_in_low(base):
    batches: list[int] = []
    hook = base.unet.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
    x, text = torch.zeros(2, *base.latent_shape(2, 24, 24)), torch.zeros(2, 77, base.unet.config.cross_attention_dim)
    with torch.no_grad():
        base.predict(x, base.levels(10)[4], text)
        base.use_memory(LOW)
        base.predict(x, base.levels(10)[4], text)
    hook.remove()
    assert batches == [2, 1, 1]


PAPER = [SubjectConfig(), MotionConfig(), FusionConfig(), CollaborativeConfig(), SamplingConfig()]


@pytest.mark.parametrize("config", PAPER, ids=lambda c: type(c).__name__)
def test_each_mode_takes_less_and_auto_is_the_first_that_fits(emoji_base, config):
    workloads = workloads_for(config)
    needs = [required_memory(emoji_base, workloads, mode) for mode in (HIGH, MEDIUM, LOW)]
    assert needs[0] > needs[1] > needs[2] > 0
    for mode, need in zip((HIGH, MEDIUM, LOW), needs, strict=True):
        assert choose_mode("auto", emoji_base, workloads, need) is mode
    assert choose_mode("auto", emoji_base, workloads, 0) is LOW
    assert choose_mode("auto", emoji_base, workloads, None) is MEDIUM
    assert all(choose_mode(name, emoji_base, workloads, 0) is mode for name, mode in MODES.items())
    with pytest.raises(ValueError, match="memory: got 'tiny', allowed: 'auto', 'high', 'medium', 'low'"):
        choose_mode("tiny", emoji_base, workloads, 0)


def test_free_memory_is_told_where_it_is_known():
    free = free_memory(torch.device("cpu"))
    assert free is None or 2**20 < free < 2**50
    assert free_memory(torch.device("meta")) is None
