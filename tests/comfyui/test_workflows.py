"""Every shipped workflow, converted by the page itself and run to its end with few steps."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
import pytest
from conftest import WORKFLOWS
from drawing.nodes import needed
from drawing.origin import CORE, pack_origin
from page import Page, read_workflow
from PIL import Image
from prompts import Prompt, with_few_steps
from server import PACK, Server

# Those that begin from LoRA files come after the one that makes the files.
TITLES = [path.stem for path in WORKFLOWS]


@pytest.mark.parametrize("title", TITLES)
def test_opens_whole_and_reads_from_left_to_right(page: Page, title: str) -> None:
    workflow = workflow_of(title)
    page.load(workflow)
    assert page.missing() == []
    assert page.errors == []
    assert "Invalid workflow" not in page.run("() => document.body.innerText")
    places = {node["id"]: node["pos"][0] for node in workflow["nodes"]}
    backwards = [link for link in workflow["links"] if places[link[1]] > places[link[3]]]
    assert backwards == []
    assert all(group["title"] for group in workflow["groups"])
    outside = [node["type"] for node in workflow["nodes"] if not any(inside(node, g) for g in workflow["groups"])]
    assert outside == []
    assert any(node["type"] == "MarkdownNote" for node in workflow["nodes"])


def inside(node: dict[str, Any], group: dict[str, Any]) -> bool:
    (x, y), (left, top, width, height) = node["pos"], group["bounding"]
    return bool(left <= x and top <= y and x + node["size"][0] <= left + width and y + node["size"][1] <= top + height)


@pytest.mark.parametrize("title", TITLES)
def test_runs_to_its_end_and_gives_a_video(server: Server, prompts: dict[str, Prompt], title: str) -> None:
    prompt = with_few_steps(prompts[title])
    outputs = server.run(prompt)
    videos = [
        shown for said in outputs.values() for shown in said.get("images", []) if shown["filename"].endswith(".mp4")
    ]
    assert videos
    for shown in videos:
        frames = frames_of(server.file(shown))
        if "Wan" in title:
            assert len(frames) == 9 and frames.std() > 1  # tiny stand-ins make noise
        else:
            assert_a_picture_of_something(frames)


def test_the_paper_workflow_has_the_papers_settings(prompts: dict[str, Prompt]) -> None:
    prompt = next(prompt for title, prompt in prompts.items() if title.startswith("05"))
    settings: dict[str, Any] = {}
    for node in prompt.values():
        settings |= {(node["class_type"][10:], name): value for name, value in node["inputs"].items()}
    expected = {
        ("LoadBase", "base"): "zeroscope_v2_576w", ("TrainSubject", "steps"): 300, ("TrainSubject", "lambda1"): 0.25,
        ("TrainSubject", "rank"): 4, ("TrainMotion", "steps"): 300, ("TrainMotion", "omega"): 0.5,
        ("FuseSubjects", "lambda2"): 0.6, ("SCSSampler", "tau"): 15, ("SCSSampler", "alpha"): 1e4,
        ("SCSSampler", "noise_prior"): 0.3, ("SCSSampler", "frames"): 24, ("SCSSampler", "width"): 576,
        ("SCSSampler", "height"): 320, ("SCSSampler", "steps"): 50, ("SCSSampler", "guidance_scale"): 9.0,
    }  # fmt: skip
    assert {key: settings[key] for key in expected} == expected


LOADERS = {
    "UNETLoader": ("diffusion_models", "docs/wan.md"), "CLIPLoader": ("text_encoders", "docs/wan.md"),
    "VAELoader": ("vae", "docs/wan.md"), "VideoMage_LoadSegmenter": ("sam2", "js/docs/VideoMage_LoadSegmenter.md"),
}  # fmt: skip


@pytest.mark.parametrize("title", TITLES)
def test_nodes_name_the_files_that_they_need_and_a_page_on_them(title: str) -> None:
    for node in workflow_of(title)["nodes"]:
        files = node["properties"].get("models", [])
        if node["type"] not in LOADERS:
            assert files == []
            continue
        folder, where = LOADERS[node["type"]]
        assert (PACK / where).is_file()
        (file,) = files
        assert file["name"] in node["widgets_values"]
        assert file == needed(file["name"], folder, where)


def test_the_page_knows_the_folders_of_these_files(server: Server) -> None:
    for folder, _ in LOADERS.values():
        status, body = server.read(f"/models/{folder}")
        assert status == 200, folder
        assert json.loads(body), f"the stand-ins of {folder} are not listed"


@pytest.mark.parametrize("title", TITLES)
def test_nodes_say_where_they_come_from(title: str) -> None:
    """As ComfyUI-Manager writes it, and reads it to install what is missing."""
    assert pack_origin().keys() == {"cnr_id", "ver"}
    for node in workflow_of(title)["nodes"]:
        origin = {key: value for key, value in node["properties"].items() if key in ("cnr_id", "ver")}
        if node["type"].startswith("VideoMage_"):
            assert origin == pack_origin()
        elif node["type"] == "MarkdownNote":  # which only the page has
            assert origin == {}
        else:
            assert origin["cnr_id"] == CORE and re.fullmatch(r"\d+\.\d+\.\d+", origin["ver"])


def test_titles_sort_by_their_numbers() -> None:
    assert [title.split()[0] for title in sorted(TITLES)] == [f"{number:02d}" for number in range(1, len(TITLES) + 1)]


def workflow_of(title: str) -> dict[str, Any]:
    return read_workflow(PACK / "workflows" / f"{title}.json")


def frames_of(video: bytes) -> np.ndarray:
    """[F, H, W, 3] in 0..255 of a video file."""
    import av

    with av.open(io.BytesIO(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def assert_a_picture_of_something(frames: np.ndarray) -> None:
    """Neither one colour nor noise: in noise, neighbours differ as much as far pixels do."""
    assert len(frames) == 8
    small = np.stack([np.asarray(Image.fromarray(f).resize((48, 48), Image.Resampling.BOX)) for f in frames]) / 255.0
    spread = small.std(axis=(1, 2)).mean()
    neighbours = np.abs(np.diff(small, axis=2)).mean()
    assert spread > 0.03, "one colour"
    assert neighbours < 0.6 * spread, "noise"
