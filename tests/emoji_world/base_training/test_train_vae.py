"""The autoencoder's pixels and loss."""

from __future__ import annotations

import numpy as np
import torch

from emoji_world.base_training.train_vae import new_vae, reconstruction_loss, to_pixels


def test_pixels_span_minus_one_to_one():
    frames = np.zeros((2, 48, 48, 3), dtype=np.uint8)
    frames[1] = 255
    pixels = to_pixels(frames)
    assert pixels.shape == (2, 3, 48, 48)
    assert pixels[0].eq(-1).all() and pixels[1].eq(1).all()


def test_the_autoencoder_has_factor_four():
    assert new_vae().encode(torch.zeros(1, 3, 48, 48)).latent_dist.mode().shape == (1, 6, 12, 12)


def test_a_perfect_reconstruction_costs_nothing_and_a_blurred_edge_costs_more_than_a_shade():
    target = torch.zeros(1, 3, 8, 8)
    target[..., 4:] = 1
    assert reconstruction_loss(target, target) == 0
    shaded = target + 0.125
    blurred = target.clone()
    blurred[..., 3:5] = 0.5
    assert reconstruction_loss(blurred, target) > reconstruction_loss(shaded, target)
