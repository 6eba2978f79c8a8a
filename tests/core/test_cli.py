"""The command line: exit codes that mean something, messages that help."""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from videomage_core import cli
from videomage_core.cli import main
from videomage_core.commands import sample
from videomage_core.commands.common import file_and_strength
from videomage_core.commands.settings import add_settings, read_settings
from videomage_core.config import SamplingConfig, SubjectConfig
from videomage_core.data.lora_file import load_lora, save_lora
from videomage_core.model import loading
from videomage_core.stages import baselines


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


TINY = ["--steps", "2", "--lambda1", "0", "--batch-size", "1", "--device", "cpu"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(2):
        Image.new("RGB", (30 + index, 40), (200, 40 * index, 10)).save(folder / f"{index}.png")
    return folder


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


def toy(folder: Path, photos: Path, name: str) -> Path:
    """A hardly trained subject <name>."""
    file = folder / f"{name}.safetensors"
    train = ["train-subject", str(photos), "--token", f"<{name}>", "--superclass", "robot", "--output", str(file)]
    assert main([*train, *TINY]) == 0
    return file


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    """A hardly trained motion, and its clip beside it."""
    from PIL import Image

    clip = tmp_path / "clip"
    clip.mkdir()
    for f in range(8):
        frame = Image.new("RGB", (48, 48), "white")
        frame.paste((0, 90, 0), (4 * f, 20, 15 + 4 * f, 35))
        frame.save(clip / f"{f}.png")
    file = tmp_path / "sliding.safetensors"
    train = ["train-motion", str(clip), "--prompt", "a frog is sliding", "--omega", "0", "--output", str(file)]
    assert main([*train, "--steps", "2", "--batch-size", "1"]) == 0
    return file


def test_fuse_and_sample_a_motion(tmp_path, photos, motion, capsys):
    files = [toy(tmp_path, photos, name) for name in ("ann", "bob")]
    fused = tmp_path / "both.safetensors"
    few = ["--steps", "2", "--teacher-videos", "1", "--teacher-steps", "1", "--lambda2", "0"]
    assert main(["fuse", *map(str, files), "--output", str(fused), *few]) == 0
    assert "2 steps" in capsys.readouterr().out
    assert [t.name for t in load_lora(fused).tokens] == ["<ann>", "<bob>"]
    video, overlays = tmp_path / "video.mp4", tmp_path / "looks.png"
    sample = ["sample", "a <ann> is chasing a <bob>", "--lora", str(fused), "--motion", f"{motion}:0.8"]
    sample += ["--clip", str(tmp_path / "clip"), "--attention-overlays", str(overlays), "--output", str(video)]
    assert main([*sample, "--steps", "3", "--tau", "1", "--ddim-inversion-steps", "2"]) == 0
    assert video.stat().st_size > 500 and overlays.stat().st_size > 500
    assert "guidance moved x_sub by" in capsys.readouterr().out
    assert main(["sample", "a <ann> is rising", *sample[2:], "--steps", "3", "--tau", "1"]) == 2
    assert "does not name <bob>" in capsys.readouterr().err


def test_fuse_with_a_clip_of_the_users(tmp_path, photos, motion, capsys):
    from PIL import Image

    files = [toy(tmp_path, photos, name) for name in ("ann", "bob")]
    masks = tmp_path / "masks"
    masks.mkdir()
    for f in range(8):
        mask = Image.new("L", (48, 48))
        mask.paste(255, (4 * f, 20, 15 + 4 * f, 35))
        mask.save(masks / f"{f}.png")
    fuse = ["fuse", *map(str, files), "--output", str(tmp_path / "both.safetensors"), "--steps", "2"]
    fuse += ["--teacher-videos", "1", "--teacher-steps", "1"]
    cut = [text for name in ("ann", "bob") for text in ("--cutout", f"<{name}>={tmp_path / 'clip'}={masks}")]
    assert main([*fuse, *cut]) == 0
    assert "2 steps" in capsys.readouterr().out
    assert main([*fuse, "--cutout", f"<eve>={tmp_path / 'clip'}={masks}"]) == 2
    assert "--cutout: got a clip of <eve>, the LoRAs have <ann>, <bob>" in capsys.readouterr().err
    assert main([*fuse, "--cutout", "<ann>"]) == 2
    assert "write TOKEN=CLIP=MASKS" in capsys.readouterr().err


def test_two_loras_with_one_token_and_the_way_out(tmp_path, photos, capsys):
    first = toy(tmp_path, photos, "ann")
    second = tmp_path / "again.safetensors"
    second.write_bytes(first.read_bytes())
    few = ["--steps", "2", "--teacher-videos", "1", "--teacher-steps", "1", "--lambda2", "0"]
    fuse = ["fuse", str(first), str(second), "--output", str(tmp_path / "both.safetensors"), *few]
    assert main(fuse) == 2
    assert "videomage_core rename FILE '<ann>' '<ann_2>'" in capsys.readouterr().err
    assert main(["rename", str(second), "<ann>", "<ann_2>"]) == 0
    renamed = tmp_path / "again_ann_2.safetensors"
    assert [t.name for t in load_lora(renamed).tokens] == ["<ann_2>"]
    fuse[2] = str(renamed)
    assert main(fuse) == 0
    assert main(["rename", str(second), "<bob>", "<ann_3>"]) == 2
    assert "this LoRA has <ann>" in capsys.readouterr().err


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


def test_averaged_outputs(tmp_path, photos, motion, capsys, monkeypatch):
    """Each --lora in turn with the --motion; what the stage gets is what was given."""
    files = [toy(tmp_path, photos, name) for name in ("ann", "bob")]
    loras = ["--lora", str(files[0]), "--lora", str(files[1]), "--motion", str(motion)]
    sample = [
        "sample",
        "a <ann> is chasing a <bob>",
        *loras,
        "--method",
        "averaged",
        "--output",
        str(tmp_path / "v.mp4"),
    ]
    seen, made = [], baselines.sample_averaged

    def averaged(backbone, subjects, moving, *more):
        seen.append(([t.name for concept in subjects for t in concept.tokens], moving.kind))
        return made(backbone, subjects, moving, *more)

    monkeypatch.setattr(baselines, "sample_averaged", averaged)
    assert main([*sample, "--steps", "2", "--clip", str(tmp_path / "clip"), "--ddim-inversion-steps", "1"]) == 0
    assert seen == [(["<ann>", "<bob>"], "motion")] and (tmp_path / "v.mp4").stat().st_size > 500
    monkeypatch.setattr(loading, "load_unet3d", lambda *_: pytest.fail("the base was loaded"))
    assert main([*sample, "--tau", "3"]) == 2
    assert "--tau: only collaborative sampling has this; drop it, or --method averaged" in capsys.readouterr().err
    assert main(["sample", "a <ann>", *sample[2:]]) == 2
    assert "does not name <bob>" in capsys.readouterr().err
    assert main([*sample, "--lora", str(motion)]) == 2
    assert "the LoRA 3 of 3 is a motion; give it as the motion" in capsys.readouterr().err
    assert main([*sample[:6], "--motion", str(files[0]), "--method", "averaged"]) == 2
    assert "motion: got a subject LoRA" in capsys.readouterr().err
    assert main(["sample", "a <ann>", "--lora", f"{files[0]}:0.5", "--method", "averaged"]) == 2
    assert "ann.safetensors:0.5, strengths have no place here" in capsys.readouterr().err
    assert main(["sample", "a dog", "--motion", str(motion), "--method", "averaged"]) == 2
    assert "--method averaged: got no --lora" in capsys.readouterr().err


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


def test_one_corrupt_picture_among_five_is_named(photos, capsys):
    (photos / "7.png").write_bytes(b"not a picture")
    assert main(["train-subject", str(photos), "--token", "<toy>", "--superclass", "robot"]) == 2
    assert "7.png cannot be read" in capsys.readouterr().err


def test_a_lora_of_another_base_is_refused(tmp_path, photos, capsys):
    file = tmp_path / "toy.safetensors"
    train = ["train-subject", str(photos), "--token", "<toy>", "--superclass", "robot", "--output", str(file), *TINY]
    assert main(train) == 0
    whole = file.read_bytes()
    concept = load_lora(file)
    mark = dataclasses.replace(concept.fingerprint, architecture="other")
    save_lora(file, dataclasses.replace(concept, fingerprint=mark, base="zeroscope_v2_576w"))
    assert main(["sample", "a <toy>", "--lora", str(file), "--steps", "1"]) == 2
    assert "trained on the base 'zeroscope_v2_576w'" in capsys.readouterr().err
    file.write_bytes(whole[: len(whole) // 2])
    assert main(["sample", "a <toy>", "--lora", str(file), "--steps", "1"]) == 2
    assert "not a whole safetensors file" in capsys.readouterr().err


def test_strengths():
    assert file_and_strength("a/b.safetensors") == (Path("a/b.safetensors"), 1.0)
    assert file_and_strength("a/b.safetensors:0.5") == (Path("a/b.safetensors"), 0.5)
    assert file_and_strength("C:/b.safetensors") == (Path("C:/b.safetensors"), 1.0)
    with pytest.raises(ValueError, match="FILE:STRENGTH"):
        file_and_strength("b.safetensors:much")
