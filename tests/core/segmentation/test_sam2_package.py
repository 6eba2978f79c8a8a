"""The package's SAM 2, built from JSON: the same models that the package's own configuration files make."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("sam2", reason="sam2 is not installed: pip install -r requirements.txt")

from videomage_core.segmentation.sam2_package import build_package_model, sizes_of
from videomage_core.segmentation.weights import asset

YAML = {"hiera_tiny": "t", "hiera_small": "s", "hiera_base_plus": "b+", "hiera_large": "l"}


@pytest.mark.parametrize("name", YAML)
@pytest.mark.parametrize("newer", [True, False], ids=["2.1", "2"])
def test_sizes_are_those_of_the_packages_files(name, newer):
    import sam2
    from omegaconf import OmegaConf

    version = "sam2.1" if newer else "sam2"
    folder = Path(sam2.__file__).parent / "configs" / version
    wanted = OmegaConf.to_container(OmegaConf.load(folder / f"{version}_hiera_{YAML[name]}.yaml"))["model"]
    sizes, trunk = asset("sam2.json")[name], wanted["image_encoder"]["trunk"]
    defaults = {"window_spec": [8, 4, 14, 7], "window_pos_embed_bkg_spatial_size": [14, 14],
                "stages": [2, 3, 16, 3], "global_att_blocks": [12, 16, 20]}  # fmt: skip
    own = ("embed_dim", "num_heads", *defaults)
    assert {key: sizes[key] for key in own} == {key: trunk.get(key, defaults.get(key)) for key in own}
    assert sizes["image_size"] == wanted["image_size"] and sizes["hidden"] == wanted["memory_attention"]["d_model"]
    assert sizes["memory"] == wanted["memory_encoder"]["out_dim"]
    assert sizes["memory_layers"] == wanted["memory_attention"]["num_layers"]
    assert bool(wanted.get("no_obj_embed_spatial")) == newer == bool(wanted.get("proj_tpos_enc_in_obj_ptrs"))


def test_the_tiny_published_one_is_the_packages_own_weight_for_weight():
    """Also every plain setting: what the package's own builder makes of its file."""
    from sam2.build_sam import build_sam2_video_predictor

    ours = build_package_model({**asset("sam2.json")["hiera_tiny"], "newer": True, "pointers": True})
    own = build_sam2_video_predictor("configs/sam2.1/sam2.1_hiera_t.yaml", ckpt_path=None, device="cpu")
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in own.state_dict().items()}

    def plain(model):
        return {k: v for k, v in vars(model).items() if isinstance(v, (bool, int, float, str)) and k != "training"}

    assert {k: v for k, v in plain(ours).items() if v != plain(own)[k]} == {"fill_hole_area": 0}  # needs compiled code


def test_sizes_are_read_off_the_weights(tmp_path):
    def weights(width, depth):
        made = {f"image_encoder.trunk.blocks.{i}.norm1.weight": torch.zeros(1) for i in range(depth)}
        return made | {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(width, 3, 7, 7)}

    path = tmp_path / "own.pt"
    assert sizes_of(weights(96, 16), path)["stages"] == [1, 2, 11, 2]
    assert sizes_of(weights(144, 48), path)["window_spec"] == [8, 4, 16, 8]
    assert not sizes_of(weights(96, 12), path)["newer"]
    assert sizes_of(weights(96, 12) | {"no_obj_embed_spatial": torch.zeros(1)}, path)["newer"]
    with pytest.raises(
        ValueError, match=r"own\.pt has 5 blocks of width 24, which no published model has; .* own\.json"
    ):
        sizes_of(weights(24, 5), path)
    path.with_suffix(".json").write_text('{"image_size": 128}')
    assert sizes_of(weights(24, 5), path)["image_size"] == 128
