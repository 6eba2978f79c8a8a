"""The pack in the browser: from the template to the video, with this page and a newer one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import new_home
from page import Page, find_chromium, read_workflow
from prompts import BASE, FEW, SMALL, subject_prompt
from server import PACK, PACK_FOLDER, Server

PICTURES = PACK / "outputs" / "page"
NEWER = Path(__file__).parents[2] / ".venv-comfyui" / "newer-page" / "comfyui_frontend_package" / "static"
FIRST = PACK / "workflows" / "1 First run.json"

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium found: install Debian's chromium")


@pytest.fixture(scope="module", params=["core's page", "newer page", "newer page, Nodes 2.0"])
def window(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Server]]:
    """A page on a ComfyUI of its own, with each frontend and node renderer."""
    options: tuple[str, ...] = ()
    if request.param != "core's page":
        if not NEWER.is_dir():
            pytest.skip("the newer page is not installed: `make test-comfyui` does it")
        options = ("--front-end-root", str(NEWER))
    server = Server(new_home(tmp_path_factory.mktemp("page")), options).start()
    settings = {"Comfy.VueNodes.Enabled": request.param.endswith("2.0")}
    try:
        with Page(server.url, settings) as page:
            page.name = request.param
            yield page, server
    finally:
        server.stop()


def picture(page: Page, name: str) -> None:
    page.picture(PICTURES / f"{name} ({page.name}).png")


def wait(page: Page, script: str, seconds: float = 60) -> None:
    page.page.wait_for_function(script, timeout=seconds * 1000)


SAVED = "() => JSON.parse(JSON.stringify(app.graph.serialize()))"
PANELS = "app.graph.nodes.flatMap(n => n.widgets ?? []).filter(w => w.element?.textContent)"


def test_first_run_from_the_template_browser_to_the_video(window: tuple[Page, Server]) -> None:
    page, server = window
    page.open_template(PACK_FOLDER, "1 First run")
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
    page.load(read_workflow(PACK / "workflows" / "2 Train a subject.json"))
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


def test_fuses_inputs_grow_and_shrink(window: tuple[Page, Server]) -> None:
    page, _ = window
    page.clear()
    shown = (
        "app.graph.nodes.find(n => n.type === 'VideoMage_FuseSubjects').inputs.filter(i => i.name.startsWith('lora_'))"
    )
    page.run(
        """async () => {
            const add = type => { const node = LiteGraph.createNode(type); app.graph.add(node); return node; };
            window.fuse = add('VideoMage_FuseSubjects');
            window.loaders = [0, 1, 2].map(() => add('VideoMage_LoadLora'));
            window.fuse.pos = [500, 0];
            window.loaders.forEach((node, at) => { node.pos = [0, 250 * at]; }); }"""
    )
    slot = "window.fuse.inputs.findIndex(i => i.name === 'lora_{}')"
    for wired, expected in ((0, 2), (1, 2), (2, 3), (3, 4)):
        if wired:
            page.run(f"() => window.loaders[{wired - 1}].connect(0, window.fuse, {slot.format(wired)})")
        wait(page, f"{shown}.length === {expected}", 10)
    kept = page.run(SAVED)
    page.load(kept)
    wait(page, f"{shown}.length === 4 && {shown}.filter(i => i.link != null).length === 3", 10)
    page.run(
        "() => { const f = app.graph.nodes.find(n => n.type === 'VideoMage_FuseSubjects');"
        " f.disconnectInput(f.inputs.findIndex(i => i.name === 'lora_3')); }"
    )
    wait(page, f"{shown}.length === 3", 10)
    assert page.errors == []


def test_the_prompt_helper_names_missing_and_misspelt_tokens(window: tuple[Page, Server]) -> None:
    page, server = window
    server.run(subject_prompt(2, "dog"))
    page.load(read_workflow(PACK / "workflows" / "2 Train a subject.json"))
    widget = "app.graph.nodes.find(n => n.type === 'VideoMage_SampleVideo').widgets.find(w => w.name === '{}')"
    said = widget.format("tokens in the prompt") + ".element.textContent"
    write = f"(text) => {{ {widget.format('prompt')}.value = text; }}"
    page.run(write, "a <dgo> on grass")
    wait(page, f"{said}.includes('did you mean <dog>?') && {said}.includes('lacks <dog>')", 10)
    picture(page, "prompt helper")
    page.run(write, "a <dog> on grass")
    wait(page, f"{said}.includes('Superclass prompt: a dog on grass') && !{said}.includes('lacks')", 10)


def test_the_loader_shows_a_card_and_warns_of_another_base(window: tuple[Page, Server]) -> None:
    page, server = window
    server.run(subject_prompt(2, "dog"))
    page.open()
    page.load(read_workflow(PACK / "workflows" / "4 Fuse and compose.json"))
    card = "app.graph.nodes.find(n => n.type === 'VideoMage_LoadLora').widgets.find(w => w.name === 'card').element"
    wait(page, f"{card}.textContent.includes('<dog>: a dog') && {card}.querySelector('img')", 20)
    assert "Does not fit" not in page.run(f"() => {card}.textContent")
    picture(page, "card")
    change_a_weight(server)
    page.run(
        "() => { app.graph.nodes.find(n => n.type === 'VideoMage_LoadBase').widgets[0].value = 'zeroscope_v2_576w'; }"
    )
    wait(page, f"{card}.textContent.includes('Does not fit the wired base')", 20)
    assert page.errors == []


def change_a_weight(server: Server) -> None:
    """Make the second base another model than the first."""
    from safetensors.torch import load_file, save_file

    (file,) = (server.home / "models" / "diffusers" / "zeroscope_v2_576w" / "unet").glob("*.safetensors")
    save_file({name: weight + 0.1 for name, weight in load_file(file).items()}, file)


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
            await to.widgets.find(w => w.name === 'settings that suit the base').callback();
            return [before, [value('width'), value('frames'), value('alpha')]]; }""",
        json.dumps(BASE),
    )
    assert values == [[576, 24], [48, 8, 1e6]]


def test_a_workflow_goes_through_the_page_unchanged(window: tuple[Page, Server]) -> None:
    page, _ = window
    for path in sorted((PACK / "workflows").glob("*.json")):
        workflow: dict[str, Any] = read_workflow(path)
        page.load(workflow)
        first = page.prompt()
        page.load(page.run(SAVED))
        assert page.prompt() == first
