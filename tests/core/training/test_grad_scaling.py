"""Scaled losses: the same numbers where none is lost, and small gradients survive half precision."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.core.training.small_training import CONFIG, make_groups, make_loss, same, train
from videomage_core.config import TrainingConfig
from videomage_core.training.grad_scaling import loss_scale_for, scaled_gradients
from videomage_core.training.loop import ParameterGroup, fit


@pytest.mark.parametrize("scale", [0.125, 1024.0])
def test_a_loss_scale_changes_no_number_where_none_is_lost(tmp_path, scale):
    """Through accumulation, clipping and resuming; a power of two is exact."""
    config = dataclasses.replace(CONFIG, max_grad_norm=0.01)
    plain, plain_history = train(tmp_path / "plain", config)
    groups = make_groups()
    history = fit(groups, make_loss(groups), config, tmp_path / "scaled", "x", loss_scale=scale)
    assert same(plain, groups) and history.losses == plain_history.losses
    unclipped, _ = train(tmp_path / "unclipped", dataclasses.replace(config, max_grad_norm=0))
    assert not same(plain, unclipped)


def test_any_loss_scale_divides_out(tmp_path):
    def trained(scale: float) -> torch.Tensor:
        weight = torch.linspace(-1, 1, 7, dtype=torch.float64).requires_grad_()

        def loss_fn(generator: torch.Generator, backward) -> None:
            backward({"l": (weight - torch.randn(7, generator=generator)).square().sum()})

        fit([ParameterGroup("w", {"w": weight}, 0.1)], loss_fn, CONFIG, tmp_path / str(scale), "x", loss_scale=scale)
        return weight.detach()

    torch.testing.assert_close(trained(1000 / 3), trained(1.0), rtol=1e-12, atol=1e-12)


def test_small_gradients_survive_half_precision_by_their_scale(tmp_path):
    def moved(scale: float) -> bool:
        weight = torch.ones(3, requires_grad=True)

        def loss_fn(_, backward) -> None:
            backward({"l": (weight.half().float() * 2e-8).sum()})  # fp16 ends at 6e-8

        config = TrainingConfig(steps=1)
        fit([ParameterGroup("w", {"w": weight}, 0.1)], loss_fn, config, tmp_path / str(scale), "x", loss_scale=scale)
        return not torch.equal(weight.detach(), torch.ones(3))

    assert loss_scale_for(torch.float16) > 1
    assert moved(loss_scale_for(torch.float16)) and not moved(1.0)
    assert loss_scale_for(torch.bfloat16) == loss_scale_for(torch.float32) == 1


def test_a_step_whose_gradients_overflow_is_taken_again_scaled_less(tmp_path):
    """Half precision: 100 times 1024 is past fp16's 65504; the same step at 512 gives what full precision gives."""

    def trained(half: bool, scale: float) -> torch.Tensor:
        weight = torch.tensor([1.0, 3.0], requires_grad=True)

        def loss_fn(generator: torch.Generator, backward) -> None:
            x = torch.randint(1, 4, (2,), generator=generator)
            seen = weight.half() if half else weight
            backward({"l": (seen * 100 * x).float().sum()})

        config = TrainingConfig(steps=3, max_grad_norm=0)
        folder = tmp_path / f"{half}_{scale}"
        history = fit([ParameterGroup("w", {"w": weight}, 0.1)], loss_fn, config, folder, "x", loss_scale=scale)
        assert len(history.losses["l"]) == 3
        return weight.detach()

    torch.testing.assert_close(trained(True, 1024.0), trained(False, 1.0), rtol=1e-3, atol=1e-3)


def test_gradients_that_are_scaled_too_much_for_half_precision_are_taken_again_scaled_less():
    weight, other = torch.tensor([1.0, 3.0], requires_grad=True), torch.ones(1, requires_grad=True)

    def loss() -> torch.Tensor:
        return (
            (weight.half() * 100).float().sum()
        )  # in the backward pass, in fp16: 100 times the scale; it ends at 65504

    assert torch.autograd.grad(loss() * 1024.0, weight)[0].isinf().all()
    found, none = scaled_gradients(loss(), [weight, other], 1024.0)
    assert none is None and torch.equal(found, torch.full((2,), 100.0))
    bad = (weight - weight.detach()).sqrt().sum()
    assert scaled_gradients(bad, [weight], 8.0)[0].isinf().all()
