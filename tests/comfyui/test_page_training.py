"""Trainings in the page: from the template to the video, the curve, and what is shown after a reload."""

from __future__ import annotations

import json
import time

import pytest
from page import Page, find_chromium, read_workflow
from page_scripts import ADD, SAID, SAVED, STATE, TELL, picture, says, wait
from prompts import FEW, SMALL
from server import PACK, PACK_FOLDER, Server

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium found: install Debian's chromium")

PANELS = "app.graph.nodes.flatMap(n => n.widgets ?? []).filter(w => w.element?.textContent)"


def test_first_run_from_the_template_browser_to_the_video(window: tuple[Page, Server]) -> None:
    page, server = window
    page.open_template(PACK_FOLDER, "01 First run")
    assert page.missing() == []
    picture(page, "opened")
    page.run(
        """([few, small]) => { for (const node of app.graph.nodes) for (const widget of node.widgets ?? []) {
            const value = (few[node.type] ?? {})[widget.name] ?? (few[node.type] && small[widget.name]);
            if (value !== undefined) widget.value = value; } }""",
        [{**FEW, "VideoMage_TrainSubject": {**FEW["VideoMage_TrainSubject"], "steps": 6}}, SMALL],
    )
    page.run("async () => { await app.queuePrompt(0); }")
    wait(page, "[...document.querySelectorAll('.videomage-curve')].some(curve => curve.dataset.points > 2)", 120)
    wait(page, f"{PANELS}.filter(w => w.element.textContent.includes('Finished: videomage/')).length === 4", 240)
    until = time.monotonic() + 120
    while not (videos := list((server.home / "output" / "videomage").glob("first_run*.mp4"))):
        assert time.monotonic() < until, server.tail()
        time.sleep(0.5)
    assert videos[0].stat().st_size > 1000
    page.page.wait_for_timeout(1500)
    picture(page, "first run")
    assert page.errors == []


def test_the_training_is_still_shown_after_a_reload(window: tuple[Page, Server]) -> None:
    page, server = window
    page.load(read_workflow(PACK / "workflows" / "02 Train a subject.json"))
    page.run(
        """() => { const node = app.graph.nodes.find(n => n.type === 'VideoMage_TrainSubject');
            const set = (name, value) => node.widgets.find(w => w.name === name).value = value;
            set('file_name', 'reloaded'); set('steps', 400); set('auxiliary_clips', 1); set('auxiliary_steps', 2); }"""
    )
    page.run("async () => { await app.queuePrompt(0); }")
    try:
        wait(page, "document.querySelector('.videomage-curve')?.dataset.points > 4", 120)
        kept = page.run(SAVED)
        page.open()
        page.load(kept)
        wait(page, "document.querySelector('.videomage-curve')?.dataset.points > 4", 20)
        before = int(page.run("() => document.querySelector('.videomage-curve').dataset.points"))
        wait(page, f"document.querySelector('.videomage-curve')?.dataset.points > {before + 2}", 60)
        assert page.run("() => document.body.textContent.includes('left')")
        picture(page, "reloaded")
    finally:
        server.read("/interrupt", {})
    wait(page, f"{PANELS}.some(w => w.element.textContent.startsWith('Stopped'))", 30)
    assert page.errors == []


def test_each_node_shows_its_own_training(window: tuple[Page, Server]) -> None:
    page, server = window
    page.clear()
    page.run(f"() => {{ {ADD} add('VideoMage_TrainSubject', 0); inside(add('VideoMage_TrainSubject', 500)); }}")
    outer, inner = page.run(
        """() => { const box = app.graph.nodes.find(n => n.subgraph), one = app.graph.nodes.find(n => !n.subgraph);
            return [String(one.id), `${box.id}:${box.subgraph.nodes[0].id}`]; }"""
    )
    says(page, "TrainSubject", "training", "No training of this file name on this node yet.")
    page.run(TELL, {**STATE, "node": outer, "done": 3, "time": 1})
    page.run(TELL, {**STATE, "node": inner, "done": 5, "time": 1})
    shown = page.run(f"() => ({SAID})('VideoMage_TrainSubject', 'training').split('|')")
    assert [text.partition("left")[0] for text in shown] == ["Training: 3 of 9, 2 min ", "Training: 5 of 9, 2 min "]

    image = "app.graph.nodes.find(n => n.type === 'VideoMage_TrainSubject').widgets.find(w => w.name === 'training')"
    image += ".element.querySelector('img')"
    seen = []
    for at, sample in enumerate((0, 11, 11, 12), start=2):
        page.run(TELL, {**STATE, "node": outer, "done": at, "time": at, "sample": sample})
        seen.append(page.run(f"() => [{image} === (window.image ??= {image}), {image}.getAttribute('src')]"))
    assert all(same for same, _ in seen)
    assert not seen[0][1] and "at=11" in seen[1][1] == seen[2][1] and "at=12" in seen[3][1]

    folder = server.home / "output" / "videomage"
    folder.mkdir(parents=True, exist_ok=True)
    kept = {**STATE, "done": 4, "time": 1}
    (folder / f"my_dog.subject.{outer}.json").write_text(json.dumps({**kept, "error": "the cable is out"}))
    (folder / f"my_dog.subject.{inner.replace(':', '_')}.json").write_text(json.dumps(kept))
    saved = page.run(SAVED)
    page.open()
    page.load(saved)
    says(page, "TrainSubject", "training", "Failed: the cable is out", "Stopped: training, 4 of 9")
    picture(page, "failed")
    assert page.errors == []


def test_only_nodes_of_the_workflow_ask_and_listen(window: tuple[Page, Server]) -> None:
    page, _ = window
    page.clear()
    asked = page.run(
        f"""async () => {{ {ADD}
            const seen = [], fetched = app.api.fetchApi;
            app.api.fetchApi = (address, ...rest) => (seen.push(address), fetched.call(app.api, address, ...rest));
            const pause = () => new Promise(resolve => setTimeout(resolve, 1300));
            const named = (node, name) => {{ widget(node, 'file_name').value = name; return node; }};
            const never = named(LiteGraph.createNode('VideoMage_TrainSubject'), 'never');
            const gone = named(add('VideoMage_TrainSubject', 0), 'here');
            await pause();
            const box = inside(gone).node, inner = box.subgraph.nodes[0];
            await pause();
            app.graph.remove(box);
            named(inner, 'gone'); named(gone, 'gone');
            await pause();
            const detail = {{ kind: 'subject', name: 'never', node: String(never.id), what: 'training', losses: {{}} }};
            app.api.dispatchEvent(new CustomEvent('videomage.training', {{ detail }}));
            app.api.fetchApi = fetched;
            const names = seen.filter(a => a.includes('/training')).map(a => /name=(\\w+)/.exec(a)[1]);
            return [names,
                    widget(never, 'training').element.textContent]; }}"""
    )
    assert set(asked[0]) == {"here"}
    assert asked[1] == ""
    assert page.errors == []
