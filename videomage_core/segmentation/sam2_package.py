"""Building the package ``sam2``'s model from sizes in JSON; the package's own way runs a configuration framework.

The values that all published models share are those of their configuration files; what tells SAM 2 from SAM 2.1 is
read off the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .weights import SAM2, asset, known_sizes, own_sizes

_STRIDE = 16  # pixels of the image in a place of the last feature map


def sizes_of(weights: Mapping[str, torch.Tensor], path: Path) -> dict[str, Any]:
    """The sizes of the model that a file's weights are of.

    Raises:
        ValueError: no published model has such weights, and no JSON beside the file says which sizes they have.
    """
    published = asset("sam2.json")
    given = known_sizes(path.with_suffix(".json").name, own_sizes(path), published["hiera_tiny"])
    width = weights["image_encoder.trunk.patch_embed.proj.weight"].shape[0]
    depth = len({name.split(".")[3] for name in weights if name.startswith("image_encoder.trunk.blocks.")})
    fits = [s for s in published.values() if s["embed_dim"] == width and sum(s["stages"]) == depth]
    if not fits and not given:
        raise ValueError(
            f"{SAM2}: {path.name} has {depth} blocks of width {width}, which no published model has; sizes of "
            f"your own belong in {path.with_suffix('.json').name} beside it"
        )
    newer = {"newer": "no_obj_embed_spatial" in weights, "pointers": "obj_ptr_tpos_proj.weight" in weights}
    return {**(fits[0] if fits else published["hiera_tiny"]), **given, **newer}


_PREDICTOR: dict[str, Any] = {  # the same in all published models
    "num_maskmem": 7,
    "sigmoid_scale_for_mem_enc": 20.0,
    "sigmoid_bias_for_mem_enc": -10.0,
    "binarize_mask_from_pts_for_mem_enc": True,
    "use_mask_input_as_output_without_sam": True,
    "directly_add_no_mem_embed": True,
    "use_high_res_features_in_sam": True,
    "multimask_output_in_sam": True,
    "multimask_min_pt_num": 0,
    "multimask_max_pt_num": 1,
    "multimask_output_for_tracking": True,
    "use_multimask_token_for_obj_ptr": True,
    "iou_prediction_use_sigmoid": True,
    "use_obj_ptrs_in_encoder": True,
    "only_obj_ptrs_in_the_past_for_eval": True,
    "pred_obj_scores": True,
    "pred_obj_scores_mlp": True,
    "fixed_no_obj_ptr": True,
    "use_mlp_for_obj_ptr_proj": True,
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
}


def build_package_model(sizes: Mapping[str, Any]) -> Any:
    """``sam2``'s video predictor with random weights, on the CPU.

    Args:
        sizes: as in the bundled ``sam2.json``, with ``newer`` and ``pointers`` for what SAM 2.1 has besides.
    """
    from sam2.modeling.memory_attention import MemoryAttention
    from sam2.sam2_video_predictor import SAM2VideoPredictor

    hidden = sizes["hidden"]
    return SAM2VideoPredictor(
        image_encoder=_image_encoder(sizes),
        memory_attention=MemoryAttention(
            d_model=hidden, pos_enc_at_input=True, layer=_memory_layer(sizes), num_layers=sizes["memory_layers"]
        ),
        memory_encoder=_memory_encoder(sizes),
        image_size=sizes["image_size"],
        add_tpos_enc_to_obj_ptrs=sizes["pointers"],
        proj_tpos_enc_in_obj_ptrs=sizes["pointers"],
        use_signed_tpos_enc_to_obj_ptrs=sizes["pointers"],
        no_obj_embed_spatial=sizes["newer"],
        **_PREDICTOR,
    )


def _image_encoder(sizes: Mapping[str, Any]) -> Any:
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder

    trunk = Hiera(
        embed_dim=sizes["embed_dim"],
        num_heads=sizes["num_heads"],
        stages=tuple(sizes["stages"]),
        global_att_blocks=tuple(sizes["global_att_blocks"]),
        window_pos_embed_bkg_spatial_size=tuple(sizes["window_pos_embed_bkg_spatial_size"]),
        window_spec=tuple(sizes["window_spec"]),
    )
    neck = FpnNeck(
        position_encoding=_sine(sizes["hidden"]),
        d_model=sizes["hidden"],
        backbone_channel_list=[sizes["embed_dim"] * 2**level for level in (3, 2, 1, 0)],
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    return ImageEncoder(trunk=trunk, neck=neck, scalp=1)


def _memory_layer(sizes: Mapping[str, Any]) -> Any:
    from sam2.modeling.memory_attention import MemoryAttentionLayer
    from sam2.modeling.sam.transformer import RoPEAttention

    hidden, places = sizes["hidden"], sizes["image_size"] // _STRIDE

    def attention(**more: Any) -> Any:
        return RoPEAttention(
            rope_theta=10000.0, feat_sizes=[places, places], embedding_dim=hidden, num_heads=1, downsample_rate=1,
            dropout=0.1, **more,
        )  # fmt: skip

    return MemoryAttentionLayer(
        activation="relu",
        dim_feedforward=sizes["feed_forward"],
        dropout=0.1,
        pos_enc_at_attn=False,
        self_attention=attention(),
        d_model=hidden,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        cross_attention=attention(rope_k_repeat=True, kv_in_dim=sizes["memory"]),
    )


def _memory_encoder(sizes: Mapping[str, Any]) -> Any:
    from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder

    hidden = sizes["hidden"]
    block = CXBlock(dim=hidden, kernel_size=7, padding=3, layer_scale_init_value=1e-6, use_dwconv=True)
    return MemoryEncoder(
        out_dim=sizes["memory"],
        in_dim=hidden,
        position_encoding=_sine(sizes["memory"]),
        mask_downsampler=MaskDownSampler(embed_dim=hidden, kernel_size=3, stride=2, padding=1),
        fuser=Fuser(layer=block, num_layers=2),
    )


def _sine(features: int) -> Any:
    from sam2.modeling.position_encoding import PositionEmbeddingSine

    return PositionEmbeddingSine(num_pos_feats=features, normalize=True, scale=None, temperature=10000)
