"""What every base must do, of whatever kind: one suite over all of them."""

from __future__ import annotations

import inspect
import itertools

import pytest
import torch
from torch import nn

from tests.core.model.carrier import OTHER, PROMPT
from videomage_core.model import lora
from videomage_core.model.backbone import Backbone
from videomage_core.model.encoded_text import concat_texts, repeat_text
from videomage_core.model.latent_time import latent_frames
from videomage_core.model.memory import HIGH, LOW, MEDIUM
from videomage_core.model.text import SpecialToken
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.model.wan import WanBackbone
from videomage_core.sampling import add_noise, step, to_x0_eps, training_target


def members() -> list[str]:
    return [name for name, member in vars(Backbone).items() if inspect.isfunction(member) and name[0] != "_"]


@pytest.mark.parametrize("kind", [UNet3DBackbone, WanBackbone])
@pytest.mark.parametrize("name", members())
def test_every_method_of_the_contract_is_kept(kind, name):
    wanted = inspect.signature(getattr(Backbone, name)).parameters
    given = inspect.signature(getattr(kind, name)).parameters
    assert list(given) == list(wanted)
    assert [p.default for p in given.values()] == [p.default for p in wanted.values()]


# --- pixels and latents


def test_latents_have_the_shape_that_was_said(carrier):
    base = carrier.base
    pixels = torch.rand(2, 3, carrier.frames, carrier.side, carrier.side) * 2 - 1
    latents = base.encode_video(pixels)
    assert latents.shape[1:] == base.latent_shape(carrier.frames, carrier.side, carrier.side)
    assert latents.shape[2] == latent_frames(carrier.frames, base.temporal_factor)
    back = base.decode_video(latents)
    assert back.shape == pixels.shape and back.dtype == torch.float32 and float(back.abs().max()) <= 1
    one = base.encode_video(pixels[:1])
    torch.testing.assert_close(one, latents[:1], atol=1e-5, rtol=1e-4)  # a video's latents are its own


def test_a_size_that_cannot_be_is_refused(carrier):
    with pytest.raises(ValueError, match="size: got 24x23"):
        carrier.base.latent_shape(carrier.frames, 24, 23)


# --- texts


def test_texts_are_batches_that_can_be_cut_and_joined(carrier):
    base, x = carrier.base, carrier.noise(3)
    texts = carrier.text(PROMPT, OTHER, "a cat")
    again = concat_texts([texts[2:3], texts[:1], carrier.text(OTHER)])
    assert len(texts) == len(again) == 3
    assert len(repeat_text(texts[1:2], 5)) == 5
    level = base.level_at(0.6)
    with torch.no_grad():
        wanted = base.predict(x, level, texts)
        moved = base.predict(x[[2, 0, 1]], level, again)
        alone = torch.cat([base.predict(x[i : i + 1], level, texts[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(moved, wanted[[2, 0, 1]], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone, wanted, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(base.predict(x[:1], level, carrier.text(OTHER)), wanted[:1], atol=1e-4)


def test_a_learned_token_gets_a_gradient_and_a_superclass_stands_in_its_place(carrier):
    base, token = carrier.base, carrier.token()
    vectors = token.vectors.clone().requires_grad_()
    text = base.encode_prompt([PROMPT], [SpecialToken("<toy>", vectors, "robot")])
    base.predict(carrier.noise(), base.level_at(0.5), text).square().mean().backward()
    assert vectors.grad is not None and float(vectors.grad.abs().sum()) > 0
    (span,), (plain,) = (base.token_spans(PROMPT, [token], as_superclass=plain) for plain in (False, True))
    (robot,) = base.word_spans(PROMPT.replace("<toy>", "robot"), "robot")
    assert span.positions == plain.positions == robot.positions
    with torch.no_grad():
        both = [
            base.encode_prompt([PROMPT], [token], as_superclass=True),
            carrier.text(PROMPT.replace("<toy>", "robot")),
        ]
        one, two = (base.predict(carrier.noise(), base.level_at(0.5), each) for each in both)
    torch.testing.assert_close(one, two)


# --- noise levels


def test_levels_go_from_noise_to_clean(carrier):
    base = carrier.base
    levels = base.levels(6)
    shares = [float(level.s) for level in levels]
    assert len(levels) == 7 and shares == sorted(shares, reverse=True) and shares[-1] < 0.1 < 0.9 < shares[0]
    assert shares[0] >= float(base.level_at(0.5).s) >= shares[-1]
    assert float(base.level_at(0.7).s) > float(base.level_at(0.3).s)


def test_random_levels_are_of_the_generator_alone(carrier):
    one, two = (carrier.base.random_level(64, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one.t, two.t) and one.t.shape == one.s.shape == one.a.shape == (64,)
    assert float(one.s.max()) <= 1 and float(one.s.min()) > 0 and len(one.s.unique()) > 32


def test_a_perfect_output_leads_to_the_video(carrier):
    base, x0 = carrier.base, carrier.noise()
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(4))
    levels = base.levels(3)
    for level, following in itertools.pairwise(levels):
        x = add_noise(x0, eps, level)
        output = training_target(x0, eps, level, base.prediction)
        torch.testing.assert_close(
            step(output, x, level, following, base.prediction), add_noise(x0, eps, following), atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(to_x0_eps(output, x, level, base.prediction)[1], eps, atol=1e-4, rtol=1e-4)


# --- LoRAs


def rows_of(base: Backbone, role: str) -> set[tuple[str, int]]:
    outputs = {name: m.out_features for name, m in base.network.named_modules() if isinstance(m, nn.Linear)}
    return {(t.module, row) for t in base.targets(role) for row in (t.rows or range(outputs[t.module]))}


def test_the_two_roles_share_nothing(carrier):
    spatial, temporal = (rows_of(carrier.base, role) for role in ("spatial", "temporal"))
    assert spatial and temporal and not spatial & temporal
    attention = {t.module for t in carrier.base.targets("spatial", attention_only=True)}
    assert attention < {t.module for t in carrier.base.targets("spatial")}


@pytest.mark.parametrize("role", ["spatial", "temporal"])
def test_a_lora_starts_as_nothing_and_moves_its_rows_alone(carrier, role):
    base, x, text, level = carrier.base, carrier.noise(), carrier.text(), carrier.base.level_at(0.6)
    with torch.no_grad():
        plain = base.predict(x, level, text)
    targets = base.targets(role)
    with lora.restore_adapters(base):
        parameters = lora.add(base, "x", targets, rank=2)
        with lora.use_adapters(base, {"x": 1.0}):
            optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0)
            assert torch.equal(base.predict(x, level, text), plain)
            for _ in range(2):
                optimizer.zero_grad()
                base.predict(x, level, text).square().mean().backward()
                optimizer.step()
            assert not torch.allclose(base.predict(x, level, text), plain, atol=1e-4)
        learned = lora.weights(base, "x").layers
    for target in targets:
        b = learned[target.module][1]
        changed = b.any(1)
        assert bool(changed.any())
        if target.rows is not None:
            untouched = torch.ones(len(b), dtype=torch.bool)
            untouched[list(target.rows)] = False
            assert not bool(b[untouched].any()), "exactly zero"
    with torch.no_grad():
        assert torch.equal(base.predict(x, level, text), plain)


# --- memory


@pytest.mark.parametrize("mode", [MEDIUM, LOW], ids=lambda mode: mode.name)
def test_a_memory_mode_changes_memory_and_nothing_else(carrier, mode):
    base = carrier.base

    def results() -> list[torch.Tensor]:
        with lora.restore_adapters(base):
            parameters = lora.add(base, "x", base.targets("temporal"), rank=2)
            for parameter in parameters:
                torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(2))
            with lora.use_adapters(base, {"x": 1.0}):
                x = carrier.noise(2).requires_grad_()
                one = base.predict(x[:1], base.level_at(0.6), carrier.text())
                two = base.predict(
                    x[1:], base.level_at(0.3), carrier.text("a cat on grass and a dog is chasing a robot")
                )
                gradients = torch.autograd.grad((one + two).square().mean(), [x, *parameters])
                with torch.no_grad():
                    output = base.predict(x.detach(), base.level_at(0.5), carrier.text(OTHER, "a cat"))
                    seen = base.decode_video(output)
        return [one.detach(), two.detach(), seen, base.encode_video(seen), *gradients]

    wanted = results()
    base.use_memory(
        mode, torch.device("cpu", 0)
    )  # the same memory under another name, so that weights have a way to go
    try:
        changed = results()
    finally:
        base.use_memory(HIGH, torch.device("cpu"))
    for have, want in zip(changed, wanted, strict=True):
        torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


def test_memory_grows_with_gradients_and_with_videos(carrier):
    base, size = carrier.base, (carrier.side, carrier.side)
    none, checkpointed, stored = (
        base.activation_memory([carrier.frames], *size, gradients) for gradients in ("none", "checkpointed", "stored")
    )
    assert 0 < none < checkpointed < stored
    assert base.activation_memory([carrier.frames] * 3, *size) == pytest.approx(3 * none, rel=1e-6)
    assert base.weights_memory(LOW) < base.weights_memory(MEDIUM) < base.weights_memory(HIGH)
