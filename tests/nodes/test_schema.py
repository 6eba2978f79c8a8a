from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from videomage_core.config import (
    CollaborativeConfig,
    FusionConfig,
    MotionConfig,
    SamplingConfig,
    SegmentationConfig,
    SubjectConfig,
)

STAGES = {
    "VideoMage_TrainSubject": SubjectConfig(),
    "VideoMage_TrainMotion": MotionConfig(),
    "VideoMage_FuseSubjects": FusionConfig(),
    "VideoMage_SCSSampler": CollaborativeConfig(),
    "VideoMage_SampleVideo": SamplingConfig(),
    "VideoMage_SegmentByWords": SegmentationConfig(),
}


@pytest.mark.parametrize("name", STAGES)
def test_every_setting_is_a_widget_with_the_cores_default_and_range(nodes: dict[str, Any], name: str) -> None:
    widgets = {widget.id: widget for widget in nodes[name].define_schema().inputs}
    for field in dataclasses.fields(STAGES[name]):
        if field.name == "gradient_checkpointing":  # the base's memory mode decides
            assert field.name not in widgets
            continue
        about = widgets[field.name].about
        assert about["default"] == getattr(STAGES[name], field.name)
        if "min" in about:
            assert (about["min"], about["max"]) == (field.metadata["minimum"], field.metadata["maximum"])


def test_every_input_has_a_tooltip_and_a_name_of_its_own(nodes: dict[str, Any]) -> None:
    for name, node in nodes.items():
        inputs = node.define_schema().inputs
        assert len({given.id for given in inputs}) == len(inputs), name
        assert [given.id for given in inputs if not given.about.get("tooltip")] == [], name


def test_rare_settings_are_marked_and_come_last(nodes: dict[str, Any]) -> None:
    inputs = nodes["VideoMage_TrainSubject"].define_schema().inputs
    rare = [bool(given.extra_dict.get("advanced")) for given in inputs]
    assert any(rare) and not all(rare)
    settings = rare[next(i for i, given in enumerate(inputs) if given.id == "steps") :]
    assert settings == sorted(settings)


def test_numbered_inputs_need_only_the_first(nodes: dict[str, Any]) -> None:
    inputs = nodes["VideoMage_FuseSubjects"].define_schema().inputs
    loras = [given for given in inputs if given.id.startswith("lora_")]
    assert [given.optional for given in loras] == [False] * 2 + [True] * 6


def test_a_step_of_a_small_number_is_smaller_still(nodes: dict[str, Any]) -> None:
    widgets = {given.id: given for given in nodes["VideoMage_TrainSubject"].define_schema().inputs}
    assert widgets["learning_rate"].about["step"] == pytest.approx(1e-5)
    assert widgets["steps"].about["step"] == 1
    assert widgets["width"].about["step"] == 8
