"""What the tests of the page share: scripts to build workflows in it, and to wait for what it says."""

from __future__ import annotations

import json

from page import Page
from server import PACK

PICTURES = PACK / "outputs" / "page"

SAVED = "() => JSON.parse(JSON.stringify(app.graph.serialize()))"
ADD = """const add = (type, x, values = {}) => { const node = LiteGraph.createNode(type); node.pos = [x, 0];
    app.graph.add(node); for (const [name, value] of Object.entries(values)) widget(node, name).value = value;
    return node; };
    const widget = (node, name) => node.widgets.find(w => w.name === name);
    const wire = (from, slot, to, name) => from.connect(slot, to, to.inputs.findIndex(i => i.name === name));
    const inside = (...nodes) => app.graph.convertToSubgraph(new Set(nodes));"""
SAID = """(type, name) => [...(function* all(graph) { for (const node of graph.nodes) { yield node;
    if (node.subgraph) yield* all(node.subgraph); } })(app.graph)].filter(n => n.type === type)
    .map(n => n.widgets.find(w => w.name === name)).map(w => w.element?.textContent ?? w.label).join('|')"""

STATE = {
    "kind": "subject", "name": "my_dog", "what": "training", "total": 9, "seconds_left": 120, "steps": 3,
    "losses": {"loss": [3, 2, 1]}, "error": "", "file": "", "live": True, "sample": 0,
}  # fmt: skip
TELL = "news => app.api.dispatchEvent(new CustomEvent('videomage.training', { detail: news }))"


def picture(page: Page, name: str) -> None:
    page.picture(PICTURES / f"{name} ({page.name}).png")


def wait(page: Page, script: str, seconds: float = 60) -> None:
    page.page.wait_for_function(script, timeout=seconds * 1000)


def says(page: Page, kind: str, widget: str, *texts: str, not_: str = "\0", seconds: float = 15) -> None:
    """Wait until the panel, or the button, of that name says all of these texts."""
    test = f"(() => {{ const said = ({SAID})('VideoMage_{kind}', '{widget}'); return {json.dumps(texts)}.every("
    test += f"text => said.includes(text)) && !said.includes({json.dumps(not_)}); }})()"
    try:
        wait(page, test, seconds)
    except Exception as error:
        raise AssertionError(page.run(f"() => ({SAID})('VideoMage_{kind}', '{widget}')")) from error
