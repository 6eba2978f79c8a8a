"""Eq. 5 on the built-in base."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import MotionConfig
from videomage_core.model import lora
from videomage_core.stages import motion_lora
from videomage_core.stages.motion_lora import MotionClip, appearance_free, cut_out, motion_loss, train_motion
from videomage_core.stages.subject_lora import prediction_error

CONFIG = MotionConfig(
    steps=3, frames=8, height=48, width=48, learning_rate=1e-2, save_every_n_steps=2, textual_inversion_steps=2,
)  # fmt: skip


def clip(frames: int = 8, side: int = 48) -> MotionClip:
    """Two squares that cross a grey frame."""
    pixels, masks = torch.zeros(3, frames, side, side), torch.zeros(2, frames, side, side)
    for f in range(frames):
        masks[0, f, 4:16, 2 * f : 2 * f + 12] = 1
        masks[1, f, 28:40, 30 - 2 * f : 44 - 2 * f] = 1
    pixels[0] += masks[0]
    pixels[2] -= masks[1]
    return MotionClip(pixels, ("dog", "cat"), masks)


def train(base, folder: Path, config: MotionConfig = CONFIG, **more):
    more.setdefault("clips", [clip()])
    return train_motion(base, prompt="a dog is passing a cat", config=config, folder=folder, **more)


def flat(trained) -> torch.Tensor:
    return torch.cat([f.flatten() for pair in trained.lora_model.weights.layers.values() for f in pair])


def example(base, appearance: bool = True):
    x0 = base.encode_video(clip().pixels[None])
    c_ap = base.encode_prompt(["a static video of a dog and a cat"]) if appearance else None
    return motion_lora._Example(x0, base.encode_prompt(["a dog is passing a cat"]), c_ap)


def test_it_learns_the_temporal_layers_alone(emoji_base, tmp_path):
    trained = train(emoji_base, tmp_path)
    layers = trained.lora_model.weights.layers
    assert set(layers) == {t.module for t in emoji_base.targets("temporal")}
    assert any(name.startswith("transformer_in.") for name in layers)
    assert all(float(b.abs().sum()) > 0 for _, b in layers.values())
    assert trained.lora_model.tokens == ()


def test_omega_zero_is_the_plain_loss(emoji_base):
    config = dataclasses.replace(CONFIG, omega=0.0)
    one = example(emoji_base, appearance=False)
    got = motion_loss(emoji_base, [one], config, torch.Generator().manual_seed(2))["L_mot"]
    wanted = prediction_error(emoji_base, one.latents, one.motion, torch.Generator().manual_seed(2)).mean()
    assert torch.equal(got, wanted)


def test_eq_5_by_hand(emoji_base):
    """The teacher is the base without the LoRA; the coefficients are 1 + omega and -omega."""
    one = example(emoji_base)
    with lora.trainable_adapter(emoji_base, "motion", emoji_base.targets("temporal"), CONFIG) as parameters:
        for name, factor in parameters.items():
            if name.endswith("B"):
                torch.nn.init.normal_(factor, std=0.05, generator=torch.Generator().manual_seed(0))
        got = motion_loss(emoji_base, [one], CONFIG, torch.Generator().manual_seed(2))["L_mot"].detach()
        generator = torch.Generator().manual_seed(2)
        torch.randint(1, (0,), generator=generator)
        level = emoji_base.random_level(1, generator)
        eps = torch.randn(one.latents.shape, generator=generator)
        x_t = level.a.view(-1, 1, 1, 1, 1) * one.latents + level.s.view(-1, 1, 1, 1, 1) * eps
        student = emoji_base.predict(x_t, level, one.motion).detach()
    teacher = emoji_base.predict(x_t, level, one.appearance)  # the LoRA is gone
    wanted = (student - (1.5 * eps - 0.5 * teacher)).square().mean()
    assert float(got) == pytest.approx(float(wanted), rel=1e-5)


def test_gradients_reach_the_lora_although_the_teacher_ran(emoji_base):
    with lora.trainable_adapter(emoji_base, "motion", emoji_base.targets("temporal"), CONFIG) as parameters:
        motion_loss(emoji_base, [example(emoji_base)], CONFIG, torch.Generator().manual_seed(2))["L_mot"].backward()
        for name, factor in parameters.items():
            assert factor.grad is not None
            moved = float(factor.grad.abs().sum()) > 0
            assert moved == name.endswith("B"), name  # B is zero, so A has no gradient yet


def test_appearance_free_is_affine_in_the_output():
    target, static = torch.randn(2, 3), torch.randn(2, 3)
    assert appearance_free(target, static, 0.0) is target
    torch.testing.assert_close(appearance_free(target, static, 0.5), 1.5 * target - 0.5 * static)
    torch.testing.assert_close(appearance_free(target, target, 0.5), target)


def test_the_debiased_objective_needs_no_subjects(emoji_base, tmp_path):
    config = dataclasses.replace(CONFIG, objective="motion_director", steps=2)
    trained = train(emoji_base, tmp_path, config, clips=[MotionClip(clip().pixels)])
    assert set(trained.history.losses) == {"L_spatial", "L_mot", "L_debiased", "loss"}
    assert not list(tmp_path.glob("inversion*"))


def test_cut_out_shows_one_subject_on_a_plain_ground():
    first, second = cut_out(clip(), CONFIG)
    ground = 2 * CONFIG.textual_inversion_background - 1
    for image, colour in ((first, (1.0, 0.0, 0.0)), (second, (0.0, 0.0, -1.0))):
        assert image.shape == (3, 48, 48)
        assert image[:, 24, 24].tolist() == pytest.approx(colour, abs=1e-4)
        assert image[:, 0, 0].tolist() == pytest.approx([ground] * 3, abs=1e-4)


def test_several_clips_and_a_stop(emoji_base, tmp_path):
    clips = [clip(), dataclasses.replace(clip(side=56), prompt="a cat is passing a dog")]
    wanted = flat(train(emoji_base, tmp_path / "whole", clips=clips))
    calls = []

    def stop() -> bool:
        calls.append(1)
        return (
            len(calls) > 2 * 2 * CONFIG.textual_inversion_steps + 1
        )  # two clips, two subjects, and one step of the LoRA

    with pytest.raises(Cancelled):
        train(emoji_base, tmp_path / "two", clips=clips, callbacks=Callbacks(cancelled=stop))
    resumed = train(emoji_base, tmp_path / "two", clips=clips)
    assert resumed.history.resumed_at == 1
    assert torch.equal(flat(resumed), wanted)


@pytest.mark.parametrize("mode", ["medium", "low"])
def test_memory_modes_change_nothing_but_memory(emoji_base, tmp_path, mode, in_mode):
    one = train(emoji_base, tmp_path / "a")
    with in_mode(mode):
        two = train(emoji_base, tmp_path / "b")
    torch.testing.assert_close(flat(one), flat(two), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([], "clips: got none"),
        ([MotionClip(torch.zeros(3, 8, 48, 48))], "got no subjects"),
        ([clip(frames=5)], "clip 1: got 5 frames, expected 8"),
        ([dataclasses.replace(clip(), masks=torch.zeros(2, 8, 48, 48))], "mask of 'dog': it is empty"),
        ([dataclasses.replace(clip(), prompt="a <dog> jumps")], "<dog> stands for one subject; say in plain words"),
        ([dataclasses.replace(clip(), masks=None)], "got 2 .dog, cat., a plain background"),
    ],
)
def test_bad_input(emoji_base, tmp_path, clips, message):
    with pytest.raises(ValueError, match=message):
        train(emoji_base, tmp_path / "t", clips=clips)


def test_a_prompt_that_lacks_a_place_for_the_subjects_is_refused():
    with pytest.raises(ValueError, match=r"must hold \{subjects\}"):
        MotionConfig(appearance_prompt="A static video")


@pytest.mark.parametrize(
    "change", [{"textual_inversion_learning_rate": 0.5}, {"textual_inversion_num_vectors": 2}, {"batch_size": 2}]
)
def test_a_subject_inverted_with_other_settings_is_not_taken_for_this_one(emoji_base, tmp_path, change):
    def inverted(config: MotionConfig) -> torch.Tensor:
        image = cut_out(clip(), config)[0]
        return motion_lora.invert_subject(emoji_base, image, "<sub1>", "dog", config, tmp_path, Callbacks()).vectors

    assert torch.equal(inverted(CONFIG), inverted(CONFIG))
    with pytest.raises(ValueError, match="holds the checkpoint of another training"):
        inverted(dataclasses.replace(CONFIG, **change))


def test_a_checkpoint_is_known_by_what_was_given_not_by_what_networks_made_of_it(emoji_base, tmp_path, monkeypatch):
    train(emoji_base, tmp_path)
    for name in ("encode_video", "encode_prompt"):
        stock = getattr(type(emoji_base), name)
        monkeypatch.setattr(type(emoji_base), name, lambda *given, _stock=stock: _stock(*given) * (1 + 1e-6))
    assert train(emoji_base, tmp_path).history.resumed_at == CONFIG.steps
    others = [
        dataclasses.replace(clip(), prompt="a cat is passing a dog"),
        dataclasses.replace(clip(), pixels=-clip().pixels),
        dataclasses.replace(clip(), subjects=("fox", "cat")),
        dataclasses.replace(clip(), masks=clip().masks.flip(-1)),
    ]
    for other in others:
        with pytest.raises(ValueError, match="holds the checkpoint of another training"):
            train(emoji_base, tmp_path, clips=[other])
