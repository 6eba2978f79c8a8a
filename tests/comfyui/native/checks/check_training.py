"""Trainings on the core's MODEL: the same LoRA as on diffusers' Wan, and the losses of Eq. 5 and 7."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import tiny_base as tiny
import torch
from videomage_pack.videomage_core.config import FusionConfig, MotionConfig
from videomage_pack.videomage_core.data.cutmix import CutMix
from videomage_pack.videomage_core.model import lora
from videomage_pack.videomage_core.model.fingerprint import fingerprint
from videomage_pack.videomage_core.model.flow_schedule import FlowSchedule
from videomage_pack.videomage_core.model.lora_weights import LoraWeights
from videomage_pack.videomage_core.model.trigger_words import first_token
from videomage_pack.videomage_core.model.wan_heads import find_temporal_heads
from videomage_pack.videomage_core.stages import motion_lora
from videomage_pack.videomage_core.stages.fusion import attention_loss, pair_maps
from videomage_pack.videomage_core.stages.subject_lora import prediction_error

FRAMES, SIDE = 5, 32
CONFIG = MotionConfig(frames=FRAMES, height=SIDE, width=SIDE, rank=2, learning_rate=1e-2, omega=0.5)


@pytest.fixture(scope="module")
def folder_base(tmp_path_factory: Any) -> Any:
    return tiny.diffusers_base(tmp_path_factory.mktemp("wan") / "base")


@pytest.fixture(scope="module")
def base(folder_base: Any) -> Any:
    model = tiny.core_model(folder_base.transformer, folder_base.transformer.config.text_dim)
    return tiny.core_backbone(model, tiny.tiny_clip(), tiny.tiny_vae(), folder_base._probe)


@pytest.fixture(scope="module")
def own() -> Any:
    """A base whose text encoder fits its network."""
    return tiny.core_backbone(tiny.core_model(tiny.transformer(32), 32), tiny.tiny_clip(), tiny.tiny_vae())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def check_one_prediction_one_fingerprint(base: Any, folder_base: Any) -> None:
    x = torch.randn(2, *base.latent_shape(FRAMES, SIDE, SIDE), generator=seeded())
    text = folder_base.encode_prompt(["a dog is passing", "a cat"])
    level = base.random_level(2, seeded(1))
    expected, got = (of.predict(x, level, text) for of in (folder_base, base))
    assert float((expected - got).norm() / expected.norm()) < 1e-4
    assert fingerprint(base.network).matches(fingerprint(folder_base.network))


def check_both_carriers_find_the_same_heads(base: Any, folder_base: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(base, "encode_prompt", folder_base.encode_prompt)  # of the width of these weights
    heads = find_temporal_heads(base, [block.attn1 for block in base.transformer.blocks], folder_base._probe)
    assert torch.equal(heads, folder_base.temporal_heads) and bool(heads.any()) and not bool(heads.all())


def check_both_carriers_record_the_same_maps(base: Any, folder_base: Any) -> None:
    x = torch.randn(1, *base.latent_shape(FRAMES, SIDE, SIDE), generator=seeded())
    text, level = folder_base.encode_prompt(["a dog is passing"]), base.level_at(0.7)
    spans, recorded = folder_base.word_spans("a dog is passing", "dog"), []
    for of in (folder_base, base):
        of._heads = folder_base.temporal_heads
        layers = [*of.attention_layers("cross"), *of.attention_layers("temporal")]
        with of.record(layers, spans, stop=True) as maps:
            of.record_forward(x, level, text)
        recorded.append(maps)
    for kind in ("cross", "temporal"):
        one, two = (getattr(maps, kind) for maps in recorded)
        assert one and one.keys() == two.keys()
        for name in one:
            torch.testing.assert_close(one[name], two[name], atol=1e-5, rtol=1e-4)


def trained(base: Any, text: Any, appearance: Any, x0: torch.Tensor, steps: int = 20) -> LoraWeights:
    example = motion_lora._Example(x0, text, appearance)
    with lora.trainable_adapter(base, "motion", base.targets("temporal"), CONFIG) as parameters:
        optimizer, generator = torch.optim.AdamW(parameters.values(), lr=1e-2), seeded(7)
        for _ in range(steps):
            optimizer.zero_grad()
            motion_lora.motion_loss(base, [example], CONFIG, generator)["L_mot"].backward()
            optimizer.step()
        return lora.weights(base, "motion")


@pytest.mark.parametrize("recomputed", [False, True])
def check_both_carriers_train_the_same_lora(base: Any, folder_base: Any, recomputed: bool) -> None:
    text, appearance = (folder_base.encode_prompt([prompt]) for prompt in ("a dog is passing", "a video of a dog"))
    x0 = torch.randn(1, *base.latent_shape(FRAMES, SIDE, SIDE), generator=seeded(3))
    base._heads = folder_base.temporal_heads
    one = trained(folder_base, text, appearance, x0)
    if recomputed:
        with base.checkpointing():
            two = trained(base, text, appearance, x0)
    else:
        two = trained(base, text, appearance, x0)
    assert one.layers.keys() == two.layers.keys()
    deltas = [torch.cat([of.delta(name).flatten() for name in one.layers]) for of in (one, two)]
    assert float(deltas[0].norm()) > 0.01
    assert float((deltas[0] - deltas[1]).norm() / deltas[0].norm()) < 1e-3


def check_omega_zero_is_the_plain_loss(own: Any) -> None:
    x0 = torch.randn(1, *own.latent_shape(FRAMES, SIDE, SIDE), generator=seeded(3))
    text, appearance = own.encode_prompt(["a dog is passing"]), own.encode_prompt(["a video of a dog"])
    example = motion_lora._Example(x0, text, appearance)
    with torch.no_grad():
        losses = [
            motion_lora.motion_loss(own, [example], dataclasses.replace(CONFIG, omega=omega), seeded(2))["L_mot"]
            for omega in (0.0, 0.5)
        ]
        assert torch.equal(losses[0], prediction_error(own, x0, text, seeded(2)).mean())
    assert not torch.equal(*losses)


def check_l_attn_falls(own: Any) -> None:
    """On one pair at one level; its masks are of nine frames, the maps of three."""
    tokens = [first_token(own, name, "dog", 1) for name in ("<ohwx_dog>", "<sks_cat>")]
    masks = torch.zeros(2, 9, SIDE, SIDE)
    masks[0, :, :, :16], masks[1, :, :, 16:] = 1, 1
    pair = CutMix(torch.rand(3, 9, SIDE, SIDE, generator=seeded()) * 2 - 1, masks)
    layers, values = own.attention_layers("cross"), []
    config = FusionConfig(rank=4)
    targets = own.targets("spatial")
    start = LoraWeights(
        {
            target.module: (
                torch.randn(4, own.network.get_submodule(target.module).in_features, generator=seeded()) * 0.05,
                torch.zeros(own.network.get_submodule(target.module).out_features, 4),
            )
            for target in targets
        }
    )
    with lora.trainable_adapter(own, "fused", targets, config, start) as parameters:
        optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2)
        for _ in range(12):
            optimizer.zero_grad()
            with pair_maps(own, pair, [token.name for token in tokens], tokens, layers, seeded(2)) as maps:
                loss = attention_loss(maps, pair.masks, own.temporal_factor)
                loss.backward()
            optimizer.step()
            values.append(float(loss.detach()))
    assert values[-1] < 0.8 * values[0], values


def check_a_token_is_its_words(own: Any) -> None:
    token = first_token(own, "<ohwx_dog>", "dog", 1)
    named, written = own.encode_prompt(["a <ohwx_dog> rides"], [token]), own.encode_prompt(["a ohwx dog rides"])
    torch.testing.assert_close(named.embeddings, written.embeddings, atol=1e-6, rtol=1e-5)
    with torch.inference_mode():
        clip = own.prompts.text.clip
        condition = clip.encode_from_tokens(clip.tokenize("a ohwx dog rides"))
    count = int(written.counts[0])
    torch.testing.assert_close(condition[:, :count].float(), written.embeddings[:, :count], atol=1e-6, rtol=1e-5)
    assert not bool(condition[:, count:].any()), "what follows the end is zero, as one place of padding stands for"


def check_an_expert_s_levels_are_its_own() -> None:
    for low, high in ((0.875, 1.0), (0.0, 0.875)):
        s = FlowSchedule(5.0, noise=(low, high)).random_level(4000, seeded()).s
        assert low <= float(s.min()) and float(s.max()) <= high and float(s.max() - s.min()) > 0.9 * (high - low)
    whole = FlowSchedule(5.0).random_level(4000, seeded()).s
    upper = whole[whole >= 0.875]
    got = FlowSchedule(5.0, noise=(0.875, 1.0)).random_level(4000, seeded(1)).s
    assert abs(float(upper.mean() - got.mean())) < 0.005, "as all levels are spread, cut at the boundary"
