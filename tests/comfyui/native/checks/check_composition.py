"""Several subject models, composed by their effects, in plain and in guided steps: against the formula written out."""

from __future__ import annotations

import dataclasses
from typing import Any

import comfy.samplers
import pytest
import tiny_wan as tiny
import torch
from brute_force import denoised, guidance_gradients
from check_guider import CONFIG, NEGATIVE, PLAIN, POSITIVE, built, close
from videomage_pack.nodes.native import collaborative_guider, recording

WEIGHT = 0.8


@pytest.fixture
def others(wan: Any) -> list[Any]:
    """Two more subject models."""
    return [tiny.with_lora(wan, tiny.lora_patches(wan, seed), 0.6) for seed in (5, 6)]


def text_of(conditioning: Any) -> torch.Tensor:
    return conditioning[0][0]


def composed(base: Any, subjects: list[Any], x: torch.Tensor, sigma: torch.Tensor, cfg: float) -> torch.Tensor:
    """The base guided on plain words, and each subject's effect."""
    plain, without = (denoised(base, x, sigma, text_of(of)) for of in (PLAIN, NEGATIVE))
    effects = sum(denoised(one, x, sigma, text_of(POSITIVE)) - plain for one in subjects)
    return without + cfg * (plain - without) + WEIGHT * effects


def guided(motion: Any, x: torch.Tensor, sigma: torch.Tensor, cfg: float) -> torch.Tensor:
    plain, without = (denoised(motion, x, sigma, text_of(of)) for of in (PLAIN, NEGATIVE))
    return without + cfg * (plain - without)


def relative(update: float, x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """x after Eq. 11, with RMS(update) / RMS(x) given."""
    return x - update * x.square().mean().sqrt() / gradient.square().mean().sqrt() * gradient


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("cfg", [3.0, 1.0])
def check_guided_and_plain_steps_are_the_formula_written_out(wan, subject, motion, others, count, cfg):
    """Two steps of which the first is guided; latents, moved latents, predictions and mix by hand."""
    subjects = [subject, *others][:count]
    config = dataclasses.replace(
        CONFIG, cfg=cfg, tau=1, step_size=0.05, recorded_blocks="1-3", effect_weight=WEIGHT, beta_subject=0.6,
        beta_motion=0.4,
    )  # fmt: skip
    one = built(*subjects[:1], motion, config, **{f"model_subject_{n + 2}": of for n, of in enumerate(subjects[1:])})
    got = tiny.run(one, steps=2)

    sigmas, x = tiny.sigmas_of(wan, 2), tiny.random(*tiny.LATENTS, seed=9)
    assert float(sigmas[0]) == 1, "a step from pure noise"
    branches = [(of, text_of(POSITIVE), tiny.SPANS) for of in subjects]
    gradients = guidance_gradients(
        branches, (motion, text_of(PLAIN), tiny.PLAIN_SPANS), x, sigmas[:1], one._heads.chosen
    )
    places = [relative(0.05, x, gradient) for gradient in gradients]
    for step in range(2):
        sigma = sigmas[step]
        x_sub, x_mot = places if step == 0 else (x, x)
        own = guided_subject(subject, x_sub, sigma, cfg) if count == 1 else composed(wan, subjects, x_sub, sigma, cfg)
        x0 = 0.6 * own + 0.4 * guided(motion, x_mot, sigma, cfg)
        start = 0.6 * x_sub + 0.4 * x_mot
        x = start + (start - x0) / sigma * (sigmas[step + 1] - sigma)
    assert close(got, wan.model.process_latent_out(x), 1e-4)


def guided_subject(subject: Any, x: torch.Tensor, sigma: torch.Tensor, cfg: float) -> torch.Tensor:
    """One subject model alone: guided on its own prompt, as Algorithm 1 has it."""
    own, without = (denoised(subject, x, sigma, text_of(of)) for of in (POSITIVE, NEGATIVE))
    return without + cfg * (own - without)


@pytest.mark.parametrize(("cfg", "plain_texts"), [(3.0, 2), (1.0, 1)])
def check_forwards_are_counted(wan, subject, motion, others, monkeypatch, cfg, plain_texts):
    """N subjects: the base's passes, one of each subject, the motion branch's; recorded ones end at the last block."""
    passes: list[int] = []  # texts in each forward
    network = wan.model.diffusion_model
    forward = network.forward
    monkeypatch.setattr(
        network, "forward", lambda x, *given, **named: passes.append(len(x)) or forward(x, *given, **named)
    )
    config = dataclasses.replace(CONFIG, cfg=cfg, tau=0)
    tiny.run(built(subject, motion, config, model_subject_2=others[0], model_subject_3=others[1]), steps=1)
    assert sum(passes) == plain_texts + 3 + plain_texts
    ran: list[int] = []
    for index, block in enumerate(network.blocks):
        call = block.forward
        monkeypatch.setattr(
            block, "forward", lambda *g, call=call, index=index, **n: ran.append(index) or call(*g, **n)
        )
    one = built(subject, motion, dataclasses.replace(config, tau=1, recorded_blocks="1-3"), model_subject_2=others[0])
    one._check = lambda *_: None
    passes.clear()
    tiny.run(one, steps=1)
    assert sum(passes) == 3 + 2 * plain_texts + 2  # 2 subjects and the motion recorded; then the predictions
    recorded = 3
    plain = len(passes) - recorded
    assert ran.count(5) == plain and ran.count(3) == plain + recorded, "nothing behind the last recorded block"
    assert ran.count(2) == plain + 2 * recorded, "blocks before it are computed again in the backward pass"


def check_a_subject_without_effect_leaves_the_other_s(wan, subject, motion):
    """The base itself as the second subject adds eps(c) - eps(c~) of the base; with plain words in c, nothing."""
    config = dataclasses.replace(CONFIG, beta_subject=1.0, beta_motion=0.0, effect_weight=0.0)
    guider = comfy.samplers.CFGGuider(wan)
    guider.set_conds(PLAIN, NEGATIVE)
    guider.set_cfg(3.0)
    got = tiny.run(built(subject, motion, config, model_subject_2=wan), steps=3)
    assert close(got, tiny.run(guider, steps=3)), "weight 0 is the base on plain words"


def check_maps_of_several_subjects_are_their_mean(subject, motion, others):
    config = dataclasses.replace(CONFIG, tau=1, step_size=0.05, recorded_blocks="1-3")
    one = built(subject, motion, config, model_subject_2=others[0])
    both: list[Any] = []
    recorded = one._recorded

    def record(branch: int, *given: Any) -> recording.AttentionMaps:
        maps = recorded(branch, *given)
        both.append((branch, {name: value.detach() for name, value in maps.cross.items()}))
        return maps

    one._recorded, one._check = record, lambda *_: None
    tiny.run(one, steps=1)
    assert [branch for branch, _ in both] == [0, 1, 2]
    means = [(both[0][1][name] + both[1][1][name]) / 2 for name in both[0][1]]
    seen = torch.stack([values for _, values in one.attention_maps])
    torch.testing.assert_close(seen, collaborative_guider.mean_map(means, 2, 3))
