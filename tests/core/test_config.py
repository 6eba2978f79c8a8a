"""Defaults of the paper; bad values refused, all at once."""

from __future__ import annotations

import dataclasses

import pytest

from videomage_core.config import SamplingConfig, Settings, setting


def test_the_defaults_are_the_papers():
    config = SamplingConfig()
    assert (config.frames, config.height, config.width, config.fps) == (24, 320, 576, 8)
    assert (config.steps, config.guidance_scale) == (50, 9.0)


def test_every_setting_has_help_that_says_where_its_default_is_from():
    for field in dataclasses.fields(SamplingConfig):
        assert "paper" in field.metadata["help"]


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
