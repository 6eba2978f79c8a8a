"""The command sample."""

from __future__ import annotations

import dataclasses

import pytest

from tests.core.commands.small_trainings import TINY, toy
from videomage_core import cli
from videomage_core.cli import main
from videomage_core.data.lora_file import load_lora, save_lora
from videomage_core.model import loading
from videomage_core.stages import baselines


def test_sample_writes_a_video(tmp_path, capsys):
    target = tmp_path / "panda.mp4"
    arguments = ["sample", "a panda on grass", "--output", str(target), "--frames", "2", "--steps", "2"]
    assert cli.main([*arguments, "--height", "32", "--width", "64"]) == 0
    assert target.stat().st_size > 0
    assert f"wrote {target}" in capsys.readouterr().out


def test_what_belongs_to_a_motion_is_refused_without_one(tmp_path, photos, motion, capsys):
    assert (
        main(["sample", "a dog", "--tau", "3", "--attention-overlays", "x.png", "--output", str(tmp_path / "v.mp4")])
        == 2
    )
    assert "--tau, --attention-overlays: only collaborative sampling has this" in capsys.readouterr().err
    assert main(["sample", "a dog", "--motion", str(motion)]) == 2
    assert "--lora: got 0 with --motion" in capsys.readouterr().err
    ann = toy(tmp_path, photos, "ann")
    assert main(["fuse", str(ann), str(motion), "--output", str(tmp_path / "f.safetensors")]) == 2
    assert "the LoRA 2 of 2 is a motion" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["averaged", "composed"])
def test_subjects_in_passes_of_their_own(tmp_path, photos, motion, capsys, monkeypatch, method):
    """Each --lora in turn with the --motion; what the stage gets is what was given."""
    files = [toy(tmp_path, photos, name) for name in ("ann", "bob")]
    loras = ["--lora", str(files[0]), "--lora", str(files[1]), "--motion", str(motion)]
    sample = [
        "sample",
        "a <ann> is chasing a <bob>",
        *loras,
        "--method",
        method,
        "--output",
        str(tmp_path / "v.mp4"),
    ]
    seen, made = [], getattr(baselines, f"sample_{method}")

    def sampled(backbone, subjects, moving, *more):
        seen.append(([t.name for lora_model in subjects for t in lora_model.tokens], moving.kind))
        return made(backbone, subjects, moving, *more)

    monkeypatch.setattr(baselines, f"sample_{method}", sampled)
    assert main([*sample, "--steps", "2", "--clip", str(tmp_path / "clip"), "--ddim-inversion-steps", "1"]) == 0
    assert seen == [(["<ann>", "<bob>"], "motion")] and (tmp_path / "v.mp4").stat().st_size > 500
    monkeypatch.setattr(loading, "load_unet3d", lambda *_: pytest.fail("the base was loaded"))
    assert main([*sample, "--tau", "3"]) == 2
    assert f"--tau: only collaborative sampling has this; drop it, or --method {method}" in capsys.readouterr().err
    assert main(["sample", "a <ann>", *sample[2:]]) == 2
    assert "does not name <bob>" in capsys.readouterr().err
    assert main([*sample, "--lora", str(motion)]) == 2
    assert "the LoRA 3 of 3 is a motion; give it as the motion" in capsys.readouterr().err
    assert main([*sample[:6], "--motion", str(files[0]), "--method", method]) == 2
    assert "motion: got a subject LoRA" in capsys.readouterr().err
    assert main(["sample", "a <ann>", "--lora", f"{files[0]}:0.5", "--method", method]) == 2
    assert "ann.safetensors:0.5, strengths have no place here" in capsys.readouterr().err
    assert main(["sample", "a dog", "--motion", str(motion), "--method", method]) == 2
    assert f"--method {method}: got no --lora" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("panda " * 200, "tokens, at most 75 fit"), ("a <toy>", "no LoRA with a token is loaded")],
)
def test_a_prompt_is_refused_before_any_weights_are_loaded(monkeypatch, capsys, prompt, message):
    def loaded(*_: object) -> None:
        raise AssertionError("the base was loaded")

    monkeypatch.setattr(loading, "load_unet3d", loaded)
    assert main(["sample", prompt]) == 2
    assert message in capsys.readouterr().err


def test_a_lora_of_another_base_is_refused(tmp_path, photos, capsys):
    file = tmp_path / "toy.safetensors"
    train = ["train-subject", str(photos), "--token", "<toy>", "--superclass", "robot", "--output", str(file), *TINY]
    assert main(train) == 0
    whole = file.read_bytes()
    lora_model = load_lora(file)
    mark = dataclasses.replace(lora_model.fingerprint, architecture="other")
    save_lora(file, dataclasses.replace(lora_model, fingerprint=mark, base="zeroscope_v2_576w"))
    assert main(["sample", "a <toy>", "--lora", str(file), "--steps", "1"]) == 2
    assert "trained on the base 'zeroscope_v2_576w'" in capsys.readouterr().err
    file.write_bytes(whole[: len(whole) // 2])
    assert main(["sample", "a <toy>", "--lora", str(file), "--steps", "1"]) == 2
    assert "not a whole safetensors file" in capsys.readouterr().err
