"""The examples' nodes."""

from __future__ import annotations

from typing import Any


def test_examples_are_whole(nodes: dict[str, Any]) -> None:
    images, prompts = nodes["VideoMage_ExampleSubject"].execute("panda").result
    assert len(images) == len(prompts.splitlines()) == 4
    frames, *masks, prompt, subjects = nodes["VideoMage_ExampleMotion"].execute().result
    assert [mask.shape for mask in masks] == [frames.shape[:3]] * 2
    assert all(who in prompt for who in subjects.split(", "))
