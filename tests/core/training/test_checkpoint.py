"""A checkpoint file, where several processes of one training read it."""

from __future__ import annotations

import os

import pytest

from videomage_core.training.checkpoint import CHECKPOINT, latest_checkpoint, save_checkpoint

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
