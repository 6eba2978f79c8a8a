"""Settings of a training out of range are refused."""

from __future__ import annotations

import pytest

from videomage_core.config import FusionConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [({"rank": -1}, "rank: got -1, allowed is at least 0"), ({"frames": 1}, "frames: got 1, allowed is at least 2"),
     ({"cutmix_overlap": 1.0}, "cutmix_overlap: got 1.0"), ({"lambda2": -0.1}, "lambda2: got -0.1")],
)  # fmt: skip
def test_fusion_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        FusionConfig(**change)
