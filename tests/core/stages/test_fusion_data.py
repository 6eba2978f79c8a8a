"""What the fusion learns from: each subject's own videos, and cut-outs of some of them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import pytest
import torch

from videomage_core.callbacks import Callbacks
from videomage_core.config import FusionConfig, SamplingConfig
from videomage_core.data.cutmix import Cutout
from videomage_core.data.lora_file import apply_loras
from videomage_core.model import lora
from videomage_core.model.fingerprint import fingerprint
from videomage_core.sampling import sample_prompt
from videomage_core.stages import generated_clips
from videomage_core.stages.fusion_data import (
    CutMixSources,
    FusionPrompts,
    add_cutout,
    prepare_fusion_data,
    sample_cutmix_pair,
)

CONFIG = FusionConfig(
    frames=2,
    height=24,
    width=24,
    teacher_videos=3,
    cutmix_videos=2,
    teacher_steps=1,
    teacher_guidance_scale=2.0,
    seed=4,
)
SAMPLING = SamplingConfig(frames=2, height=24, width=24, steps=1, guidance_scale=2.0)
PROMPTS = FusionPrompts(("A {subject}", "A {subject} on grass"), "A {subject} alone", "An empty room")


@dataclasses.dataclass
class Box:
    """Finds a subject always in the same place, except in the videos that are to be missed; keeps what it was asked."""

    missed: Sequence[int] = ()
    asked: list[tuple[torch.Tensor, tuple[str, ...]]] = dataclasses.field(default_factory=list)

    def segment(self, pixels: torch.Tensor, words: Sequence[str]) -> torch.Tensor:
        self.asked.append((pixels, tuple(words)))
        if len(self.asked) - 1 in self.missed:
            raise ValueError(f"no {words[0]} here")
        mask = torch.zeros(1, *pixels.shape[1:])
        mask[..., 4:16, 6:20] = 1
        return mask


@pytest.fixture
def subjects(emoji_base, make_lora_model):
    return [make_lora_model(emoji_base, 1), make_lora_model(emoji_base, 2, "<pet>", "dog")]


@pytest.fixture(autouse=True)
def clean(emoji_base):
    with lora.restore_adapters(emoji_base):
        yield


def get(base, subjects, folder, config=CONFIG, segmenter=None, callbacks=None):
    mark = fingerprint(base.network)
    try:
        return prepare_fusion_data(
            base, subjects, config, PROMPTS, segmenter or Box(), folder, mark, callbacks or Callbacks()
        )
    finally:
        for name in lora.names(base):
            lora.remove(base, name)


def test_each_teacher_shows_its_own_subject_with_its_own_lora(emoji_base, subjects, tmp_path):
    teachers, _ = get(emoji_base, subjects, tmp_path)
    assert [teacher.adapter for teacher in teachers] == ["teacher_0", "teacher_1"]
    for teacher, lora_model in zip(teachers, subjects, strict=True):
        name = lora_model.tokens[0].name
        asked = [f"A {name}", f"A {name} on grass", f"A {name}"]
        assert torch.equal(teacher.texts, emoji_base.encode_prompt(asked, lora_model.tokens))
        with apply_loras(emoji_base, [(lora_model, 1.0)]) as tokens:
            wanted = [sample_prompt(emoji_base, p, 4 + i, SAMPLING, tokens=tokens) for i, p in enumerate(asked)]
        torch.testing.assert_close(teacher.latents, torch.cat(wanted), atol=1e-4, rtol=0)


def test_the_adapters_stay_on_the_base_and_none_acts(emoji_base, subjects, tmp_path):
    latents = torch.randn(1, 6, 2, 6, 6, generator=torch.Generator().manual_seed(0))

    def predict() -> torch.Tensor:
        return emoji_base.predict(latents, emoji_base.levels(4)[1], emoji_base.encode_prompt(["a dog"]))

    plain, mark = predict(), fingerprint(emoji_base.network)
    prepare_fusion_data(emoji_base, subjects, CONFIG, PROMPTS, Box(), tmp_path, mark, Callbacks())
    assert lora.names(emoji_base) == ["teacher_0", "teacher_1"] and torch.equal(predict(), plain)


def test_pieces_are_of_the_videos_made_for_them(emoji_base, subjects, tmp_path):
    segmenter = Box()
    _, sources = get(emoji_base, subjects, tmp_path, segmenter=segmenter)
    assert [words for _, words in segmenter.asked] == [("robot",)] * 2 + [("dog",)] * 2
    assert sources.names == ["<toy>", "<pet>"]
    for lora_model, cutouts in zip(subjects, sources.cutouts, strict=True):
        alone = f"A {lora_model.tokens[0].name} alone"
        with apply_loras(emoji_base, [(lora_model, 1.0)]) as tokens:
            latents = [sample_prompt(emoji_base, alone, 4 + 3 + i, SAMPLING, tokens=tokens) for i in range(2)]
        videos = emoji_base.decode_video(torch.cat(latents))
        assert len(cutouts) == 2
        for cutout, video in zip(cutouts, videos, strict=True):
            torch.testing.assert_close(cutout.pixels, video[:, :, 4:16, 6:20], atol=1e-3, rtol=0)
    with lora.use_adapters(emoji_base, {}):
        clean = emoji_base.decode_video(sample_prompt(emoji_base, "An empty room", 4, SAMPLING))[0]
    torch.testing.assert_close(sources.background, clean, atol=1e-4, rtol=0)


def test_without_l_attn_nothing_is_made_for_it(emoji_base, subjects, tmp_path):
    segmenter = Box(missed=range(9))
    teachers, sources = get(emoji_base, subjects, tmp_path, dataclasses.replace(CONFIG, lambda2=0.0), segmenter)
    assert sources is None and not segmenter.asked
    assert [len(teacher.latents) for teacher in teachers] == [3, 3]
    with_it, _ = get(emoji_base, subjects, tmp_path / "with")
    for one, two in zip(teachers, with_it, strict=True):  # L_fusion learns from the same
        assert torch.equal(one.latents, two.latents) and torch.equal(one.texts, two.texts)
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "generated").glob("[!.]*")) == ["teacher", "teacher"]


def test_videos_are_made_once_for_each_lora_and_damaged_ones_anew(emoji_base, subjects, tmp_path, monkeypatch):
    made: list[str] = []

    def counted(base, prompt, *arguments):
        made.append(prompt)
        return sample_prompt(base, prompt, *arguments)

    monkeypatch.setattr(generated_clips, "sample_prompt", counted)
    one, _ = get(emoji_base, subjects, tmp_path)
    assert len(made) == 5 + 5 + 1 and len(list((tmp_path / "generated").glob("[!.]*"))) == 3
    again, _ = get(emoji_base, subjects, tmp_path)
    assert len(made) == 11 and all(torch.equal(a.latents, b.latents) for a, b in zip(one, again, strict=True))
    b = next(iter(subjects[1].weights.layers.values()))[1]
    with torch.no_grad():
        b[0, 0] += 1  # the same subject, trained for longer
    get(emoji_base, subjects, tmp_path)
    assert len(made) == 16 and "<toy>" not in "".join(made[11:])
    for path in (tmp_path / "generated").glob("background-*"):
        path.write_bytes(path.read_bytes()[:-9])
    said: list[str] = []
    get(emoji_base, subjects, tmp_path, callbacks=Callbacks(log=said.append))
    assert made[16:] == ["An empty room"] and "is damaged; computing it again" in said[0]


def test_a_video_in_which_the_subject_is_not_found_is_passed_over(emoji_base, subjects, tmp_path):
    said: list[str] = []
    _, sources = get(emoji_base, subjects, tmp_path, segmenter=Box(missed=[1]), callbacks=Callbacks(log=said.append))
    assert [len(cutouts) for cutouts in sources.cutouts] == [1, 2]
    assert "L_attn: passing over a video of <toy> (no robot here)" in said


def test_a_subject_that_is_found_in_no_video_is_an_error_with_ways_out(emoji_base, subjects, tmp_path):
    with pytest.raises(ValueError) as error:
        get(emoji_base, subjects, tmp_path, segmenter=Box(missed=[2, 3]))
    assert str(error.value) == (
        "L_attn: <pet> cannot be cut out of any of its 2 videos (no dog here); "
        "make more cutmix_videos, train the subject longer, or set lambda2 to 0"
    )


def test_a_pair_is_two_different_subjects_in_the_order_of_its_masks():
    """Each subject has a brightness of its own, so that a mask tells whose it is."""
    brightness = [-1.0, 0.0, 1.0]
    cutouts = [[Cutout(torch.full((3, 2, 6, 6), b), torch.ones(2, 6, 6))] * 2 for b in brightness]
    sources = CutMixSources(cutouts, torch.full((3, 2, 24, 24), 0.5), ["<a>", "<b>", "<c>"])
    generator, seen = torch.Generator().manual_seed(0), Counter()
    for _ in range(60):
        pair, names = sample_cutmix_pair(sources, 0.3, generator)
        chosen = [sources.names.index(name) for name in names]
        seen[tuple(chosen)] += 1
        for index, mask in zip(chosen, pair.masks, strict=True):
            torch.testing.assert_close(pair.pixels[0][mask == 1], torch.full((int(mask.sum()),), brightness[index]))
    assert set(seen) == {(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)}


def test_prompts_without_a_place_for_the_subject_are_refused():
    with pytest.raises(ValueError, match="teacher prompts: got none, give at least one"):
        FusionPrompts(teacher=())
    for change in ({"teacher": ("A {subject}", "A dog")}, {"cutmix": "A dog"}):
        with pytest.raises(ValueError, match=r"prompt: got 'A dog', must hold \{subject\}"):
            FusionPrompts(**change)
    assert FusionPrompts(clean="A {corner}, empty").clean == "A {corner}, empty"


def test_a_clip_of_the_users_stands_for_videos_that_are_not_made(emoji_base, subjects, tmp_path):
    pixels = torch.rand(3, 5, 20, 30, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = torch.zeros(1, 20, 30)
    mask[:, 4:16, 6:20] = 1
    segmenter, own = Box(), add_cutout(add_cutout(subjects[0], pixels, mask), pixels[:, :1], mask)
    teachers, sources = get(emoji_base, [own, subjects[1]], tmp_path, segmenter=segmenter)
    assert [words for _, words in segmenter.asked] == [("dog",)] * 2, "only the other's videos are looked at"
    clip, photo = sources.cutouts[0]
    assert torch.equal(clip.pixels, pixels[:, [0, 4], 4:16, 6:20]) and clip.mask.shape == (2, 12, 14)
    assert torch.equal(photo.pixels, pixels[:, [0, 0], 4:16, 6:20])
    assert len(teachers[0].latents) == 3 and own.key_parts() != subjects[0].key_parts()


def test_a_clip_that_says_nothing_is_refused(emoji_base, make_lora_model):
    subject, pixels = make_lora_model(emoji_base, 1), torch.zeros(3, 4, 8, 8)
    with pytest.raises(ValueError, match=r"mask of <toy>: got 3 frames for a clip of 4; give as many, or 1"):
        add_cutout(subject, pixels, torch.ones(3, 8, 8))
    with pytest.raises(ValueError, match=r"mask of '<toy>': it is empty"):
        add_cutout(subject, pixels, torch.zeros(1, 8, 8))
    with pytest.raises(ValueError, match=r"mask of '<toy>': it covers the whole image"):
        add_cutout(subject, pixels, torch.ones(1, 8, 8))
    with pytest.raises(ValueError, match=r"LoRA: got a fusion's, expected the LoRA of one subject"):
        add_cutout(dataclasses.replace(subject, kind="fusion"), pixels, torch.ones(1, 8, 8))
