"""L_fusion (Eq. 6) and L_attn (Eq. 7) on the built-in base, against the equations written out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from emoji_world.world.characters import training_characters
from emoji_world.world.examples import to_pixels
from emoji_world.world.scene import Scene, draw
from tests.core.stages.small_fusion import CONFIG, PAIR, pasted, seeded, teacher
from videomage_core.data.cutmix import CutMix
from videomage_core.model import lora
from videomage_core.model.loading import load_unet3d
from videomage_core.model.lora_weights import LoraWeights, average
from videomage_core.stages.fusion import attention_loss, fusion_loss, pair_maps
from videomage_core.training.grad_scaling import loss_scale_for, scaled_gradients

# Eq. 6


def test_a_student_that_is_its_teacher_has_nothing_to_learn(emoji_base, subjects):
    with lora.restore_adapters(emoji_base):
        one = teacher(emoji_base, subjects[0], "subject_0")
        lora.load(emoji_base, "same", subjects[0].weights)
        lora.load(emoji_base, "other", subjects[1].weights)
        with lora.use_adapters(emoji_base, {"same": 1.0}):
            assert float(fusion_loss(emoji_base, [one], 0, seeded())) < 1e-10
        with lora.use_adapters(emoji_base, {"other": 1.0}):
            assert float(fusion_loss(emoji_base, [one], 0, seeded())) > 1e-4


@pytest.mark.parametrize("count", [0, 1, 2])
def test_eq_6_by_hand(emoji_base, subjects, make_lora_model, count):
    """The mean over the subjects, each at a level of its own; a count takes some of them."""
    lora_models = [*subjects, make_lora_model(emoji_base, 3, "<cat>", "cat")]
    student = average([lora_model.weights for lora_model in lora_models])
    with lora.restore_adapters(emoji_base), torch.no_grad():
        have = [teacher(emoji_base, lora_model, f"subject_{'x' * n}") for n, lora_model in enumerate(lora_models)]
        lora.load(emoji_base, "fused", student)
        with lora.use_adapters(emoji_base, {"fused": 1.0}):
            got = fusion_loss(emoji_base, have, count, seeded())
        generator = seeded()
        chosen = [have[i] for i in torch.randperm(3, generator=generator).tolist()][: count or 3]
        videos = [int(torch.randint(2, (), generator=generator)) for _ in chosen]
        levels = emoji_base.random_level(len(chosen), generator)
        noise = torch.randn(len(chosen), 6, 2, 6, 6, generator=generator)
        errors = []
        for n, (one, video) in enumerate(zip(chosen, videos, strict=True)):
            level = dataclasses.replace(levels, t=levels.t[n], a=levels.a[n], s=levels.s[n])
            x = level.a * one.latents[video] + level.s * noise[n]
            outputs = []
            for adapter in (one.adapter, "fused"):
                with lora.use_adapters(emoji_base, {adapter: 1.0}):
                    outputs.append(emoji_base.predict(x[None], level, one.texts[video][None]))
            errors.append(float((outputs[0] - outputs[1]).square().mean()))
    assert float(got) == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    assert len(errors) == (count or 3) and min(errors) > 0


def test_only_the_student_learns(emoji_base, subjects):
    with lora.restore_adapters(emoji_base):
        have = [teacher(emoji_base, lora_model, f"subject_{n}") for n, lora_model in enumerate(subjects)]
        start = average([lora_model.weights for lora_model in subjects])
        with lora.trainable_adapter(emoji_base, "fused", [], CONFIG, start) as parameters:
            fusion_loss(emoji_base, have, 0, seeded()).backward()
            asked = {id(p) for p in parameters.values()}
            assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in parameters.values())
            assert all(p.grad is None for p in emoji_base.network.parameters() if id(p) not in asked)


# Eq. 7


def by_area(mask: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """[K, F, H, W] in float64, each place the mean of what it covers; H and W are multiples."""
    tall, wide = mask.shape[-2] // height, mask.shape[-1] // width
    return mask.double().unflatten(-1, (width, wide)).unflatten(-3, (height, tall)).mean((-3, -1))


def eq_7(maps: Sequence[torch.Tensor], masks: torch.Tensor) -> torch.Tensor:
    """Written out, in float64: per subject, the mean over layers of the mean over frames and places; half the sum."""
    total = torch.zeros((), dtype=torch.float64)
    for layer in maps:
        wanted = by_area(masks, *layer.shape[-2:])
        for k in range(len(masks)):
            for f in range(masks.shape[1]):
                seen = layer[0, k, f].double()
                total = total + (seen / seen.detach().max() - wanted[k, f]).square().mean() / masks.shape[1]
    return total / len(maps) / 2


def test_attention_loss_is_eq_7():
    maps = [torch.rand(1, 2, 2, side, side, generator=seeded(side)) * 0.02 for side in (6, 3)]
    got, wanted = attention_loss(maps, pasted().masks), eq_7(maps, pasted().masks)
    assert float(got) == pytest.approx(float(wanted), rel=1e-5)
    right = [by_area(pasted().masks, side, side).float()[None] * 0.01 for side in (24, 12)]
    peaked = [layer / layer.amax((-2, -1), keepdim=True) * 0.01 for layer in right]
    assert float(attention_loss(peaked[:1], pasted().masks)) < 1e-10
    assert float(attention_loss([layer[:, [1, 0]] for layer in peaked], pasted().masks)) > 0.1


@pytest.mark.parametrize("mode", ["high", "medium", "low"])
@pytest.mark.parametrize("chosen", [slice(None), slice(1, 2)])
def test_maps_of_a_pair_have_the_value_and_the_gradient_of_eq_7(emoji_base, subjects, chosen, mode, in_mode):
    layers, pair = emoji_base.attention_layers("cross")[chosen], pasted()
    tokens = [*subjects[0].tokens, *subjects[1].tokens]
    start = average([lora_model.weights for lora_model in subjects])
    with lora.trainable_adapter(emoji_base, "fused", [], CONFIG, start) as parameters:
        generator = seeded()
        with torch.no_grad():
            x0 = emoji_base.encode_video(pair.pixels[None])
        level = emoji_base.random_level(1, generator)
        x = level.a * x0 + level.s * torch.randn(x0.shape, generator=generator)
        with emoji_base.record(layers, emoji_base.token_spans(PAIR, tokens)) as maps:
            emoji_base.predict(x, level, emoji_base.encode_prompt([PAIR], tokens))
            wanted = eq_7(list(maps.cross.values()), pair.masks)
        plain = torch.autograd.grad(wanted, list(parameters.values()), allow_unused=True)
        trained = list(parameters.values())
        with in_mode(mode), pair_maps(emoji_base, pair, ["<toy>", "<pet>"], tokens, layers, seeded()) as recorded:
            got = attention_loss(recorded, pair.masks)
            assert float(got.detach()) == pytest.approx(float(wanted.detach()), rel=1e-4)
            found = torch.autograd.grad(got, trained, allow_unused=True)
        largest = max(float(gradient.abs().max()) for gradient in plain if gradient is not None)
        assert largest > 0
        for name, one, two in zip(parameters, plain, found, strict=True):
            assert (one is None) == (two is None), name
            if one is not None:
                torch.testing.assert_close(two, one, atol=1e-4 * largest, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_rounds_no_gradient_of_l_attn_away(emoji_base, subjects, dtype):
    tokens = [*subjects[0].tokens, *subjects[1].tokens]
    start, found = average([lora_model.weights for lora_model in subjects]), []
    for base in (emoji_base, load_unet3d(dtype=dtype, device="cpu")):
        with lora.trainable_adapter(base, "fused", [], CONFIG, start) as parameters:
            trained, scale = list(parameters.values()), loss_scale_for(base.dtype)
            layers, names = base.attention_layers("cross"), ["<toy>", "<pet>"]
            with pair_maps(base, pasted(), names, tokens, layers, seeded()) as maps:
                gradients = scaled_gradients(attention_loss(maps, pasted().masks), trained, scale)
            found.append(torch.cat([gradient.flatten() for gradient in gradients if gradient is not None]))
    full, half = found
    assert float(torch.nn.functional.cosine_similarity(full, half, dim=0)) > 0.98
    assert 0.9 < float(half.norm() / full.norm()) < 1.1


@pytest.mark.parametrize("mode", ["high", "medium", "low"])
def test_maps_that_no_part_of_the_lora_reaches_are_an_error(emoji_base, subjects, mode, in_mode):
    weights = subjects[0].weights
    late = LoraWeights({m: f for m, f in weights.layers.items() if m.startswith("up_blocks")})
    early, tokens = emoji_base.attention_layers("cross")[:1], [*subjects[0].tokens, *subjects[1].tokens]
    with (
        pytest.raises(ValueError, match="cross_attention_layers: the maps of these layers do not depend on the LoRA"),
        lora.trainable_adapter(emoji_base, "fused", [], CONFIG, late),
        in_mode(mode),
        pair_maps(emoji_base, pasted(), ["<toy>", "<pet>"], tokens, early, seeded()),
    ):
        pass


def drawn_pair() -> CutMix:
    """Two characters whom the base knows, side by side."""
    known = {character.concept: character for character in training_characters() if character.artist == "noto"}
    drawing = draw(Scene((known["dog"], known["panda"]), "next to", "plain", 3), frames=2)
    return CutMix(to_pixels(drawing.frames), torch.from_numpy(np.stack(drawing.masks)).float())


def test_following_both_losses_makes_both_smaller(emoji_base, make_lora_model):
    """On an image that the base can read: a map's largest value counts as a constant, so that in noise, where it
    wanders, a step along the gradient may raise the loss."""
    subjects = [make_lora_model(emoji_base, 1, "<toy>", "dog"), make_lora_model(emoji_base, 2, "<pet>", "panda")]
    tokens = [*subjects[0].tokens, *subjects[1].tokens]
    layers, names = emoji_base.attention_layers("cross"), [token.name for token in tokens]
    with lora.restore_adapters(emoji_base):
        have = [teacher(emoji_base, lora_model, f"subject_{n}") for n, lora_model in enumerate(subjects)]
        start = average([lora_model.weights for lora_model in subjects])
        with lora.trainable_adapter(emoji_base, "fused", [], CONFIG, start) as parameters:
            trained = list(parameters.values())

            def of_maps(backward) -> None:
                with pair_maps(emoji_base, drawn_pair(), names, tokens, layers, seeded()) as maps:
                    backward(attention_loss(maps, drawn_pair().masks))

            for follow in (of_maps, lambda backward: backward(fusion_loss(emoji_base, have, 0, seeded()))):
                optimizer, values = torch.optim.AdamW(trained, lr=2e-3), []

                def backward(loss: torch.Tensor, values: list[float] = values) -> None:
                    values.append(float(loss.detach()))
                    loss.backward()

                for _ in range(15):
                    optimizer.zero_grad()
                    follow(backward)
                    optimizer.step()
                assert values[-1] < 0.9 * values[0], values
