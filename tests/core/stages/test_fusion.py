"""Eq. 6-8 on the embedded base."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from emoji_world.world.characters import training_characters
from emoji_world.world.examples import to_pixels
from emoji_world.world.scene import Scene, draw
from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import FusionConfig, SamplingConfig
from videomage_core.data.cutmix import CutMix
from videomage_core.data.lora_file import apply_loras, load_lora, save_lora
from videomage_core.data.masks import GivenMasks
from videomage_core.model import lora
from videomage_core.model.loading import load_unet3d
from videomage_core.model.lora_weights import LoraWeights, average, compress
from videomage_core.stages import fusion, fusion_data
from videomage_core.stages.fusion import attention_loss, check_subjects, fuse_subjects, fusion_loss, pair_maps
from videomage_core.stages.fusion_data import Teacher
from videomage_core.training.grad_scaling import loss_scale_for, scaled_gradients

CONFIG = FusionConfig(
    steps=3, frames=2, height=24, width=24, learning_rate=1e-3, save_every_n_steps=2,
    teacher_videos=1, teacher_steps=1, teacher_guidance_scale=1.0, cutmix_videos=1,
)  # fmt: skip
PAIR = "A <toy> and a <pet>"


class Box:
    """Finds a subject always in the same place."""

    def segment(self, pixels: torch.Tensor, words: Sequence[str]) -> torch.Tensor:
        mask = torch.zeros(1, *pixels.shape[1:])
        mask[..., 4:16, 6:20] = 1
        return mask


@pytest.fixture
def subjects(emoji_base, make_concept):
    return [make_concept(emoji_base, 1), make_concept(emoji_base, 2, "<pet>", "dog", rank=1)]


def fuse(base, subjects, folder: Path, config: FusionConfig = CONFIG, **more):
    more.setdefault("segmenter", Box())
    return fuse_subjects(base, subjects, config, folder, **more)


def factors(weights: LoraWeights) -> torch.Tensor:
    return torch.cat([factor.flatten() for pair in weights.layers.values() for factor in pair])


def seeded(seed: int = 2) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pasted(frames: int = 2, side: int = 24) -> CutMix:
    """Two subjects whose masks are no multiples of a latent's size, one partly covered."""
    masks = torch.zeros(2, frames, side, side)
    masks[0, :, 3:12, 2:11] = 1
    masks[1, :, 10:21, 8:23] = 1
    masks[0] *= 1 - masks[1]
    return CutMix(torch.rand(3, frames, side, side, generator=seeded()) * 2 - 1, masks)


def teacher(base, concept, adapter: str, videos: int = 2) -> Teacher:
    """A subject on the base, with noise for videos."""
    lora.load(base, adapter, concept.weights)
    latents = torch.randn(videos, 6, 2, 6, 6, generator=seeded(len(adapter)))
    prompts = [f"A {concept.tokens[0].name}", f"{concept.tokens[0].name} at night"][:videos]
    return Teacher(adapter, latents, base.encode_prompt(prompts, concept.tokens))


# what is fused


def test_one_subject_is_its_own_fusion(emoji_base, subjects, tmp_path):
    fused = fuse(emoji_base, subjects[:1], tmp_path / "f")
    assert fused.concept is subjects[0]
    assert fused.pair is fused.maps is fused.sample is None and fused.history.losses == {}
    assert not (tmp_path / "f").exists()


def test_it_begins_as_the_exact_average(emoji_base, subjects, tmp_path):
    """With a learning rate of zero it stays there, whatever is lost on the way."""
    fused = fuse(emoji_base, subjects, tmp_path, dataclasses.replace(CONFIG, learning_rate=0.0, steps=2))
    start = average([concept.weights for concept in subjects])
    assert fused.concept.weights.rank == 3 and fused.compression_error == 0
    assert torch.equal(factors(fused.concept.weights), factors(start))
    assert all(min(losses) > 0 for losses in fused.history.losses.values())


def test_a_lower_rank_begins_as_the_nearest_to_the_average(emoji_base, subjects, tmp_path):
    config = dataclasses.replace(CONFIG, learning_rate=0.0, steps=1, rank=1, lambda2=0.0)
    fused = fuse(emoji_base, subjects, tmp_path / "one", config)
    nearest, error = compress(average([concept.weights for concept in subjects]), 1)
    assert fused.concept.weights.rank == 1 and fused.compression_error == error > 0
    assert torch.equal(factors(fused.concept.weights), factors(nearest))
    assert fused.concept.details["compression_error"] == round(error, 4)
    said: list[str] = []
    higher = dataclasses.replace(config, rank=8)
    whole = fuse(emoji_base, subjects, tmp_path / "all", higher, callbacks=Callbacks(log=said.append))
    assert whole.concept.weights.rank == 3 and whole.compression_error == 0
    assert "rank: 8 is more than the average has; it keeps its own, 3" in said


def test_it_learns_the_spatial_layers_and_keeps_all_tokens(emoji_base, subjects, tmp_path):
    fused = fuse(emoji_base, subjects, tmp_path)
    start = average([concept.weights for concept in subjects])
    got = fused.concept.weights
    assert set(got.layers) == {target.module for target in emoji_base.targets("spatial")}
    moved = [not torch.equal(got.layers[m][i], start.layers[m][i]) for m in start.layers for i in (0, 1)]
    assert all(moved)
    assert fused.concept.kind == "fusion" and set(fused.history.losses) == {"L_fusion", "L_attn", "loss"}
    for token, concept in zip(fused.concept.tokens, subjects, strict=True):
        assert token.name == concept.tokens[0].name and torch.equal(token.vectors, concept.tokens[0].vectors)
    assert fused.pair.masks.shape == (2, 2, 24, 24) and fused.maps.shape == (2, 2, 24, 24)
    assert 0 <= float(fused.maps.min()) < float(fused.maps.max()) <= 1
    save_lora(tmp_path / "out" / "fused.safetensors", fused.concept)
    again = load_lora(tmp_path / "out" / "fused.safetensors")
    assert again.kind == "fusion" and len(again.tokens) == 2
    assert all(torch.equal(again.weights.layers[m][i], got.layers[m][i]) for m in got.layers for i in (0, 1))


def test_three_subjects_with_samples(emoji_base, subjects, make_concept, tmp_path):
    three = [*subjects, make_concept(emoji_base, 3, "<cat>", "black cat")]
    seen: list[torch.Tensor] = []
    sampling = SamplingConfig(frames=2, height=16, width=16, steps=1)
    config = dataclasses.replace(CONFIG, steps=2, sample_every_n_steps=1, batch_size=2)
    fused = fuse(emoji_base, three, tmp_path, config, sampling=sampling, callbacks=Callbacks(preview=seen.append))
    assert [token.name for token in fused.concept.tokens] == ["<toy>", "<pet>", "<cat>"]
    assert fused.concept.weights.rank == 5 and len(seen) == 2
    assert fused.sample.shape == (3, 2, 16, 16) and fused.concept.thumbnail is not None
    assert fusion.pair_prompt(["<toy>", "<pet>", "<cat>"]) == "A <toy> and a <pet> and a <cat>"


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
def test_eq_6_by_hand(emoji_base, subjects, make_concept, count):
    """The mean over the subjects, each at a level of its own; a count takes some of them."""
    concepts = [*subjects, make_concept(emoji_base, 3, "<cat>", "cat")]
    student = average([concept.weights for concept in concepts])
    with lora.restore_adapters(emoji_base), torch.no_grad():
        have = [teacher(emoji_base, concept, f"subject_{'x' * n}") for n, concept in enumerate(concepts)]
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
        have = [teacher(emoji_base, concept, f"subject_{n}") for n, concept in enumerate(subjects)]
        start = average([concept.weights for concept in subjects])
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
    sites, pair = emoji_base.attention_layers("cross")[chosen], pasted()
    tokens = [*subjects[0].tokens, *subjects[1].tokens]
    start = average([concept.weights for concept in subjects])
    with lora.trainable_adapter(emoji_base, "fused", [], CONFIG, start) as parameters:
        generator = seeded()
        with torch.no_grad():
            x0 = emoji_base.encode_video(pair.pixels[None])
        level = emoji_base.random_level(1, generator)
        x = level.a * x0 + level.s * torch.randn(x0.shape, generator=generator)
        with emoji_base.record(sites, emoji_base.token_spans(PAIR, tokens)) as maps:
            emoji_base.predict(x, level, emoji_base.encode_prompt([PAIR], tokens))
            wanted = eq_7(list(maps.cross.values()), pair.masks)
        plain = torch.autograd.grad(wanted, list(parameters.values()), allow_unused=True)
        trained = list(parameters.values())
        with in_mode(mode), pair_maps(emoji_base, pair, ["<toy>", "<pet>"], tokens, sites, seeded()) as recorded:
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
    start, found = average([concept.weights for concept in subjects]), []
    for base in (emoji_base, load_unet3d(dtype=dtype, device="cpu")):
        with lora.trainable_adapter(base, "fused", [], CONFIG, start) as parameters:
            trained, scale = list(parameters.values()), loss_scale_for(base.dtype)
            sites, names = base.attention_layers("cross"), ["<toy>", "<pet>"]
            with pair_maps(base, pasted(), names, tokens, sites, seeded()) as maps:
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


def test_following_both_losses_makes_both_smaller(emoji_base, make_concept):
    """On a picture that the base can read: a map's largest value counts as a constant, so that in noise, where it
    wanders, a step along the gradient may raise the loss."""
    subjects = [make_concept(emoji_base, 1, "<toy>", "dog"), make_concept(emoji_base, 2, "<pet>", "panda")]
    tokens = [*subjects[0].tokens, *subjects[1].tokens]
    sites, names = emoji_base.attention_layers("cross"), [token.name for token in tokens]
    with lora.restore_adapters(emoji_base):
        have = [teacher(emoji_base, concept, f"subject_{n}") for n, concept in enumerate(subjects)]
        start = average([concept.weights for concept in subjects])
        with lora.trainable_adapter(emoji_base, "fused", [], CONFIG, start) as parameters:
            trained = list(parameters.values())

            def of_maps(backward) -> None:
                with pair_maps(emoji_base, drawn_pair(), names, tokens, sites, seeded()) as maps:
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


# Eq. 8


def test_lambda2_weighs_l_attn(emoji_base, subjects, tmp_path):
    one = dataclasses.replace(CONFIG, steps=1)
    full = fuse(emoji_base, subjects, tmp_path / "a", dataclasses.replace(one, lambda2=1.0)).history.losses
    part = fuse(emoji_base, subjects, tmp_path / "b", dataclasses.replace(one, lambda2=0.25)).history.losses
    assert part["L_attn"][0] == pytest.approx(full["L_attn"][0] / 4, rel=1e-4)
    assert part["L_fusion"][0] == pytest.approx(full["L_fusion"][0], rel=1e-4)
    assert full["loss"][0] == pytest.approx(full["L_attn"][0] + full["L_fusion"][0])


def test_lambda2_zero_is_without_l_attn(emoji_base, subjects, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("asked for L_attn")

    for module, name in ((fusion, "pair_maps"), (fusion, "sample_cutmix_pair"), (fusion_data, "cut_out")):
        monkeypatch.setattr(module, name, refuse)
    segmenter = type("Refusing", (), {"segment": refuse})()
    config = dataclasses.replace(CONFIG, lambda2=0.0, steps=1)
    fused = fuse(emoji_base, subjects, tmp_path, config, segmenter=segmenter)
    assert set(fused.history.losses) == {"L_fusion", "loss"} and fused.pair is fused.maps is None
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "generated").glob("[!.]*")) == ["teacher", "teacher"]
    with pytest.raises(AssertionError, match="asked for L_attn"):
        fuse(emoji_base, subjects, tmp_path / "on", dataclasses.replace(config, lambda2=0.1))


# the training


def test_a_stop_and_a_second_call_give_what_one_call_gives(emoji_base, subjects, tmp_path):
    wanted = fuse(emoji_base, subjects, tmp_path / "whole")
    trained: list[int] = []
    callbacks = Callbacks(progress=lambda done, _, what: trained.append(done) if what == "training" else None,
              cancelled=lambda: len(trained) == 1)  # fmt: skip
    with pytest.raises(Cancelled):
        fuse(emoji_base, subjects, tmp_path / "two", callbacks=callbacks)
    assert not lora.names(emoji_base)
    resumed = fuse(emoji_base, subjects, tmp_path / "two")
    assert resumed.history.resumed_at == 1 and resumed.history.losses == wanted.history.losses
    assert torch.equal(factors(resumed.concept.weights), factors(wanted.concept.weights))
    assert torch.equal(resumed.maps, wanted.maps)


def test_a_stop_while_teachers_are_made_and_a_damaged_file_change_nothing(emoji_base, subjects, tmp_path):
    wanted = fuse(emoji_base, subjects, tmp_path / "whole")
    told: list[tuple[int, int, str]] = []
    first = CONFIG.teacher_steps * (CONFIG.teacher_videos + CONFIG.cutmix_videos)  # steps of the first subject's clips
    callbacks = Callbacks(progress=lambda *step: told.append(step), cancelled=lambda: len(told) > first)
    with pytest.raises(Cancelled):
        fuse(emoji_base, subjects, tmp_path / "two", callbacks=callbacks)
    assert told[-1] == (1, first, "making teacher clips") and not lora.names(emoji_base)
    (kept,) = (tmp_path / "two" / "generated").glob("[!.]*")
    kept.write_bytes(kept.read_bytes()[:100])
    said: list[str] = []
    again = fuse(emoji_base, subjects, tmp_path / "two", callbacks=Callbacks(log=said.append))
    assert f"{kept.name} is damaged; computing it again" in said
    assert torch.equal(factors(again.concept.weights), factors(wanted.concept.weights))


@pytest.mark.parametrize("mode", ["medium", "low"])
def test_memory_modes_change_nothing_but_memory(emoji_base, subjects, tmp_path, mode, in_mode):
    config = dataclasses.replace(CONFIG, steps=2)
    one = fuse(emoji_base, subjects, tmp_path / "a", config)
    with in_mode(mode):
        two = fuse(emoji_base, subjects, tmp_path / "b", config)
    torch.testing.assert_close(factors(one.concept.weights), factors(two.concept.weights), atol=1e-5, rtol=1e-4)
    assert one.history.losses["L_attn"] == pytest.approx(two.history.losses["L_attn"], rel=1e-4)


def test_an_error_in_the_middle_leaves_the_base_alone(emoji_base, subjects, tmp_path):
    def explode(_done, _total, what):
        if what == "training":
            raise RuntimeError("host")

    with pytest.raises(RuntimeError, match="host"):
        fuse(emoji_base, subjects, tmp_path, callbacks=Callbacks(progress=explode))
    assert not lora.names(emoji_base)


def test_what_is_fused_of_something_else_does_not_go_on_with_this_ones_checkpoint(
    emoji_base, subjects, make_concept, tmp_path
):
    fuse(emoji_base, subjects, tmp_path)
    longer = fuse(emoji_base, subjects, tmp_path, dataclasses.replace(CONFIG, steps=4))
    assert longer.history.resumed_at == 3
    whole = GivenMasks(torch.ones(1, 2, 24, 24) * torch.linspace(0, 1, 24))
    others = [subjects[0], make_concept(emoji_base, 7, "<pet>", "dog", rank=1)]
    for given, more in (
        (others, {}),
        (subjects[::-1], {}),
        (subjects, {"segmenter": whole}),
        (subjects, {"prompts": fusion_data.FusionPrompts(teacher=("The {subject}",))}),
        (subjects, {"config": dataclasses.replace(CONFIG, lambda2=0.5)}),
    ):
        with pytest.raises(ValueError, match="holds the checkpoint of another training"):
            fuse(emoji_base, given, tmp_path, **more)


def test_a_checkpoint_is_known_by_what_was_given_not_by_what_networks_made_of_it(
    emoji_base, subjects, tmp_path, monkeypatch
):
    fuse(emoji_base, subjects, tmp_path)
    for name in ("decode_video", "encode_prompt"):
        stock = getattr(type(emoji_base), name)
        monkeypatch.setattr(type(emoji_base), name, lambda *given, _stock=stock: _stock(*given) * (1 + 1e-6))
    assert fuse(emoji_base, subjects, tmp_path).history.resumed_at == 3


def test_other_loras_on_the_base_do_not_count(emoji_base, subjects, make_concept, tmp_path):
    config = dataclasses.replace(CONFIG, steps=1)
    wanted = fuse(emoji_base, subjects, tmp_path / "a", config)
    with apply_loras(emoji_base, [(make_concept(emoji_base, 9, "<cat>", "cat"), 1.0)]):
        got = fuse(emoji_base, subjects, tmp_path / "b", config)
        assert lora.names(emoji_base) == ["subject_0"]
    assert got.history.losses["L_fusion"] == pytest.approx(wanted.history.losses["L_fusion"], rel=1e-3)
    assert got.history.losses["L_attn"] == pytest.approx(wanted.history.losses["L_attn"], rel=1e-3)


# bad input


def test_what_cannot_be_fused_is_refused(emoji_base, subjects, make_concept, tmp_path):
    toy, pet = subjects
    mark = dataclasses.replace(pet.fingerprint, architecture="another")
    stranger, motion = dataclasses.replace(pet, fingerprint=mark, base="zeroscope"), make_concept(emoji_base, 3, None)
    for given, message in (
        ([], "subjects: got none, give at least one subject LoRA"),
        ([toy, motion], "the LoRA 2 of 2 is a motion; fuse subjects only, and give the motion to the sampler"),
        ([motion], "subjects: the LoRA 1 of 1 is a motion"),
        (
            [toy, dataclasses.replace(pet, kind="fusion")],
            "the LoRA 2 of 2 is a fusion of 1 already; fuse the subjects' own LoRAs, all at once",
        ),
        ([toy, dataclasses.replace(pet, tokens=())], "the LoRA 2 of 2 has no token, so no prompt can name it"),
        (
            [toy, pet, dataclasses.replace(stranger, tokens=toy.tokens)],
            "the LoRA 3 of 3 was trained on 'zeroscope', the first on 'emoji_base'; fuse LoRAs of one base",
        ),
        ([toy, dataclasses.replace(pet, tokens=toy.tokens)], "tokens: <toy> is in more than one of these LoRAs"),
    ):
        with pytest.raises(ValueError, match=message):
            check_subjects(given)
        with pytest.raises(ValueError, match=message):
            fuse(emoji_base, given, tmp_path / "t")
    for given in ([stranger], [stranger, dataclasses.replace(stranger, tokens=toy.tokens)]):
        with pytest.raises(ValueError, match="was trained on the base 'zeroscope' and does not fit 'emoji_base'"):
            fuse(emoji_base, given, tmp_path / "t")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"cross_attention_layers": "mid_block, nowhere"},
            "of which nowhere names no layer; write 'all', or beginnings",
        ),
        ({"height": 26}, r"got 26x24 pixels .* multiples of 4"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_made(emoji_base, subjects, tmp_path, change, message):
    for given in (subjects, subjects[:1]):
        with pytest.raises(ValueError, match=message):
            fuse(emoji_base, given, tmp_path / "t", dataclasses.replace(CONFIG, **change))
    assert not (tmp_path / "t").exists()
