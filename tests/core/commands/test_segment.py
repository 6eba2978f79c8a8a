"""The command segment, and a segmenter in the training commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from videomage_core import cli
from videomage_core.data.images import list_images, read_image
from videomage_core.data.lora_file import load_lora
from videomage_core.data.masks import resize_mask

EXAMPLES = Path("videomage_core/assets/examples")


class Middle:
    """A segmenter whose masks are the middle of the image; it keeps what it is asked."""

    asked: tuple = ()

    def __init__(self, *given) -> None:
        type(self).asked = (*given,)

    def segment(self, pixels, words):
        type(self).asked += (tuple(words),)
        mask = torch.zeros(len(words), *pixels.shape[1:])
        mask[..., pixels.shape[2] // 6 : -pixels.shape[2] // 6, pixels.shape[3] // 5 : -pixels.shape[3] // 5] = 1
        return mask


@pytest.fixture
def middle(monkeypatch):
    from videomage_core.data import grounded_sam2

    monkeypatch.setattr(grounded_sam2, "GroundedSam2", Middle)
    return Middle


MODELS = ["--detector", "models/dino", "--sam2", "models/sam2.pt"]


def test_segment_writes_masks_that_train_motion_reads(tmp_path, middle, capsys):
    clip = EXAMPLES / "riding" / "clip"
    words = ["--query", "pig", "--query", "stuffed cat", "--box-threshold", "0.2"]
    assert cli.main(["segment", str(clip), *words, *MODELS, "--output", str(tmp_path)]) == 0
    assert middle.asked[-1] == ("pig", "stuffed cat") and middle.asked[3].box_threshold == 0.2
    masks = list_images(tmp_path / "stuffed_cat")
    assert len(masks) == len(list_images(tmp_path / "pig")) == 8
    mask = (read_image(masks[3]).pixels.mean(0) + 1) / 2
    assert mask.shape == (48, 48) and mask[24, 24] == 1 and mask[0, 0] == 0
    assert (tmp_path / "overlay.mp4").stat().st_size > 0
    assert "8 masks of 'stuffed cat'" in capsys.readouterr().out
    subjects = [f"--subject=pig={tmp_path / 'pig'}", f"--subject=cat={tmp_path / 'stuffed_cat'}"]
    arguments = ["train-motion", str(clip), "--prompt", "a pig is riding a cat", *subjects, "--steps", "1",
                 "--textual-inversion-steps", "1", "--output", str(tmp_path / "m.safetensors")]  # fmt: skip
    assert cli.main(arguments) == 0


def test_an_image_has_a_mask_of_its_own_name_which_train_subject_reads(tmp_path, middle):
    image = list_images(EXAMPLES / "dog")[0]
    assert cli.main(["segment", str(image), "--query", "dog, dog", *MODELS, "--output", str(tmp_path)]) == 0
    assert (tmp_path / "dog_1" / f"{image.stem}.png").is_file() and (tmp_path / "dog_2").is_dir()


@pytest.mark.parametrize("command", ["subject", "motion", "fuse"])
def test_trainings_take_a_segmenter(tmp_path, middle, command, capsys):
    few = ["--steps", "1", "--output", str(tmp_path / "x.safetensors"), *MODELS]
    dog = ["train-subject", str(EXAMPLES / "dog"), "--token", "<dog>", "--superclass", "dog", "--auxiliary-clips", "1",
           "--auxiliary-steps", "2"]  # fmt: skip
    if command == "subject":
        assert cli.main([*dog, *few]) == 0
        assert middle.asked[-4:] == (("dog",),) * 4
    elif command == "motion":
        clip = ["train-motion", str(EXAMPLES / "riding" / "clip"), "--prompt", "a pig is riding a cat"]
        who = ["--subject", "pig", "--subject", "cat", "--textual-inversion-steps", "1"]
        assert cli.main([*clip, *who, *few]) == 0
        assert middle.asked[-1] == ("pig", "cat")
    else:
        loras = []
        for name in ("dog", "panda"):
            one = [name if part == "dog" else part.replace("<dog>", f"<{name}>") for part in dog]
            one[1] = str(EXAMPLES / name)
            loras.append(str(tmp_path / f"{name}.safetensors"))
            assert cli.main([*one, "--steps", "1", "--output", loras[-1]]) == 0
        more = ["--teacher-videos", "1", "--teacher-steps", "2", "--cutmix-videos", "1"]
        assert cli.main(["fuse", *loras, *more, *few]) == 0
        assert middle.asked[-2:] == (("dog",), ("panda",))
    assert load_lora(tmp_path / "x.safetensors").weights.layers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "x.pth"], "--detector: a segmenter needs --detector and --sam2 together"),
        (["--bert", "x"], "--bert: a segmenter needs"),
        (["--detector", "/nowhere/x.pth", "--sam2", "y.pt"], "GroundingDINO: /nowhere/x.pth does not exist; expected"),
    ],
)
def test_bad_input_is_told_before_a_base_loads(tmp_path, arguments, message, capsys):
    dog = ["train-subject", str(EXAMPLES / "dog"), "--token", "<dog>", "--superclass", "dog"]
    assert cli.main([*dog, *arguments, "--output", str(tmp_path / "x.safetensors")]) == cli.BAD_INPUT
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_a_missing_package_is_bad_input_and_says_what_to_install(tmp_path, monkeypatch, capsys):
    import importlib.util

    file = tmp_path / "sam2.1_hiera_tiny.pt"
    file.touch()
    folder = tmp_path / "dino"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "grounding-dino"}')
    for name in ("model.safetensors", "vocab.txt"):
        (folder / name).touch()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "sam2" else find(name, *more))
    arguments = ["segment", "x.mp4", "--query", "dog", "--detector", str(folder), "--sam2", str(file)]
    assert cli.main(arguments) == cli.BAD_INPUT
    assert (
        "needs the package rf-sam-2, which is not installed: pip install -r requirements.txt" in capsys.readouterr().err
    )


def test_masks_keep_their_share_when_written(tmp_path):
    from videomage_core.data.images import save_mask

    mask = torch.rand(9, 7, generator=torch.Generator().manual_seed(0))
    save_mask(mask, tmp_path / "a" / "m.png")
    read = (read_image(tmp_path / "a" / "m.png").pixels.mean(0) + 1) / 2
    torch.testing.assert_close(read, mask, atol=1 / 255, rtol=0)
    assert resize_mask(read, 3, 3).shape == (3, 3)
