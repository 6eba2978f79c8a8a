from __future__ import annotations

import dataclasses

import pytest

from videomage_core.config import CollaborativeConfig, GuiderConfig
from videomage_core.stages.algorithm1 import betas_at


def test_settings_that_both_samplers_have_have_one_default() -> None:
    ours, other = GuiderConfig(), CollaborativeConfig()
    shared = {f.name for f in dataclasses.fields(ours)} & {f.name for f in dataclasses.fields(other)}
    assert shared == {"tau", "alpha_decay", "beta_subject", "beta_motion", "beta_schedule"}
    assert all(getattr(ours, name) == getattr(other, name) for name in shared)
    assert betas_at(0.3, ours) == betas_at(0.3, other)


@pytest.mark.parametrize(("change", "guided"), [({}, True), ({"tau": 0}, False), ({"step_size": 0.0}, False)])
def test_guidance_is_off_without_steps_or_size(change, guided) -> None:
    assert GuiderConfig(**change).guided is guided


def test_contradictions_are_refused_together() -> None:
    with pytest.raises(ValueError) as error:
        GuiderConfig(beta_subject=0.6, start_percent=0.5, end_percent=0.2, cfg=-1)
    said = str(error.value)
    assert "cfg: got -1" in said and "beta_subject, beta_motion: got 0.6 and 0.5, must add up to 1" in said
    assert "start_percent, end_percent: got 0.5 and 0.2, the first must be less" in said
