"""The loop of the built-in base: a stopped training goes on as if it had not been stopped."""

from __future__ import annotations

import torch
from torch import nn

from emoji_world.base_training.cosine_loop import cosine, fit


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 2)


def train(folder, stop: int | None = None) -> nn.Module:
    model = make_model()

    def loss_fn(step: int) -> torch.Tensor:
        if step == stop:
            raise KeyboardInterrupt
        return (model(torch.randn(8, 4)) - 1).square().mean()

    return fit(model, loss_fn, folder / "model.pt", steps=12, learning_rate=1e-2, save_every_n_steps=4)


def test_twelve_steps_equal_some_a_stop_and_the_rest(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    whole = train(tmp_path / "whole").state_dict()
    try:
        train(tmp_path / "stopped", stop=7)
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("the training was not stopped")
    resumed = train(tmp_path / "stopped").state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not all(torch.equal(whole[name], make_model().state_dict()[name]) for name in whole)


def test_the_rate_rises_then_falls():
    factors = [cosine(step, 1000) for step in range(1000)]
    assert factors[0] == 0.01 and factors[99] == 1 and 0.02 <= factors[-1] < 0.021
    assert factors[100:] == sorted(factors[100:], reverse=True)
