"""The little network has ZeroScope's architecture, and clips begin where stills left off."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from diffusers.models.resnet import TemporalConvLayer

from emoji_world.base_training.train_unet import (
    FIRST_LEVEL,
    Clock,
    Reader,
    begins_from_noise,
    loss_weights,
    motion_weights,
    new_unet,
    noise_schedule,
    noisy_times,
)
from emoji_world.world.scene import random_scene


def test_a_fresh_clip_is_its_frames_one_by_one():
    torch.manual_seed(0)
    unet, x, text = new_unet(), torch.randn(1, 6, 3, 12, 12), torch.randn(1, 77, 96)
    with torch.no_grad():
        clip = unet(x, 500, text).sample
        frames = [unet(x[:, :, f : f + 1], 500, text).sample for f in range(3)]
    assert torch.allclose(clip, torch.cat(frames, dim=2), atol=1e-4)


def test_the_schedule_is_zeroscopes():
    scheduler = noise_schedule()
    assert scheduler.config.prediction_type == "epsilon" and len(scheduler.alphas_cumprod) == 1000
    assert torch.isclose(scheduler.alphas_cumprod[-1].sqrt(), torch.tensor(0.0683), atol=1e-3)


def test_times_cover_all_levels_and_favour_the_noisy_end():
    torch.manual_seed(0)
    times = torch.cat([noisy_times(8) for _ in range(400)])
    assert times.min() >= 0 and times.max() < 1
    shares = torch.histc(times, 10, 0, 1) / len(times)
    assert (shares > 0.02).all() and shares[-1] > 0.5


def test_weights_undo_what_noise_prediction_makes_of_an_error_in_the_clean_clip():
    """An x0 off by d is an eps off by d * a / s; weighted, it counts the same at every noisy level."""
    alpha_bar = torch.tensor([0.4, 0.2, 0.12])
    errors = (alpha_bar / (1 - alpha_bar)) * loss_weights(alpha_bar)
    assert torch.allclose(errors, torch.ones(3))
    assert loss_weights(torch.tensor([0.99, 1e-4])).tolist() == [1.0, 10.0]


def test_the_clock_is_read_off_the_temporal_convolutions_and_teaches_them():
    torch.manual_seed(0)
    unet = new_unet()
    clock = Clock(unet)
    unet(torch.randn(1, 6, 8, 12, 12), 5, torch.randn(1, 77, 96))
    error = clock.error(8)
    error.backward()
    convolutions = [module for module in unet.modules() if isinstance(module, TemporalConvLayer)]
    assert len(clock.probes) == len(convolutions) == 8 and not clock.seen
    assert all(module.conv4[-1].weight.grad.abs().sum() > 0 for module in convolutions)


def test_half_of_the_noisiest_samples_of_clips_begin_from_pure_noise():
    torch.manual_seed(0)
    times = torch.arange(1000).repeat(20)
    blank = begins_from_noise(times, still=False)
    assert not blank[times < FIRST_LEVEL].any()
    assert 0.4 < blank[times >= FIRST_LEVEL].float().mean() < 0.6
    assert not begins_from_noise(times, still=True).any()


def test_every_motion_is_shown_as_often_and_empty_scenes_as_before():
    scenes = [random_scene(seed) for seed in range(400)]
    weights = motion_weights(scenes)
    assert np.isclose(weights.sum(), 1)
    shares = Counter()
    for scene, weight in zip(scenes, weights, strict=True):
        shares[scene.motion if scene.characters else None] += weight
    empty = sum(not scene.characters for scene in scenes) / len(scenes)
    assert np.isclose(shares.pop(None, 0), empty)
    assert max(shares.values()) - min(shares.values()) < 1e-9


def test_the_reader_learns_words_where_they_stand_and_pads_do_not_count():
    torch.manual_seed(0)
    reader = Reader(5)
    text, ids = torch.randn(2, 4, 96, requires_grad=True), torch.tensor([[0, 1, 2, 4], [3, 1, 4, 4]])
    attended = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    error = reader.error(text, ids, attended)
    error.backward()
    assert (text.grad[attended == 0] == 0).all() and (text.grad[attended == 1].abs().sum(-1) > 0).all()
    read = reader.probe(text).log_softmax(-1)
    expected = -(read[0, 0, 0] + read[0, 1, 1] + read[0, 2, 2] + read[1, 0, 3] + read[1, 1, 1]) / 5
    assert torch.isclose(error, expected)
