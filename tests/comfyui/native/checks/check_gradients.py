"""Gradients through a core MODEL under inference mode, and the maps they are of."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
import tiny_wan as tiny
import torch
from brute_force import guidance_gradients
from check_guider import CONFIG, NEGATIVE, PLAIN, POSITIVE
from videomage_pack.nodes.native import collaborative_guider, gradients, guider, recording
from videomage_pack.videomage_core.stages.algorithm1 import alpha_for_step_size, guided_update, map_distance

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


def check_gradients_under_inference_mode_are_plain_autograd_s_and_maps_brute_force_s(subject, motion):
    one = built(subject, motion)

    def look(x: torch.Tensor, sigma: torch.Tensor, options: Any) -> Any:
        got = guidance_of(one, x, sigma, options)
        return got, one.subject_maps(x, sigma, options), dict(one._heads.chosen)

    got, maps, heads = in_guidance(one, look)
    assert sorted(heads) == [1, 2, 3] and set(maps.cross) == {"blocks.1", "blocks.2", "blocks.3"}
    fresh = built(subject, motion)

    def plain(x: torch.Tensor, sigma: torch.Tensor, options: Any) -> Any:
        branches = [(subject, POSITIVE[0][0], tiny.SPANS), (motion, PLAIN[0][0], tiny.PLAIN_SPANS)]
        return guidance_gradients(branches[:1], branches[1], x, sigma, heads)

    for one_gradient, other in zip(got, in_guidance(fresh, plain), strict=True):
        assert float(other.norm()) > 0
        assert float((one_gradient - other).norm() / other.norm()) < 1e-3


def pair_with_shared(base: Any) -> list[Any]:
    """A subject's and a motion's MODEL behind a LoRA that both have."""
    shared = tiny.with_lora(base, tiny.lora_patches(base, 7), 0.5)
    return [tiny.with_lora(shared, tiny.lora_patches(base, seed), 0.8) for seed in (1, 2)]


def with_low_vram(one: Any) -> Any:
    """The guider, its MODEL loaded with hardly any memory: the core applies the shared LoRA at each use of a weight."""
    load = one.model_patcher.load
    one.model_patcher.load = lambda device, **named: load(device, lowvram_model_memory=64)
    return one


@pytest.mark.parametrize("recompute", [True, False], ids=["recomputed", "kept"])
@pytest.mark.parametrize("low_vram", [True, False], ids=["low_vram", "loaded"])
@pytest.mark.parametrize("storage", [torch.float32, torch.float16, torch.float8_e4m3fn], ids=str)
def check_finite_differences(wan, storage, low_vram, recompute, monkeypatch):
    """Both gradients within 1 % of a central difference, computed in fp32."""
    base = wan if storage == torch.float32 else tiny.tiny_wan(storage, compute=torch.float32)
    monkeypatch.setattr(collaborative_guider, "Recorder", partial(recording.Recorder, recompute=recompute))
    monkeypatch.setattr(gradients, "TOLERANCE", {torch.float32: 0.01})
    compared: list[torch.Tensor] = []
    compare = collaborative_guider.check_gradient
    monkeypatch.setattr(
        collaborative_guider, "check_gradient", lambda *given: compared.append(given[2]) or compare(*given)
    )
    collaborative_guider._CHECKED.clear()
    one = built(*pair_with_shared(base))
    if low_vram:
        with_low_vram(one)
    got = in_guidance(one, lambda x, sigma, options: guidance_of(one, x, sigma, options))
    assert bool(base.model.model_lowvram) == low_vram
    one.model_patcher.unpatch_model()
    assert len(compared) == 2 and all(bool(gradient.isfinite().all()) for gradient in got)


def check_a_core_that_breaks_gradients_is_refused(subject, motion, monkeypatch):
    collaborative_guider._CHECKED.clear()
    monkeypatch.setattr(gradients, "linear_weight", lambda module, like: 1.1 * module.weight.clone().to(like))
    with pytest.raises(gradients.GradientMismatch, match=r"does not fit its loss .* Set tau to 0"):
        tiny.run(built(subject, motion))
    assert not collaborative_guider._CHECKED


def check_branches_that_nearly_agree_are_not_refused(wan, monkeypatch):
    """Beside its minimum the loss curves more than it slopes: the finite difference must see the slope."""
    collaborative_guider._CHECKED.clear()
    monkeypatch.setattr(gradients, "TOLERANCE", {torch.float32: 0.01})
    faint = [tiny.with_lora(wan, tiny.lora_patches(wan, seed), 3e-5) for seed in (1, 2)]
    same = {"model_subject": faint[0], "model_motion": faint[1]}
    one = guider.build_guider(same, POSITIVE, [[POSITIVE[0][0], PLAIN[0][1]]], NEGATIVE, GUIDED)
    in_guidance(one, lambda x, sigma, options: guidance_of(one, x, sigma, options))
    assert len(collaborative_guider._CHECKED) == 1


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
        alphas = [alpha_for_step_size(x, of, 0.05) for of in gradient]
        moved = [guided_update(x, of, alpha) for of, alpha in zip(gradient, alphas, strict=True)]
        return losses(x, x), losses(*moved)

    before, after = in_guidance(one, distances)
    assert after[0] < before[0] and after[1] < before[1]


def check_low_vram_patches_and_fp8_storage_and_half_precision(wan, monkeypatch):
    """A shared LoRA that the core applies on the way; fp8 weights; bf16: the gradients are nearly the same."""
    collaborative_guider._CHECKED.clear()

    def gradients_of(base: Any, low_vram: bool = False) -> Any:
        one = built(*pair_with_shared(base))
        if low_vram:
            with_low_vram(one)
        found = in_guidance(one, lambda x, sigma, options: guidance_of(one, x, sigma, options))
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
