"""A Wan base's folder: checked before anything of it is loaded, and run by the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from videomage_core.cli import main
from videomage_core.data.lora_file import load_lora, read_header
from videomage_core.data.media import load_clip
from videomage_core.model import loading, wan_loading
from videomage_core.model.base_folder import check_base_folder
from videomage_core.model.base_kinds import check_video_size, is_base_folder
from videomage_core.model.base_names import is_wan_folder
from videomage_core.model.loading import load_base, load_unet3d
from videomage_core.model.wan import WanBackbone
from videomage_core.model.wan_folder import check_wan_folder, wan_geometry
from videomage_core.presets import EMOJI_WAN, WAN, preset_for

SMALL = ["--height", "32", "--width", "32", "--device", "cpu", "--memory", "high"]


@pytest.fixture
def copied_wan(wan_folder, tmp_path) -> Path:
    return Path(shutil.copytree(wan_folder, tmp_path / "wan"))


def change(path: Path, **values: object) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, **values}), encoding="utf-8")


# --- the folder


def test_it_is_a_base_of_its_own_kind(wan_folder):
    assert is_wan_folder(wan_folder) and is_base_folder(wan_folder)
    assert isinstance(load_base(wan_folder, device="cpu"), WanBackbone)
    with pytest.raises(ValueError, match="is a Wan base; allowed here is one with a UNet3DConditionModel"):
        check_base_folder(wan_folder)
    with pytest.raises(ValueError, match="load_base takes both"):
        load_unet3d(wan_folder)


def test_its_sizes_are_read(wan_folder, copied_wan):
    geometry = wan_geometry(wan_folder)
    assert (geometry.spatial, geometry.temporal, geometry.patch, geometry.shift) == (8, 4, 2, 3.0)
    assert geometry.trained_size is None and preset_for(wan_folder) is WAN
    change(copied_wan / "vae" / "config.json", scale_factor_spatial=4, scale_factor_temporal=1)
    assert wan_geometry(copied_wan).trained_size == (9, 48, 48) and preset_for(copied_wan) is EMOJI_WAN


def test_missing_parts_are_named(copied_wan):
    shutil.rmtree(copied_wan / "vae")
    (copied_wan / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks vae, vae/config.json, transformer/\*.safetensors"):
        check_wan_folder(copied_wan)
    with pytest.raises(FileNotFoundError, match="lacks vae"):
        load_base(copied_wan)


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("model_index.json", {"boundary_ratio": 0.875}, "it has two experts"),
        ("model_index.json", {"expand_timesteps": True}, "it gives each place a noise level of its own"),
        ("transformer/config.json", {"in_channels": 36}, "it begins from an image"),
        ("transformer/config.json", {"patch_size": [2, 2, 2]}, "its patches hold several frames"),
    ],
)
def test_kinds_that_are_not_carried_are_refused(copied_wan, file, values, message):
    change(copied_wan / file, **values)
    with pytest.raises(ValueError, match=f"is a Wan base, but {message}"):
        load_base(copied_wan)


def test_sizes_are_checked_without_the_weights(wan_folder):
    check_video_size(wan_folder, [1, 81], 480, 832)
    with pytest.raises(ValueError, match="got 8, this base makes 1 more than a multiple of 4; nearest: 5 and 9"):
        check_video_size(wan_folder, [5, 8], 32, 32)
    with pytest.raises(ValueError, match=r"size: got 24x32 pixels .* multiples of 16"):
        check_video_size(wan_folder, [5], 24, 32)


def test_precisions(wan_folder):
    import torch

    base = load_base(wan_folder, dtype="bf16", device="cpu")
    assert base.dtype == torch.bfloat16 and base.vae.dtype == torch.float32
    with torch.no_grad():
        output = base.predict(torch.randn(1, 16, 2, 4, 4), base.level_at(0.5), base.encode_prompt(["a dog"]))
    assert output.dtype == torch.float32 and bool(output.isfinite().all())
    with pytest.raises(ValueError, match="dtype: got 'fp16', a Wan base takes 'auto', 'fp32', 'bf16'"):
        load_base(wan_folder, dtype="fp16", device="cpu")


# --- the command line


def test_the_command_line_trains_fuses_and_composes(wan_folder, tmp_path, capsys):
    """Each command once, for two steps, with its own files."""
    from PIL import Image

    toys, passing, masks = (tmp_path / name for name in ("toys", "clip", "masks"))
    for folder in (toys, passing, masks):
        folder.mkdir()
    Image.new("RGB", (40, 40), (200, 30, 30)).save(toys / "1.png")
    for frame in range(5):
        image, mask = Image.new("RGB", (32, 32), (90, 90, 90)), Image.new("L", (32, 32), 0)
        image.paste((200, 30, 30), (2 * frame, 8, 2 * frame + 14, 22))
        mask.paste(255, (2 * frame, 8, 2 * frame + 14, 22))
        image.save(passing / f"{frame}.png")
        mask.save(masks / f"{frame}.png")
    base = ["--base", str(wan_folder), "--preset", "emoji_wan", *SMALL]
    steps = [*base, "--steps", "2"]
    toy, move, video = tmp_path / "toy.safetensors", tmp_path / "move.safetensors", tmp_path / "video.mp4"
    auxiliary = ["--auxiliary-frames", "5", "--auxiliary-clips", "1", "--auxiliary-steps", "1"]
    learn = ["train-subject", str(toys), "--token", "<toy>", "--superclass", "robot", "--output", str(toy)]
    assert main([*learn, *steps, *auxiliary]) == 0
    learn = ["train-motion", str(passing), "--prompt", "a dog is passing", "--subject", f"dog={masks}", "--frames", "5"]
    assert main([*learn, *steps, "--textual-inversion-steps", "2", "--output", str(move)]) == 0
    assert load_lora(toy).base == wan_folder.name and read_header(move).kind == "motion"
    compose = ["sample", "a <toy> is passing", "--lora", str(toy), "--motion", str(move), "--output", str(video)]
    assert (
        main([*compose, *steps, "--frames", "5", "--tau", "1", "--clip", str(passing), "--ddim-inversion-steps", "2"])
        == 0
    )
    assert load_clip(video, 5).pixels.shape == (3, 5, 32, 32)
    assert "guidance moved x_sub by" in capsys.readouterr().out


def test_the_command_line_makes_a_plain_video(wan_folder, tmp_path, capsys):
    target = tmp_path / "video.mp4"
    arguments = ["sample", "a dog", "--base", str(wan_folder), "--output", str(target), *SMALL]
    assert main([*arguments, "--frames", "5", "--steps", "1"]) == 0
    printed = capsys.readouterr()
    assert f"wrote {target}" in printed.out and "Loading" not in printed.err
    assert load_clip(target, 5).pixels.shape == (3, 5, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tau", "3"], "--tau: only collaborative sampling has this"),
        (["--frames", "7"], "frames: got 7, this base makes 1 more than a multiple of 4; nearest: 5 and 9"),
        (["--frames", "5", "--height", "20"], "size: got 20x832"),
        (["--output", "x.gif"], "must end in .mp4"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_loaded(wan_folder, arguments, message, capsys, monkeypatch):
    for module in (loading, wan_loading):
        monkeypatch.setattr(module, "load_wan", lambda *_, **__: pytest.fail("loaded"))
    assert main(["sample", "a dog", "--base", str(wan_folder), *arguments]) == 2
    assert message in capsys.readouterr().err
