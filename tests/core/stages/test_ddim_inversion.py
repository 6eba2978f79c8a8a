"""The inverted noise of a clip: DDIM inversion with the empty prompt, computed once."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import SamplingConfig
from videomage_core.data.augmentation import resize_clip
from videomage_core.data.lora_file import apply_loras
from videomage_core.sampling import invert
from videomage_core.stages.ddim_inversion import invert_clip

CONFIG = SamplingConfig(frames=2, height=16, width=24, ddim_inversion_steps=3)


def clip(frames: int = 2, height: int = 16, width: int = 24, seed: int = 0) -> torch.Tensor:
    return torch.rand(3, frames, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def require_no_prediction(base, monkeypatch) -> None:
    def refuse(*_):
        raise AssertionError("predicted")

    monkeypatch.setattr(base, "predict", refuse)


def test_it_is_the_inversion_with_the_empty_prompt(emoji_base):
    empty, latents = emoji_base.encode_prompt([""]), emoji_base.encode_video(clip()[None])
    got = invert_clip(emoji_base, clip(), CONFIG)
    assert torch.equal(got, invert(emoji_base, latents, empty, 3))
    assert got.shape == (1, 6, 2, 4, 6)
    assert not torch.equal(got, invert(emoji_base, latents, emoji_base.encode_prompt(["a dog"]), 3))


@pytest.mark.parametrize("change", [{"steps": 2}, {"guidance_scale": 1.0}, {"noise_prior": 0.9}])
def test_it_is_kept_and_what_it_does_not_depend_on_does_not_matter(emoji_base, tmp_path, monkeypatch, change):
    made = invert_clip(emoji_base, clip(), CONFIG, tmp_path)
    require_no_prediction(emoji_base, monkeypatch)
    assert torch.equal(invert_clip(emoji_base, clip(), dataclasses.replace(CONFIG, **change), tmp_path), made)
    assert [path.name.split("-")[0] for path in tmp_path.glob("[!.]*")] == ["inverted"]


@pytest.mark.parametrize(
    ("pixels", "change"),
    [
        (clip(seed=1), {}),
        (clip(), {"ddim_inversion_steps": 4}),
        (clip(), {"frames": 3}),
        (clip(), {"height": 20}),
    ],
)
def test_the_noise_of_something_else_is_not_taken(emoji_base, tmp_path, pixels, change):
    invert_clip(emoji_base, clip(), CONFIG, tmp_path)
    config = dataclasses.replace(CONFIG, **change)
    got = invert_clip(emoji_base, pixels, config, tmp_path)
    assert torch.equal(got, invert_clip(emoji_base, pixels, config)) and len(list(tmp_path.glob("[!.]*"))) == 2


@pytest.mark.parametrize("pixels", [clip(frames=7), clip(frames=1), clip(height=30, width=30), clip(5, 12, 40)])
def test_a_clip_of_another_length_or_size_is_fitted(emoji_base, pixels):
    got = invert_clip(emoji_base, pixels, CONFIG)
    assert got.shape == (1, *emoji_base.latent_shape(2, 16, 24))
    assert torch.equal(got, invert_clip(emoji_base, resize_clip(pixels, 2, 16, 24), CONFIG))


def test_loras_on_the_base_do_not_count(emoji_base, make_lora_model):
    wanted = invert_clip(emoji_base, clip(), CONFIG)
    with apply_loras(emoji_base, [(make_lora_model(emoji_base, 1), 1.0)]):
        assert torch.allclose(invert_clip(emoji_base, clip(), CONFIG), wanted, atol=1e-4)


def test_a_size_the_base_cannot_make_is_refused_first(emoji_base, monkeypatch):
    require_no_prediction(emoji_base, monkeypatch)
    with pytest.raises(ValueError, match=r"got 18x24 pixels .* multiples of 4"):
        invert_clip(emoji_base, clip(), dataclasses.replace(CONFIG, height=18))


def test_a_stop_keeps_nothing_and_progress_is_told(emoji_base, tmp_path):
    told: list[tuple[int, int, str]] = []
    callbacks = Callbacks(progress=lambda *step: told.append(step), cancelled=lambda: len(told) == 2)
    with pytest.raises(Cancelled):
        invert_clip(emoji_base, clip(), CONFIG, tmp_path, callbacks)
    assert told == [(1, 3, "inverting the clip"), (2, 3, "inverting the clip")] and not list(tmp_path.glob("[!.]*"))
