"""Settings from a file, and flags over them."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from videomage_core.cli import main
from videomage_core.commands.settings import add_settings, read_settings
from videomage_core.config import SubjectConfig


def test_settings_from_a_file_and_flags_over_them(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text('rank = 8\nlearning-rate = 1\ntarget_modules = "attention"\nrandom_flip = true\n')
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", type=Path)
    add_settings(parser, SubjectConfig)
    options = parser.parse_args(["--settings", str(file), "--rank", "2", "--no-random-flip"])
    config = read_settings(options, SubjectConfig())
    assert (config.rank, config.learning_rate, config.target_modules, config.random_flip) == (
        2,
        1.0,
        "attention",
        False,
    )
    assert config.lambda1 == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [("ranks = 3", "has ranks; known are"), ("rank = 'x'", "must be a int"), ("rank =", "is no TOML")],
)
def test_a_wrong_settings_file_is_refused(tmp_path, photos, capsys, text, message):
    file = tmp_path / "s.toml"
    file.write_text(text)
    train = ["train-subject", str(photos), "--token", "<t>", "--superclass", "dog", "--settings", str(file)]
    assert main(train) == 2
    assert message in capsys.readouterr().err
