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
