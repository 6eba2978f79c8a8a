"""Whole workflows in the page, and its languages."""

from __future__ import annotations

import pytest
from conftest import WORKFLOWS
from page import VIEW, Page, find_chromium, read_workflow
from page_scripts import ADD, SAVED, STATE, TELL, picture, says
from prompts import subject_prompt
from server import PACK, Server

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium found: install Debian's chromium")

LARGE = {"width": 2600, "height": 1400}


def test_the_page_is_the_one_that_is_meant(window: tuple[Page, Server]) -> None:
    page, _ = window
    version = page.run("() => window.__COMFYUI_FRONTEND_VERSION__")
    assert (version == "1.58.1") == page.name.startswith("newer"), version
    page.load(read_workflow(WORKFLOWS[0]))
    vue = page.run("() => [Boolean(LiteGraph.vueNodesMode), document.querySelectorAll('[data-node-id]').length > 0]")
    assert vue == [page.name.endswith("2.0")] * 2


def test_workflows_open_whole_and_go_through_the_page_unchanged(window: tuple[Page, Server]) -> None:
    page, _ = window
    page.page.set_viewport_size(LARGE)
    for path in WORKFLOWS:
        page.load(read_workflow(path))
        assert page.missing() == []
        assert page.outside_their_frames() == [], path.stem
        picture(page, path.stem)
        first = page.prompt()
        page.load(page.run(SAVED))
        assert page.prompt() == first
    page.page.set_viewport_size(VIEW)
    assert page.errors == []


def test_panels_speak_the_pages_language(window: tuple[Page, Server]) -> None:
    page, server = window
    server.run(subject_prompt(2, "dog"))
    page.settings["Comfy.Locale"] = "zh"
    page.open()
    page.load(read_workflow(PACK / "workflows" / "02 Train a subject.json"))
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
    page.settings["Comfy.Locale"] = "en"
    page.open()
