"""What a workflow to draw is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

START = "Start here"
REPOSITORY = "https://github.com/videomage/comfyui-videomage/blob/HEAD"


@dataclass
class Node:
    """A node to draw: inputs by name, each the name and output of another node of the workflow."""

    name: str
    type: str
    wires: dict[str, tuple[str, str]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    stage: str = ""  # whose settings that suit the base it gets
    title: str = ""
    height: int = 0
    models: list[dict[str, str]] = field(default_factory=list)  # files it needs: name, url, directory


@dataclass
class Workflow:
    """Columns (title, nodes), from left to right; neighbours of one title share a frame."""

    title: str
    base: str
    columns: list[tuple[str, list[Node]]]


def note(text: str, height: int = 330) -> Node:
    return Node("note", "MarkdownNote", values={"": text}, title="Read me", height=height)


def needed(file: str, directory: str, page: str) -> dict[str, str]:
    """A model file for a node's ``properties.models``, of which the page warns where it is missing.

    The page wants an address for each, which it shows then: our page on who publishes what, and where it belongs.
    """
    return {"name": file, "url": f"{REPOSITORY}/{page}", "directory": directory}
