"""Algorithm 1 as a whole on the built-in base."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from tests.core.stages.small_sampling import CONFIG, INVERTED, PLAIN, PROMPT, close, refuse, sample
from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.data.lora_file import apply_loras
from videomage_core.model import lora
from videomage_core.model.lora_weights import average
from videomage_core.sampling import generate_videos
from videomage_core.stages import algorithm1
from videomage_core.stages import collaborative_sampling as scs
from videomage_core.stages.algorithm1 import (
    branches_of,
)
from videomage_core.stages.collaborative_sampling import sample_collaboratively

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


@pytest.mark.parametrize("mode", ["medium", "low"])
def test_memory_modes_change_nothing_but_memory(emoji_base, both, motion, mode, in_mode):
    one = sample(emoji_base, both, motion, with_maps=True)
    with in_mode(mode):
        two = sample(emoji_base, both, motion, with_maps=True)
    assert close(one.video, two.video, 1e-4) and close(one.maps, two.maps, 1e-4)
    assert one.subject_update_ratios == pytest.approx(two.subject_update_ratios, rel=1e-3)
    assert one.motion_update_ratios == pytest.approx(two.motion_update_ratios, rel=1e-3)


# what comes out


def test_maps_are_of_each_named_subject_and_change_nothing(emoji_base, both, motion):
    prompt = "a <pet> is passing a <toy> and a <pet>"
    plain = sample(emoji_base, both, motion, prompt=prompt)
    seen = sample(emoji_base, both, motion, prompt=prompt, with_maps=True)
    assert plain.maps is None and seen.words == ("<pet>", "<toy>", "<pet>")
    assert seen.maps.shape == (3, 2, 24, 24) and 0 <= float(seen.maps.min()) < float(seen.maps.max()) <= 1
    assert not torch.allclose(seen.maps[0], seen.maps[1])
    assert close(plain.video, seen.video, 1e-5) and float(seen.video.abs().max()) <= 1


def test_three_subjects_and_superclasses_of_two_words(emoji_base, make_lora_model, motion):
    three = [
        make_lora_model(emoji_base, 1, "<toy>", "stuffed animal"),
        make_lora_model(emoji_base, 2, "<pet>", "dog"),
        make_lora_model(emoji_base, 4, "<cat>", "black cat"),
    ]
    weights = average([lora_model.weights for lora_model in three])
    tokens = tuple(token for lora_model in three for token in lora_model.tokens)
    fused = dataclasses.replace(three[0], kind="fusion", weights=weights, tokens=tokens)
    prompt = "a <toy> and a <pet> are passing <cat>s"
    subject, moving = branches_of(emoji_base, prompt, tokens, CONFIG)
    assert [len(span.positions) for span in subject.spans] == [1, 1, 1]
    counts = [len(span.positions) for span in moving.spans]
    assert counts[0] > 1 and counts[1] == 1 and counts[2] > 1
    made = sample(emoji_base, fused, motion, dataclasses.replace(CONFIG, steps=2), prompt, with_maps=True)
    assert made.maps.shape == (3, 2, 24, 24) and made.words == ("<toy>", "<pet>", "<cat>")
    assert bool(made.video.isfinite().all()) and min(*made.subject_update_ratios, *made.motion_update_ratios) > 0


def test_other_loras_on_the_base_do_not_count(emoji_base, both, motion, make_lora_model):
    config = dataclasses.replace(CONFIG, steps=1)
    wanted = sample(emoji_base, both, motion, config).video
    with apply_loras(emoji_base, [(make_lora_model(emoji_base, 9, "<cat>", "cat"), 1.0)]):
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


WITHOUT_PET = (
    "prompt: got 'a <toy> is jumping', which does not name <pet>; name every subject of the LoRA, or "
    "sample with the LoRA of those you want"
)


def test_bad_input_is_refused_before_anything_is_sampled(emoji_base, both, motion, make_lora_model, monkeypatch):
    monkeypatch.setattr(emoji_base, "predict", refuse)
    toy = make_lora_model(emoji_base, 1)
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
        (message(both, motion, "a <toy> is jumping"), WITHOUT_PET),
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
