"""What a workflow to draw is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

START = "Start here"


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
