"""The step, guidance, sampling and inversion, as laws."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from diffusers import DDIMScheduler

from emoji_world.world.characters import Character
from emoji_world.world.scene import Scene, draw
from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import SamplingConfig
from videomage_core.model.backbone import NoiseLevel
from videomage_core.model.base_folder import EMOJI_BASE
from videomage_core.sampling import (
    add_noise,
    classifier_free_guidance,
    gaussian_noise,
    generate_videos,
    initial_noise,
    inverse_step,
    invert,
    mix_noise_prior,
    predict_with_guidance,
    sample,
    sample_prompt,
    step,
    to_x0_eps,
    training_target,
)

PREDICTIONS = ["epsilon", "v", "flow"]


def level(prediction: str, s: float) -> NoiseLevel:
    s64 = torch.tensor(s, dtype=torch.float64)
    return NoiseLevel(torch.tensor(1), 1 - s64 if prediction == "flow" else (1 - s64**2).sqrt(), s64)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_right_output_splits_into_what_was_mixed(prediction):
    x0, eps = noise(2, 1, 4, 3, 5, 5)
    at = level(prediction, 0.7)
    output = training_target(x0, eps, at, prediction)
    found_x0, found_eps = to_x0_eps(output, add_noise(x0, eps, at), at, prediction)
    assert torch.allclose(found_x0, x0) and torch.allclose(found_eps, eps)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_step_with_the_right_output_stays_on_the_line_from_noise_to_video(prediction):
    x0, eps = noise(2, 1, 4, 3, 5, 5)
    at, following = level(prediction, 0.7), level(prediction, 0.2)
    reached = step(training_target(x0, eps, at, prediction), add_noise(x0, eps, at), at, following, prediction)
    assert torch.allclose(reached, add_noise(x0, eps, following))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_step_back_undoes_a_step(prediction):
    x, output = noise(2, 1, 4, 3, 5, 5)
    at, following = level(prediction, 0.7), level(prediction, 0.2)
    reached = step(output, x, at, following, prediction)
    assert torch.allclose(inverse_step(output, reached, at, following, prediction), x)


def test_the_step_is_that_of_the_library(emoji_base, latents):
    scheduler = DDIMScheduler.from_pretrained(EMOJI_BASE / "scheduler")
    scheduler.set_timesteps(10)
    levels, output = emoji_base.levels(10), latents.flip(-1)
    assert [int(t) for t in scheduler.timesteps] == [int(at.t) for at in levels[:-1]]
    for index, t in enumerate(scheduler.timesteps):
        expected = scheduler.step(output, t, latents).prev_sample
        assert torch.allclose(step(output, latents, levels[index], levels[index + 1], "epsilon"), expected, atol=1e-4)


def test_guidance_of_one_is_the_conditional_half_alone(emoji_base, latents):
    text, negative = emoji_base.encode_prompt(["a dog on grass"]), emoji_base.encode_prompt([""])
    at = emoji_base.levels(4)[1]
    with torch.no_grad():
        unconditional, conditional = (emoji_base.predict(latents, at, c) for c in (negative, text))
        assert torch.equal(predict_with_guidance(emoji_base, latents, at, text, negative, 1), conditional)
        for scale in (0.0, 5.0):
            guided = predict_with_guidance(emoji_base, latents, at, text, negative, scale)
            assert torch.allclose(guided, classifier_free_guidance(unconditional, conditional, scale), atol=1e-4)


def test_inversion_then_sampling_returns_the_latents(emoji_base):
    text = emoji_base.encode_prompt([""])
    config = SamplingConfig(frames=8, height=48, width=48, steps=20, guidance_scale=1)
    clip = draw(Scene((Character("noto", "panda"),), "jumping", "plain", 1)).frames
    pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].float() / 127.5 - 1  # [F,h,w,3] -> [1,3,F,h,w]
    latents = emoji_base.encode_video(pixels)

    def error(refinements: int) -> float:
        start = invert(emoji_base, latents, text, steps=20, refinements=refinements)
        back = sample(emoji_base, start, text, text, config)
        return float((back - latents).square().mean() / latents.square().mean())

    plain, refined = error(0), error(4)
    assert plain < 0.1
    assert refined < min(plain, 5e-3)


def test_sampling_depends_on_prompt_and_seed_only(emoji_base):
    config = SamplingConfig(frames=2, height=16, width=16, steps=2, guidance_scale=5)
    together = generate_videos(emoji_base, ["a dog", "a cat"], [1, 2], config)
    assert torch.allclose(together[1:], generate_videos(emoji_base, ["a cat"], [2], config), atol=1e-3)
    assert not torch.allclose(together[1:], generate_videos(emoji_base, ["a cat"], [3], config), atol=1e-3)
    assert together.shape == (2, 3, 2, 16, 16) and together.abs().max() <= 1


def test_the_initial_noise_is_the_seeds_alone():
    assert torch.equal(gaussian_noise((4, 2, 3, 3), 7), gaussian_noise((4, 2, 3, 3), 7))
    assert not torch.equal(gaussian_noise((4, 2, 3, 3), 7), gaussian_noise((4, 2, 3, 3), 8))


def test_progress_is_told_and_a_cancel_acts_within_one_step(emoji_base, latents):
    told: list[tuple[int, int]] = []
    callbacks = Callbacks(progress=lambda done, total, _: told.append((done, total)), cancelled=lambda: len(told) == 2)
    text, config = emoji_base.encode_prompt(["a dog"]), SamplingConfig(steps=9, guidance_scale=1)
    with pytest.raises(Cancelled):
        sample(emoji_base, latents, text, text, config, callbacks)
    assert told == [(1, 9), (2, 9)]
    with pytest.raises(Cancelled):
        invert(emoji_base, latents, text, 9, callbacks=Callbacks(cancelled=lambda: True))


def test_seeds_and_prompts_must_match(emoji_base):
    with pytest.raises(ValueError, match="seeds: got 1 for 2 prompts"):
        generate_videos(emoji_base, ["a dog", "a cat"], [1], SamplingConfig(frames=2, height=16, width=16))


def test_a_mixed_start_goes_from_noise_to_inverted_noise_at_the_same_variance():
    inverted, gaussian = noise(2, 1, 4, 30, 20, 20)
    assert torch.equal(mix_noise_prior(inverted, gaussian, 0.0), gaussian)
    assert torch.equal(mix_noise_prior(inverted, gaussian, 1.0), inverted)
    for share in (0.1, 0.3, 0.5):
        mixed = mix_noise_prior(inverted, gaussian, share)
        assert torch.allclose(mixed, share**0.5 * inverted + (1 - share) ** 0.5 * gaussian)
        assert float(mixed.var()) == pytest.approx(1, abs=0.02)
        assert float((mixed * inverted).mean()) == pytest.approx(share**0.5, abs=0.02)


SMALL = SamplingConfig(frames=2, height=16, width=16, steps=2, guidance_scale=5)


def test_the_start_is_noise_and_the_clips_share(emoji_base):
    inverted = torch.randn(1, 6, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    plain = gaussian_noise((6, 2, 4, 4), 7)
    assert torch.equal(initial_noise(emoji_base, 7, SMALL), plain)
    assert torch.equal(initial_noise(emoji_base, 7, dataclasses.replace(SMALL, noise_prior=0.0), inverted), plain)
    assert torch.equal(initial_noise(emoji_base, 7, SMALL, inverted), mix_noise_prior(inverted, plain, 0.3))
    assert torch.equal(initial_noise(emoji_base, 7, dataclasses.replace(SMALL, noise_prior=1.0), inverted), inverted)


@pytest.mark.parametrize("shape", [(1, 6, 3, 4, 4), (1, 6, 2, 4, 5), (1, 4, 2, 4, 4)])
def test_inverted_noise_of_another_size_is_refused(emoji_base, shape):
    with pytest.raises(ValueError) as error:
        generate_videos(emoji_base, ["a dog"], [1], SMALL, inverted=torch.zeros(shape))
    assert str(error.value) == (
        f"inverted: got noise of shape {shape[1:]}, a video of this size needs (6, 2, 4, 4); "
        "invert the clip at the video's size and length"
    )


def test_one_prompt_is_sampled_as_a_video_of_it(emoji_base):
    latents = sample_prompt(emoji_base, "a dog", 3, SMALL)
    assert torch.equal(emoji_base.decode_video(latents), generate_videos(emoji_base, ["a dog"], [3], SMALL))


def test_every_video_starts_with_its_share_of_the_clip(emoji_base):
    inverted = torch.randn(1, 6, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    config = dataclasses.replace(SMALL, guidance_scale=1.0)
    together = generate_videos(emoji_base, ["a dog", "a cat"], [1, 2], config, inverted=inverted)
    alone = generate_videos(emoji_base, ["a cat"], [2], config, inverted=inverted)
    assert torch.allclose(together[1:], alone, atol=1e-3)
    assert not torch.allclose(alone, generate_videos(emoji_base, ["a cat"], [2], config), atol=1e-2)


def test_previews_are_one_frame_and_five_at_most(emoji_base):
    seen = []
    config = SamplingConfig(frames=4, height=48, width=48, steps=11, guidance_scale=1)
    callbacks = Callbacks(preview=seen.append)
    shown = sample_prompt(emoji_base, "a dog on grass", 0, config, callbacks)
    assert len(seen) == 5 and all(frame.shape == (3, 1, 48, 48) for frame in seen)
    assert torch.equal(shown, sample_prompt(emoji_base, "a dog on grass", 0, config))
