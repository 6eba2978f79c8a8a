"""Gradients through a core MODEL under inference mode, and the maps they are of."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
import tiny_wan as tiny
import torch
from check_guider import CONFIG, NEGATIVE, PLAIN, POSITIVE
from videomage_pack.nodes.native import collaborative_guider, gradients, guider, recording
from videomage_pack.videomage_core.stages.algorithm1 import (
    alpha_for_share,
    guidance_losses,
    guided_update,
    map_distance,
)

GUIDED = dataclasses.replace(CONFIG, tau=1, step_size=0.05, recorded_blocks="1-3")
OPTIONS: dict[str, Any] = {"transformer_options": {}}


class Caught(Exception):
    """Ends sampling where guidance would begin."""


def in_guidance(one: Any, look: Any) -> Any:
    """What ``look(x, sigma, options)`` finds where the first step is guided."""
    found = []

    def instead(x: torch.Tensor, sigma: torch.Tensor, options: Any) -> Any:
        found.append(look(x, sigma, options))
        raise Caught

    one.guidance = instead
    with pytest.raises(Caught):
        tiny.run(one)
    return found[0]


def built(subject: Any, motion: Any, config: Any = GUIDED) -> Any:
    models = {"model_subject": subject, "model_motion": motion}
    return guider.build_guider(models, POSITIVE, PLAIN, NEGATIVE, config)


def guidance_of(one: Any, x: torch.Tensor, sigma: torch.Tensor, options: Any) -> Any:
    return collaborative_guider.CollaborativeGuider.guidance(one, x, sigma, options)


def plain_gradients(one: Any, subject: Any, motion: Any, x: torch.Tensor, sigma: torch.Tensor) -> list[torch.Tensor]:
    """By plain autograd: ordinary weights, the LoRAs in them, whole attention maps, nothing recomputed."""
    places, seen = [], []
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        gradients.differentiable_rope(one.inner_model.diffusion_model),
    ):
        for patcher, positive, spans in (
            (subject, "positive", tiny.SPANS),
            (motion, "positive_motion", tiny.PLAIN_SPANS),
        ):
            model = tiny.tiny_wan().model
            state = {name: value.clone() for name, value in model.diffusion_model.state_dict().items()}
            for key, patches in patcher.patches.items():
                name = key.removeprefix("diffusion_model.")
                for strength, adapter, *_ in patches:
                    up, down, alpha = adapter.weights[:3]
                    state[name] = state[name] + strength * (1 if alpha is None else alpha / len(down)) * up @ down
            at = x.clone().requires_grad_()
            text = one.conds[positive][0]["model_conds"]["c_crossattn"].cond.clone()
            time = model.model_sampling.timestep(sigma.clone())
            maps = whole_maps(model.diffusion_model, state, at, time, text, spans, one._heads.chosen)
            places.append(at)
            seen.append(maps)
        return [torch.autograd.grad(loss, at)[0] for loss, at in zip(guidance_losses(*seen), places, strict=True)]


def whole_maps(network: Any, state: Any, x: Any, t: Any, text: Any, spans: Any, heads: dict[int, torch.Tensor]) -> Any:
    """Maps of a forward with these weights, by whole softmaxes."""
    maps, calls = recording.AttentionMaps(), [0]

    def override(func: Any, q: Any, k: Any, v: Any, heads_count: int = 0, *rest: Any, **named: Any) -> torch.Tensor:
        block, cross = divmod(calls[0], 2)
        calls[0] += 1
        split = [of.unflatten(-1, (tiny.HEADS, -1)).transpose(1, 2) for of in (q, k, v)]
        weights = (split[0] @ split[1].transpose(-1, -2) * split[0].shape[-1] ** -0.5).softmax(-1)  # [B,H,N,T]
        if block in heads and cross:
            columns = [weights[..., span["start"] : span["end"]].sum(-1).mean(1) for span in spans]
            maps.cross[f"blocks.{block}"] = torch.stack(columns, 1).unflatten(-1, (3, 2, 3))
        elif block in heads:
            q, k = (of[:, heads[block]].unflatten(2, (3, 6)).transpose(2, 3) for of in split[:2])
            scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
            maps.temporal[f"blocks.{block}"] = scores.softmax(-1).mean(1)
        return (weights @ split[2]).transpose(1, 2).flatten(2)

    options = {"transformer_options": {"optimized_attention_override": override}}
    torch.func.functional_call(network, state, (x, t, text), options)
    return maps


def check_gradients_under_inference_mode_are_plain_autograd_s_and_maps_brute_force_s(subject, motion):
    one = built(subject, motion)

    def look(x: torch.Tensor, sigma: torch.Tensor, options: Any) -> Any:
        got = guidance_of(one, x, sigma, options)
        return got, one.subject_maps(x, sigma, options), dict(one._heads.chosen)

    got, maps, heads = in_guidance(one, look)
    assert sorted(heads) == [1, 2, 3] and set(maps.cross) == {"blocks.1", "blocks.2", "blocks.3"}
    fresh = built(subject, motion)

    def plain(x: torch.Tensor, sigma: torch.Tensor, options: Any) -> Any:
        fresh._heads.chosen = heads
        return plain_gradients(fresh, subject, motion, x, sigma)

    for one_gradient, other in zip(got, in_guidance(fresh, plain), strict=True):
        assert float(other.norm()) > 0
        assert float((one_gradient - other).norm() / other.norm()) < 1e-3


@pytest.mark.parametrize("recompute", [True, False])
def check_finite_differences(subject, motion, recompute, monkeypatch):
    """Each gradient within 1 % of a central difference; recomputed blocks give the same."""
    collaborative_guider._CHECKED.clear()
    monkeypatch.setattr(collaborative_guider, "Recorder", partial(recording.Recorder, recompute=recompute))
    monkeypatch.setattr(gradients, "TOLERANCE", {torch.float32: 0.01})
    one = built(subject, motion)
    got = in_guidance(one, lambda x, sigma, options: guidance_of(one, x, sigma, options))
    assert len(collaborative_guider._CHECKED) == 1 and all(bool(gradient.isfinite().all()) for gradient in got)


def check_a_core_that_breaks_gradients_is_refused(subject, motion, monkeypatch):
    collaborative_guider._CHECKED.clear()
    monkeypatch.setattr(gradients, "linear_weight", lambda module, like: 1.1 * module.weight.clone().to(like))
    with pytest.raises(gradients.GradientMismatch, match=r"does not fit its loss .* Set tau to 0"):
        tiny.run(built(subject, motion))
    assert not collaborative_guider._CHECKED


def check_a_guided_move_lowers_both_distances(subject, motion):
    one = built(subject, motion)

    def distances(x: torch.Tensor, sigma: torch.Tensor, options: Any) -> Any:
        def losses(x_sub: torch.Tensor, x_mot: torch.Tensor) -> list[float]:
            with torch.no_grad():
                maps = one.subject_maps(x_sub, sigma, options), one.motion_maps(x_mot, sigma, options)
                fixed = one.subject_maps(x, sigma, options), one.motion_maps(x, sigma, options)
            return [
                float(map_distance(maps[0].temporal, fixed[1].temporal)),
                float(map_distance(maps[1].cross, fixed[0].cross)),
            ]

        gradient = guidance_of(one, x, sigma, options)
        alphas = [alpha_for_share(x, of, 0.05) for of in gradient]
        moved = [guided_update(x, of, alpha) for of, alpha in zip(gradient, alphas, strict=True)]
        return losses(x, x), losses(*moved)

    before, after = in_guidance(one, distances)
    assert after[0] < before[0] and after[1] < before[1]


def check_low_vram_patches_and_fp8_storage_and_half_precision(wan, monkeypatch):
    """A shared LoRA that the core applies on the way; fp8 weights; bf16: the gradients are nearly the same."""
    collaborative_guider._CHECKED.clear()

    def gradients_of(base: Any, low_vram: bool = False) -> Any:
        shared = tiny.with_lora(base, tiny.lora_patches(base, 7), 0.5)
        pair = [tiny.with_lora(shared, tiny.lora_patches(base, seed), 0.8) for seed in (1, 2)]
        one = built(*pair)
        if low_vram:
            load = one.model_patcher.load
            one.model_patcher.load = lambda device, **named: load(device, lowvram_model_memory=64)
        found = in_guidance(one, lambda x, sigma, options: guidance_of(one, x, sigma, options))
        if low_vram:
            assert base.model.model_lowvram
        one.model_patcher.unpatch_model()
        return found

    wanted = gradients_of(wan)
    for base, low_vram, least in (
        (wan, True, 0.9999), (tiny.tiny_wan(torch.float8_e4m3fn, compute=torch.float32), False, 0.8),
        (tiny.tiny_wan(torch.bfloat16), False, 0.9),
    ):  # fmt: skip
        for one, two in zip(gradients_of(base, low_vram), wanted, strict=True):
            alike = float(torch.nn.functional.cosine_similarity(one.flatten(), two.flatten(), dim=0))
            assert alike > least, (base.model.get_dtype(), low_vram, alike)
