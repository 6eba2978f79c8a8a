"""The command line: exit codes that mean something, messages that help."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from videomage_core import cli
from videomage_core.commands import sample
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "a dog", "--base", "/nowhere"], "/nowhere is not a folder"),
        (["sample", "a dog", "--frames", "0"], "frames: got 0"),
        (["sample", "a dog", "--height", "50"], "nearest: 48x48"),
        (["sample", "a <toy>", "--steps", "1"], "<toy> is not known"),
        (["sample", "dog " * 90, "--steps", "1"], "at most 75 fit"),
        (["sample", "a dog", "--dtype", "int4"], "dtype: got 'int4'"),
        (["sample", "a dog", "--device", "quantum"], "device: got 'quantum', this machine has 'auto', 'cpu'"),
        (["sample", "a dog", "--output", "x.avi"], "--output: got x.avi, must end in .mp4"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(arguments, message, capsys, tmp_path):
    output = [] if "--output" in arguments else ["--output", str(tmp_path / "x.mp4")]
    assert cli.main([*arguments, *output]) == cli.BAD_INPUT
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_an_unknown_command_is_refused():
    with pytest.raises(SystemExit) as stopped:
        cli.main(["dance"])
    assert stopped.value.code == 2


@pytest.mark.parametrize("package", ["torch", "diffusers"])
def test_a_missing_package_says_how_to_install_it(package):
    code = f"import sys; sys.modules[{package!r}] = None; from videomage_core.cli import main; sys.exit(main(['demo']))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == cli.BAD_INPUT
    assert done.stderr.strip() == f"error: {package} is not installed; pip install -r requirements.txt"


def test_what_fails_on_the_way_is_exit_code_1(monkeypatch, capsys):
    def full(_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sample, "_sample", full)
    assert cli.main(["sample", "a dog"]) == cli.FAULT
    assert "No space left" in capsys.readouterr().err


GPU_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
CPU_FULL = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
TRAINS = "; a training then resumes from its last checkpoint"


@pytest.mark.parametrize("error", [GPU_FULL, CPU_FULL, MemoryError("no room")])
@pytest.mark.parametrize(
    ("execute", "arguments", "lower", "goes_on"),
    [
        ("train_subject._train_subject", ["train-subject", "x", "--token", "<x>", "--superclass", "y"],
         "--auxiliary-frames, --height, --width, --batch-size", TRAINS),
        ("train_motion._train_motion", ["train-motion", "x", "--prompt", "y"],
         "--frames, --height, --width, --batch-size", TRAINS),
        ("fuse._fuse", ["fuse", "x", "y"], "--frames, --height, --width, --batch-size", TRAINS),
        ("sample._sample", ["sample", "x"], "--frames, --height, --width", ""),
    ],
)  # fmt: skip
def test_out_of_memory_says_what_to_lower(execute, arguments, lower, goes_on, error, monkeypatch, capsys):
    def full(_options):
        raise error

    monkeypatch.setattr(f"videomage_core.commands.{execute}", full)
    other = ", with another --output" if goes_on else ""
    assert cli.main(arguments) == cli.FAULT
    assert capsys.readouterr().err == (
        f"error: {error}\nOut of memory: use --memory low{goes_on}, or lower {lower}{other}, or close other programs.\n"
    )
    assert cli.main([*arguments, "--memory", "low"]) == cli.FAULT
    assert f"Out of memory: lower {lower}{other}, or close other programs." in capsys.readouterr().err


def test_out_of_memory_where_nothing_can_be_lowered(monkeypatch, capsys):
    def full(_options):
        raise CPU_FULL

    monkeypatch.setattr("videomage_core.commands.inspect._inspect", full)
    assert cli.main(["inspect", "x"]) == cli.FAULT
    assert capsys.readouterr().err.endswith("\nOut of memory: close other programs.\n")


def test_control_c_has_its_own_exit_code(monkeypatch, capsys):
    def stop(_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sample, "_sample", stop)
    assert cli.main(["sample", "a dog"]) == cli.STOPPED
    assert "stopped" in capsys.readouterr().err
