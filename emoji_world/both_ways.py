"""The same weights both ways: names of the packages ``sam2`` and ``groundingdino``, and those of transformers.

Needed to prove that both ways give the same masks; users' files come in either form already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Weights = dict[str, torch.Tensor]
Rules = tuple[tuple[str, str], ...]

# GroundingDINO: transformers' name -> the package's.
_DINO: Rules = (
    (r"^model\.text_backbone\.", "bert."),
    (r"^model\.text_projection\.", "feat_map."),
    (r"^model\.input_proj_vision\.", "input_proj."),
    (r"^model\.level_embed", "transformer.level_embed"),
    (r"^model\.query_position_embeddings\.", "transformer.tgt_embed."),
    (r"^model\.enc_output", "transformer.enc_output"),
    (r"^model\.encoder_output_bbox_embed\.", "transformer.enc_out_bbox_embed."),
    (r"^model\.decoder\.layer_norm\.", "transformer.decoder.norm."),
    (r"^model\.decoder\.reference_points_head\.", "transformer.decoder.ref_point_head."),
    (r"^model\.decoder\.bbox_embed\.", "transformer.decoder.bbox_embed."),
    (r"^model\.encoder\.layers\.(\d+)\.text_enhancer_layer\.", r"transformer.encoder.text_layers.\1."),
    (r"^model\.encoder\.layers\.(\d+)\.fusion_layer\.", r"transformer.encoder.fusion_layers.\1."),
    (r"^model\.encoder\.layers\.(\d+)\.deformable_layer\.", r"transformer.encoder.layers.\1."),
    (r"^model\.decoder\.layers\.(\d+)\.", r"transformer.decoder.layers.\1."),
    (r"(text_layers\.\d+\.)layer_norm_before\.", r"\1norm1."),
    (r"(text_layers\.\d+\.)layer_norm_after\.", r"\1norm2."),
    (r"(encoder\.layers\.\d+\.)self_attn_layer_norm\.", r"\1norm1."),
    (r"(encoder\.layers\.\d+\.)final_layer_norm\.", r"\1norm2."),
    (r"(decoder\.layers\.\d+\.)self_attn_layer_norm\.", r"\1norm2."),
    (r"(decoder\.layers\.\d+\.)encoder_attn_text_layer_norm\.", r"\1catext_norm."),
    (r"(decoder\.layers\.\d+\.)encoder_attn_layer_norm\.", r"\1norm1."),
    (r"(decoder\.layers\.\d+\.)final_layer_norm\.", r"\1norm3."),
    (r"(decoder\.layers\.\d+\.)encoder_attn_text\.", r"\1ca_text."),
    (r"(decoder\.layers\.\d+\.)encoder_attn\.", r"\1cross_attn."),
    (r"(layers\.\d+\.)fc([12])\.", r"\1linear\2."),
    (r"vision_param$", "gamma_v"),
    (r"text_param$", "gamma_l"),
    (r"layer_norm_vision\.", "layer_norm_v."),
    (r"layer_norm_text\.", "layer_norm_l."),
    (r"(fusion_layers\.\d+\.attn\.\w*?)vision_proj", r"\1v_proj"),
    (r"(fusion_layers\.\d+\.attn\.\w*?)text_proj", r"\1l_proj"),
    (r"^model\.backbone\.conv_encoder\.model\.hidden_states_norms\.stage2", "backbone.0.norm1"),
    (r"^model\.backbone\.conv_encoder\.model\.hidden_states_norms\.stage3", "backbone.0.norm2"),
    (r"^model\.backbone\.conv_encoder\.model\.hidden_states_norms\.stage4", "backbone.0.norm3"),
    (r"^model\.backbone\.conv_encoder\.model\.(swin\.)?", "backbone.0."),
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^backbone\.0\.embeddings\.norm\.", "backbone.0.patch_embed.norm."),
    (r"^backbone\.0\.encoder\.", "backbone.0."),
    (r"layernorm_before\.", "norm1."),
    (r"layernorm_after\.", "norm2."),
    (r"intermediate\.dense\.(?=\w+$)", "mlp.fc1."),
    (r"attention\.self\.relative_position", "attn.relative_position"),
    (r"attention\.output\.dense\.", "attn.proj."),
    (r"attention\.self\.(query|key|value)\.", r"attn.\1."),
    (r"(blocks\.\d+\.)output\.dense\.", r"\1mlp.fc2."),
)
_HEAD = r"(iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d|^obj_ptr_proj)"
# SAM 2: the package's name -> transformers'.
_SAM: Rules = (
    (r"^image_encoder\.trunk\.patch_embed\.proj\.", "vision_encoder.backbone.patch_embed.projection."),
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_prompt_encoder\.pe_layer\.\w+", "prompt_encoder.shared_embedding.positional_embedding"),
    (r"^sam_prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^sam_prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^sam_prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^sam_prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^sam_prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^sam_mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^sam_mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"norm_final_attn\.", "layer_norm_final_attn."),
    (_HEAD.replace("(", "(mlp|") + r"\.layers\.0\.", r"\1.proj_in."),
    (r"(mlp)\.layers\.1\.", r"\1.proj_out."),
    (_HEAD + r"\.layers\.1\.", r"\1.layers.0."),
    (_HEAD + r"\.layers\.2\.", r"\1.proj_out."),
    (r"^obj_ptr_proj\.", "object_pointer_proj."),
    (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
    (r"^memory_encoder\.mask_downsampler\.encoder\.12\.", "memory_encoder.mask_downsampler.final_conv."),
    (r"^memory_encoder\.pix_feat_proj\.", "memory_encoder.feature_projection."),
    (r"^memory_encoder\.out_proj\.", "memory_encoder.projection."),
    (r"^memory_encoder\.fuser\.", "memory_encoder.memory_fuser."),
    (r"(memory_fuser\.layers\.\d\.)dwconv\.", r"\1depthwise_conv."),
    (r"(memory_fuser\.layers\.\d\.)pwconv", r"\1pointwise_conv"),
    (r"(memory_fuser\.layers\.\d\.)gamma", r"\1scale"),
    (r"(memory_fuser\.layers\.\d\.)norm\.", r"\1layer_norm."),
    (r"^memory_attention\.norm\.", "memory_attention.layer_norm."),
    (r"\.norm([1234])\.", r".layer_norm\1."),
    (r"attn(\w*)\.out_proj\.", r"attn\1.o_proj."),
    (r"^maskmem_tpos_enc", "memory_temporal_positional_encoding"),
    (r"^no_mem_embed", "no_memory_embedding"),
    (r"^no_mem_pos_enc", "no_memory_positional_encoding"),
    (r"^no_obj_ptr", "no_object_pointer"),
    (r"^no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"),
)  # fmt: skip


def _renamed(name: str, rules: Rules) -> str:
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name


def detector_as_package(weights: Mapping[str, torch.Tensor], decoder_layers: int) -> Weights:
    """GroundingDINO's weights from transformers' names to the package's."""
    bert, rest = {}, {}
    for name, tensor in weights.items():
        if name.startswith("model.text_backbone."):
            bert[name.replace("model.text_backbone.", "bert.")] = tensor
        elif not name.endswith(("swin.layernorm.weight", "swin.layernorm.bias")):
            rest[_renamed(name, _DINO)] = tensor
    named = _joined(rest, ("query", "key", "value"))
    for name in [n for n in named if n.startswith("bbox_embed.0.")]:
        for layer in range(decoder_layers):  # transformers saves once what all layers share
            own = name.replace("bbox_embed.0.", f"bbox_embed.{layer}.")
            named.setdefault(own, named[name])
            named.setdefault(f"transformer.decoder.{own}", named[name])
    pooler = bert["bert.embeddings.word_embeddings.weight"].shape[1]
    bert.setdefault("bert.pooler.dense.weight", torch.zeros(pooler, pooler))  # never used
    bert.setdefault("bert.pooler.dense.bias", torch.zeros(pooler))
    return {**bert, **named}


def _joined(weights: Mapping[str, torch.Tensor], parts: Iterable[str]) -> Weights:
    """Query, key and value of an attention stacked: in one ``qkv`` in Swin, in ``in_proj_`` elsewhere."""
    first, *others = parts
    out = {}
    for name, tensor in weights.items():
        owner, _, rest = name.rpartition(f".{first}.")
        if owner:
            stacked = torch.cat([tensor, *(weights[f"{owner}.{part}.{rest}"] for part in others)])
            out[f"{owner}.qkv.{rest}" if owner.startswith("backbone") else f"{owner}.in_proj_{rest}"] = stacked
        elif not any(f".{part}." in name for part in others):
            out[name] = tensor
    return out


def sam2_as_transformers(weights: Mapping[str, torch.Tensor]) -> Weights:
    """SAM 2's weights from the package's names to transformers'."""
    out = {}
    for name, tensor in weights.items():
        step = re.match(r"^memory_encoder\.mask_downsampler\.encoder\.(\d+)\.", name)
        if step and int(step[1]) < 12:  # a convolution, a norm, nothing, by turns
            kind = ("conv", "layer_norm")[int(step[1]) % 3]
            new = f"memory_encoder.mask_downsampler.layers.{int(step[1]) // 3}.{kind}.{name.rpartition('.')[2]}"
        else:
            new = _renamed(name, _SAM)
        out[new] = tensor
    points = [out.pop(f"prompt_encoder.point_embeddings.{i}.weight") for i in range(4)]
    out["prompt_encoder.point_embed.weight"] = torch.cat(points)
    out["shared_image_embedding.positional_embedding"] = out["prompt_encoder.shared_embedding.positional_embedding"]
    if "memory_encoder.projection.weight" not in out:  # the package leaves out what would change nothing
        width = out["memory_encoder.feature_projection.weight"].shape[0]
        out["memory_encoder.projection.weight"] = torch.eye(width)[..., None, None]
        out["memory_encoder.projection.bias"] = torch.zeros(width)
    return out


def sam2_config(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' configuration of a SAM 2.1 of these sizes, as JSON."""
    side, hidden, width = sizes["image_size"], sizes["hidden"], sizes["embed_dim"]
    levels = [width * 2**n for n in range(4)]
    back = {
        "model_type": "sam2_hiera_det_model", "hidden_size": width, "num_attention_heads": sizes["num_heads"],
        "image_size": [side, side], "blocks_per_stage": sizes["stages"], "embed_dim_per_stage": levels,
        "num_attention_heads_per_stage": [sizes["num_heads"] * 2**n for n in range(4)],
        "window_size_per_stage": sizes["window_spec"], "global_attention_blocks": sizes["global_att_blocks"],
        "window_positional_embedding_background_size": sizes["window_pos_embed_bkg_spatial_size"],
    }  # fmt: skip
    vision = {
        "model_type": "sam2_vision_model", "backbone_config": back, "backbone_channel_list": levels[::-1],
        "backbone_feature_sizes": [[side // s] * 2 for s in (4, 8, 16)], "fpn_hidden_size": hidden,
    }  # fmt: skip
    return {
        "model_type": "sam2_video", "architectures": ["Sam2VideoModel"], "vision_config": vision,
        "prompt_encoder_config": {"hidden_size": hidden, "image_size": side},
        "mask_decoder_config": {"hidden_size": hidden}, "image_size": side,
        "memory_attention_hidden_size": hidden, "memory_attention_num_layers": sizes["memory_layers"],
        "memory_attention_feed_forward_hidden_size": sizes["feed_forward"],
        "memory_attention_rope_feat_sizes": [side // 16] * 2, "memory_encoder_hidden_size": hidden,
        "memory_encoder_output_channels": sizes["memory"], "mask_downsampler_embed_dim": hidden,
        "memory_fuser_embed_dim": hidden, "memory_fuser_intermediate_dim": 4 * hidden,
    }  # fmt: skip


def random_sam2(file: Path) -> Path:
    """Write a tiny SAM 2's file with random weights of a fixed seed; its masks are neither empty nor full.

    The names and shapes are those of ``fit_sam2``'s, read off its shipped file: it needs no package.
    """
    from .fit_sam2 import SEGMENTERS, SIZES

    generator = torch.Generator().manual_seed(1)
    made = {}
    for name, tensor in sorted(load_file(SEGMENTERS / "sam2_emoji.safetensors").items()):
        made[name] = tensor.float() + 0.05 * torch.randn(tensor.shape, generator=generator)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(made, file)
    file.with_suffix(".json").write_text(json.dumps(SIZES), encoding="utf-8")
    return file


def without_memory(video: Path, folder: Path) -> Path:
    """Write ``Sam2Model``'s folder, for pictures alone, from a ``Sam2VideoModel``'s."""
    about = json.loads((video / "config.json").read_text(encoding="utf-8"))
    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    folder.mkdir(parents=True)
    told = {"model_type": "sam2", "architectures": ["Sam2Model"], **{part: about[part] for part in parts}}
    (folder / "config.json").write_text(json.dumps(told), encoding="utf-8")
    kept = ("vision_encoder.", "prompt_encoder.", "mask_decoder.", "shared_image_embedding.", "no_memory_embedding")
    weights = {k: v for k, v in load_file(video / "model.safetensors").items() if k.startswith(kept)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def sam2_folder(file: Path, folder: Path) -> Path:
    """Write a tiny SAM 2's Hugging Face folder from its file of weights."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(sam2_config(sizes), indent=1), encoding="utf-8")
    named = {name: tensor.contiguous().clone() for name, tensor in sam2_as_transformers(load_file(file)).items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def detector_file(folder: Path, file: Path) -> tuple[Path, Path]:
    """Write a tiny GroundingDINO's file of weights from its Hugging Face folder, and its BERT's folder beside it."""
    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    swin, bert = about["backbone_config"], file.parent / "bert-base-uncased"
    file.parent.mkdir(parents=True, exist_ok=True)
    sizes = {
        "swin": {
            "pretrain_img_size": swin["image_size"], "embed_dim": swin["embed_dim"], "depths": swin["depths"],
            "num_heads": swin["num_heads"], "window_size": swin["window_size"],
        },
        "enc_layers": about["encoder_layers"], "dec_layers": about["decoder_layers"],
        "dim_feedforward": about["encoder_ffn_dim"], "hidden_dim": about["d_model"],
        "nheads": about["encoder_attention_heads"], "num_queries": about["num_queries"],
    }  # fmt: skip
    file.with_suffix(".json").write_text(json.dumps(sizes), encoding="utf-8")
    weights = detector_as_package(load_file(folder / "model.safetensors"), about["decoder_layers"])
    save_file({name: tensor.contiguous().clone() for name, tensor in weights.items()}, file)
    bert.mkdir(exist_ok=True)
    (bert / "config.json").write_text(json.dumps({"model_type": "bert", **about["text_config"]}), encoding="utf-8")
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            (bert / name).write_bytes((folder / name).read_bytes())
    return file, bert
