"""Guidance of the branches (Eq. 10 and 11) on the built-in base, against the equations written out."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.core.stages.small_sampling import CONFIG, INVERTED, PROMPT, close, cosine, sample
from videomage_core.config import CollaborativeConfig
from videomage_core.model import lora
from videomage_core.model.loading import load_unet3d
from videomage_core.sampling import classifier_free_guidance, initial_noise, step
from videomage_core.stages import collaborative_sampling as scs
from videomage_core.stages.algorithm1 import (
    MOTION,
    PAPER_VALUES,
    SUBJECT,
    alpha_at,
    branches_of,
    guidance,
    map_distance,
)


def plain_guidance(base, x, level, branches, cross, temporal) -> tuple[torch.Tensor, torch.Tensor]:
    """Eq. 10 from two whole forwards: to x_sub the temporal maps' gradient, to x_mot the cross maps'."""
    places, seen = [], []
    for branch in branches:
        at = x.clone().requires_grad_()
        acting = lora.use_adapters(base, {branch.adapter: branch.strength})
        with acting, base.record([*cross, *temporal], branch.spans) as maps:
            base.predict(at, level, branch.text)
        places.append(at)
        seen.append(maps)
    (x_sub, x_mot), (subject, moving) = places, seen
    l_sm = sum(((subject.cross[s.name].detach() - moving.cross[s.name]) ** 2).mean() for s in cross) / len(cross)
    l_ms = sum(((subject.temporal[s.name] - moving.temporal[s.name].detach()) ** 2).mean() for s in temporal)
    return torch.autograd.grad(l_ms / len(temporal), x_sub)[0], torch.autograd.grad(l_sm, x_mot)[0]


@pytest.mark.parametrize("mode", ["high", "medium", "low"])
@pytest.mark.parametrize("part", [slice(None), slice(1, 3)])
def test_guidance_is_eq_10(emoji_base, branches, attention_layers, part, mode, in_mode):
    cross, temporal, level = attention_layers[0][part], attention_layers[1][part], emoji_base.levels(4)[1]
    with in_mode(mode):
        maps, got = guidance(emoji_base, INVERTED, level, branches, cross, temporal)
    wanted = plain_guidance(emoji_base, INVERTED, level, branches, cross, temporal)
    for one, two in zip(got, wanted, strict=True):
        largest = float(two.abs().max())
        assert largest > 0
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4 * largest)
    assert list(maps.cross) == [layer.name for layer in cross]


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_rounds_no_guidance_away(emoji_base, both, motion, attention_layers, dtype):
    found = []
    for base in (emoji_base, load_unet3d(dtype=dtype, device="cpu")):
        with lora.restore_adapters(base):
            lora.load(base, SUBJECT, both.weights)
            lora.load(base, MOTION, motion.weights)
            pair = branches_of(base, PROMPT, list(both.tokens), CONFIG)
            found.append(guidance(base, INVERTED, base.levels(4)[1], pair, *attention_layers)[1])
    for full, half in zip(*found, strict=True):
        assert cosine(full, half) > 0.99 and 0.9 < float(half.norm() / full.norm()) < 1.1


def test_x_mot_follows_the_cross_maps_and_x_sub_the_temporal_ones(emoji_base, branches, attention_layers):
    """Other layers of one kind change the gradient of that kind, and the other not at all."""
    (cross, temporal), level = attention_layers, emoji_base.levels(4)[1]
    _, (to_sub, to_mot) = guidance(emoji_base, INVERTED, level, branches, cross, temporal)
    _, (same_sub, other_mot) = guidance(emoji_base, INVERTED, level, branches, cross[:1], temporal)
    _, (other_sub, same_mot) = guidance(emoji_base, INVERTED, level, branches, cross, temporal[:3])

    assert min(cosine(to_sub, same_sub), cosine(to_mot, same_mot)) > 0.9999
    assert max(cosine(to_sub, other_sub), cosine(to_mot, other_mot)) < 0.99


def test_branches_that_agree_leave_each_other_alone(emoji_base, branches, attention_layers):
    subject, moving = branches
    level = emoji_base.levels(4)[1]
    _, gradients = guidance(emoji_base, INVERTED, level, (subject, subject), *attention_layers)
    assert all(float(gradient.abs().max()) == 0 for gradient in gradients)
    _, (to_first, to_second) = guidance(emoji_base, INVERTED, level, (moving, subject), *attention_layers)
    wanted = plain_guidance(emoji_base, INVERTED, level, (moving, subject), *attention_layers)
    for one, two in zip((to_first, to_second), wanted, strict=True):  # with the roles swapped
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4 * float(two.abs().max()))


def guided_step(base, x, level, following, branches, moves, guided_step_from, coefficients=(0.5, 0.5)) -> torch.Tensor:
    """Line 13 and a step, at guidance scale 3: from x less a share of each move, or from x itself."""
    eps, start, empty = torch.zeros_like(x), x, base.encode_prompt([""])
    for branch, move, share in zip(branches, moves, coefficients, strict=True):
        at = x - move
        with torch.no_grad(), lora.use_adapters(base, {branch.adapter: 1.0}):
            unconditional, conditional = (base.predict(at, level, text) for text in (empty, branch.text))
        eps = eps + share * classifier_free_guidance(unconditional, conditional, 3.0)
        if guided_step_from == "updated":
            start = start - share * move
    return step(eps, start, level, following, "epsilon")


@pytest.mark.parametrize("seed", range(3))
def test_guidance_lowers_its_loss_where_the_step_starts_from_moved_latents(
    emoji_base, branches, attention_layers, seed
):
    """From latents that were not moved it rises: the network takes the move for noise, and less is taken out."""
    level, following = emoji_base.levels(12)[2:4]
    x = initial_noise(emoji_base, seed, CONFIG, INVERTED)
    gradients = plain_guidance(emoji_base, x, level, branches, *attention_layers)

    def loss_after(alpha: float, guided_step_from: str) -> float:
        moves = [alpha * x.numel() / PAPER_VALUES * g for g in gradients]
        at, seen = guided_step(emoji_base, x, level, following, branches, moves, guided_step_from), []
        for branch in branches:
            acting = lora.use_adapters(emoji_base, {branch.adapter: 1.0})
            with torch.no_grad(), acting, emoji_base.record(attention_layers[0], branch.spans) as maps:
                emoji_base.predict(at, following, branch.text)
            seen.append(maps.cross)
        return float(map_distance(*seen))

    without = loss_after(0, "updated")
    for alpha in (1e5, 1e6):
        assert loss_after(alpha, CollaborativeConfig().guided_step_from) < without < loss_after(alpha, "original")


@pytest.mark.parametrize("guided_step_from", ["updated", "original"])
def test_one_step_by_hand(emoji_base, both, motion, branches, attention_layers, guided_step_from):
    """Both copies are moved; the mix of their noise acts on the mix of them, or on the x_t that was not moved."""
    config = dataclasses.replace(
        CONFIG, steps=1, tau=1, beta_subject=0.6, beta_motion=0.4, guided_step_from=guided_step_from
    )
    level, following = emoji_base.levels(1)
    x = initial_noise(emoji_base, 5, config, INVERTED)
    gradients = plain_guidance(emoji_base, x, level, branches, *attention_layers)
    alpha = 1e6 * x.numel() / (4 * 24 * 40 * 72)
    after = guided_step(
        emoji_base, x, level, following, branches, [alpha * g for g in gradients], guided_step_from, (0.6, 0.4)
    )
    wanted = emoji_base.decode_video(after)[0]
    moved = [alpha * float((g.square().mean() / x.square().mean()).sqrt()) for g in gradients]
    lora.remove(emoji_base, SUBJECT)
    lora.remove(emoji_base, MOTION)
    got = sample(emoji_base, both, motion, config, inverted=INVERTED)
    assert close(got.video, wanted)
    assert [got.subject_update_ratios[0], got.motion_update_ratios[0]] == pytest.approx(moved, rel=1e-3) and min(
        moved
    ) > 1e-4
    assert not close(got.video, sample(emoji_base, both, motion, dataclasses.replace(config, tau=0)).video)


# alpha


@pytest.mark.parametrize(("decay", "end"), [("linear", 0.5), ("attend-and-excite", 0.5**0.5), ("none", 1.0)])
def test_alpha_falls_over_all_steps(decay, end):
    config = CollaborativeConfig(alpha_decay=decay, alpha=8e3, steps=11, tau=3)
    values = torch.tensor([alpha_at(index, config) for index in range(11)], dtype=torch.float64)
    assert float(values[0]) == 8e3 and float(values[-1]) == pytest.approx(8e3 * end)
    straight = values if decay == "linear" else values.square()  # a root of a line, in Attend-and-Excite
    assert float(straight.diff().diff().abs().max()) < 1e-6 * 8e3**2
    assert alpha_at(0, dataclasses.replace(config, steps=1)) == 8e3


def test_guidance_lasts_tau_steps_and_a_tau_above_them_is_all(emoji_base, both, motion, monkeypatch):
    asked: list[float] = []
    monkeypatch.setattr(scs, "alpha_at", lambda *arguments: asked.append(1) or alpha_at(*arguments))
    made = {tau: sample(emoji_base, both, motion, dataclasses.replace(CONFIG, tau=tau)) for tau in (1, 3, 7)}
    assert len(asked) == 1 + 3 + 3
    assert [len(made[tau].subject_update_ratios) for tau in (1, 3, 7)] == [1, 3, 3]
    assert close(made[3].video, made[7].video, 1e-5) and not close(made[1].video, made[3].video)


def test_alpha_moves_latents_of_each_size_as_far(emoji_base, both, motion):
    """A gradient of a mean falls as latents grow: unscaled, twice the side would move a quarter as far."""

    def moved(side: int) -> torch.Tensor:
        config = CollaborativeConfig(frames=4, height=side, width=side, steps=1, guidance_scale=1.0)
        made = sample(emoji_base, both, motion, config)
        return torch.tensor([made.subject_update_ratios[0], made.motion_update_ratios[0]], dtype=torch.float64)

    smaller, larger = moved(48), moved(96)
    ratio = larger / smaller
    assert bool((ratio > 0.5).all()) and bool((ratio < 2).all()), ratio
    values = torch.tensor([6 * 4 * (side // 4) ** 2 for side in (48, 96)])
    unscaled = (larger / values[1]) / (smaller / values[0])
    assert bool((unscaled < 0.5).all())
    assert PAPER_VALUES == 4 * 24 * (320 // 8) * (576 // 8)
