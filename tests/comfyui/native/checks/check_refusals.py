"""What SCS Guider refuses, made by the core's own classes and nodes; each before anything is loaded."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import comfy.patcher_extension
import comfy.supported_models
import pytest
import tiny_wan as tiny
import torch
from check_guider import built

LAYER = "diffusion_model.blocks.0.self_attn.q"


@pytest.fixture(autouse=True)
def nothing_loaded(wan, monkeypatch):
    monkeypatch.setattr(type(wan), "load", lambda *_, **__: pytest.fail("a model was loaded"))


def refusal(subject: Any, motion: Any, **more: Any) -> str:
    with pytest.raises(ValueError) as error:
        built(subject, motion, **more)
    return str(error.value)


def with_file(patcher: Any, state: dict[str, torch.Tensor]) -> Any:
    """Load LoRA, of a file with these tensors for one layer of 48 by 48."""
    return tiny.with_lora(patcher, tiny.read(patcher, {f"{LAYER}.{key}": value for key, value in state.items()}))


FACTORS = {"lora_A.weight": torch.ones(2, 48), "lora_B.weight": torch.ones(48, 2)}
KINDS = {
    "a LoKr": {"lokr_w1": torch.ones(4, 4), "lokr_w2": torch.ones(12, 12)},
    "a LoHa": {
        "hada_w1_a": torch.ones(48, 2), "hada_w1_b": torch.ones(2, 48),
        "hada_w2_a": torch.ones(48, 2), "hada_w2_b": torch.ones(2, 48),
    },
    "a DoRA": {**FACTORS, "dora_scale": torch.ones(48, 1)},
    "a full difference (.diff)": {"diff": torch.ones(48, 48)},
    "a full difference (.diff) of a bias": {"diff_b": torch.ones(48)},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def check_what_is_no_plain_lora_is_refused_where_branches_differ_and_shared_where_not(wan, subject, motion, kind):
    other = with_file(wan, KINDS[kind])
    said = refusal(other, motion)
    assert f"model_subject: has {kind.removesuffix(' of a bias')} on {LAYER}." in said
    assert "Put such a file on both branches" in said and "convert it to a plain LoRA" in said
    assert "model_subject_2: has" in refusal(subject, motion, model_subject_2=other)
    both = [tiny.with_lora(other, tiny.lora_patches(wan, seed)) for seed in (1, 2)]
    assert [len(patches) for patches in built(*both).branches.shared.patches.values()] == [1]


def check_another_base_is_refused(subject):
    said = refusal(subject, tiny.tiny_wan())
    assert "model_motion: its base is not model_subject's; connect both to the same Load Diffusion Model node" in said


def check_a_setting_of_another_value_is_refused(subject):
    motion, subject = subject.clone(), subject.clone()
    subject.set_model_sampler_cfg_function(lambda args: args["cond"])
    motion.set_model_sampler_cfg_function(lambda args: args["uncond"])
    said = refusal(subject, motion)
    assert "model_motion: sampler_cfg_function is set otherwise than on model_subject" in said


@pytest.mark.parametrize(
    ("family", "config"),
    [
        (
            "WAN21_Vace",
            {"image_model": "wan2.1", "model_type": "vace", "in_dim": 16, "out_dim": 16, "dim": 48, "ffn_dim": 64,
             "freq_dim": 32, "text_dim": 20, "num_heads": 4, "num_layers": 2, "vace_layers": 1, "vace_in_dim": 96},
        ),
        (
            "LTXV",
            {"image_model": "ltxv", "in_channels": 8, "cross_attention_dim": 16, "attention_head_dim": 8,
             "num_attention_heads": 2, "caption_channels": 16, "num_layers": 1},
        ),
        (
            "HunyuanVideo",
            {"image_model": "hunyuan_video", "in_channels": 4, "patch_size": [1, 2, 2], "out_channels": 4,
             "vec_in_dim": 8, "context_in_dim": 8, "hidden_size": 32, "mlp_ratio": 2.0, "num_heads": 2,
             "depth": 1, "depth_single_blocks": 1, "axes_dim": [4, 6, 6], "theta": 256, "qkv_bias": True,
             "guidance_embed": False, "byt5": False, "meanflow": False, "use_cond_type_embedding": False,
             "vision_in_dim": None, "meanflow_sum": False},
        ),
    ],
)  # fmt: skip
def check_other_models_are_refused(family, config):
    if family == "HunyuanVideo":  # newer cores have more settings
        kind = importlib.import_module("comfy.ldm.hunyuan_video.model").HunyuanVideoParams
        names = {field.name for field in dataclasses.fields(kind)} | {"image_model"}
        config = {name: value for name, value in config.items() if name in names}
    known = getattr(comfy.supported_models, family)(dict(config))
    known.set_inference_dtype(torch.float32, None)
    patcher = comfy.model_patcher.ModelPatcher(known.get_model({}, device=tiny.CPU), tiny.CPU, tiny.CPU)
    said = refusal(patcher, patcher)
    assert f"model_subject: got a {type(patcher.model.diffusion_model).__name__}, SCS Guider works with Wan" in said
    assert "sample them with CFGGuider" in said


def windows(model: Any) -> Any:
    node = importlib.import_module("comfy_extras.nodes_context_windows").WanContextWindowsManualNode
    inputs = {given.id: given.default for given in node.define_schema().inputs if hasattr(given, "default")}
    inputs["context_schedule"] = "standard_static"
    inputs["fuse_method"] = "pyramid"
    return node.execute(model, **{name: value for name, value in inputs.items() if name != "model"}).result[0]


def easy_cache(model: Any) -> Any:
    node = importlib.import_module("comfy_extras.nodes_easycache").EasyCacheNode
    return node.execute(model, 0.2, 0.15, 0.95, False).result[0]


def bypass(model: Any) -> Any:
    clone = model.clone()
    clone.set_injections("bypass_lora", [comfy.patcher_extension.PatcherInjection(lambda _: None, lambda _: None)])
    return clone


def shift(model: Any) -> Any:
    return importlib.import_module("comfy_extras.nodes_model_advanced").ModelSamplingSD3().patch(model, 3.0)[0]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (windows, "model_subject: has context windows"),
        (easy_cache, "model_subject: has EasyCache or LazyCache on it"),
        (bypass, "parts injected into its layers (bypass_lora), as a LoRA loaded in bypass mode; load it with the"),
        (shift, "model_sampling is set on model_motion or model_subject alone"),
    ],
)
def check_what_other_nodes_put_on_a_model_is_refused(subject, motion, change: Callable[[Any], Any], wanted):
    assert wanted in refusal(change(subject), motion)


def check_what_is_set_in_front_of_both_sides_is_taken(wan):
    fast = shift(wan)
    both = [tiny.with_lora(fast, tiny.lora_patches(wan, seed)) for seed in (1, 2)]
    assert "model_sampling" in built(*both).model_patcher.object_patches
