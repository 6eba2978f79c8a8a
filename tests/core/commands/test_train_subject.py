"""The command train-subject: a LoRA file that other commands read, and bad input named."""

from __future__ import annotations

import pytest

from tests.core.commands.small_trainings import TINY
from videomage_core.cli import main


def test_train_inspect_and_sample(tmp_path, photos, capsys):
    file = tmp_path / "toy.safetensors"
    train = ["train-subject", str(photos), "--token", "<toy>", "--superclass", "robot", "--output", str(file), *TINY]
    assert main(train) == 0
    assert main(["inspect", str(file)]) == 0
    said = capsys.readouterr().out
    assert "token: <toy>, a robot, 1 vector(s)" in said and "lambda1: 0.0" in said
    video = tmp_path / "video.mp4"
    assert main(["sample", "a <toy> is rising", "--lora", f"{file}:0.5", "--steps", "1", "--output", str(video)]) == 0
    assert video.stat().st_size > 500
    assert main(["sample", "a <cat>", "--lora", str(file), "--steps", "1", "--output", str(video)]) == 2
    assert "<cat> is not known; the loaded tokens are <toy>" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--token", "toy"], "in angle brackets"),
        (["--superclass", " "], "give the kind of thing"),
        (["--output", "toy.bin"], "must end in .safetensors"),
        (["--rank", "0"], "rank: got 0"),
        (["--height", "50"], "multiples of 4"),
        (["--masks", "/nowhere"], "does not exist"),
        (["--auxiliary", "/nowhere"], "is not a folder"),
        (["--base", "/nowhere"], "is not a folder"),
        (["--lr-warmup-steps", "9", "--steps", "3"], "lr_warmup_steps"),
    ],
)
def test_bad_input_of_a_training(tmp_path, photos, capsys, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    train = ["train-subject", str(photos), "--token", "<toy>", "--superclass", "robot", *change]
    assert main(train) == 2
    assert message in capsys.readouterr().err


def test_one_corrupt_image_among_five_is_named(photos, capsys):
    (photos / "7.png").write_bytes(b"not an image")
    assert main(["train-subject", str(photos), "--token", "<toy>", "--superclass", "robot"]) == 2
    assert "7.png cannot be read" in capsys.readouterr().err
