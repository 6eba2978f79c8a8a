"""The bases of the contract's tests."""

from __future__ import annotations

import pytest

from tests.core.model.carrier import Carrier


@pytest.fixture(params=["unet3d", "wan"])
def carrier(request: pytest.FixtureRequest) -> Carrier:
    if request.param == "unet3d":
        return Carrier(request.getfixturevalue("emoji_base"), 4, 24)
    return Carrier(request.getfixturevalue("tiny_wan"), 9, 32)
