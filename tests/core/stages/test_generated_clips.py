"""Clips the model makes for its own training: each what plain sampling gives, made once, kept by what they are of."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import SamplingConfig
from videomage_core.model.text import SpecialToken
from videomage_core.sampling import sample_prompt
from videomage_core.stages import generated_clips as module
from videomage_core.stages.generated_clips import generate_clips

SAMPLING = SamplingConfig(frames=2, height=16, width=16, steps=2, guidance_scale=3.0)


def token(seed: int = 0, name: str = "<toy>") -> SpecialToken:
    return SpecialToken(name, torch.randn(1, 96, generator=torch.Generator().manual_seed(seed)), "robot")


def make(base, folder, **change):
    asked = {
        "prompts": ["a <toy>", "a <toy> on grass"], "seed": 3, "sampling": SAMPLING, "name": "teacher",
        "generated_by": "the base", "callbacks": Callbacks(), "tokens": [token()],
    }  # fmt: skip
    return generate_clips(base, folder=folder, **{**asked, **change})


@pytest.fixture
def counted(monkeypatch) -> list[tuple[str, int]]:
    """Prompts and seeds of the clips that are made; the clips themselves are zeros."""
    calls: list[tuple[str, int]] = []

    def cheap(_base, prompt, seed, _config, _run=None, _tokens=()):
        calls.append((prompt, seed))
        return torch.zeros(1, 6, 2, 4, 4)

    monkeypatch.setattr(module, "sample_prompt", cheap)
    return calls


def test_each_clip_is_what_its_prompt_and_seed_give(emoji_base, tmp_path):
    made = make(emoji_base, tmp_path)
    for index, prompt in enumerate(["a <toy>", "a <toy> on grass"]):
        wanted = sample_prompt(emoji_base, prompt, 3 + index, SAMPLING, tokens=[token()])
        assert torch.equal(made[index : index + 1], wanted)
    assert not torch.equal(made[0], made[1])
    assert made.shape == (2, 6, 2, 4, 4) and torch.equal(make(emoji_base, tmp_path), made)


def test_they_are_made_once(emoji_base, tmp_path, counted):
    make(emoji_base, tmp_path)
    make(emoji_base, tmp_path)
    assert counted == [("a <toy>", 3), ("a <toy> on grass", 4)]
    assert len(list((tmp_path / "generated").glob("teacher-*.safetensors"))) == 1


def test_every_denoising_step_of_every_clip_is_told(emoji_base, tmp_path):
    told: list[tuple[int, int, str]] = []
    make(emoji_base, tmp_path, callbacks=Callbacks(progress=lambda *step: told.append(step)))
    assert told == [(done, 4, "making teacher clips") for done in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    "change",
    [
        {"prompts": ["a <toy>", "a <toy> at night"]},
        {"prompts": ["a <toy>"]},
        {"seed": 4},
        {"sampling": dataclasses.replace(SAMPLING, steps=3)},
        {"sampling": dataclasses.replace(SAMPLING, guidance_scale=1.0)},
        {"generated_by": "another base"},
        {"tokens": [token(seed=1)]},
        {"tokens": []},
        {"name": "auxiliary"},
    ],
)
def test_what_is_of_something_else_is_made_too(emoji_base, tmp_path, counted, change):
    make(emoji_base, tmp_path)
    before = len(counted)
    make(emoji_base, tmp_path, **change)
    assert len(counted) > before and len(list((tmp_path / "generated").glob("[!.]*"))) == 2


@pytest.mark.parametrize("allowed", [1, SAMPLING.steps, SAMPLING.steps + 1])  # a question before each step
def test_a_stop_between_two_clips_or_inside_one_keeps_nothing(emoji_base, tmp_path, allowed):
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > allowed

    with pytest.raises(Cancelled):
        make(emoji_base, tmp_path, callbacks=Callbacks(cancelled=stop))
    assert len(asked) == allowed + 1 and not list((tmp_path / "generated").glob("[!.]*"))
