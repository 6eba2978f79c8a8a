"""The command line: exit codes that mean something, messages that help."""

from __future__ import annotations

import dataclasses

import pytest

from videomage_core import cli
from videomage_core.config import SamplingConfig


def test_help_names_every_command_and_setting(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "demo" in out and "sample" in out
    with pytest.raises(SystemExit):
        cli.main(["sample", "--help"])
    out = capsys.readouterr().out
    assert all(f"--{f.name.replace('_', '-')}" in out for f in dataclasses.fields(SamplingConfig))


def test_sample_writes_a_video(tmp_path, capsys):
    target = tmp_path / "panda.mp4"
    arguments = ["sample", "a panda on grass", "--output", str(target), "--frames", "2", "--steps", "2"]
    assert cli.main([*arguments, "--height", "32", "--width", "64"]) == 0
    assert target.stat().st_size > 0
    assert f"wrote {target}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "a dog", "--base", "/nowhere"], "/nowhere is not a folder"),
        (["sample", "a dog", "--frames", "0"], "frames: got 0"),
        (["sample", "a dog", "--height", "50"], "nearest: 48x48"),
        (["sample", "a <toy>", "--steps", "1"], "<toy> is not known"),
        (["sample", "dog " * 90, "--steps", "1"], "at most 75 fit"),
        (["sample", "a dog", "--dtype", "int4"], "dtype: got 'int4'"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(arguments, message, capsys, tmp_path):
    assert cli.main([*arguments, "--output", str(tmp_path / "x.mp4")]) == cli.BAD_INPUT
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_an_unknown_command_is_refused():
    with pytest.raises(SystemExit) as stopped:
        cli.main(["dance"])
    assert stopped.value.code == 2


def test_a_missing_package_says_how_to_install_it(monkeypatch, capsys):
    def without(_options):
        raise ModuleNotFoundError("No module named 'diffusers'", name="diffusers")

    monkeypatch.setattr(cli, "_sample", without)
    assert cli.main(["sample", "a dog"]) == cli.BAD_INPUT
    assert "diffusers is not installed; pip install -r requirements.txt" in capsys.readouterr().err


def test_control_c_has_its_own_exit_code(monkeypatch, capsys):
    def stop(_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_sample", stop)
    assert cli.main(["sample", "a dog"]) == cli.STOPPED
    assert "stopped" in capsys.readouterr().err
