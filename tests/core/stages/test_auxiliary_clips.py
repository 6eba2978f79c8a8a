"""The clips of L_reg (Eq. 3)."""

from __future__ import annotations

import pytest

from videomage_core.stages.auxiliary_clips import general_captions


def test_general_captions_do_not_name_the_class():
    captions = ["a stuffed cat", "an animal", "a dog, running", "rain"]
    assert general_captions(captions, "stuffed animal", 2) == ["a dog, running", "rain"]
    assert general_captions(captions, "dog", 4) == ["a stuffed cat", "an animal", "rain", "a stuffed cat"]
    with pytest.raises(ValueError, match="all of them name 'rain'"):
        general_captions(["rain"], "rain", 1)
