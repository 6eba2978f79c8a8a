"""Progress in a terminal and in a log file."""

from __future__ import annotations

from pathlib import Path

import pytest

from videomage_core.commands.common import file_and_strength, terminal_callbacks


@pytest.mark.parametrize(("watched", "lines"), [(True, 1), (False, 10)])
def test_a_terminal_has_one_line_and_a_log_one_for_each_tenth(monkeypatch, capsys, watched, lines):
    monkeypatch.setattr("sys.stderr.isatty", lambda: watched)
    callbacks = terminal_callbacks()
    for done in range(1, 201):
        callbacks.progress(done, 200, "training")
    said = capsys.readouterr().err
    assert said.count("\n") == lines and said.count("\r") == (200 if watched else 0)
    assert "training: 200/200" in said


def test_strengths():
    assert file_and_strength("a/b.safetensors") == (Path("a/b.safetensors"), 1.0)
    assert file_and_strength("a/b.safetensors:0.5") == (Path("a/b.safetensors"), 0.5)
    assert file_and_strength("C:/b.safetensors") == (Path("C:/b.safetensors"), 1.0)
    with pytest.raises(ValueError, match="FILE:STRENGTH"):
        file_and_strength("b.safetensors:much")
