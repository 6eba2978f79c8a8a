"""What the page says beside prompts: tokens, the superclass prompt, what the motion branch gets."""

from __future__ import annotations

import pytest
from page import Page, find_chromium, read_workflow
from page_scripts import ADD, SAVED, picture, says, wait
from prompts import subject_prompt
from server import PACK, Server

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium found: install Debian's chromium")

SCS_PROMPTS = [  # prompt, subjects, what the motion branch gets, what is said beside it
    ("a ohwx  Dog rides a (sks:1.2)", "ohwx dog = dog\nsks=stuffed animal", "a dog rides a (stuffed animal:1.2)", ""),
    ("sks and a dog, dogs", "sks = cat\ndog = animal", "cat and a animal, dogs", ""),
    ("一只ohwx狗在骑sks", "ohwx狗 = 狗\nsks = 猫", "一只狗在骑猫", ""),
    (r"a sks \(old\) sits", "sks (old) = toy (small)", r"a toy \(small\) sits", ""),
    ("an ohwx dog", "ohwx dog = dog\nsks = cat", "an dog", "The prompt lacks sks"),
    ("a dog", "dog = animal\nsks", "a animal", "sks: say what it is"),
    ("a dog <lora:x:1>", "dog = animal", "a animal <lora:x:1>", "<lora:x:1> has no effect"),
]


def test_the_prompt_helper_names_missing_and_misspelt_tokens(window: tuple[Page, Server]) -> None:
    page, server = window
    server.run(subject_prompt(2, "dog"))
    page.load(read_workflow(PACK / "workflows" / "02 Train a subject.json"))
    widget = "app.graph.nodes.find(n => n.type === 'VideoMage_SampleVideo').widgets.find(w => w.name === '{}')"
    said = widget.format("tokens") + ".element.textContent"
    write = f"(text) => {{ {widget.format('prompt')}.value = text; }}"
    page.run(write, "a <dgo> on grass")
    wait(page, f"{said}.includes('did you mean <dog>?') && {said}.includes('lacks <dog>')", 10)
    picture(page, "prompt helper")
    page.run(write, "a <dog> on grass")
    wait(page, f"{said}.includes('Superclass prompt: a dog on grass') && !{said}.includes('lacks')", 10)


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
