"""Where nodes lie: columns from left to right, each in a frame that holds it in every page's renderer."""

from __future__ import annotations

from math import ceil
from operator import itemgetter
from typing import Any

from .nodes import Workflow

Saved = dict[str, Any]
Sizes = dict[int, tuple[float, float]]  # by a node's id

GAP, COLUMN_GAP = 60, 50  # below a node, whose title stands above its place; between frames
SIDE, ABOVE, BELOW = 20, 90, 30  # from a frame's edge to its nodes
TOP = 120
FRAME = {"color": "#3f789e", "font_size": 24, "flags": {}}
# What a node shows once it has run makes it grow by so much.
_TRAINED = ("TrainSubject", "TrainMotion", "FuseSubjects", "SCSSampler", "SampleVideo")
GROWTH = {
    "SaveVideo": 330, "VideoMage_ContactSheet": 260, "VideoMage_Evaluate": 260,
    **{f"VideoMage_{name}": 240 for name in _TRAINED},
}  # fmt: skip


def lay_out(saved: Saved, workflow: Workflow, measured: Sizes) -> Saved:
    """Give a drawn workflow its places; ``measured`` are the nodes' sizes where they are larger than saved ones."""
    nodes, frames, x = iter(sorted(saved["nodes"], key=itemgetter("id"))), [], 0
    for title, wishes in workflow.columns:
        y, width = TOP, 0
        for _, node in zip(wishes, nodes, strict=False):
            size = [ceil(max(pair)) for pair in zip(node["size"], measured.get(node["id"], (0, 0)), strict=True)]
            node["pos"] = [x, y]
            y += size[1] + GAP + GROWTH.get(node["type"], 0)
            width = max(width, size[0])
        frame = [x - SIDE, TOP - ABOVE, width + 2 * SIDE, y - GAP - TOP + ABOVE + BELOW]
        if frames and frames[-1]["title"] == title:
            frames[-1]["bounding"] = around(frames[-1]["bounding"], frame)
        else:
            frames.append({"id": len(frames) + 1, "title": title, "bounding": frame, **FRAME})
        x += width + 2 * SIDE + COLUMN_GAP
    return {**saved, "groups": frames}


def around(one: list[int], other: list[int]) -> list[int]:
    """The smallest frame (left, top, width, height) that holds both; ``other`` is the right one."""
    bottom = max(frame[1] + frame[3] for frame in (one, other))
    return [one[0], one[1], other[0] + other[2] - one[0], bottom - one[1]]
