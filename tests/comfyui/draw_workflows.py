"""Draw the shipped workflows in ComfyUI's own page and save what it saves; write the English locale file.

    make workflows

A workflow is a list of columns of nodes, read from left to right (the folder drawing).  Whoever changes a node's
inputs draws them anew; with numbers of workflows (01 09) only those.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from drawing import origin
from drawing.composing import COMPARE, COMPOSE, EVALUATED
from drawing.layout import Saved, Sizes, lay_out
from drawing.nodes import Workflow
from drawing.paper import PAPER
from drawing.parts import EMOJI
from drawing.training import FIRST, MOTION, SEGMENTED, SUBJECT
from drawing.wan import WAN_21, WAN_22
from drawing.wan_training import FROM_MODEL, WAN_TRAINED
from english_locale import english
from page import NEWER, NODES_2, Page
from server import PACK, Server

WORKFLOWS = [FIRST, SUBJECT, MOTION, COMPOSE, PAPER, COMPARE, SEGMENTED, EVALUATED, WAN_21, WAN_22, WAN_TRAINED]
_DRAW = (Path(__file__).parent / "drawing" / "draw.js").read_text(encoding="utf-8")


def draw(page: Page, workflow: Workflow) -> Saved:
    """The workflow as the page saves it, each node still at the page's corner."""
    page.clear()
    address = "/videomage/presets?base=" + (workflow.base if workflow.base in (EMOJI, FROM_MODEL) else "")
    settings = page.run(
        "async (address) => { const a = await app.api.fetchApi(address); return a.ok ? a.json() : {}; }", address
    )
    columns = [(title, [vars(node) for node in nodes]) for title, nodes in workflow.columns]
    return dict(json.loads(page.run(_DRAW, {"columns": columns, "settings": settings})))


def drawn(server: Server, chosen: list[Workflow]) -> dict[str, Saved]:
    """The chosen workflows by title, as core's own page draws them."""
    with Page(server.url) as page:
        return {workflow.title: lay_out(draw(page, workflow), workflow, {}) for workflow in chosen}


def measured(server: Server, found: dict[str, Saved]) -> dict[str, Sizes]:
    """The sizes of their nodes in Nodes 2.0, by title: from a node's place, which is below its title."""
    with Page(server.url, NODES_2) as page:
        return {title: sizes(page, saved) for title, saved in found.items()}


def sizes(page: Page, saved: Saved) -> Sizes:
    page.load(saved)
    boxes, places = page.node_boxes(), {node["id"]: node["pos"] for node in saved["nodes"]}
    assert boxes.keys() == places.keys(), "the page does not show all nodes"
    return {key: (boxes[key][2] - x, boxes[key][3] - y) for key, (x, y) in places.items()}


def write_english(server: Server) -> None:
    own = {name: about for name, about in server.get("/object_info").items() if name.startswith("VideoMage_")}
    path = PACK / "locales" / "en" / "nodeDefs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(english(own), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def comfyui(options: tuple[str, ...] = ()) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as home:
        server = Server(Path(home), options).start()
        try:
            yield server
        finally:
            server.stop()


def main(numbers: list[str]) -> None:
    chosen = [workflow for workflow in WORKFLOWS if not numbers or workflow.title.split()[0] in numbers]
    with comfyui() as server:
        write_english(server)
        found = drawn(server, chosen)
        stamp = origin.stamp(server)
    with comfyui(("--front-end-root", str(NEWER))) as server:
        tall = measured(server, found)
    for workflow in chosen:
        saved = stamp(lay_out(found[workflow.title], workflow, tall[workflow.title]))
        path = PACK / "workflows" / f"{workflow.title}.json"
        path.write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"drew {path.name}: {len(saved['nodes'])} nodes")


if __name__ == "__main__":
    main(sys.argv[1:])
