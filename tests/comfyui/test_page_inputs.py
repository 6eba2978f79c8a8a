"""Inputs and settings of nodes in the page: growing inputs, settings that suit the base, rare settings."""

from __future__ import annotations

import json

import pytest
from page import Page, find_chromium
from page_scripts import ADD, SAVED, picture, wait
from prompts import BASE
from server import Server

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium found: install Debian's chromium")


# Of each node: its numbered inputs' prefix and first number, what is wired to them, and how many are shown with none,
# one, two and three wired.
GROWS = [
    ("VideoMage_FuseSubjects", "lora_", 1, "VideoMage_LoadLora", [2, 2, 3, 4]),
    ("VideoMage_SCSGuider", "model_subject_", 2, "UNETLoader", [1, 2, 3, 3]),
]


@pytest.mark.parametrize(("kind", "prefix", "first", "source", "counts"), GROWS)
def test_numbered_inputs_grow_and_shrink(
    window: tuple[Page, Server], kind: str, prefix: str, first: int, source: str, counts: list[int]
) -> None:
    page, _ = window
    page.clear()
    found = f"app.graph.nodes.find(n => n.type === '{kind}')"
    shown = f"{found}.inputs.filter(i => i.name.startsWith('{prefix}'))"
    page.run(
        f"""() => {{ {ADD} window.target = add('{kind}', 500);
            window.sources = [0, 1, 2].map(() => add('{source}', 0));
            window.sources.forEach((node, at) => {{ node.pos = [0, 250 * at]; }}); }}"""
    )
    slot = "window.target.inputs.findIndex(i => i.name === '{}')"
    for wired, count in enumerate(counts):
        if wired:
            name = f"{prefix}{first + wired - 1}"
            page.run(f"() => window.sources[{wired - 1}].connect(0, window.target, {slot.format(name)})")
        wait(page, f"{shown}.length === {count}", 10)
    page.load(page.run(SAVED))
    wait(page, f"{shown}.length === {counts[3]} && {shown}.filter(i => i.link != null).length === 3", 10)
    picture(page, f"inputs of {kind}")
    (inputs,) = (node["inputs"] for node in page.prompt().values() if node["class_type"] == kind)
    assert [name for name in inputs if name.startswith(prefix)] == [f"{prefix}{first + i}" for i in range(3)]
    last = f"{prefix}{first + 2}"
    page.run(f"() => {{ const n = {found}; n.disconnectInput(n.inputs.findIndex(i => i.name === '{last}')); }}")
    wait(page, f"{shown}.length === {counts[2]}", 10)
    assert page.errors == []


def test_settings_that_suit_the_base_are_one_press_away(window: tuple[Page, Server]) -> None:
    page, _ = window
    page.clear()
    values = page.run(
        """async (base) => {
            const add = type => { const node = LiteGraph.createNode(type); app.graph.add(node); return node; };
            const [from, to] = [add('VideoMage_LoadBase'), add('VideoMage_SCSSampler')];
            to.pos = [400, 0];
            from.connect(0, to, to.inputs.findIndex(i => i.name === 'base'));
            const value = name => to.widgets.find(w => w.name === name).value;
            const before = [value('width'), value('frames')];
            await to.widgets.find(w => w.name === 'base_settings').callback();
            return [before, [value('width'), value('frames'), value('tau')]]; }""",
        json.dumps(BASE),
    )
    assert values == [[576, 24], [48, 8, 8]]


def test_rare_settings_are_folded_away(window: tuple[Page, Server]) -> None:
    page, _ = window
    page.clear()
    folded, shown = page.run(
        f"""() => {{ {ADD} const node = add('VideoMage_TrainSubject', 0);
            const rare = node.widgets.filter(w => w.options?.advanced), fold = widget(node, 'advanced_settings');
            const seen = () => [rare.length, rare.filter(w => w.hidden).length, fold?.label ?? '', node.size[1]];
            const before = seen();
            fold?.callback();
            return [before, seen()]; }}"""
    )
    count = folded[0]
    assert count > 10
    if page.name.endswith("2.0"):  # which folds them by itself
        assert folded == shown and not folded[2]
    else:
        assert folded[1:3] == [count, f"show {count} advanced settings"]
        assert shown[1:3] == [0, f"hide {count} advanced settings"] and shown[3] > folded[3] + 15 * count
