"""Others' LoRA files give the same layers whatever their keys are called; what is broken is named with its key."""

from __future__ import annotations

import re

import pytest
import torch
from safetensors.torch import save_file

from videomage_core.data.lora_layers import read_external_lora

DOTS = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
A = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
B = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))

SPELLINGS = {
    "diffusers": (f"unet.{DOTS}.lora_A.weight", f"unet.{DOTS}.lora_B.weight"),
    "bare peft": (f"{DOTS}.lora_A.default.weight", f"{DOTS}.lora_B.default.weight"),
    "mochi": (f"{DOTS}.lora_A", f"{DOTS}.lora_B"),
    "diffusers 0.2x": (f"unet.{DOTS}.lora.down.weight", f"unet.{DOTS}.lora.up.weight"),
    "diffusers 0.1x": (
        f"unet.{DOTS.replace('to_out.0', 'processor.to_out')}_lora.down.weight",
        f"unet.{DOTS.replace('to_out.0', 'processor.to_out')}_lora.up.weight",
    ),
    "text encoders'": (f"{DOTS}.lora_linear_layer.down.weight", f"{DOTS}.lora_linear_layer.up.weight"),
    "kohya": (
        f"lora_unet_{DOTS.replace('.', '_')}.lora_down.weight",
        f"lora_unet_{DOTS.replace('.', '_')}.lora_up.weight",
    ),
    "Wan-Fun": (
        f"lora_unet__{DOTS.replace('.', '_')}.lora_down.weight",
        f"lora_unet__{DOTS.replace('.', '_')}.lora_up.weight",
    ),
    "ComfyUI": (f"diffusion_model.{DOTS}.lora_down.weight", f"diffusion_model.{DOTS}.lora_up.weight"),
}


def saved(folder, tensors, metadata=None, name="x.safetensors"):
    save_file({key: torch.as_tensor(value).clone() for key, value in tensors.items()}, folder / name, metadata)
    return folder / name


@pytest.mark.parametrize("who", SPELLINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_spelling_gives_the_same_layer(who, dtype, tmp_path):
    down, up = SPELLINGS[who]
    read = read_external_lora(saved(tmp_path, {down: A.to(dtype), up: B.to(dtype)}))
    ((name, (a, b)),) = read.layers[""].items()
    assert name.replace(".", "_") == DOTS.replace(".", "_")
    assert a.dtype == b.dtype == torch.float32
    assert torch.equal(a, A.to(dtype).float()) and torch.equal(b, B.to(dtype).float())


def test_one_by_one_convolutions_are_linear_layers(tmp_path):
    down, up = SPELLINGS["kohya"]
    read = read_external_lora(saved(tmp_path, {down: A[:, :, None, None], up: B[:, :, None, None]}))
    ((a, b),) = read.layers[""].values()
    assert torch.equal(a, A) and torch.equal(b, B)


def test_two_experts_in_one_file_are_kept_apart(tmp_path):
    def keys(prefix, factor):
        return {
            f"{prefix}blocks.0.self_attn.q.lora_A.weight": A,
            f"{prefix}blocks.0.self_attn.q.lora_B.weight": B * factor,
        }

    unsplit = {**keys("diffusion_model.transformer_1.", 1), **keys("diffusion_model.transformer_2.", 2)}
    diffusers = {**keys("transformer.", 1), **keys("transformer_2.", 2)}
    for number, tensors in enumerate((unsplit, diffusers)):
        read = read_external_lora(saved(tmp_path, tensors, name=f"{number}.safetensors"))
        assert set(read.layers) == {"high_noise", "low_noise"}
        assert torch.equal(read.layers["high_noise"]["blocks.0.self_attn.q"][1], B)
        assert torch.equal(read.layers["low_noise"]["blocks.0.self_attn.q"][1], 2 * B)


def test_zero_differences_and_token_vectors_are_no_matter(tmp_path):
    down, up = SPELLINGS["ComfyUI"]
    extra = {"diffusion_model.norm.diff": torch.zeros(3), "diffusion_model.norm.diff_b": torch.zeros(3)}
    read = read_external_lora(saved(tmp_path, {down: A, up: B, **extra, "lora_emb.toy": torch.ones(1, 3)}))
    assert list(read.vectors) == ["toy"] and len(read.all_layers) == 1


NAN, LONG = torch.full((5, 2), torch.nan), torch.zeros(5, 3)
DOWN, UP = SPELLINGS["diffusers"]
KOHYA_DOWN, KOHYA_UP = SPELLINGS["kohya"]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({DOWN: A, UP: NAN}, f"NaN or infinity in {re.escape(UP)}"),
        ({DOWN: torch.full((2, 6), torch.inf), UP: B}, f"NaN or infinity in {re.escape(DOWN)}"),
        ({DOWN: A, UP: LONG}, r"has \(2, 6\) in .* and \(5, 3\) in .*, which do not fit each other"),
        ({DOWN: A}, f"has {re.escape(DOWN)}, but no factor B"),
        ({UP: B}, f"has {re.escape(UP)}, but no factor A"),
        ({DOWN: A, UP: B.to(torch.int8)}, f"has torch.int8 in {re.escape(UP)}"),
        ({DOWN: A, UP: B[:, 0]}, f"{re.escape(UP)} is no matrix"),
        ({DOWN: A[:, :, None, None].expand(2, 6, 3, 3), UP: B}, f"{re.escape(DOWN)} is of a convolution"),
        ({DOWN: A, UP: B, KOHYA_DOWN: A, KOHYA_UP: B}, "twice, as .* and as unet"),
        ({DOWN: A, UP: B, f"unet.{DOTS}.lora_A.other.weight": A}, r"twice, as .*other.* and as "),
        ({DOWN: A, UP: B, "unet.norm.diff": torch.ones(3)}, r"unet.norm.diff is a whole difference \(\.diff\)"),
        ({DOWN: A, UP: B, f"unet.{DOTS}.lora_B.bias": torch.ones(5)}, "whole difference"),
        ({DOWN: A, UP: B, "unet.conv.alpha": 1.0}, "has 'unet.conv.alpha', which belongs to none of its layers"),
        ({DOWN: A, UP: B, "bundle_emb.x.string_to_param.*": B}, "has 'bundle_emb.x"),
        ({DOWN: A, UP: B, "lora_emb.toy": torch.full((1, 3), torch.nan)}, "NaN or infinity in lora_emb.toy"),
        ({}, "it is empty"),
        ({"steps": 3.0}, "holds no LoRA: .* the first is 'steps'"),
    ],
)
def test_broken_files_are_named_with_their_key(tensors, message, tmp_path):
    with pytest.raises(ValueError, match=rf"LoRA: x\.safetensors.*{message}"):
        read_external_lora(saved(tmp_path, tensors))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["lora_unet_a.hada_w1_a", "lora_unet_a.hada_w1_b", "lora_unet_a.alpha"], "is a LyCORIS LoHa file"),
        (["lycoris_a.lokr_w1", "lycoris_a.lokr_w2_a"], "is a LyCORIS LoKr file"),
        (["diffusion_model.a.lokr_w1", "diffusion_model.a.lokr_w2"], "is a LyCORIS LoKr file"),
        (["a.lora_down.weight", "a.lora_up.weight", "a.dora_scale"], "is a DoRA"),
        (["a.lora_A.weight", "a.lora_B.weight", "a.lora_magnitude_vector.weight"], "is a DoRA"),
        (["lora_unet_a.oft_blocks"], "is an OFT file"),
        (["a.lora_down.weight", "a.lora_up.weight", "a.lora_mid.weight"], "is a LyCORIS LoCon"),
        (["lora_unet_a.a1.weight", "lora_unet_a.b1.weight"], "is a LyCORIS GLoRA"),
        (["blocks.0.norm.diff", "blocks.0.norm.diff_b"], "is a file of whole differences"),
        (["emb_params"], "is a textual inversion embedding"),
        (["clip_l", "clip_g"], "is a textual inversion embedding"),
        (["<toy>"], "is a textual inversion embedding"),
        (["model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.x.weight"], "is a whole model"),
        (["blocks.0.self_attn.q.weight", "patch_embedding.weight"], "is a whole model"),
        (["conv_in.weight", "conv_in.bias"], "is a whole model"),
        (["lora_te_text_model_x.lora_down.weight"], "changes the text encoder"),
        (["text_encoder.text_model.x.lora_A.weight"], "changes the text encoder"),
    ],
)  # fmt: skip
def test_what_it_is_is_named(keys, message, tmp_path):
    with pytest.raises(ValueError, match=rf"LoRA: x\.safetensors {message}"):
        read_external_lora(saved(tmp_path, {key: torch.zeros(2, 2) for key in keys}))
