"""The little network has ZeroScope's architecture, and clips begin where stills left off."""

from __future__ import annotations

import torch

from emoji_world.train_unet import new_unet, noise_schedule


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
