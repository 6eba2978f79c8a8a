"""What SCS is compared with: each is plain sampling where it should be, and all begin with the same noise."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from videomage_core import sampling
from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import CollaborativeConfig, SamplingConfig
from videomage_core.data.lora_file import apply_loras
from videomage_core.model import lora
from videomage_core.model.lora_weights import average
from videomage_core.sampling import generate_videos, initial_noise, predict_with_guidance, step
from videomage_core.stages import baselines, collaborative_sampling
from videomage_core.stages.baselines import sample_averaged, sample_base, sample_composed, sample_merged
from videomage_core.stages.collaborative_sampling import sample_collaboratively

CONFIG = SamplingConfig(frames=2, height=24, width=24, steps=2, guidance_scale=4.0)
PROMPT = "a <toy> is passing a <pet>"


def close(one: torch.Tensor, two: torch.Tensor) -> bool:
    return torch.allclose(one, two, atol=1e-3)


@pytest.fixture
def toy(emoji_base, make_lora_model):
    return make_lora_model(emoji_base, 1)


@pytest.fixture
def pet(emoji_base, make_lora_model):
    return make_lora_model(emoji_base, 2, "<pet>", "dog")


@pytest.fixture
def motion(emoji_base, make_lora_model):
    return make_lora_model(emoji_base, 3, None)


def test_the_base_samples_the_superclass_words_whatever_acts_on_it(emoji_base, toy, pet):
    plain = generate_videos(emoji_base, ["a robot is passing a dog"], [5], CONFIG)[0]
    assert torch.equal(sample_base(emoji_base, [toy, pet], PROMPT, 5, CONFIG), plain)
    with apply_loras(emoji_base, [(toy, 1.0)]):
        assert torch.equal(sample_base(emoji_base, [toy, pet], PROMPT, 5, CONFIG), plain)
        assert not close(generate_videos(emoji_base, ["a robot is passing a dog"], [5], CONFIG)[0], plain)


def test_merged_is_plain_sampling_with_all_loras_on(emoji_base, toy, pet, motion):
    """So the LoRAs add up, each by its strength, and half of each of two is their average."""
    halves = sample_merged(emoji_base, [(toy, 0.5), (pet, 0.5)], PROMPT, 5, CONFIG)
    weights = average([toy.weights, pet.weights])
    mean = dataclasses.replace(toy, kind="fusion", weights=weights, tokens=(*toy.tokens, *pet.tokens))
    assert close(halves, sample_merged(emoji_base, [(mean, 1.0)], PROMPT, 5, CONFIG))
    with_motion = sample_merged(emoji_base, [(mean, 1.0), (motion, 0.7)], PROMPT, 5, CONFIG)
    assert not close(halves, with_motion)
    with apply_loras(emoji_base, [(mean, 1.0), (motion, 0.7)]) as tokens:
        assert close(generate_videos(emoji_base, [PROMPT], [5], CONFIG, tokens=tokens)[0], with_motion)


@pytest.mark.parametrize("moving", [True, False])
def test_averaged_outputs_of_one_subject_are_those_of_the_merged_model(emoji_base, toy, motion, moving):
    both = [(toy, 1.0), *([(motion, 1.0)] if moving else [])]
    wanted = sample_merged(emoji_base, both, "a <toy>", 5, CONFIG)
    got = sample_averaged(emoji_base, [toy], motion if moving else None, "a <toy>", 5, CONFIG)
    assert close(got, wanted) and got.shape == (3, 2, 24, 24)


def test_one_averaged_step_by_hand(emoji_base, toy, pet, motion):
    """Each subject's LoRA with the motion's, in turn; the mean of their noise; one step from the start."""
    config = dataclasses.replace(CONFIG, steps=1)
    got = sample_averaged(emoji_base, [toy, pet], motion, PROMPT, 5, config)
    tokens, (level, following) = [*toy.tokens, *pet.tokens], emoji_base.levels(1)
    text, empty = emoji_base.encode_prompt([PROMPT], tokens), emoji_base.encode_prompt([""])
    x, outputs = initial_noise(emoji_base, 5, config), []
    for lora_model in (toy, pet):
        with torch.no_grad(), apply_loras(emoji_base, [(lora_model, 1.0), (motion, 1.0)]):
            outputs.append(predict_with_guidance(emoji_base, x, level, text, empty, 4.0))
    wanted = emoji_base.decode_video(step((outputs[0] + outputs[1]) / 2, x, level, following, "epsilon"))[0]
    assert close(got, wanted)
    assert not close(outputs[0], outputs[1])


@pytest.mark.parametrize("scale", [4.0, 1.0])
def test_one_composed_step_by_hand(emoji_base, toy, pet, motion, scale):
    """The base with the motion's LoRA on plain words, guided, and what each subject's LoRA adds to its conditional."""
    config = dataclasses.replace(CONFIG, steps=1, guidance_scale=scale)
    got = sample_composed(emoji_base, [toy, pet], motion, PROMPT, 5, config, weight=0.8)
    tokens, (level, following) = [*toy.tokens, *pet.tokens], emoji_base.levels(1)
    text, empty = emoji_base.encode_prompt([PROMPT], tokens), emoji_base.encode_prompt([""])
    plain_text = emoji_base.encode_prompt(["a robot is passing a dog"])
    x, effects = initial_noise(emoji_base, 5, config), []
    with torch.no_grad(), apply_loras(emoji_base, [(motion, 1.0)]):
        plain, without = (emoji_base.predict(x, level, text) for text in (plain_text, empty))
    for lora_model in (toy, pet):
        with torch.no_grad(), apply_loras(emoji_base, [(lora_model, 1.0), (motion, 1.0)]):
            effects.append(emoji_base.predict(x, level, text) - plain)
    output = without + scale * (plain - without) + 0.8 * (effects[0] + effects[1])
    assert close(got, emoji_base.decode_video(step(output, x, level, following, "epsilon"))[0])
    assert not close(effects[0], effects[1])


def test_composed_without_weight_is_the_base_with_the_motion(emoji_base, toy, pet, motion):
    got = sample_composed(emoji_base, [toy, pet], motion, PROMPT, 5, CONFIG, weight=0.0)
    assert close(got, sample_merged(emoji_base, [(motion, 1.0)], "a robot is passing a dog", 5, CONFIG))
    alone = sample_composed(emoji_base, [toy, pet], None, PROMPT, 5, CONFIG, weight=0.0)
    assert close(alone, sample_base(emoji_base, [toy, pet], PROMPT, 5, CONFIG)) and not close(alone, got)


def test_all_begin_with_the_same_noise(emoji_base, toy, motion, monkeypatch):
    starts: list[torch.Tensor] = []

    def watched(*arguments):
        starts.append(initial_noise(*arguments))
        return starts[-1]

    for module in (sampling, baselines, collaborative_sampling):
        monkeypatch.setattr(module, "initial_noise", watched)
    inverted = torch.randn(1, 6, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    arguments = ("a <toy>", 5, dataclasses.replace(CONFIG, steps=1), inverted)
    sample_base(emoji_base, [toy], *arguments)
    sample_merged(emoji_base, [(toy, 1.0), (motion, 1.0)], *arguments)
    sample_averaged(emoji_base, [toy], motion, *arguments)
    sample_composed(emoji_base, [toy], motion, *arguments)
    collaborative = CollaborativeConfig(**dataclasses.asdict(arguments[2]))
    sample_collaboratively(emoji_base, toy, motion, "a <toy>", 5, collaborative, inverted)
    assert len(starts) == 5 and all(torch.equal(start, starts[0]) for start in starts)
    gaussian = initial_noise(emoji_base, 5, CONFIG)
    torch.testing.assert_close(starts[0], 0.3**0.5 * inverted + 0.7**0.5 * gaussian)


def test_averaging_takes_no_other_lora_on_the_base(emoji_base, toy, pet, motion):
    config = dataclasses.replace(CONFIG, steps=1)
    wanted = sample_averaged(emoji_base, [toy], motion, "a <toy>", 5, config)
    with apply_loras(emoji_base, [(pet, 1.0)]):
        assert close(sample_averaged(emoji_base, [toy], motion, "a <toy>", 5, config), wanted)


@pytest.mark.parametrize("way", ["merged", "averaged"])
def test_a_stop_or_an_error_leaves_the_base_alone(emoji_base, toy, motion, way):
    def sample(callbacks: Callbacks) -> None:
        if way == "merged":
            sample_merged(emoji_base, [(toy, 1.0), (motion, 1.0)], "a <toy>", 5, CONFIG, callbacks=callbacks)
        else:
            sample_averaged(emoji_base, [toy], motion, "a <toy>", 5, CONFIG, callbacks=callbacks)

    told: list[int] = []
    with pytest.raises(Cancelled):
        sample(Callbacks(progress=lambda done, *_: told.append(done), cancelled=lambda: bool(told)))
    assert told == [1] and not lora.names(emoji_base)

    def explode(*_):
        raise RuntimeError("host")

    with pytest.raises(RuntimeError, match="host"):
        sample(Callbacks(progress=explode))
    assert not lora.names(emoji_base)


def test_bad_input(emoji_base, toy, pet, motion):
    other = dataclasses.replace(toy.fingerprint, architecture="another")
    stranger = dataclasses.replace(pet, fingerprint=other, base="zeroscope")
    with pytest.raises(ValueError, match="was trained on the base 'zeroscope' and does not fit 'emoji_base'"):
        sample_averaged(emoji_base, [toy, stranger], motion, PROMPT, 5, CONFIG)
    with pytest.raises(ValueError, match="was trained on the base 'zeroscope' and does not fit 'emoji_base'"):
        sample_merged(emoji_base, [(toy, 1.0), (stranger, 1.0)], PROMPT, 5, CONFIG)
    with pytest.raises(ValueError, match="tokens: <toy> is in more than one of these LoRAs"):
        sample_averaged(emoji_base, [toy, toy], motion, PROMPT, 5, CONFIG)
    with pytest.raises(ValueError, match="subjects: got none, give at least one"):
        sample_averaged(emoji_base, [], motion, "a dog", 5, CONFIG)
    with pytest.raises(ValueError, match="<pet> is not known; the loaded tokens are <toy>"):
        sample_base(emoji_base, [toy], PROMPT, 5, CONFIG)
    assert not lora.names(emoji_base)


def test_averaged_takes_subjects_and_a_motion(emoji_base, toy, motion):
    with pytest.raises(ValueError, match="the LoRA 2 of 2 is a motion; give it as the motion"):
        sample_averaged(emoji_base, [toy, motion], None, "a <toy>", 5, CONFIG)
    with pytest.raises(ValueError, match="motion: got a subject LoRA"):
        sample_averaged(emoji_base, [toy], toy, "a <toy>", 5, CONFIG)
