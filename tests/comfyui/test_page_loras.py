"""LoRA files in the page: cards, warnings, what a node says of one."""

from __future__ import annotations

import json

import pytest
from page import Page, find_chromium, read_workflow
from page_scripts import ADD, picture, says, wait
from prompts import subject_prompt
from server import PACK, Server

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium found: install Debian's chromium")


def test_the_loader_shows_a_card_and_warns_of_another_base(window: tuple[Page, Server]) -> None:
    page, server = window
    server.run(subject_prompt(2, "dog"))
    page.open()
    page.load(read_workflow(PACK / "workflows" / "04 Fuse and compose.json"))
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
