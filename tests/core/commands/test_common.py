"""What commands share: progress, presets, strengths."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from videomage_core.commands.common import add_base, file_and_strength, preset_of, terminal_callbacks
from videomage_core.presets import EMOJI, PAPER, WAN, Preset


@pytest.mark.parametrize(("watched", "lines"), [(True, 1), (False, 10)])
def test_a_terminal_has_one_line_and_a_log_one_for_each_tenth(monkeypatch, capsys, watched, lines):
    monkeypatch.setattr("sys.stderr.isatty", lambda: watched)
    callbacks = terminal_callbacks()
    for done in range(1, 201):
        callbacks.progress(done, 200, "training")
    said = capsys.readouterr().err
    assert said.count("\n") == lines and said.count("\r") == (200 if watched else 0)
    assert "training: 200/200" in said


def test_settings_are_those_of_the_base_unless_a_preset_is_named(wan_folder, tmp_path):
    parser = argparse.ArgumentParser()
    add_base(parser)

    def preset(*arguments: str) -> Preset:
        return preset_of(parser.parse_args(arguments))

    assert preset() is EMOJI and preset("--base", "emoji_base") is EMOJI
    assert preset("--base", str(tmp_path)) is PAPER and preset("--base", str(wan_folder)) is WAN
    assert preset("--base", "emoji_base", "--preset", "paper") is PAPER


def test_strengths():
    assert file_and_strength("a/b.safetensors") == (Path("a/b.safetensors"), 1.0)
    assert file_and_strength("a/b.safetensors:0.5") == (Path("a/b.safetensors"), 0.5)
    assert file_and_strength("C:/b.safetensors") == (Path("C:/b.safetensors"), 1.0)
    with pytest.raises(ValueError, match="FILE:STRENGTH"):
        file_and_strength("b.safetensors:much")
