"""Progress in a terminal and in a log file."""

from __future__ import annotations

import pytest

from videomage_core.commands.common import terminal_callbacks


@pytest.mark.parametrize(("watched", "lines"), [(True, 1), (False, 10)])
def test_a_terminal_has_one_line_and_a_log_one_for_each_tenth(monkeypatch, capsys, watched, lines):
    monkeypatch.setattr("sys.stderr.isatty", lambda: watched)
    callbacks = terminal_callbacks()
    for done in range(1, 201):
        callbacks.progress(done, 200, "training")
    said = capsys.readouterr().err
    assert said.count("\n") == lines and said.count("\r") == (200 if watched else 0)
    assert "training: 200/200" in said
