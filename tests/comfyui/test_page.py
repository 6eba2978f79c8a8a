"""The pack in the browser: from the template to the video, with this page and a newer one."""

from __future__ import annotations

import json
import sys
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
NEWER = Path(sys.prefix) / "newer-page" / "comfyui_frontend_package" / "static"
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


def test_the_page_is_the_one_that_is_meant(window: tuple[Page, Server]) -> None:
    page, _ = window
    version = page.run("() => window.__COMFYUI_FRONTEND_VERSION__")
    assert (version == "1.58.1") == (page.name != "core's page"), version
    page.load(read_workflow(FIRST))
    vue = page.run("() => [Boolean(LiteGraph.vueNodesMode), document.querySelectorAll('[data-node-id]').length > 0]")
    assert vue == [page.name.endswith("2.0")] * 2


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
    said = widget.format("tokens") + ".element.textContent"
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
    loaders = "app.graph.nodes.filter(n => n.type === 'VideoMage_LoadLora')"
    page.run(f"() => {{ app.graph.convertToSubgraph(new Set({loaders})); }}")
    inner = (
        "app.graph.nodes.find(n => n.subgraph).subgraph.nodes.find(n => n.type === 'VideoMage_LoadLora')"
        ".widgets.find(w => w.name === 'card').element"
    )
    wait(page, f"{inner}.textContent.includes('Does not fit the wired base')", 20)
    assert page.errors == []


def change_a_weight(server: Server) -> None:
    """Make the second base another model than the first."""
    from safetensors.torch import load_file, save_file

    (file,) = (server.home / "models" / "diffusers" / "zeroscope_v2_576w" / "unet").glob("*.safetensors")
    save_file({name: weight + 0.1 for name, weight in load_file(file).items()}, file)


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


def says(page: Page, kind: str, widget: str, *texts: str, not_: str = "\0", seconds: float = 15) -> None:
    """Wait until the panel, or the button, of that name says all of these texts."""
    test = f"(() => {{ const said = ({SAID})('VideoMage_{kind}', '{widget}'); return {json.dumps(texts)}.every("
    test += f"text => said.includes(text)) && !said.includes({json.dumps(not_)}); }})()"
    try:
        wait(page, test, seconds)
    except Exception as error:
        raise AssertionError(page.run(f"() => ({SAID})('VideoMage_{kind}', '{widget}')")) from error


def test_tokens_and_bases_are_found_across_subgraphs(window: tuple[Page, Server]) -> None:
    page, _ = window
    page.clear()
    build = f"""(fold) => {{ {ADD}
        const base = add('VideoMage_LoadBase', 0), train = add('VideoMage_TrainSubject', 400);
        const sampler = add('VideoMage_SampleVideo', 900, {{ prompt: 'a <my_DOG> runs' }});
        wire(base, 0, train, 'base'); wire(base, 0, sampler, 'base'); wire(train, 0, sampler, 'lora_1');
        if (fold) inside(sampler);
        if (fold > 1) inside(train); }}"""
    for fold in (0, 1, 2):
        page.clear()
        page.run(build, fold)
        says(page, "SampleVideo", "tokens", "Tokens: <my_dog> (dog)", "Superclass prompt: a dog runs", not_="lacks")
        says(page, "SampleVideo", "base_settings", "use the settings that suit the base")
        says(page, "TrainSubject", "base_settings", "use the settings that suit the base")
    page.load(page.run(SAVED))
    says(page, "SampleVideo", "tokens", "Tokens: <my_dog> (dog)", "Superclass prompt: a dog runs")
    assert page.errors == []


SCS_PROMPTS = [  # prompt, subjects, what the motion branch gets, what is said beside it
    ("a ohwx  Dog rides a (sks:1.2)", "ohwx dog = dog\nsks=stuffed animal", "a dog rides a (stuffed animal:1.2)", ""),
    ("sks and a dog, dogs", "sks = cat\ndog = animal", "cat and a animal, dogs", ""),
    ("一只ohwx狗在骑sks", "ohwx狗 = 狗\nsks = 猫", "一只狗在骑猫", ""),
    (r"a sks \(old\) sits", "sks (old) = toy (small)", r"a toy \(small\) sits", ""),
    ("an ohwx dog", "ohwx dog = dog\nsks = cat", "an dog", "The prompt lacks sks"),
    ("a dog", "dog = animal\nsks", "a animal", "sks: say what it is"),
    ("a dog <lora:x:1>", "dog = animal", "a animal <lora:x:1>", "<lora:x:1> is not read"),
]


def test_the_motion_branchs_prompt_is_shown_as_the_engine_makes_it(window: tuple[Page, Server]) -> None:
    from videomage_core.model.prompt_spans import mark_prompt, read_subjects

    page, _ = window
    page.clear()
    page.run(f"() => {{ {ADD} window.scs = add('VideoMage_EncodePromptSCS', 0); }}")
    says(page, "EncodePromptSCS", "motion_branch", "The motion branch gets: A dog is riding a cat on the beach")
    write = "([prompt, box]) => { for (const [name, text] of Object.entries({ prompt, subjects: box }))"
    write += " window.scs.widgets.find(w => w.name === name).value = text; }"
    for prompt, box, motion, beside in SCS_PROMPTS:
        page.run(write, [prompt, box])
        says(page, "EncodePromptSCS", "motion_branch", f"The motion branch gets: {motion}", beside)
        if not beside:
            assert mark_prompt(prompt, read_subjects(box)).motion == motion
    assert page.errors == []


def test_a_subgraph_used_twice_says_what_its_uses_share(window: tuple[Page, Server]) -> None:
    page, _ = window
    page.clear()
    page.run(
        f"""() => {{ {ADD}
            const one = add('VideoMage_TrainSubject', 0), sampler = add('VideoMage_SampleVideo', 500);
            wire(one, 0, sampler, 'lora_1');
            const {{ node, subgraph }} = inside(sampler);
            const two = add('VideoMage_TrainSubject', 0), again = add(subgraph.id, 500);
            two.connect(0, again, node.inputs.findIndex(i => i.name === 'lora_1'));
            window.second = two; }}"""
    )
    says(page, "SampleVideo", "tokens", "Tokens: <my_dog> (dog)")
    page.run("() => { window.second.widgets.find(w => w.name === 'token').value = '<cat>'; }")
    says(page, "SampleVideo", "tokens", "used in several places", not_="Tokens")
    assert page.errors == []


def test_what_only_a_run_can_tell_is_said_to_be_unknown(window: tuple[Page, Server]) -> None:
    page, _ = window
    page.clear()
    page.run(
        f"""() => {{ {ADD}
            class Switch extends (globalThis.LGraphNode ?? LiteGraph.LGraphNode) {{
              constructor() {{ super('Switch'); this.addInput('any', '*'); this.addOutput('any', '*'); }} }}
            LiteGraph.registerNodeType('test/Switch', Switch);
            const sampler = add('VideoMage_SampleVideo', 900), train = add('VideoMage_TrainSubject', 300);
            const text = add('PrimitiveString', 0, {{ value: 'a <cat>' }});
            const one = add('test/Switch', 600), info = add('VideoMage_LoraInfo', 0);
            const widgets = () => sampler.inputs.findIndex(i => i.widget?.name === 'prompt');
            train.connect(0, one, 0); wire(train, 0, sampler, 'lora_1'); text.connect(0, sampler, widgets());
            Object.assign(window, {{ sampler, train, one, info, widgets, wire }}); }}"""
    )
    says(
        page, "SampleVideo", "tokens", "Tokens: <my_dog> (dog)", "did you mean <my_dog>?", "Superclass prompt: a <cat>"
    )
    page.run("() => { window.info.connect(0, window.sampler, window.widgets()); }")
    says(page, "SampleVideo", "tokens", "Tokens: <my_dog>", "The prompt comes from a wired input", not_="lacks")
    page.run("() => { window.wire(window.one, 0, window.sampler, 'lora_1'); }")
    says(page, "SampleVideo", "tokens", "tokens are unknown until run", not_="Wire a subject")
    page.run("() => { window.one.mode = 4; }")
    says(page, "SampleVideo", "tokens", "Tokens: <my_dog>", not_="tokens are unknown")
    assert page.errors == []


def test_tokens_are_matched_and_renamed_as_the_engine_does(window: tuple[Page, Server]) -> None:
    page, server = window
    server.run(subject_prompt(2, "dog"))
    page.open()
    page.clear()
    page.run(
        f"""() => {{ {ADD}
            const loader = add('VideoMage_LoadLora', 0, {{ lora_name: 'videomage/dog.safetensors' }});
            widget(loader, 'rename').value = '<DOG>=<Toy>, <toy>=<Rex-2>';
            const sampler = add('VideoMage_SampleVideo', 500, {{ prompt: 'a <rex-2>s and a <b!d>, <REX-2' }});
            wire(loader, 0, sampler, 'lora_1'); }}"""
    )
    said = ("Tokens: <Rex-2> (dog)", "Superclass prompt: a dogs and a <b!d>, <REX-2")
    says(page, "SampleVideo", "tokens", *said, not_="did you mean")


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


def test_what_a_node_says_of_a_lora_is_shown_on_it(window: tuple[Page, Server]) -> None:
    page, server = window
    server.run(subject_prompt(2, "dog"))
    page.open()
    page.clear()
    page.run(
        f"""() => {{ {ADD}
            const loader = add('VideoMage_LoadLora', 0, {{ lora_name: 'videomage/dog.safetensors' }});
            const info = add('VideoMage_LoraInfo', 400);
            const save = add('VideoMage_SaveLora', 800, {{ file_name: 'copy' }});
            wire(loader, 0, info, 'lora'); wire(loader, 0, save, 'lora'); }}"""
    )
    for kind in ("LoraInfo", "SaveLora"):
        says(page, kind, "said", "Shown here once it has run.")
    page.run("async () => { await app.queuePrompt(0); }")
    says(page, "LoraInfo", "said", "<dog>", "subject", seconds=60)
    says(page, "SaveLora", "said", "videomage/copy.safetensors")
    picture(page, "said of a LoRA")
    seen = "app.graph.nodes.flatMap(n => n.widgets).filter(w => w.name === 'said').map(w => w.element.offsetHeight)"
    assert all(height > 20 for height in page.run(f"() => {seen}"))
    assert "said" not in json.dumps(page.prompt())
    assert page.errors == []


def test_a_workflow_goes_through_the_page_unchanged(window: tuple[Page, Server]) -> None:
    page, _ = window
    for path in sorted((PACK / "workflows").glob("*.json")):
        workflow: dict[str, Any] = read_workflow(path)
        page.load(workflow)
        first = page.prompt()
        page.load(page.run(SAVED))
        assert page.prompt() == first


def test_panels_speak_the_pages_language(window: tuple[Page, Server]) -> None:
    page, server = window
    server.run(subject_prompt(2, "dog"))
    page.settings["Comfy.Locale"] = "zh"  # the last test of a page: it stays so
    page.open()
    page.load(read_workflow(PACK / "workflows" / "2 Train a subject.json"))
    says(page, "SampleVideo", "tokens", "触发词：<dog>（dog）", "类别词提示词：")
    says(page, "SampleVideo", "base_settings", "所有设置都适合基础模型")
    node = page.run(
        f"""() => {{ {ADD} const train = app.graph.nodes.find(n => n.type === 'VideoMage_TrainSubject');
            const loader = add('VideoMage_LoadLora', 0, {{ lora_name: 'videomage/dog.safetensors' }});
            loader.pos = [train.pos[0] - 420, train.pos[1] - 40];
            widget(train, 'file_name').value = 'chinese'; return String(train.id); }}"""
    )
    says(page, "TrainSubject", "training", "此节点还没有用这个文件名训练过。")
    says(page, "LoadLora", "card", "主体 LoRA，秩 ", "<dog>：dog", "基础模型：")
    page.run(TELL, {**STATE, "name": "chinese", "node": node, "done": 3, "time": 1})
    says(page, "TrainSubject", "training", "训练中：3 / 9，剩余 2 分钟")
    picture(page, "Chinese")
    assert page.errors == []
