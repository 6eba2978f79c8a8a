"""What every config checks when it is built."""

from __future__ import annotations

import dataclasses

import pytest

from videomage_core.config import CollaborativeConfig, FusionConfig, SamplingConfig, Settings, SubjectConfig, setting


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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_setting_is_nan_or_infinite(value):
    with pytest.raises(ValueError, match=f"subject_strength: got {value}, must be a finite number"):
        CollaborativeConfig(subject_strength=value)
    with pytest.raises(ValueError, match=f"learning_rate: got {value}, must be a finite number"):
        SubjectConfig(learning_rate=value)
