"""Merge Subject LoRAs in the page: rows appear as they are chosen, and a workflow brings its rows back."""

from __future__ import annotations

import pytest
from page import Page, find_chromium
from page_scripts import ADD
from server import Server

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium found: install Debian's chromium")

SEEN = "() => node.widgets.filter(w => /^(lora|weight)_/.test(w.name) && !w.hidden).map(w => w.name)"


def rows(count: int) -> list[str]:
    return [name for i in range(1, count + 1) for name in (f"lora_{i}", f"weight_{i}")]


def test_rows_grow_as_they_are_chosen_and_come_back(window: tuple[Page, Server]) -> None:
    page, _ = window
    page.clear()
    found = page.run(
        f"""async () => {{ {ADD} const node = add('VideoMage_MergeSubjectLoRAs', 0), seen = {SEEN};
            const choose = (i, name) => {{
              const row = widget(node, 'lora_' + i); row.value = name; row.callback?.(name);
            }};
            const steps = [seen()];
            choose(2, 'b.safetensors'); steps.push(seen());
            choose(3, 'c.safetensors'); steps.push(seen());
            const saved = JSON.parse(JSON.stringify(app.graph.serialize())), tall = node.size[1];
            choose(3, 'none'); choose(2, 'none'); steps.push(seen());
            return [steps, saved, tall > node.size[1]]; }}"""
    )
    steps, saved, shrank = found
    assert steps == [rows(2), rows(3), rows(4), rows(2)]
    assert shrank
    page.load(saved)
    page.page.wait_for_timeout(500)
    again = page.run(
        f"""() => {{ const node = app.graph.nodes.find(n => n.type === 'VideoMage_MergeSubjectLoRAs');
            return [({SEEN})(), node.widgets.find(w => w.name === 'lora_3').value]; }}"""
    )
    assert again == [rows(4), "c.safetensors"]
