"""Checkpoints: which a training goes on from, which it refuses, also where several processes read them."""

from __future__ import annotations

import dataclasses
import os

import pytest
import torch

from tests.core.training.small_training import CONFIG, make_groups, make_loss, same, train
from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import TrainingConfig
from videomage_core.model.fingerprint import Fingerprint
from videomage_core.training.checkpoint import CHECKPOINT, latest_checkpoint, save_checkpoint
from videomage_core.training.loop import ParameterGroup, fit

OWNER = {"identity": "x", "base": None}


@pytest.mark.parametrize("first", ["before it is read", "before it is renamed"])
def test_another_process_may_have_set_it_aside_first(tmp_path, monkeypatch, first):
    path, aside = tmp_path / CHECKPOINT, tmp_path / "checkpoint-9.pt"
    save_checkpoint(path, {**OWNER, "step": 9, "parameters": {}, "optimizer": {}, "history": {}})
    replace = os.replace
    if first == "before it is read":
        replace(path, aside)
    else:
        monkeypatch.setattr(os, "replace", lambda a, b: (replace(a, b), replace(a, b)))
    assert latest_checkpoint(path, OWNER, 5) is None
    monkeypatch.setattr(os, "replace", replace)
    assert aside.is_file() and not path.exists()
    assert latest_checkpoint(path, OWNER, 9)["step"] == 9


def test_a_users_own_files_of_likely_names_are_left_alone(tmp_path):
    path = tmp_path / CHECKPOINT
    for name in ("checkpoint-before holidays.pt", "checkpoint-9x.pt", "checkpoint-.pt"):
        (tmp_path / name).write_text("mine")
    save_checkpoint(path, {**OWNER, "step": 3, "parameters": {}, "optimizer": {}, "history": {}})
    assert latest_checkpoint(path, OWNER, 5)["step"] == 3
    assert sorted(p.name for p in tmp_path.iterdir() if p.read_bytes() == b"mine") == [
        "checkpoint-.pt",
        "checkpoint-9x.pt",
        "checkpoint-before holidays.pt",
    ]


def test_a_resumed_training_may_name_its_parameters_in_another_order(tmp_path):
    """A LoRA read from its file names its weights in another order than the same one just trained."""
    whole, _ = train(tmp_path / "whole")

    def turned() -> list[ParameterGroup]:
        return [dataclasses.replace(g, parameters=dict(reversed(g.parameters.items()))) for g in make_groups()]

    for first, then in ((make_groups, turned), (turned, make_groups)):
        folder, done = tmp_path / first.__name__, list[int]()
        callbacks = Callbacks(
            progress=lambda step, *_, done=done: done.append(step), cancelled=lambda done=done: len(done) == 5
        )
        with pytest.raises(Cancelled):
            groups = first()
            fit(groups, make_loss(groups), CONFIG, folder, "x", callbacks)
        groups = then()
        history = fit(groups, make_loss(groups), CONFIG, folder, "x")
        assert history.resumed_at == 5
        assert all(torch.equal(p, whole[0].parameters[name]) for name, p in groups[0].parameters.items())
        assert same(groups[1:], whole[1:])


def test_a_checkpoint_in_another_order_is_gone_on_from(tmp_path):
    """Older versions kept parameters in the order in which they came."""
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(Cancelled):
        done: list[int] = []
        callbacks = Callbacks(progress=lambda step, *_: done.append(step), cancelled=lambda: len(done) == 5)
        train(tmp_path / "old", callbacks=callbacks)
    path = tmp_path / "old" / CHECKPOINT
    state = torch.load(path, weights_only=True)
    state["parameters"]["lora"] = dict(reversed(state["parameters"]["lora"].items()))
    kept = state["optimizer"]["state"]
    state["optimizer"]["state"] = {0: kept[1], 1: kept[0], 2: kept[2]}
    torch.save(state, path)
    resumed, history = train(tmp_path / "old")
    assert history.resumed_at == 5 and same(whole, resumed)


def test_a_checkpoint_of_other_weights_is_refused(tmp_path):
    train(tmp_path, dataclasses.replace(CONFIG, lr_scheduler="constant", steps=4))
    path = tmp_path / CHECKPOINT
    state = torch.load(path, weights_only=True)
    state["parameters"]["lora"]["c"] = state["parameters"]["lora"].pop("b")
    torch.save(state, path)
    with pytest.raises(ValueError, match="another version of VideoMage, which trained other weights"):
        train(tmp_path, dataclasses.replace(CONFIG, lr_scheduler="constant", steps=6))
    assert path.is_file()


def test_another_trainings_checkpoint_is_refused(tmp_path):
    train(tmp_path)
    with pytest.raises(ValueError, match="holds the checkpoint of another training"):
        train(tmp_path, identity="y")


def test_a_checkpoint_of_another_base_is_refused_but_not_of_another_precision(tmp_path):
    def resumed(base: Fingerprint | None) -> int:
        groups = make_groups()
        return fit(groups, make_loss(groups), CONFIG, tmp_path, "x", base=base).resumed_at

    base = Fingerprint("unet", (0.5, -1.2))
    assert resumed(base) == 0
    assert resumed(Fingerprint("unet", (0.502, -1.199))) == 10  # rounded to bf16
    for other in (Fingerprint("unet", (0.5, 1.2)), Fingerprint("another", base.weights), None):
        with pytest.raises(ValueError, match="another training"):
            resumed(other)


def test_other_settings_are_another_training_but_a_constant_one_may_go_on(tmp_path):
    constant = dataclasses.replace(CONFIG, lr_scheduler="constant", steps=6)
    train(tmp_path, constant)
    with pytest.raises(ValueError, match="holds the checkpoint of another training"):
        train(tmp_path, dataclasses.replace(constant, gradient_accumulation_steps=1))
    longer = dataclasses.replace(constant, steps=8)
    resumed, history = train(tmp_path, longer)
    assert history.resumed_at == 6 and same(resumed, train(tmp_path / "whole", longer)[0])


def test_fewer_steps_and_more_again_give_each_time_what_was_asked_and_lose_nothing(tmp_path):
    """Stopped at 7 of 9, then 3 steps, then 5, then 9 again: the 7 are not trained anew."""

    def steps(count: int) -> TrainingConfig:
        return dataclasses.replace(CONFIG, lr_scheduler="constant", steps=count)

    def whole(count: int) -> list[ParameterGroup]:
        return train(tmp_path / f"whole_{count}", steps(count))[0]

    done: list[int] = []
    stop = Callbacks(progress=lambda step, *_: done.append(step), cancelled=lambda: len(done) == 7)
    with pytest.raises(Cancelled):
        train(tmp_path, steps(9), stop)
    for count, expected in [(3, 0), (5, 3), (9, 7), (5, 0), (9, 9)]:
        groups, history = train(tmp_path, steps(count))
        assert history.resumed_at == expected, count
        assert len(history.seconds) == count and same(groups, whole(count))


def test_checkpoints_that_another_training_left_behind_are_passed_over(tmp_path):
    constant = dataclasses.replace(CONFIG, lr_scheduler="constant", steps=6)
    train(tmp_path, constant)
    train(tmp_path, dataclasses.replace(constant, steps=3))
    (tmp_path / CHECKPOINT).unlink()
    groups, history = train(tmp_path, constant, identity="y")
    assert history.resumed_at == 0 and same(groups, train(tmp_path / "whole", constant, identity="y")[0])
