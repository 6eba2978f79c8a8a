"""The defaults of sampling are the paper's, and contradictions are refused."""

from __future__ import annotations

import pytest

from videomage_core.config import CollaborativeConfig, FusionConfig, SamplingConfig


def test_the_defaults_are_the_papers():
    config = SamplingConfig()
    assert (config.frames, config.height, config.width, config.fps) == (24, 320, 576, 8)
    assert (config.steps, config.guidance_scale, config.noise_prior) == (50, 9.0, 0.3)
    collaborative = CollaborativeConfig()
    assert (collaborative.tau, collaborative.alpha) == (15, 1e4)
    assert (collaborative.beta_subject, collaborative.beta_motion) == (0.5, 0.5)
    fusion = FusionConfig()
    assert (fusion.lambda2, fusion.teacher_guidance_scale) == (0.6, 9.0) and 250 <= fusion.steps <= 450


@pytest.mark.parametrize("scale", [-1, 101, float("nan")])
def test_guidance_out_of_range_is_refused(scale):
    with pytest.raises(ValueError, match="guidance_scale: got"):
        SamplingConfig(guidance_scale=scale)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta_subject": 0.7}, r"^beta_subject, beta_motion: got 0\.7 and 0\.5, must add up to 1$"),
        ({"frames": 1}, r"^frames: got 1, guidance by temporal attention needs at least 2; or set tau to 0$"),
        ({"alpha_decay": "cubic"}, "alpha_decay: got 'cubic', allowed: 'linear', 'attend-and-excite', 'none'"),
        ({"tau": -1}, "tau: got -1, allowed is at least 0"),
        ({"noise_prior": 1.5}, "noise_prior: got 1.5, allowed is at least 0 and at most 1"),
        ({"frames": 1, "beta_motion": 0.1}, "must add up to 1; frames: got 1"),
    ],
)
def test_collaborative_settings_that_contradict_each_other_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        CollaborativeConfig(**change)


@pytest.mark.parametrize(
    "change",
    [{"tau": 60, "steps": 50}, {"frames": 1, "tau": 0}, {"frames": 1, "alpha": 0.0},
     {"beta_subject": 1.0, "beta_motion": 0.0}, {"beta_subject": 0.9, "beta_motion": 0.1}],
)  # fmt: skip
def test_collaborative_settings_at_their_ends_are_allowed(change):
    CollaborativeConfig(**change)
