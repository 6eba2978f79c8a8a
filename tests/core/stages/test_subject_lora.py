"""Eq. 2-4 on the built-in base."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import SubjectConfig
from videomage_core.model import lora
from videomage_core.model.loading import load_unet3d
from videomage_core.model.text import SpecialToken
from videomage_core.sampling import add_noise
from videomage_core.stages import subject_lora
from videomage_core.stages.subject_lora import (
    CaptionedClip,
    SubjectImage,
    prediction_error,
    train_subject,
)

CONFIG = SubjectConfig(
    steps=3, height=48, width=48, batch_size=2, learning_rate=1e-2, token_learning_rate=1e-2, save_every_n_steps=2,
    auxiliary_clips=1, auxiliary_steps=2,
)  # fmt: skip


def images(count: int = 2) -> list[SubjectImage]:
    generator = torch.Generator().manual_seed(5)
    return [SubjectImage(torch.rand(3, 40 + 9 * i, 60, generator=generator) * 2 - 1) for i in range(count)]


def clip() -> CaptionedClip:
    return CaptionedClip(torch.rand(3, 8, 48, 48, generator=torch.Generator().manual_seed(6)) * 2 - 1, "a cat")


def train(base, folder: Path, config: SubjectConfig = CONFIG, **more):
    more.setdefault("images", images())
    more.setdefault("auxiliary", [clip()])
    return train_subject(base, token="<toy>", superclass="robot", config=config, folder=folder, **more)


def flat(trained) -> torch.Tensor:
    factors = [f.flatten() for pair in trained.lora_model.weights.layers.values() for f in pair]
    return torch.cat([*factors, trained.lora_model.tokens[0].vectors.flatten()])


def test_it_learns_the_token_and_the_spatial_layers_alone(emoji_base, tmp_path):
    trained = train(emoji_base, tmp_path)
    layers = trained.lora_model.weights.layers
    assert set(layers) == {t.module for t in emoji_base.targets("spatial")}
    assert all(float(b.abs().sum()) > 0 for _, b in layers.values())
    start = emoji_base.initial_vectors("robot", 1)
    assert not torch.equal(trained.lora_model.tokens[0].vectors, start)
    assert set(trained.history.losses) == {"L_sub", "L_reg", "loss"}
    assert len(trained.history.seconds) == CONFIG.steps


def test_the_loss_falls(emoji_base, tmp_path):
    config = dataclasses.replace(CONFIG, steps=30, lambda1=0.0, batch_size=4)
    losses = train(emoji_base, tmp_path, config).history.losses["loss"]
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])


def test_lambda1_weighs_l_reg_and_zero_leaves_it_out(emoji_base, tmp_path):
    one = dataclasses.replace(CONFIG, steps=1)
    full = train(emoji_base, tmp_path / "a", dataclasses.replace(one, lambda1=1.0)).history.losses["L_reg"][0]
    quarter = train(emoji_base, tmp_path / "b", dataclasses.replace(one, lambda1=0.25)).history.losses["L_reg"][0]
    assert quarter == pytest.approx(full / 4, rel=1e-5)
    off = train(emoji_base, tmp_path / "c", dataclasses.replace(one, lambda1=0.0), auxiliary=())
    assert set(off.history.losses) == {"L_sub", "loss"}
    assert not (tmp_path / "c" / "generated").exists()


def test_the_error_is_of_noise_prediction(emoji_base, latents):
    text = emoji_base.encode_prompt(["a dog"])
    got = prediction_error(emoji_base, latents, text, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    level = emoji_base.random_level(1, generator)
    eps = torch.randn(latents.shape, generator=generator)
    wanted = (emoji_base.predict(add_noise(latents, eps, level), level, text) - eps) ** 2
    assert torch.equal(got, wanted)


def test_the_loss_is_the_mean_error_under_the_mask(emoji_base, latents):
    x0, mask = latents[:, :, :1], torch.zeros(1, 1, 1, 12, 12)
    mask[..., 2:5, 3:9] = 1
    token = SpecialToken("<toy>", emoji_base.initial_vectors("robot", 1), "robot")
    view = subject_lora._View(x0, mask, "A <toy>")
    got = subject_lora._subject_loss(emoji_base, [view], token, torch.Generator().manual_seed(3))
    text = emoji_base.encode_prompt(["A <toy>"], [token])
    error = prediction_error(emoji_base, x0, text, torch.Generator().manual_seed(3))
    assert float(got) == pytest.approx(float(error[0, :, 0, 2:5, 3:9].mean()), rel=1e-5)


def test_a_stop_and_a_second_call_give_what_one_call_gives(emoji_base, tmp_path):
    wanted = flat(train(emoji_base, tmp_path / "whole"))
    trained: list[int] = []
    callbacks = Callbacks(progress=lambda done, *_: trained.append(done), cancelled=lambda: bool(trained))
    with pytest.raises(Cancelled):
        train(emoji_base, tmp_path / "two", callbacks=callbacks)
    assert not lora.names(emoji_base)
    resumed = train(emoji_base, tmp_path / "two")
    assert resumed.history.resumed_at == 1
    assert torch.equal(flat(resumed), wanted)


@pytest.mark.parametrize("mode", ["medium", "low"])
def test_memory_modes_change_nothing_but_memory(emoji_base, tmp_path, mode, in_mode):
    one = train(emoji_base, tmp_path / "a")
    with in_mode(mode):
        two = train(emoji_base, tmp_path / "b")
    torch.testing.assert_close(flat(one), flat(two), atol=1e-5, rtol=1e-4)


def test_an_error_in_the_middle_leaves_the_base_alone(emoji_base, tmp_path):
    def explode(*_):
        raise RuntimeError("host")

    with pytest.raises(RuntimeError, match="host"):
        train(emoji_base, tmp_path, callbacks=Callbacks(progress=explode))
    assert not lora.names(emoji_base)


def test_the_base_makes_auxiliary_clips_once(emoji_base, tmp_path):
    said: list[str] = []
    captions = ["a cat is jumping on grass", "a robot is rising on a beach"]
    for name in ("a", "b"):
        train(
            emoji_base, tmp_path / name, auxiliary=(), captions=captions, cache=tmp_path / "cache",
            callbacks=Callbacks(log=said.append),
        )  # fmt: skip
    assert len([line for line in said if "auxiliary clips" in line]) == 1
    assert len(list((tmp_path / "cache" / "generated").glob("auxiliary-*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, "images: got none"),
        ({"prompt": "A robot"}, "does not hold <toy>"),
        ({"prompt": "A <robot>"}, "<robot> is not known"),
        ({"prompt": "A <toy> " + "very " * 90}, "at most 75 fit"),
        ({"images": [SubjectImage(torch.zeros(3, 9, 9), torch.zeros(9, 9))]}, "image 1'?: it is empty"),
        ({"images": [SubjectImage(torch.zeros(3, 9, 9), prompt="a dog")]}, "does not hold <toy>"),
        ({"config": dataclasses.replace(CONFIG, height=50)}, "multiples of 4"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(emoji_base, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train(emoji_base, tmp_path / "t", **change)
    assert not (tmp_path / "t").exists()


def test_another_subject_does_not_go_on_with_this_ones_checkpoint(emoji_base, tmp_path):
    train(emoji_base, tmp_path)
    with pytest.raises(ValueError, match="another training"):
        train(emoji_base, tmp_path, images=images(3))


def test_other_captions_of_the_auxiliary_clips_are_another_training(emoji_base, tmp_path):
    train(emoji_base, tmp_path)
    with pytest.raises(ValueError, match="another training"):
        train(emoji_base, tmp_path, auxiliary=[dataclasses.replace(clip(), caption="a dog")])


@pytest.mark.parametrize("allowed", [0, 1, 2])  # before each image, and before each given clip
def test_a_stop_while_images_are_encoded_comes_before_the_next_one(emoji_base, tmp_path, monkeypatch, allowed):
    encoded: list[int] = []
    stock = type(emoji_base).encode_video
    monkeypatch.setattr(
        type(emoji_base), "encode_video", lambda self, pixels: (encoded.append(1), stock(self, pixels))[1]
    )
    with pytest.raises(Cancelled):
        train(emoji_base, tmp_path, callbacks=Callbacks(cancelled=lambda: len(encoded) >= allowed))
    assert len(encoded) == allowed


def test_a_checkpoint_is_known_by_what_was_given_not_by_what_networks_made_of_it(emoji_base, tmp_path, monkeypatch):
    """Another device or driver rounds latents and text otherwise; another precision of the base, its weights too."""
    train(emoji_base, tmp_path)
    with monkeypatch.context() as changed:
        for name in ("encode_video", "encode_prompt"):
            stock = getattr(type(emoji_base), name)
            changed.setattr(type(emoji_base), name, lambda *given, _stock=stock: _stock(*given) * (1 + 1e-6))
        assert train(emoji_base, tmp_path).history.resumed_at == 3
    assert train(load_unet3d(dtype="bf16", device="cpu"), tmp_path).history.resumed_at == 3


def test_whatever_else_is_given_is_another_training(emoji_base, tmp_path):
    config, (first, second) = dataclasses.replace(CONFIG, steps=1), images()
    train(emoji_base, tmp_path, config)
    for change in (
        {"prompt": "A small <toy>"},
        {"images": [dataclasses.replace(first, mask=torch.eye(40, 60)), second]},
        {"images": [first, dataclasses.replace(second, prompt="A <toy> on grass")]},
        {"auxiliary": [dataclasses.replace(clip(), pixels=clip().pixels.flip(-1))]},
        {"config": dataclasses.replace(config, learning_rate=2e-2)},
    ):
        with pytest.raises(ValueError, match="another training"):
            train(emoji_base, tmp_path, **{"config": config, **change})
