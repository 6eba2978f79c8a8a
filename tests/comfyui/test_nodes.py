"""What ComfyUI says of the nodes, their help and their languages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from english_locale import english, inputs_of
from server import PACK, PACK_FOLDER, Server

NODES = [
    "VideoMage_LoadBase", "VideoMage_TrainSubject", "VideoMage_TrainMotion", "VideoMage_FuseSubjects",
    "VideoMage_SCSSampler", "VideoMage_SampleVideo", "VideoMage_LoadLora", "VideoMage_SaveLora",
    "VideoMage_LoraInfo", "VideoMage_ContactSheet", "VideoMage_ExampleSubject", "VideoMage_ExampleMotion",
    "VideoMage_LoadSegmenter", "VideoMage_SegmentByWords", "VideoMage_Evaluate", "VideoMage_SubjectClip",
    "VideoMage_EncodePromptSCS", "VideoMage_SCSGuider", "VideoMage_ShowAttention",
    "VideoMage_MergeSubjectLoRAs", "VideoMage_BaseFromModel",
]  # fmt: skip


@pytest.fixture(scope="module")
def info(server: Server) -> dict[str, Any]:
    return {name: about for name, about in server.get("/object_info").items() if name.startswith("VideoMage_")}


def test_all_nodes_are_there(info: dict[str, Any]) -> None:
    assert sorted(info) == sorted(NODES)
    assert {about["category"] for about in info.values()} == {"VideoMage"}


@pytest.mark.parametrize("name", NODES)
def test_every_input_and_output_has_a_tooltip(info: dict[str, Any], name: str) -> None:
    bare = [i for i, spec in inputs_of(info[name]).items() if len(spec) < 2 or not spec[1].get("tooltip")]
    assert bare == []
    assert all(info[name]["output_tooltips"])
    assert info[name]["description"]


def test_a_seed_of_a_training_is_not_drawn_anew_by_the_page(info: dict[str, Any]) -> None:
    assert inputs_of(info["VideoMage_TrainSubject"])["seed"][1]["control_after_generate"] is False


def test_routes_refuse_what_is_not_a_name(server: Server) -> None:
    assert server.read("/videomage/training?kind=subject&name=..%2Fdog&node=3")[0] == 400
    assert server.read("/videomage/sample?kind=secret&name=dog")[0] == 400
    assert server.read("/videomage/presets?base=nothing")[0] == 404
    assert "error" in server.get("/videomage/lora?name=..%2F..%2Fsecret.safetensors")


def test_a_base_of_extra_model_paths_is_in_the_list(server: Server, info: dict[str, Any]) -> None:
    choice = inputs_of(info["VideoMage_LoadBase"])["base"]
    assert {"far/zeroscope", "zeroscope_v2_576w"} <= set(choice[1]["options"] if choice[0] == "COMBO" else choice[0])
    assert server.get("/videomage/presets?base=far/zeroscope")["sampling"]["frames"] == 24


def test_templates_are_listed(server: Server) -> None:
    titles = sorted(path.stem for path in (PACK / "workflows").glob("*.json"))
    assert sorted(server.get("/workflow_templates")[PACK_FOLDER]) == titles
    assert len(titles) == 11


@pytest.mark.parametrize("title", sorted(path.stem for path in (PACK / "workflows").glob("*.json")))
def test_a_template_has_a_thumbnail(server: Server, title: str) -> None:
    from urllib.parse import quote

    status, body = server.read(f"/api/workflow_templates/{PACK_FOLDER}/{quote(title)}.jpg")
    assert status == 200 and body[:2] == b"\xff\xd8"


@pytest.mark.parametrize("name", NODES)
def test_every_node_has_a_help_page(server: Server, name: str) -> None:
    for path in (f"{name}.md", f"{name}/zh.md"):
        status, body = server.read(f"/extensions/{PACK_FOLDER}/docs/{path}")
        assert status == 200 and body.startswith(b"# ")


def test_locales_cover_every_name(server: Server, info: dict[str, Any]) -> None:
    spoken = server.get("/i18n")
    for language in ("en", "zh"):
        nodes = spoken[language]["nodeDefs"]
        for name, about in info.items():
            assert set(nodes[name]["inputs"]) == set(inputs_of(about)), f"{language}: {name}"
            assert all(text["name"] and text["tooltip"] for text in nodes[name]["inputs"].values())
            assert set(nodes[name]["outputs"]) == {str(i) for i in range(len(about["output"]))}


def test_the_english_locale_is_what_the_nodes_say(info: dict[str, Any]) -> None:
    kept = json.loads((PACK / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    assert kept == english(info), "write it anew: make workflows"
