"""The command: it serves until Ctrl-C, counts, and says what a folder should hold."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.core.study.small_study import make_study
from videomage_core.cli import BAD_INPUT, main
from videomage_core.study.answers import QUESTIONS, Answers
from videomage_core.study.trials import load_study


@pytest.fixture
def folder(tmp_path):
    return make_study(tmp_path / "study")


def test_it_serves_until_it_is_stopped(folder):
    command = [sys.executable, "-m", "videomage_core", "study", str(folder), "--port", "0", "--method", "Merged"]
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # tests in the background ignore it
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **heeding) as process:
        assert process.stdout is not None
        try:
            assert "2 cells, Merged beside Averaged, VideoMage" in process.stdout.readline()
            address = process.stdout.readline().split()[1]
            with urllib.request.urlopen(address, timeout=10) as page:
                assert b"<form" in page.read()
            with urllib.request.urlopen(f"{address}trial?participant=ann", timeout=10) as trial:
                assert b'"total": 4' in trial.read()
            process.send_signal(signal.SIGINT)
            assert "stopped; 0 answers" in process.communicate(timeout=20)[0]
            assert process.returncode == 0
        finally:
            process.kill()


def test_totals(folder, capsys):
    assert main(["study", str(folder), "--summary"]) == BAD_INPUT
    assert "it is written as soon as somebody has answered" in capsys.readouterr().err
    study = load_study(folder, "VideoMage")
    Answers(folder / "answers.csv").add(study, "ann", study.order_for("ann")[0], dict.fromkeys(QUESTIONS, "left"))
    assert main(["study", str(folder), "--summary"]) == 0
    out = capsys.readouterr().out
    assert "(1 trial, 1 participant)" in out and "Wilson" in out


def test_bad_input(folder, tmp_path, capsys):
    from videomage_core.study.server import StudyServer

    study = load_study(folder, "VideoMage")
    with StudyServer(study, Answers(tmp_path / "a.csv")) as other:
        cases = [
            ([str(tmp_path)], "holds the folders study; expected FOLDER/METHOD/CELL.mp4"),
            ([str(folder), "--method", "Fox"], "--method: got 'Fox'"),
            ([str(folder), "--answers", str(tmp_path / "a.txt")], "must end in .csv"),
            ([str(folder), "--port", "99999"], "--port: got 99999"),
            ([str(folder), "--port", str(other.server_port)], "choose another, or 0 for a free one"),
        ]
        for arguments, message in cases:
            assert main(["study", *arguments]) == BAD_INPUT
            assert message in capsys.readouterr().err
