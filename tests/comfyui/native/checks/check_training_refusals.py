"""What Video Base from Model refuses before anything is loaded or trained, and what it makes of an expert."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_base as tiny
import tiny_wan
import torch
from torch import nn
from videomage_pack.nodes.native.core_base import CHECKPOINTING, base_of_model
from videomage_pack.videomage_core.model.memory import workloads_for
from videomage_pack.videomage_core.presets import PRESETS


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any, Any]:
    return tiny.core_model(tiny.transformer(32), 32), tiny.tiny_clip(), tiny.tiny_vae()


def refusal(parts: Any, model: Any = None, clip: Any = None, vae: Any = None) -> str:
    given = (model or parts[0], clip or parts[1], vae or parts[2])
    with pytest.raises(ValueError) as error:
        base_of_model(*given, "none", "auto")
    return str(error.value)


def check_other_models_are_refused_with_advice(parts: Any) -> None:
    class LTXVModel(nn.Module):
        pass

    other = SimpleNamespace(model=SimpleNamespace(diffusion_model=LTXVModel()))
    assert "model: got a LTXVModel; LoRAs are trained on Wan 2.1 and 2.2" in refusal(parts, other)
    image_to_video = tiny_wan.tiny_wan(kind="i2v")
    assert "36 channels in and 16 out, which begins from an image" in refusal(parts, image_to_video)


def check_a_model_with_loras_is_refused(parts: Any) -> None:
    model = parts[0].clone()
    key = "diffusion_model.blocks.0.self_attn.q.weight"
    assert model.add_patches({key: ("diff", (torch.zeros(96, 96),))})
    said = refusal(parts, model)
    assert "model: has LoRAs on 1 weights; what is trained on top of them would fit only together with them" in said
    model = parts[0].clone()
    model.injections = {"bypass_lora": [object()]}
    assert "has parts injected into its layers (bypass_lora)" in refusal(parts, model)


def check_layers_that_are_not_cores_are_refused(parts: Any) -> None:
    model = tiny.core_model(tiny.transformer(32), 32)
    model.model.diffusion_model.blocks[0].self_attn.q = nn.Linear(96, 96)
    assert "blocks.0.self_attn.q and 0 more are not core's own linear layers (a GGUF" in refusal(parts, model)


def check_what_other_nodes_have_set_and_is_not_used_is_named(parts: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    base_of_model(*parts, "none", "auto")
    assert not caplog.records
    model = parts[0].clone()
    model.set_model_unet_function_wrapper(lambda apply, given: apply(**given))
    model.model_options["transformer_options"]["optimized_attention_override"] = lambda attend, *given: attend(*given)
    model.add_wrapper_with_key("diffusion_model", "another pack", lambda run, *given: run(*given))
    base_of_model(model, *parts[1:], "none", "auto")
    (record,) = caplog.records
    for name in ("model_function_wrapper", "optimized_attention_override", "diffusion_model"):
        assert name in record.getMessage()


def check_other_encoders_and_autoencoders_are_refused(parts: Any) -> None:
    import comfy.sd1_clip

    class Clip:
        tokenizer = comfy.sd1_clip.SD1Tokenizer()

        def tokenize(self, text: str) -> Any:
            return self.tokenizer.tokenize_with_weights(text)

    assert "clip: got the text encoder l, must be Wan's UMT5" in refusal(parts, clip=Clip())
    images = SimpleNamespace(latent_dim=2, latent_channels=4)
    assert "vae: got one of 4 channels for images, must be Wan's of 16 channels" in refusal(parts, vae=images)
    larger = SimpleNamespace(latent_dim=3, latent_channels=48)
    assert "wan2.2_vae is for the 5B model alone" in refusal(parts, vae=larger)


def check_experts_have_levels_names_and_files_of_their_own(parts: Any) -> None:
    high, low, one = (base_of_model(*parts, expert, "auto") for expert in ("high_noise", "low_noise", "none"))
    assert (high.file_suffix, low.file_suffix, one.file_suffix) == ("_high_noise", "_low_noise", "")
    assert (high.backbone.schedule.noise, low.backbone.schedule.noise) == ((0.875, 1.0), (0.0, 0.875))
    assert len({base.name for base in (high, low, one)}) == 3 and one.preset is PRESETS["wan"]


@pytest.mark.parametrize("setting", CHECKPOINTING)
def check_loading_chooses_what_is_recomputed(parts: Any, setting: str, monkeypatch: Any) -> None:
    base = base_of_model(*parts, "none", setting)
    workloads = workloads_for(PRESETS["wan"].motion)
    for free, recomputed in ((1 << 50, setting == "on"), (0, setting != "off")):
        monkeypatch.setattr("videomage_pack.nodes.native.core_base.available_memory", lambda _, free=free: free)
        mode = base.mode_for(workloads)
        assert mode.gradient_checkpointing == recomputed
    base.load(mode, workloads)
    assert base.backbone.memory == mode
    base.backbone.use_memory(CHECKPOINTING["off"][0])
