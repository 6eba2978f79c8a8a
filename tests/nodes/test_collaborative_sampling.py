"""SCS Sampler: what it takes of a wired clip."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch


def test_a_clip_for_the_initial_noise_gives_the_frames_and_size_it_needs(nodes: dict[str, Any]) -> None:
    module = sys.modules[nodes["VideoMage_SCSSampler"].__module__]
    config = SimpleNamespace(frames=4, height=8, width=16, noise_prior=0.3)
    clip = torch.linspace(0, 1, 10)[:, None, None, None].expand(10, 64, 128, 3)
    pixels = module.motion_pixels(clip, config)
    assert pixels.shape == (3, 4, 16, 32)
    torch.testing.assert_close(pixels[0, :, 0, 0], torch.tensor([0, 3, 6, 9]) / 9 * 2 - 1)
    assert module.motion_pixels(None, config) is None
    assert module.motion_pixels(clip, SimpleNamespace(noise_prior=0)) is None
    with pytest.raises(ValueError, match="give a clip of at least 2 frames"):
        module.motion_pixels(clip[:1], config)
