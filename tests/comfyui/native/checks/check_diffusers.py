"""A base of emoji_wan's recipe, of random weights: diffusers and the core make the same latents of one noise."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline
from videomage_pack.emoji_world import comfyui_core as core
from videomage_pack.emoji_world.base_training.wan_models import FLOW_SHIFT, new_transformer
from videomage_pack.nodes.native import guider
from videomage_pack.videomage_core.config.guider import GuiderConfig

SHAPE, CFG, STEPS = (1, 16, 3, 8, 12), 4.0, 8


@pytest.fixture(scope="module")
def transformer() -> Any:
    torch.manual_seed(0)
    network = new_transformer().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return network


@pytest.fixture(scope="module")
def model(transformer: Any) -> Any:
    return core.core_model(transformer.state_dict(), FLOW_SHIFT)


def texts() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    encoded = torch.zeros(2, 512, 128)
    encoded[:, :7] = torch.randn(2, 7, 128, generator=generator)
    return list(encoded.split(1))


def noise() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))


def by_diffusers(transformer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """WanPipeline's latents, and its sigmas."""
    pipeline = WanPipeline(
        tokenizer=None, text_encoder=None, vae=None, transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=FLOW_SHIFT),
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    positive, negative = texts()
    latents = pipeline(
        prompt_embeds=positive, negative_prompt_embeds=negative, latents=noise(), num_inference_steps=STEPS,
        guidance_scale=CFG, height=SHAPE[3] * 8, width=SHAPE[4] * 8, num_frames=(SHAPE[2] - 1) * 4 + 1,
        output_type="latent",
    ).frames  # fmt: skip
    return latents, pipeline.scheduler.sigmas


def check_the_same_latents_from_diffusers_and_from_core_s_guider_and_from_scs_guider(transformer, model):
    wanted, sigmas = by_diffusers(transformer)
    positive, negative = (core.conditioning(text) for text in texts())
    assert float(sigmas[0]) == 1 and float(sigmas[-1]) == 0 and float(wanted.std()) > 0.3
    plain = core.sample(core.cfg_guider(model, positive, negative, CFG), noise(), sigmas)
    config = GuiderConfig(cfg=CFG, tau=0)
    models = {"model_subject": model, "model_motion": model}
    ours = core.sample(guider.build_guider(models, positive, positive, negative, config), noise(), sigmas)
    for latents in (plain, ours):
        assert float((latents - wanted).norm() / wanted.norm()) < 1e-4
    other = core.sample(guider.build_guider(models, negative, negative, positive, config), noise(), sigmas)
    assert float((other - wanted).norm() / wanted.norm()) > 0.01, "the prompts count"


def check_guided_steps_run_on_it(model):
    spans = [{"word": "dog", "start": 1, "end": 3}]
    positive, negative = texts()
    given = core.conditioning(positive, spans), core.conditioning(negative, spans), core.conditioning(negative)
    config = dataclasses.replace(GuiderConfig(), cfg=CFG, tau=2, step_size=0.02)
    one = guider.build_guider({"model_subject": model, "model_motion": model}, *given, config)
    sigmas = torch.linspace(1, 0, 4)
    assert bool(core.sample(one, noise(), sigmas).isfinite().all())
    assert [word for word, _ in one.attention_maps] == ["dog"]
