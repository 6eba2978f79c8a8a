"""Algorithm 1 a step at a time is the sampler's, to the bit."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from emoji_world.reports.two_branches import TwoBranches, Variant
from videomage_core.config import CollaborativeConfig
from videomage_core.data.media import to_uint8
from videomage_core.sampling import initial_noise
from videomage_core.stages.collaborative_sampling import sample_collaboratively

CONFIG = CollaborativeConfig(frames=2, height=24, width=24, steps=2, guidance_scale=2.0, tau=1, alpha=1e6)
PROMPT = "a <toy> is jumping"


@pytest.mark.parametrize("way", [Variant(), Variant("updated", 1e6), Variant("original", 1e6)])
def test_a_video_is_the_sampler_s(emoji_base, make_lora_model, way):
    toy, motion = make_lora_model(emoji_base, 1), make_lora_model(emoji_base, 3, None)
    config = dataclasses.replace(
        CONFIG, alpha=way.alpha, guided_step_from=way.guided_step_from if way.alpha else "updated"
    )
    expected = sample_collaboratively(emoji_base, toy, motion, PROMPT, 5, config).video
    branches = TwoBranches(emoji_base, toy, motion, PROMPT, config)
    with branches.on_base():
        got = branches.video(initial_noise(emoji_base, 5, config), way)
    assert (got == to_uint8(expected)).all()


def test_one_loss_alone_moves_one_branch_and_changes_are_of_both_losses(emoji_base, make_lora_model):
    toy, motion = make_lora_model(emoji_base, 1), make_lora_model(emoji_base, 3, None)
    branches = TwoBranches(emoji_base, toy, motion, PROMPT, CONFIG)
    x = initial_noise(emoji_base, 5, CONFIG)
    with branches.on_base():
        gradients = branches.gradients(x, branches.levels[0])
        both, one, other, none = (
            branches.stepped(x, 0, Variant("updated", 1e6, losses), gradients)
            for losses in ((True, True), (True, False), (False, True), (False, False))
        )
        plain = branches.stepped(x, 0, Variant(), None)
        changes = branches.changes(x, [Variant("updated", 1e6)])
    assert torch.allclose(none, plain, atol=1e-6)
    assert not any(
        torch.allclose(a, b, atol=1e-6) for a, b in ((both, one), (both, other), (one, plain), (other, plain))
    )
    assert changes[Variant("updated", 1e6)].shape == (2,)
