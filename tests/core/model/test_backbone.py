"""The contract: what the engine calls exists, with the same names, on the bases we ship."""

from __future__ import annotations

import inspect

import pytest
import torch

from videomage_core.model.backbone import Backbone, NoiseLevel
from videomage_core.model.unet3d import UNet3DBackbone


def contract() -> list[str]:
    return [name for name, member in vars(Backbone).items() if inspect.isfunction(member) and name[0] != "_"]


@pytest.mark.parametrize("name", contract())
def test_every_method_of_the_contract_is_kept(name):
    wanted = inspect.signature(getattr(Backbone, name)).parameters
    given = inspect.signature(getattr(UNet3DBackbone, name)).parameters
    assert list(given) == list(wanted)
    assert [p.default for p in given.values()] == [p.default for p in wanted.values()]


def test_a_level_scales_each_item_of_a_batch():
    level = NoiseLevel(torch.tensor([1, 2]), torch.tensor([0.5, 0.25]), torch.tensor([0.1, 0.2]))
    a, s = level.coefficients(torch.zeros(2, 4, 3, 8, 8))
    assert a.shape == s.shape == (2, 1, 1, 1, 1)
    a, _ = NoiseLevel(torch.tensor(1), torch.tensor(0.5), torch.tensor(0.1)).coefficients(torch.zeros(2, 4, 3, 8, 8))
    assert (a * torch.ones(2, 4, 3, 8, 8)).eq(0.5).all()
