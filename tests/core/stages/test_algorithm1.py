"""Each line of Algorithm 1 by itself, in float64 where it is an identity."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from videomage_core.config import CollaborativeConfig
from videomage_core.model import lora
from videomage_core.model.attention_maps import AttentionMaps
from videomage_core.model.backbone import NoiseLevel
from videomage_core.sampling import add_noise, predict_with_guidance, step, to_x0_eps
from videomage_core.stages.algorithm1 import (
    MOTION,
    SUBJECT,
    alpha_for_step_size,
    betas_at,
    branch_output,
    branches_of,
    collaborative_step,
    decay_at,
    guidance_losses,
    guided_update,
    mix,
    progress_at,
    rms,
)

GENERATOR = torch.Generator().manual_seed(3)
PREDICTIONS = ("epsilon", "v", "flow")
CONFIG = CollaborativeConfig(frames=2, height=24, width=24, steps=3, guidance_scale=3.0)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64).to(dtype)


def level(a: float, s: float) -> NoiseLevel:
    return NoiseLevel(torch.tensor(500.0), torch.tensor(a, dtype=torch.float64), torch.tensor(s, dtype=torch.float64))


LATENTS = (1, 2, 3, 4, 4)


# the shares


def test_constant_shares_are_the_settings_and_linear_ones_change_over_and_sum_to_one():
    config = CollaborativeConfig(beta_subject=0.3, beta_motion=0.7)
    linear = dataclasses.replace(config, beta_schedule="linear")
    assert {betas_at(p / 10, config) for p in range(11)} == {(0.3, 0.7)}
    assert betas_at(0, linear) == (0, 1) and betas_at(1, linear) == (1, 0) and betas_at(0.25, linear) == (0.25, 0.75)
    coefficients = [betas_at(progress_at(index, 11), linear) for index in range(11)]
    assert sum(s for s, _ in coefficients) / 11 == pytest.approx(0.5) and all(sum(pair) == 1 for pair in coefficients)
    assert [progress_at(index, 3) for index in range(3)] == [0, 0.5, 1] and progress_at(0, 1) == 0
    with pytest.raises(ValueError, match="beta_schedule: got 'cosine', allowed: 'constant', 'linear'"):
        CollaborativeConfig(beta_schedule="cosine")


@pytest.mark.parametrize(("kind", "end"), [("none", 1), ("linear", 0.5), ("attend-and-excite", 0.5**0.5)])
def test_alpha_decays(kind, end):
    assert decay_at(0, kind) == 1 and decay_at(1, kind) == pytest.approx(end)


# Eq. 9


def test_a_branch_predicts_with_its_own_lora_and_prompt(emoji_base, make_lora_model):
    toy, moving = make_lora_model(emoji_base, 1), make_lora_model(emoji_base, 3, None)
    config = dataclasses.replace(CONFIG, subject_strength=0.6)
    x, negative = random(1, 6, 2, 6, 6, dtype=torch.float32), emoji_base.encode_prompt([""])
    with lora.restore_adapters(emoji_base), torch.no_grad():
        lora.load(emoji_base, SUBJECT, toy.weights)
        lora.load(emoji_base, MOTION, moving.weights)
        subject, motion = branches_of(emoji_base, "a <toy> is jumping", list(toy.tokens), config)
        assert torch.equal(motion.text, emoji_base.encode_prompt(["a robot is jumping"]))
        for branch, strength in ((subject, 0.6), (motion, 1.0)):
            at = emoji_base.levels(3)[1]
            got = branch_output(emoji_base, branch, x, at, negative, 3.0)
            with lora.use_adapters(emoji_base, {branch.adapter: strength}):
                assert torch.equal(got, predict_with_guidance(emoji_base, x, at, branch.text, negative, 3.0))


# Eq. 10


def test_losses_are_means_over_maps_then_layers_and_each_moves_its_own_branch():
    subject = AttentionMaps({"a": random(1, 2, 3, 4, 4), "b": random(1, 2, 3, 2, 2)}, {"t": random(1, 16, 3, 3)})
    motion = AttentionMaps({"a": random(1, 2, 3, 4, 4), "b": random(1, 2, 3, 2, 2)}, {"t": random(1, 16, 3, 3)})
    every = [*subject.cross.values(), *subject.temporal.values(), *motion.cross.values(), *motion.temporal.values()]
    for one in every:
        one.requires_grad_()
    to_sub, to_mot = guidance_losses(subject, motion)
    squares = [((subject.cross[n] - motion.cross[n]) ** 2).sum() / subject.cross[n].numel() for n in ("a", "b")]
    torch.testing.assert_close(to_mot, (squares[0] + squares[1]) / 2)
    torch.testing.assert_close(to_sub, ((subject.temporal["t"] - motion.temporal["t"]) ** 2).sum() / (16 * 9))
    (to_sub + to_mot).backward()
    assert subject.temporal["t"].grad is not None and motion.cross["a"].grad is not None
    assert motion.temporal["t"].grad is None and subject.cross["a"].grad is None
    assert not any(bool(loss.any()) for loss in guidance_losses(subject, subject))


# Eq. 11


def test_the_update_goes_down_the_gradient_by_alpha():
    x = random(*LATENTS).requires_grad_()
    target = random(*LATENTS)
    loss = (x - target).square().sum()
    (gradient,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(guided_update(x, gradient, 0.5), target)  # Newton's step of a parabola
    assert torch.equal(guided_update(x, gradient, 0.0), x)


def test_a_share_says_how_far_an_update_goes_on_any_scale():
    x, gradient = random(*LATENTS), random(*LATENTS)
    for size in (1e-9, 1.0, 1e9):
        alpha = alpha_for_step_size(x, size * gradient, 0.01)
        assert rms(guided_update(x, size * gradient, alpha) - x) / rms(x) == pytest.approx(0.01)
    for bad in (0.0, float("nan"), float("inf")):
        useless = torch.full_like(x, bad)
        assert torch.equal(guided_update(x, useless, alpha_for_step_size(x, useless, 0.01)), x)


def test_each_video_of_a_batch_has_a_step_of_its_own():
    x, gradient = random(*LATENTS), random(*LATENTS)
    x, gradient = torch.cat([x, 5 * x]), torch.cat([gradient, torch.full_like(gradient, float("nan"))])
    updated = guided_update(x, gradient, alpha_for_step_size(x, gradient, 0.01))
    alone = guided_update(x[:1], gradient[:1], alpha_for_step_size(x[:1], gradient[:1], 0.01))
    torch.testing.assert_close(updated[:1], alone)
    assert torch.equal(updated[1:], x[1:])


# line 13


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_mix_is_one_of_pairs_at_each_branch_s_own_latents(prediction):
    at = level(0.6, 0.4 if prediction == "flow" else 0.8)
    latents, outputs = (random(*LATENTS), random(*LATENTS)), (random(*LATENTS), random(*LATENTS))
    x0, eps = to_x0_eps(*mix(outputs, latents, (0.3, 0.7)), at, prediction)
    pairs = [to_x0_eps(o, x, at, prediction) for o, x in zip(outputs, latents, strict=True)]
    torch.testing.assert_close(x0, 0.3 * pairs[0][0] + 0.7 * pairs[1][0])
    torch.testing.assert_close(eps, 0.3 * pairs[0][1] + 0.7 * pairs[1][1])


def test_the_mix_is_right_at_pure_noise():
    """Flow matching begins with a = 0: a step in terms of the noise alone would divide by it."""
    first, second = level(0.0, 1.0), level(0.1, 0.9)
    truths = [(random(*LATENTS), random(*LATENTS)) for _ in range(2)]
    latents = (truths[0][1], truths[1][1])  # all noise
    outputs = [eps - x0 for x0, eps in truths]
    after = step(*mix(outputs, latents, (0.4, 0.6)), first, second, "flow")
    wanted = add_noise(*(0.4 * one + 0.6 * two for one, two in zip(*truths, strict=True)), second)
    assert bool(after.isfinite().all())
    torch.testing.assert_close(after, wanted)


def test_a_branch_without_a_share_takes_no_part():
    x, other, outputs = random(*LATENTS), random(*LATENTS), random(*LATENTS)
    output, start = mix((None, outputs), (other, x), (0.0, 1.0))
    assert torch.equal(output, outputs) and torch.equal(start, x)
    assert mix((outputs, outputs), (x, x), (0.3, 0.7))[1] is x  # where nothing was moved, x_t to the last bit


# the step


class _Flow:
    """A base of flow prediction whose output depends on latents and prompt alone."""

    prediction = "flow"

    def predict(self, x, level, text):
        return 0.5 * x + text.mean()


@pytest.fixture
def flow(monkeypatch):
    """Such a base, and its two branches."""
    from contextlib import nullcontext

    from videomage_core.stages.algorithm1 import Branch

    monkeypatch.setattr(lora, "use_adapters", lambda *_: nullcontext())
    return _Flow(), tuple(Branch(name, 1.0, random(1, 3, 2), []) for name in (SUBJECT, MOTION))


def test_a_step_of_flow_matching_from_pure_noise_is_the_mix_of_both_branches_steps(flow):
    base, branches = flow
    levels, config = (level(0.0, 1.0), level(0.2, 0.8)), dataclasses.replace(CONFIG, guidance_scale=1.0)
    x, latents = random(*LATENTS), (random(*LATENTS), random(*LATENTS))
    x0, after = collaborative_step(base, x, levels, branches, None, latents, (0.25, 0.75), config)
    each = [
        step(base.predict(at, levels[0], b.text), at, *levels, "flow") for at, b in zip(latents, branches, strict=True)
    ]
    torch.testing.assert_close(after, 0.25 * each[0] + 0.75 * each[1])
    assert bool(x0.isfinite().all())
    with pytest.raises(
        ValueError, match="guided_step_from: got 'original', which has no first step under flow matching"
    ):
        unmoved = dataclasses.replace(config, guided_step_from="original")
        collaborative_step(base, x, levels, branches, None, latents, (0.5, 0.5), unmoved)


@pytest.mark.parametrize("guided_step_from", ["updated", "original"])
def test_constant_shares_give_to_the_bit_what_noises_mixed_and_one_step_give(
    emoji_base, make_lora_model, guided_step_from
):
    """Algorithm 1 as written for noise prediction: eps_t = beta_s eps_sub + beta_m eps_mot, then DDIM."""
    toy, moving = make_lora_model(emoji_base, 1), make_lora_model(emoji_base, 3, None)
    config = dataclasses.replace(CONFIG, beta_subject=0.3, beta_motion=0.7, guided_step_from=guided_step_from)
    x = random(1, 6, 2, 6, 6, dtype=torch.float32)
    latents = (x + 0.1 * torch.ones_like(x), x - 0.2 * torch.ones_like(x))
    levels, negative = tuple(emoji_base.levels(3)[1:3]), emoji_base.encode_prompt([""])
    with lora.restore_adapters(emoji_base), torch.no_grad():
        lora.load(emoji_base, SUBJECT, toy.weights)
        lora.load(emoji_base, MOTION, moving.weights)
        branches = branches_of(emoji_base, "a <toy> is jumping", list(toy.tokens), config)
        _, got = collaborative_step(emoji_base, x, levels, branches, negative, latents, (0.3, 0.7), config)
        eps = torch.zeros_like(x)
        for branch, at, beta in zip(branches, latents, (0.3, 0.7), strict=True):
            eps = eps + beta * branch_output(emoji_base, branch, at, levels[0], negative, 3.0)
        start = 0.3 * latents[0] + 0.7 * latents[1] if guided_step_from == "updated" else x
        assert torch.equal(got, step(eps, start, *levels, "epsilon"))
