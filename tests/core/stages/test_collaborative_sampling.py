"""Eq. 9-11 and Algorithm 1 on the embedded base."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import CollaborativeConfig
from videomage_core.data.lora_file import apply_loras
from videomage_core.model import lora
from videomage_core.model.loading import load_unet3d
from videomage_core.model.lora_weights import average
from videomage_core.sampling import classifier_free_guidance, generate_videos, initial_noise, step
from videomage_core.stages import algorithm1
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
from videomage_core.stages.collaborative_sampling import sample_collaboratively

# alpha is far above the paper's, so that a few steps with LoRAs of noise show what guidance does
CONFIG = CollaborativeConfig(
    frames=2, height=24, width=24, steps=3, guidance_scale=3.0, tau=2, alpha=1e6,
)  # fmt: skip
PROMPT = "a <toy> is passing a <pet>"
PLAIN = "a robot is passing a dog"
INVERTED = torch.randn(1, 6, 2, 6, 6, generator=torch.Generator().manual_seed(8))


def close(one: torch.Tensor, two: torch.Tensor, atol: float = 1e-3) -> bool:
    return torch.allclose(one, two, atol=atol, rtol=0)


@pytest.fixture
def both(emoji_base, make_concept):
    """Two subjects in one LoRA."""
    toy, pet = make_concept(emoji_base, 1), make_concept(emoji_base, 2, "<pet>", "dog")
    weights = average([toy.weights, pet.weights])
    return dataclasses.replace(toy, kind="fusion", weights=weights, tokens=(*toy.tokens, *pet.tokens))


@pytest.fixture
def motion(emoji_base, make_concept):
    return make_concept(emoji_base, 3, None)


def sample(base, subject, motion, config: CollaborativeConfig = CONFIG, prompt: str = PROMPT, **more):
    return sample_collaboratively(base, subject, motion, prompt, 5, config, **more)


def likeness(one: torch.Tensor, two: torch.Tensor) -> float:
    """The cosine of the angle between two gradients."""
    return float(torch.nn.functional.cosine_similarity(one.flatten(), two.flatten(), dim=0))


def refuse(*_):
    raise AssertionError("guidance was asked for")


# where guidance is off


@pytest.mark.parametrize("change", [{"alpha": 0.0}, {"tau": 0}])
def test_without_guidance_none_is_computed(emoji_base, both, motion, monkeypatch, change):
    monkeypatch.setattr(scs, "guidance", refuse)
    made = sample(emoji_base, both, motion, dataclasses.replace(CONFIG, **change), with_maps=True)
    assert made.maps is None and made.subject_update_ratios == made.motion_update_ratios == []
    assert made.video.shape == (3, 2, 24, 24) and made.words == ("<toy>", "<pet>")
    with pytest.raises(AssertionError, match="guidance was asked for"):
        sample(emoji_base, both, motion)
    assert not lora.names(emoji_base)


def test_the_subject_branch_alone_is_plain_sampling_with_its_lora(emoji_base, both, motion):
    config = dataclasses.replace(CONFIG, tau=0, beta_subject=1.0, beta_motion=0.0, subject_strength=0.8)
    got = sample(emoji_base, both, motion, config, inverted=INVERTED)
    with apply_loras(emoji_base, [(both, 0.8)]) as tokens:
        wanted = generate_videos(emoji_base, [PROMPT], [5], config, tokens=tokens, inverted=INVERTED)[0]
    assert close(got.video, wanted, 1e-5)
    assert not close(got.video, sample(emoji_base, both, motion, dataclasses.replace(config, tau=3)).video)


def test_the_motion_branch_alone_is_plain_sampling_of_the_superclass_words(emoji_base, both, motion):
    config = dataclasses.replace(CONFIG, alpha=0.0, beta_subject=0.0, beta_motion=1.0, motion_strength=0.8)
    got = sample(emoji_base, both, motion, config)
    with apply_loras(emoji_base, [(motion, 0.8)]):
        assert close(got.video, generate_videos(emoji_base, [PLAIN], [5], config)[0], 1e-5)


# one step


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


@pytest.fixture
def branches(emoji_base, both, motion):
    """Both LoRAs on the base, and the two branches."""
    with lora.restore_adapters(emoji_base):
        lora.load(emoji_base, SUBJECT, both.weights)
        lora.load(emoji_base, MOTION, motion.weights)
        yield branches_of(emoji_base, PROMPT, list(both.tokens), CONFIG)


@pytest.fixture
def sites(emoji_base):
    return emoji_base.attention_layers("cross"), emoji_base.attention_layers("temporal")


@pytest.mark.parametrize("mode", ["high", "medium", "low"])
@pytest.mark.parametrize("part", [slice(None), slice(1, 3)])
def test_guidance_is_eq_10(emoji_base, branches, sites, part, mode, in_mode):
    cross, temporal, level = sites[0][part], sites[1][part], emoji_base.levels(4)[1]
    with in_mode(mode):
        maps, got = guidance(emoji_base, INVERTED, level, branches, cross, temporal)
    wanted = plain_guidance(emoji_base, INVERTED, level, branches, cross, temporal)
    for one, two in zip(got, wanted, strict=True):
        largest = float(two.abs().max())
        assert largest > 0
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4 * largest)
    assert list(maps.cross) == [site.name for site in cross]


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_rounds_no_guidance_away(emoji_base, both, motion, sites, dtype):
    found = []
    for base in (emoji_base, load_unet3d(dtype=dtype, device="cpu")):
        with lora.restore_adapters(base):
            lora.load(base, SUBJECT, both.weights)
            lora.load(base, MOTION, motion.weights)
            pair = branches_of(base, PROMPT, list(both.tokens), CONFIG)
            found.append(guidance(base, INVERTED, base.levels(4)[1], pair, *sites)[1])
    for full, half in zip(*found, strict=True):
        assert likeness(full, half) > 0.99 and 0.9 < float(half.norm() / full.norm()) < 1.1


def test_x_mot_follows_the_cross_maps_and_x_sub_the_temporal_ones(emoji_base, branches, sites):
    """Other layers of one kind change the gradient of that kind, and the other not at all."""
    (cross, temporal), level = sites, emoji_base.levels(4)[1]
    _, (to_sub, to_mot) = guidance(emoji_base, INVERTED, level, branches, cross, temporal)
    _, (same_sub, other_mot) = guidance(emoji_base, INVERTED, level, branches, cross[:1], temporal)
    _, (other_sub, same_mot) = guidance(emoji_base, INVERTED, level, branches, cross, temporal[:3])

    assert min(likeness(to_sub, same_sub), likeness(to_mot, same_mot)) > 0.9999
    assert max(likeness(to_sub, other_sub), likeness(to_mot, other_mot)) < 0.99


def test_branches_that_agree_leave_each_other_alone(emoji_base, branches, sites):
    subject, moving = branches
    level = emoji_base.levels(4)[1]
    _, gradients = guidance(emoji_base, INVERTED, level, (subject, subject), *sites)
    assert all(float(gradient.abs().max()) == 0 for gradient in gradients)
    _, (to_first, to_second) = guidance(emoji_base, INVERTED, level, (moving, subject), *sites)
    wanted = plain_guidance(emoji_base, INVERTED, level, (moving, subject), *sites)
    for one, two in zip((to_first, to_second), wanted, strict=True):  # with the roles swapped
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4 * float(two.abs().max()))


@pytest.mark.parametrize("mode", ["medium", "low"])
def test_memory_modes_change_nothing_but_memory(emoji_base, both, motion, mode, in_mode):
    one = sample(emoji_base, both, motion, with_maps=True)
    with in_mode(mode):
        two = sample(emoji_base, both, motion, with_maps=True)
    assert close(one.video, two.video, 1e-4) and close(one.maps, two.maps, 1e-4)
    assert one.subject_update_ratios == pytest.approx(two.subject_update_ratios, rel=1e-3)
    assert one.motion_update_ratios == pytest.approx(two.motion_update_ratios, rel=1e-3)


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
def test_guidance_lowers_its_loss_where_the_step_starts_from_moved_latents(emoji_base, branches, sites, seed):
    """From latents that were not moved it rises: the network takes the move for noise, and less is taken out."""
    level, following = emoji_base.levels(12)[2:4]
    x = initial_noise(emoji_base, seed, CONFIG, INVERTED)
    gradients = plain_guidance(emoji_base, x, level, branches, *sites)

    def loss_after(alpha: float, guided_step_from: str) -> float:
        moves = [alpha * x.numel() / PAPER_VALUES * g for g in gradients]
        at, seen = guided_step(emoji_base, x, level, following, branches, moves, guided_step_from), []
        for branch in branches:
            acting = lora.use_adapters(emoji_base, {branch.adapter: 1.0})
            with torch.no_grad(), acting, emoji_base.record(sites[0], branch.spans) as maps:
                emoji_base.predict(at, following, branch.text)
            seen.append(maps.cross)
        return float(map_distance(*seen))

    without = loss_after(0, "updated")
    for alpha in (1e5, 1e6):
        assert loss_after(alpha, CollaborativeConfig().guided_step_from) < without < loss_after(alpha, "original")


@pytest.mark.parametrize("guided_step_from", ["updated", "original"])
def test_one_step_by_hand(emoji_base, both, motion, branches, sites, guided_step_from):
    """Both copies are moved; the mix of their noise acts on the mix of them, or on the x_t that was not moved."""
    config = dataclasses.replace(
        CONFIG, steps=1, tau=1, beta_subject=0.6, beta_motion=0.4, guided_step_from=guided_step_from
    )
    level, following = emoji_base.levels(1)
    x = initial_noise(emoji_base, 5, config, INVERTED)
    gradients = plain_guidance(emoji_base, x, level, branches, *sites)
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


# what comes out


def test_maps_are_of_each_named_subject_and_change_nothing(emoji_base, both, motion):
    prompt = "a <pet> is passing a <toy> and a <pet>"
    plain = sample(emoji_base, both, motion, prompt=prompt)
    seen = sample(emoji_base, both, motion, prompt=prompt, with_maps=True)
    assert plain.maps is None and seen.words == ("<pet>", "<toy>", "<pet>")
    assert seen.maps.shape == (3, 2, 24, 24) and 0 <= float(seen.maps.min()) < float(seen.maps.max()) <= 1
    assert not torch.allclose(seen.maps[0], seen.maps[1])
    assert close(plain.video, seen.video, 1e-5) and float(seen.video.abs().max()) <= 1


def test_three_subjects_and_superclasses_of_two_words(emoji_base, make_concept, motion):
    three = [
        make_concept(emoji_base, 1, "<toy>", "stuffed animal"),
        make_concept(emoji_base, 2, "<pet>", "dog"),
        make_concept(emoji_base, 4, "<cat>", "black cat"),
    ]
    weights = average([concept.weights for concept in three])
    tokens = tuple(token for concept in three for token in concept.tokens)
    fused = dataclasses.replace(three[0], kind="fusion", weights=weights, tokens=tokens)
    prompt = "a <toy> and a <pet> are passing <cat>s"
    subject, moving = branches_of(emoji_base, prompt, tokens, CONFIG)
    assert [len(span.positions) for span in subject.spans] == [1, 1, 1]
    counts = [len(span.positions) for span in moving.spans]
    assert counts[0] > 1 and counts[1] == 1 and counts[2] > 1
    made = sample(emoji_base, fused, motion, dataclasses.replace(CONFIG, steps=2), prompt, with_maps=True)
    assert made.maps.shape == (3, 2, 24, 24) and made.words == ("<toy>", "<pet>", "<cat>")
    assert bool(made.video.isfinite().all()) and min(*made.subject_update_ratios, *made.motion_update_ratios) > 0


def test_other_loras_on_the_base_do_not_count(emoji_base, both, motion, make_concept):
    config = dataclasses.replace(CONFIG, steps=1)
    wanted = sample(emoji_base, both, motion, config).video
    with apply_loras(emoji_base, [(make_concept(emoji_base, 9, "<cat>", "cat"), 1.0)]):
        assert close(sample(emoji_base, both, motion, config).video, wanted, 1e-4)
        assert lora.names(emoji_base) == ["subject_0"]


def test_the_seed_the_clip_and_both_loras_matter(emoji_base, both, motion):
    config = dataclasses.replace(CONFIG, steps=1, guidance_scale=1.0)
    videos = [
        sample(emoji_base, both, motion, config).video,
        sample_collaboratively(emoji_base, both, motion, PROMPT, 6, config).video,
        sample(emoji_base, both, motion, config, inverted=INVERTED).video,
        sample(emoji_base, both, motion, dataclasses.replace(config, subject_strength=0.0)).video,
        sample(emoji_base, both, motion, dataclasses.replace(config, motion_strength=0.0)).video,
    ]
    assert close(videos[0], sample(emoji_base, both, motion, config).video, 1e-5)
    assert not any(close(a, b) for i, a in enumerate(videos) for b in videos[:i])


# what stays


def test_a_stop_or_an_error_leaves_the_base_alone(emoji_base, both, motion):
    told: list[tuple[int, int, str]] = []
    with pytest.raises(Cancelled):
        callbacks = Callbacks(progress=lambda *step: told.append(step), cancelled=lambda: len(told) == 1)
        sample(emoji_base, both, motion, callbacks=callbacks)
    assert told == [(1, 3, "collaborative sampling")] and not lora.names(emoji_base)

    def explode(*_):
        raise RuntimeError("host")

    with pytest.raises(RuntimeError, match="host"):
        sample(emoji_base, both, motion, callbacks=Callbacks(progress=explode))
    assert not lora.names(emoji_base)


def test_an_error_inside_guidance_leaves_the_base_alone(emoji_base, both, motion, monkeypatch):
    monkeypatch.setattr(algorithm1, "map_distance", refuse)
    with pytest.raises(AssertionError, match="guidance was asked for"):
        sample(emoji_base, both, motion)
    assert not lora.names(emoji_base)


def test_bad_input_is_refused_before_anything_is_sampled(emoji_base, both, motion, make_concept, monkeypatch):
    monkeypatch.setattr(emoji_base, "predict", refuse)
    toy = make_concept(emoji_base, 1)
    mark = dataclasses.replace(toy.fingerprint, architecture="another")

    def message(subject, moving, prompt: str = PROMPT, **change) -> str:
        inverted = change.pop("inverted", None)
        with pytest.raises(ValueError) as error:
            sample(emoji_base, subject, moving, dataclasses.replace(CONFIG, **change), prompt, inverted=inverted)
        assert not lora.names(emoji_base)
        return str(error.value)

    cases: Sequence[tuple[str, str]] = [
        (message(motion, motion), "subject: got a motion LoRA, expected a subject or fused LoRA with its tokens"),
        (message(both, toy), "motion: got a subject LoRA, expected a motion LoRA"),
        (message(dataclasses.replace(toy, tokens=()), motion, "a dog"), "subject: got a subject LoRA, expected a"),
        (
            message(both, motion, "a <toy> is jumping"),
            "prompt: got 'a <toy> is jumping', which does not name <pet>; name every subject of the LoRA, or "
            "sample with the LoRA of those you want",
        ),
        (message(both, motion, "a dog is jumping"), "which does not name <toy>, <pet>"),
        (message(toy, motion), "<pet> is not known; the loaded tokens are <toy>"),
        (
            message(both, dataclasses.replace(motion, fingerprint=mark, base="zeroscope")),
            "this motion was trained on the base 'zeroscope' and does not fit 'emoji_base'",
        ),
        (
            message(dataclasses.replace(both, fingerprint=mark, base="zeroscope"), motion),
            "this fusion was trained on the base 'zeroscope' and does not fit 'emoji_base'",
        ),
        (message(both, motion, cross_attention_layers="nowhere"), "of which nowhere names no layer; write 'all'"),
        (message(both, motion, temporal_attention_layers="mid_block, up"), "of which up names no layer; write 'all'"),
        (message(both, motion, height=26), "got 26x24 pixels (height x width), both must be multiples of 4"),
        (
            message(both, motion, inverted=INVERTED[:, :, :1]),
            "inverted: got noise of shape (6, 1, 6, 6), a video of this size needs (6, 2, 6, 6); invert the clip",
        ),
    ]
    for got, wanted in cases:
        assert wanted in got


def test_a_prompt_may_name_tokens_in_any_case(emoji_base, both, motion):
    config = dataclasses.replace(CONFIG, steps=1)
    shouted = sample(emoji_base, both, motion, config, PROMPT.replace("<toy>", "<TOY>"))
    assert shouted.words == ("<toy>", "<pet>")
    assert close(shouted.video, sample(emoji_base, both, motion, config).video, 1e-5)
