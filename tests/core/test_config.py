"""Defaults of the paper; bad values refused, all at once."""

from __future__ import annotations

import dataclasses

import pytest

from videomage_core.config import CollaborativeConfig, FusionConfig, SamplingConfig, Settings, SubjectConfig, setting


def test_the_defaults_are_the_papers():
    config = SamplingConfig()
    assert (config.frames, config.height, config.width, config.fps) == (24, 320, 576, 8)
    assert (config.steps, config.guidance_scale, config.noise_prior) == (50, 9.0, 0.3)
    collaborative = CollaborativeConfig()
    assert (collaborative.tau, collaborative.alpha) == (15, 1e4)
    assert (collaborative.beta_subject, collaborative.beta_motion) == (0.5, 0.5)
    fusion = FusionConfig()
    assert (fusion.lambda2, fusion.teacher_guidance_scale) == (0.6, 9.0) and 250 <= fusion.steps <= 450


@pytest.mark.parametrize("config", [SamplingConfig, CollaborativeConfig, FusionConfig])
def test_every_setting_has_help_that_says_where_its_default_is_from(config):
    for field in dataclasses.fields(config):
        assert "(paper" in field.metadata["help"] or "(ours" in field.metadata["help"], field.name


def test_all_bad_settings_come_in_one_message():
    with pytest.raises(ValueError) as error:
        SamplingConfig(frames=0, steps=2000, fps=-1)
    assert str(error.value) == (
        "frames: got 0, allowed is at least 1 and at most 1024; "
        "fps: got -1, allowed is at least 0.1 and at most 240; "
        "steps: got 2000, allowed is at least 1 and at most 1000"
    )


@pytest.mark.parametrize("scale", [-1, 101, float("nan")])
def test_guidance_out_of_range_is_refused(scale):
    with pytest.raises(ValueError, match="guidance_scale: got"):
        SamplingConfig(guidance_scale=scale)


def test_contradictions_are_named_beside_bad_values():
    @dataclasses.dataclass(frozen=True)
    class Example(Settings):
        low: int = setting(1, "the lower end", 0)
        high: int = setting(2, "the upper end")

        def contradictions(self) -> list[str]:
            return [] if self.low <= self.high else [f"low: got {self.low}, above high ({self.high})"]

    with pytest.raises(ValueError, match=r"^low: got 3, above high \(2\)$"):
        Example(low=3)
    with pytest.raises(ValueError, match=r"low: got -1, allowed is at least 0; low: got -1, above high \(-2\)"):
        Example(low=-1, high=-2)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [({"rank": -1}, "rank: got -1, allowed is at least 0"), ({"frames": 1}, "frames: got 1, allowed is at least 2"),
     ({"cutmix_overlap": 1.0}, "cutmix_overlap: got 1.0"), ({"lambda2": -0.1}, "lambda2: got -0.1")],
)  # fmt: skip
def test_fusion_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        FusionConfig(**change)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_setting_is_nan_or_infinite(value):
    with pytest.raises(ValueError, match=f"subject_strength: got {value}, must be a finite number"):
        CollaborativeConfig(subject_strength=value)
    with pytest.raises(ValueError, match=f"learning_rate: got {value}, must be a finite number"):
        SubjectConfig(learning_rate=value)
