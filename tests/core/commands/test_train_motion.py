"""The command train-motion."""

from __future__ import annotations

from videomage_core.cli import main


def test_train_motion(tmp_path, capsys):
    from PIL import Image

    clip = tmp_path / "clip"
    clip.mkdir()
    for f in range(9):
        frame = Image.new("RGB", (60, 50), "white")
        frame.paste((0, 90, 0), (5 + 4 * f, 20, 20 + 4 * f, 35))
        frame.save(clip / f"{f}.png")
    file = tmp_path / "m.safetensors"
    train = ["train-motion", str(clip), "--prompt", "a frog is sliding", "--subject", "frog", "--output", str(file)]
    train += ["--steps", "2", "--textual-inversion-steps", "2", "--batch-size", "1"]
    assert main([*train, "--prompt", "a <toy> is sliding"]) == 2
    assert "<toy> stands for one subject; say in plain words" in capsys.readouterr().err
    assert main(train) == 0
    assert "2 steps" in capsys.readouterr().out
    assert main(["inspect", str(file)]) == 0
    assert "kind: motion" in capsys.readouterr().out
