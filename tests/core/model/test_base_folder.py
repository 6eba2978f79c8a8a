"""A base's folder: what it is called, and what it is instead where it is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from videomage_core.model.base_folder import (
    EMOJI_BASE,
    base_name,
    check_base_folder,
    check_weights,
    stored_dtype,
    weight_files,
)
from videomage_core.model.base_kinds import is_base_folder


def with_scheduler(base: Path, **changed) -> None:
    path = base / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_a_link_and_a_hubs_cache_keep_the_name_they_are_given_by(tmp_path):
    snapshot = (
        tmp_path / "models--cerspense--zeroscope_v2_576w" / "snapshots" / "6963642a64dbefa93663d1ecebb4ceda2d9ecb28"
    )
    shutil.copytree(EMOJI_BASE, snapshot)
    (tmp_path / "mine").symlink_to(snapshot)
    assert base_name(snapshot) == "zeroscope_v2_576w"
    assert base_name(tmp_path / "mine") == base_name(tmp_path / "x" / ".." / "mine") == "mine"
    assert base_name(EMOJI_BASE) == "emoji_base" and is_base_folder(tmp_path / "mine")
    cache = tmp_path / "models--cerspense--zeroscope_v2_576w"
    with pytest.raises(FileNotFoundError, match=f"it is a hub's cache of the model; give {snapshot}"):
        check_base_folder(cache)
    with pytest.raises(FileNotFoundError, match=r"it is a hub's cache; give .*zeroscope_v2_576w/snapshots/<hash>"):
        check_base_folder(tmp_path)


def test_other_things_are_told_what_they_are(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"model\.ckpt is a file; give a folder in diffusers layout"):
        check_base_folder(tmp_path / "model.ckpt")
    (tmp_path / "text2video_pytorch_model.pth").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"single checkpoint \(\.ckpt, \.pth, as ModelScope's first release\)"):
        check_base_folder(tmp_path)
    shutil.copytree(EMOJI_BASE, tmp_path / "outer" / "emoji")
    with pytest.raises(FileNotFoundError, match=f"a base lies in it; give {tmp_path / 'outer' / 'emoji'}"):
        check_base_folder(tmp_path / "outer")


def test_hidden_files_are_no_weights(copied_base):
    unet = copied_base / "unet" / "diffusion_pytorch_model.safetensors"
    unet.rename(unet.with_name("._diffusion_pytorch_model.safetensors"))
    assert weight_files(copied_base / "unet") == []
    with pytest.raises(FileNotFoundError, match=r"lacks unet/\*\.safetensors"):
        check_base_folder(copied_base)


def test_weights_that_are_something_else_are_told_before_anything_loads(copied_base):
    check_weights(copied_base)
    vae = copied_base / "vae" / "diffusion_pytorch_model.safetensors"
    vae.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(ValueError, match=r"base: .*vae.*safetensors is a Git LFS pointer.*git lfs pull"):
        check_weights(copied_base)


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("clip_sample", True, r"uses clip_sample \(latents cut to a range\)"),
        ("thresholding", True, "uses thresholding"),
        ("rescale_betas_zero_snr", True, "uses rescale_betas_zero_snr .*set it to false there"),
        ("use_karras_sigmas", True, "uses use_karras_sigmas"),
        ("timestep_spacing", "trailing", "has timestep_spacing 'trailing', allowed: leading"),
        ("beta_schedule", "sigmoid", "has beta_schedule 'sigmoid', allowed: linear, scaled_linear"),
        ("prediction_type", "sample", "has prediction_type 'sample', allowed: epsilon, v_prediction"),
        ("_class_name", "FlowMatchEulerDiscreteScheduler", "predict epsilon or v"),
    ],
)
def test_what_a_scheduler_asks_for_and_is_not_done_is_refused(copied_base, setting, value, why):
    check_base_folder(copied_base)
    with_scheduler(copied_base, **{setting: value})
    with pytest.raises(ValueError, match=why):
        check_base_folder(copied_base)


def test_what_diffusers_does_where_a_scheduler_says_nothing_counts(copied_base):
    path = copied_base / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    del config["clip_sample"]
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="uses clip_sample"):  # DDIM's default
        check_base_folder(copied_base)
    with_scheduler(copied_base, _class_name="PNDMScheduler")  # which has none
    check_base_folder(copied_base)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_stored_precision_is_read_from_the_file(copied_base, form, dtype):
    path = copied_base / "unet" / "diffusion_pytorch_model.safetensors"
    weights = {name: weight.to(dtype) for name, weight in load_file(path).items()}
    path.unlink()
    if form == "bin":
        torch.save(weights, path.with_suffix(".bin"))
    else:
        save_file(weights, path, metadata={"format": "pt"})
    assert stored_dtype(copied_base) == dtype
