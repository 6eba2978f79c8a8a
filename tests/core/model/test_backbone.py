"""What the contract itself holds; bases are tested against it in ``test_contract.py``."""

from __future__ import annotations

import torch

from videomage_core.model.backbone import NoiseLevel


def test_a_level_scales_each_item_of_a_batch():
    level = NoiseLevel(torch.tensor([1, 2]), torch.tensor([0.5, 0.25]), torch.tensor([0.1, 0.2]))
    a, s = level.coefficients(torch.zeros(2, 4, 3, 8, 8))
    assert a.shape == s.shape == (2, 1, 1, 1, 1)
    a, _ = NoiseLevel(torch.tensor(1), torch.tensor(0.5), torch.tensor(0.1)).coefficients(torch.zeros(2, 4, 3, 8, 8))
    assert (a * torch.ones(2, 4, 3, 8, 8)).eq(0.5).all()
