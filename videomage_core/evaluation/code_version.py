"""Which versions of stages and metrics a benchmark was run with, as its report says.

They are declared (``VERSION`` in each), not hashed from source text: rewording an error changes no version.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..stages.versions import STAGE_VERSIONS
from . import colour_metrics, learned_metrics, mobilenet_metrics, tracked_metrics

METRIC_VERSIONS: dict[str, int] = {
    metrics.__name__.rpartition(".")[2]: metrics.VERSION
    for metrics in (tracked_metrics, learned_metrics, mobilenet_metrics, colour_metrics)
}


def engine_version() -> str:
    """The versions of all stages, in words."""
    return _in_words(STAGE_VERSIONS)


def metrics_version() -> str:
    """The same of what scores videos."""
    return _in_words(METRIC_VERSIONS)


def _in_words(versions: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
