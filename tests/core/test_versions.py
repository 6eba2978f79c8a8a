"""A stage or a metric whose numbers change raises its ``VERSION``, so that nothing older is taken for what it gives.

``reference_numbers.py`` says how the numbers are made.  They are compared to one part in a thousand: other CPUs and
other builds of torch sum in another order, which moves float32 losses of a few steps by about one in a million, and a
change of the method moves them by far more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.core.reference_numbers import FILE, METRICS, STAGES, tiny_base
from videomage_core.evaluation.code_version import METRIC_VERSIONS, engine_version, metrics_version
from videomage_core.evaluation.mobilenet import weights_path
from videomage_core.stages.versions import STAGE_VERSIONS

CORE = Path(__file__).parents[2] / "videomage_core"
TOLERANCE = 1e-3
REFERENCE = json.loads(FILE.read_text(encoding="utf-8"))
ANEW = "python -m tests.core.reference_numbers"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("tiny") / "tokenizer")


def problem(name: str, version: int, numbers: dict[str, list[float]], reference: dict[str, Any]) -> str:
    """What is to be done about a stage whose numbers or version are not the reference's; empty if nothing."""
    stored = reference["numbers"]
    same = numbers.keys() == stored.keys() and all(
        numbers[key] == pytest.approx(stored[key], rel=TOLERANCE, abs=1e-5) for key in stored
    )
    if version != reference["version"]:
        return f"{name}: VERSION {version} has no reference yet; run {ANEW}"
    if not same:
        return f"{name}: its numbers changed; raise its VERSION, so that older results are made anew, and run {ANEW}"
    return ""


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_whose_numbers_change_raises_its_version(base, tmp_path, name):
    assert not problem(name, STAGE_VERSIONS[name], STAGES[name](base, tmp_path), REFERENCE[name])


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_whose_numbers_change_raises_its_version(tmp_path, name):
    if name in ("mobilenet_metrics", "tracked_metrics"):
        try:
            weights_path()
        except ImportError as error:
            pytest.skip(str(error))
    assert not problem(name, METRIC_VERSIONS[name], METRICS[name](tmp_path), REFERENCE[name])


def test_a_change_by_a_hundredth_is_noticed_and_one_by_rounding_is_not():
    reference = {"version": 3, "numbers": {"loss": [0.5, 0.25]}}
    assert not problem("s", 3, {"loss": [0.5, 0.25 * (1 + 1e-5)]}, reference)
    assert "raise its VERSION" in problem("s", 3, {"loss": [0.5, 0.2525]}, reference)
    assert "raise its VERSION" in problem("s", 3, {"loss": [0.5]}, reference)
    assert "raise its VERSION" in problem("s", 3, {"L_sub": [0.5, 0.25]}, reference)
    assert "no reference yet" in problem("s", 4, {"loss": [0.5, 0.26]}, reference)


def test_a_changed_loss_is_noticed(base, tmp_path, monkeypatch):
    """The reference run does see its stage: Eq. 5 with its signs turned is another motion."""
    from videomage_core.stages import motion_lora

    turned = lambda target, static, omega: (1 - omega) * target + omega * static  # noqa: E731
    monkeypatch.setattr(motion_lora, "appearance_free", turned)
    numbers = STAGES["motion_lora"](base, tmp_path)
    version = REFERENCE["motion_lora"]["version"]
    assert "motion_lora: its numbers changed" in problem("motion_lora", version, numbers, REFERENCE["motion_lora"])


def test_every_declared_version_has_a_reference_and_is_reported():
    declared = {
        path.stem for folder in ("stages", "evaluation") for path in (CORE / folder).glob("*.py")
        if "\nVERSION = " in path.read_text(encoding="utf-8")
    }  # fmt: skip
    assert declared == {*STAGE_VERSIONS, *METRIC_VERSIONS} == {*STAGES, *METRICS} == set(REFERENCE)
    assert f"subject_lora {STAGE_VERSIONS['subject_lora']}" in engine_version()
    assert "learned_metrics" in metrics_version() and "learned_metrics" not in engine_version()
