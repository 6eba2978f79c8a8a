from pathlib import Path

import pytest
import torch
from torch import nn

from emoji_world.base_training import train_loop
from emoji_world.base_training.train_loop import LoopConfig, TrainLoop, learning_rate_factor, update_average


def train(folder: Path, config: LoopConfig, stop: int | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)

    def loss_fn(step: int) -> torch.Tensor:
        if step == stop:
            raise KeyboardInterrupt
        return (model(torch.randn(8, 4)) - 1).square().mean()

    return TrainLoop(model, folder / "model.pt", config).run(loss_fn)


def test_a_stopped_run_ends_bit_for_bit_as_one_that_was_not(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    config = LoopConfig(learning_rate=1e-2, steps=12, decay=0.5, warmup=3, save_seconds=0.0)
    whole = train(tmp_path / "whole", config).state_dict()
    for stop in (3, 8):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "stopped", config, stop)
    resumed = train(tmp_path / "stopped", config).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    state = torch.load(tmp_path / "stopped" / "model.pt", weights_only=True)
    assert (state["step"], state["decay_from"], state["end"]) == (12, 6, 12)


def test_a_finished_run_asked_for_more_goes_on_from_before_its_decay(tmp_path):
    (tmp_path / "long").mkdir()
    (tmp_path / "short").mkdir()
    short = LoopConfig(learning_rate=1e-2, steps=8, decay=0.5, warmup=3, save_seconds=0.0)
    long = LoopConfig(learning_rate=1e-2, steps=12, decay=0.25, warmup=3, save_seconds=0.0)
    train(tmp_path / "short", short)
    extended = train(tmp_path / "short", long).state_dict()
    whole = train(tmp_path / "long", long).state_dict()
    assert all(torch.equal(whole[name], extended[name]) for name in whole)


def test_by_the_clock_the_decay_takes_its_share_of_the_time(tmp_path, monkeypatch):
    now = [0.0]

    def monotonic() -> float:
        now[0] += 0.25  # four looks at the clock in a step: each takes 0.5 s between its two
        return now[0]

    monkeypatch.setattr(train_loop.time, "monotonic", monotonic)
    train(tmp_path, LoopConfig(learning_rate=1e-2, minutes=1.0, decay=0.25, warmup=3))
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    steps_in_a_minute = 60 / 0.25
    assert state["end"] == state["step"] == pytest.approx(steps_in_a_minute, abs=1)
    assert state["decay_from"] == pytest.approx(0.75 * steps_in_a_minute, abs=1)
    before = torch.load(tmp_path / "model.before_decay.pt", weights_only=True)
    assert before["step"] == state["decay_from"]


def test_the_learning_rate_warms_up_stays_and_falls_to_nothing():
    factors = [learning_rate_factor(step, warmup=4, decay_from=8, end=12) for step in range(13)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4:9] == [1.0] * 5
    assert factors[9:] == [0.75, 0.5, 0.25, 0.0]
    assert learning_rate_factor(1000, 4, None, None) == 1.0


def test_the_average_moves_by_one_minus_decay():
    average, model = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        average.weight.fill_(0.0)
        model.weight.fill_(4.0)
    update_average(average, model, 0.75)
    assert torch.equal(average.weight.detach(), torch.full((1, 2), 1.0))


@pytest.mark.parametrize("given", [{}, {"steps": 3, "minutes": 2.0}])
def test_the_length_is_given_in_steps_or_in_minutes(given):
    with pytest.raises(ValueError, match=r"steps, minutes: got .* allowed: exactly one of the two"):
        LoopConfig(**given)
