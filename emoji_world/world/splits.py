"""The two halves of what the rich world holds out: tune on the development half, report on the test half.

Characters, motions and seeds of one half never appear in the other, nor in the small world's other half.
"""

from __future__ import annotations

from .small_splits import DEVELOPMENT as SMALL_DEVELOPMENT
from .small_splits import TEST as SMALL_TEST
from .small_splits import Split
from .worlds import RICH


def _split(name: str, small: Split) -> Split:
    return Split(RICH.held_out_characters(name), small.motions, small.interactions, small.seeds)


DEVELOPMENT = _split("development", SMALL_DEVELOPMENT)
TEST = _split("test", SMALL_TEST)
