from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import Any

import pytest
import torch

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
        about = widgets[field.name].about
        assert about["default"] == getattr(STAGES[name], field.name)
        if "min" in about:
            assert (about["min"], about["max"]) == (field.metadata["minimum"], field.metadata["maximum"])


def test_every_input_has_a_tooltip_and_a_name_of_its_own(nodes: dict[str, Any]) -> None:
    for name, node in nodes.items():
        inputs = node.define_schema().inputs or ()
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


NAMED = {"token": "<dog>", "superclass": "dog", "prompt": "", "file_name": "dog", "subjects": "a, b"}
CONTRADICTIONS = [
    ("TrainSubject", {"lr_warmup_steps": 300}, "lr_warmup_steps: got 300, must be fewer than steps (300)"),
    ("TrainSubject", {"steps": 0}, "steps: got 0, allowed is at least 1"),
    ("TrainSubject", {"height": 50}, "height: got 50, allowed are multiples of 8; nearest: 48"),
    ("TrainSubject", {"steps": 0, "width": 3, "token": "dog"}, "steps: got 0"),
    ("TrainMotion", {"lr_warmup_steps": 900}, "lr_warmup_steps: got 900"),
    ("TrainMotion", {"appearance_prompt": "A video"}, "must hold {subjects}"),
    ("TrainMotion", {"subjects": " "}, "got no subjects"),
    ("TrainMotion", {"omega": -1.0}, "omega: got -1.0, allowed is at least 0"),
    ("TrainMotion", {"objective": "fast"}, "objective: got 'fast', allowed: 'appearance-agnostic', 'motion_director'"),
    ("FuseSubjects", {"lr_warmup_steps": 350}, "lr_warmup_steps: got 350"),
    ("FuseSubjects", {"teacher_prompts": "A {subject}\nA dog"}, "got 'A dog', must hold {subject}"),
    ("FuseSubjects", {"cutmix_prompt": "A dog"}, "must hold {subject}"),
    ("FuseSubjects", {"file_name": "a/b"}, "no folder"),
    ("SCSSampler", {"beta_motion": 0.6}, "must add up to 1"),
    ("SCSSampler", {"frames": 1}, "guidance by temporal attention needs at least 2"),
    ("SCSSampler", {"width": 580}, "multiples of 8; nearest: 576"),
    ("SampleVideo", {"height": 4}, "height: got 4, allowed is at least 8"),
]


def defaults(node: Any) -> dict[str, Any]:
    """What ComfyUI hands to a node's own check: the inputs that the check names, here as the page begins with."""
    widgets = {given.id: given.about.get("default") for given in node.define_schema().inputs or ()}
    names = inspect.signature(node.validate_inputs).parameters
    assert set(names) <= set(widgets)  # ComfyUI hands over no others
    return {name: NAMED.get(name, widgets[name]) for name in names}


@pytest.mark.parametrize(("name", "values", "said"), CONTRADICTIONS)
def test_contradictions_are_said_before_anything_runs(
    nodes: dict[str, Any], name: str, values: dict[str, Any], said: str
) -> None:
    node = nodes[f"VideoMage_{name}"]
    good = defaults(node)
    assert node.validate_inputs(**good) is True
    answer = node.validate_inputs(**{**good, **values})
    assert said in answer
    assert answer.count(said) == 1


def test_all_that_is_wrong_is_said_at_once(nodes: dict[str, Any]) -> None:
    node = nodes["VideoMage_TrainSubject"]
    answer = node.validate_inputs(**{**defaults(node), "steps": 0, "width": 30, "token": "dog", "file_name": "a/b"})
    assert all(part in answer for part in ("steps: got 0", "nearest: 32", "angle brackets", "no folder"))


@pytest.mark.parametrize("name", STAGES)
def test_what_is_linked_is_left_to_the_run(nodes: dict[str, Any], name: str) -> None:
    """ComfyUI hands over a linked input as None, or not at all."""
    node = nodes[name]
    assert node.validate_inputs() is True
    assert node.validate_inputs(**dict.fromkeys(defaults(node))) is True
    if "lr_warmup_steps" in defaults(node):
        long = {**defaults(node), "lr_warmup_steps": 400}
        assert node.validate_inputs(**{**long, "steps": 500}) is True
        assert node.validate_inputs(**{**long, "steps": None}) is True  # the link may well bring more than 400
        assert "lr_warmup_steps: got -1" in node.validate_inputs(**{**long, "steps": None, "lr_warmup_steps": -1})


@pytest.mark.parametrize("name", STAGES)
def test_the_check_takes_no_input_from_comfyuis_own_checks_that_it_does_not_make_itself(
    nodes: dict[str, Any], name: str
) -> None:
    """ComfyUI checks no range of an input that the node's check names, and none at all where it takes any."""
    node = nodes[name]
    kinds = {given.kind for given in inspect.signature(node.validate_inputs).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    for given in node.define_schema().inputs or ():
        if given.id in defaults(node) and {"min", "max"} <= set(given.about):
            for beyond in (given.about["min"] - 1, given.about["max"] + 1):
                assert f"{given.id}: got {beyond}" in node.validate_inputs(**{**defaults(node), given.id: beyond})


def test_a_conditioning_is_a_list_and_no_value_of_a_prompt(nodes: dict[str, Any]) -> None:
    schema = sys.modules[nodes["VideoMage_EncodePromptSCS"].__module__.rpartition(".native")[0] + ".schema"]
    assert all(schema._written(value) for value in ("a", 1, 0.5, True, {}, [], ["1", 0], [["1", {}]]))
    assert not any(schema._written(value) for value in (None, torch.zeros(1), [[torch.zeros(1), {"spans": []}]]))
