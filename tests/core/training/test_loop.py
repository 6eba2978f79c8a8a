"""The loop: resumed bit for bit, stopped at once, nothing lost."""

from __future__ import annotations

import dataclasses
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.core.training.small_training import CONFIG, KEY, make_groups, make_loss, same, train
from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import TrainingConfig
from videomage_core.training.checkpoint import CHECKPOINT
from videomage_core.training.loop import ParameterGroup, TrainingDiverged, fit, lr_factor


@pytest.mark.parametrize("stop", [1, 4, 5, 9])
def test_ten_steps_equal_some_a_cancel_and_the_rest(tmp_path, stop):
    whole, whole_history = train(tmp_path / "whole")
    done: list[int] = []
    callbacks = Callbacks(progress=lambda step, *_: done.append(step), cancelled=lambda: len(done) == stop)
    with pytest.raises(Cancelled):
        train(tmp_path / "stopped", callbacks=callbacks)
    assert len(done) == stop
    resumed, history = train(tmp_path / "stopped")
    assert history.resumed_at == stop
    assert same(whole, resumed) and not same(whole, make_groups())
    assert history.losses == whole_history.losses and len(history.losses["loss"]) == 10


KILLED = """
import sys, time
sys.path[:0] = {paths!r}
import dataclasses
from pathlib import Path
from tests.core.training.small_training import CONFIG, train
from videomage_core.callbacks import Callbacks
config = dataclasses.replace(CONFIG, steps=900, save_every_n_steps=3)
train(Path({folder!r}), config, Callbacks(progress=lambda step, *_: print(step, flush=True)))
"""


def test_a_killed_training_resumes_bit_for_bit(tmp_path):
    config = dataclasses.replace(CONFIG, steps=900, save_every_n_steps=3)
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[3])]
    script = KILLED.format(paths=paths, folder=str(tmp_path / "killed"))
    for attempt in range(2):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline()  # it trains
        while not (tmp_path / "killed" / CHECKPOINT).is_file():
            time.sleep(0.01)
        time.sleep(random.Random(attempt).uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    at = torch.load(tmp_path / "killed" / CHECKPOINT, weights_only=True)["step"]
    assert 0 < at < 900, "the kill came too late to show anything"
    config = dataclasses.replace(config, steps=900)
    resumed, history = train(tmp_path / "killed", config)
    whole, _ = train(tmp_path / "whole", config)
    assert history.resumed_at == at and same(whole, resumed)


def test_a_finished_training_returns_at_once(tmp_path):
    first, _ = train(tmp_path)
    steps: list[int] = []
    again, history = train(tmp_path, callbacks=Callbacks(progress=lambda step, *_: steps.append(step)))
    assert not steps and same(first, again) and history.resumed_at == 10


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    stock, calls = torch.save, []

    def failing(state, file):
        calls.append(1)
        if len(calls) >= 3:
            raise OSError(28, "No space left on device")
        stock(state, file)

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(OSError, match=r"step 6 could not be written .*No space left.* before it is kept"):
        train(tmp_path)
    assert [p.name for p in tmp_path.glob("[!.]*")] == [CHECKPOINT]
    monkeypatch.undo()
    resumed, history = train(tmp_path)
    assert history.resumed_at == 4
    assert same(resumed, train(tmp_path / "whole")[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_step_and_cause(tmp_path, bad):
    groups = make_groups()
    good, seen = make_loss(groups), []

    def loss_fn(generator, backward):
        seen.append(1)
        bad_at_last = bad if len(seen) == 12 else 1
        good(generator, lambda terms: backward(terms | {"subject": terms["subject"] * bad_at_last}))

    with pytest.raises(TrainingDiverged, match=r"the loss \(subject\) .* step 6\. .*learning rate that is too high"):
        fit(groups, loss_fn, CONFIG, tmp_path, KEY)
    resumed, history = train(tmp_path)
    assert history.resumed_at == 4
    assert same(resumed, train(tmp_path / "whole")[0])


def test_accumulated_halves_equal_one_batch(tmp_path):
    """Two forwards of one item each move the parameters as their mean does."""

    def run_with(accumulation: int) -> torch.Tensor:
        weight = torch.ones(3, requires_grad=True)
        items = iter([torch.tensor([1.0, 2, 3]), torch.tensor([3.0, 1, 0])])

        def loss_fn(_, backward):
            chosen = [next(items) for _ in range(2 // accumulation)]
            backward({"l": torch.stack([(weight * x).sum().square() for x in chosen]).mean()})

        config = TrainingConfig(steps=1, gradient_accumulation_steps=accumulation, max_grad_norm=0)
        fit([ParameterGroup("w", {"w": weight}, 0.1)], loss_fn, config, tmp_path / str(accumulation), "x")
        return weight.detach()

    assert torch.allclose(run_with(1), run_with(2))


def test_samples_come_on_time_also_after_a_resume(tmp_path):
    config = dataclasses.replace(CONFIG, sample_every_n_steps=3)
    sampled: list[int] = []

    def go(stop: int) -> None:
        groups, steps = make_groups(), []
        callbacks = Callbacks(
            progress=lambda step, *_: steps.append(step), cancelled=lambda: bool(steps) and steps[-1] == stop
        )

        def sample_fn(step: int) -> torch.Tensor:
            sampled.append(step)
            return torch.zeros(3, 1, 2, 2)

        fit(groups, make_loss(groups), config, tmp_path, "x", callbacks, sample_fn)

    with pytest.raises(Cancelled):
        go(4)
    go(99)
    assert sampled == [3, 6, 9]


def test_the_global_generator_is_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    groups = make_groups()
    torch.manual_seed(5)
    fit(groups, make_loss(groups), CONFIG, tmp_path, "x")
    assert torch.equal(torch.rand(3), expected)


def test_schedules():
    cosine = [lr_factor(step, CONFIG) for step in range(10)]
    assert cosine[:3] == [0.5, 1.0, 1.0] and cosine[-1] < 0.1
    assert lr_factor(7, dataclasses.replace(CONFIG, lr_scheduler="constant")) == 1


def test_the_8_bit_optimizer_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ValueError, match="needs bitsandbytes; pip install bitsandbytes, or choose 'adamw'"):
        train(tmp_path, dataclasses.replace(CONFIG, optimizer="adamw8bit"))
    assert CHECKPOINT not in {p.name for p in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 5, "lr_warmup_steps": 5}, "lr_warmup_steps: got 5, must be fewer than steps"),
        ({"optimizer": "sgd"}, "optimizer: got 'sgd', allowed: 'adamw', 'adamw8bit'"),
        ({"max_grad_norm": -1.0}, "max_grad_norm: got -1.0, allowed is at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**settings)


@pytest.mark.parametrize("moment", ["loss", "optimizer", "progress"])
def test_an_interrupt_anywhere_in_a_step_never_saves_half_of_it(tmp_path, monkeypatch, moment):
    """Ctrl-C comes when it likes: the checkpoint is always that of a whole number of steps."""
    calls: list[int] = []

    def interrupt_at(count: int) -> None:
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt

    groups, callbacks = make_groups(), Callbacks()
    loss = make_loss(groups)
    if moment == "loss":
        inner = loss
        loss = lambda *given: (interrupt_at(10), inner(*given))[1]  # noqa: E731
    elif moment == "progress":
        callbacks = Callbacks(progress=lambda *_: interrupt_at(5))
    else:
        stock = torch.optim.AdamW.step

        def stepped(self, *arguments):
            stock(self, *arguments)
            interrupt_at(5)

        monkeypatch.setattr(torch.optim.AdamW, "step", stepped)
    with pytest.raises(KeyboardInterrupt):
        fit(groups, loss, CONFIG, tmp_path / "stopped", KEY, callbacks)
    monkeypatch.undo()
    resumed, history = train(tmp_path / "stopped")
    assert history.resumed_at == (5 if moment == "progress" else 4)
    whole, whole_history = train(tmp_path / "whole")
    assert same(whole, resumed) and history.losses == whole_history.losses


def test_a_gradient_that_is_not_finite_stops_although_the_loss_is(tmp_path):
    weight = torch.zeros(3, requires_grad=True)

    def loss_fn(_, backward) -> None:
        backward({"l": weight.sum().sqrt()})

    with pytest.raises(TrainingDiverged, match=r"the gradient is not a finite number at step 1\."):
        fit([ParameterGroup("w", {"w": weight}, 0.1)], loss_fn, CONFIG, tmp_path, "x")
    assert torch.equal(weight.detach(), torch.zeros(3)) and not list(tmp_path.glob("[!.]*"))


def test_terms_handed_over_one_by_one_or_together_give_the_same(tmp_path):
    """In float64: the gradients of a sum are the sum of the gradients, through accumulation and clipping."""

    def trained(name: str, apart: bool) -> tuple[torch.Tensor, dict[str, list[float]]]:
        weight = torch.linspace(-1, 1, 7, dtype=torch.float64).requires_grad_()

        def loss_fn(generator: torch.Generator, backward) -> None:
            x = torch.randn(7, generator=generator, dtype=torch.float64)
            terms = {"fit": (weight - x).square().sum(), "prior": 0.3 * weight.square().mean()}
            for part in [{name: term} for name, term in terms.items()] if apart else [terms]:
                backward(part)

        history = fit([ParameterGroup("w", {"w": weight}, 0.1)], loss_fn, CONFIG, tmp_path / name, "x")
        return weight.detach(), history.losses

    (together, losses), (apart, same_losses) = trained("together", False), trained("apart", True)
    torch.testing.assert_close(apart, together, rtol=1e-12, atol=1e-12)
    assert set(losses) == set(same_losses) == {"fit", "prior", "loss"}
    for name in losses:
        assert same_losses[name] == pytest.approx(losses[name], rel=1e-12)


def test_a_term_may_reach_some_parameters_alone(tmp_path):
    one, two = (torch.ones(2, requires_grad=True) for _ in range(2))

    def loss_fn(_, backward) -> None:
        backward({"both": (one * two).sum()}, [one])

    fit([ParameterGroup("w", {"one": one, "two": two}, 0.1)], loss_fn, TrainingConfig(steps=1), tmp_path, "x")
    assert not torch.equal(one.detach(), torch.ones(2)) and torch.equal(two.detach(), torch.ones(2))
