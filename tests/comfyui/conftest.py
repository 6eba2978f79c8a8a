"""These tests start a real ComfyUI; `make test-comfyui` has the environment for it.

A file's tests run in one process, in their order; each process has servers of its own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from page import NEWER, NODES_2, Page, find_chromium, read_workflow
from server import PACK, Server, find_comfyui

WORKFLOWS = sorted((PACK / "workflows").glob("*.json"))
EMOJI_BASE = PACK / "videomage_core" / "assets" / "emoji_base"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = None
    if find_comfyui() is None:
        reason = "no ComfyUI found: set COMFYUI_PATH, or put one at ~/ComfyUI"
    elif importlib.util.find_spec("comfyui_frontend_package") is None:
        reason = "ComfyUI's requirements are not installed here: run `make test-comfyui`"
    for item in items:
        if Path(__file__).parent in item.path.parents and reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def new_home(folder: Path) -> Path:
    """A ComfyUI folder with a base at ZeroScope's name: the built-in one, which has its layout."""
    target = folder / "models" / "diffusers" / "zeroscope_v2_576w"
    if not target.exists():
        shutil.copytree(EMOJI_BASE, target)
    add_segmenters(folder / "models")
    return folder


def add_segmenters(models: Path) -> None:
    """A tiny GroundingDINO of random weights and the emoji world's SAM 2, at the names of the shipped workflow."""
    from safetensors.torch import load_file

    sys.path.insert(0, str(PACK))
    from emoji_world.fixtures.tiny_detector import random_detector

    source = PACK / "emoji_world" / "fixtures" / "segmenters"
    if not (models / "grounding-dino").exists():
        random_detector(models / "grounding-dino" / "grounding-dino-tiny")
        (models / "sam2").mkdir()
        torch.save({"model": load_file(source / "sam2_emoji.safetensors")}, models / "sam2" / "sam2.1_hiera_tiny.pt")
        shutil.copy(source / "sam2_emoji.json", models / "sam2" / "sam2.1_hiera_tiny.json")


def add_wan(home: Path) -> None:
    """Tiny files at the names of the Wan workflows, and a pack with which core takes a tiny text encoder."""
    native = Path(__file__).with_name("native")
    script, where = native / "write_stand_ins.py", {"COMFYUI_PATH": str(find_comfyui())}
    subprocess.run([sys.executable, str(script), str(home / "models")], env={**os.environ, **where}, check=True)
    (home / "custom_nodes" / "small_umt5").mkdir(parents=True)
    shutil.copy(native / "small_umt5.py", home / "custom_nodes" / "small_umt5" / "__init__.py")


def elsewhere(folder: Path) -> Path:
    """An extra_model_paths.yaml that names a folder with a base."""
    shutil.copytree(EMOJI_BASE, folder / "bases" / "far" / "zeroscope")
    named = folder / "extra_model_paths.yaml"
    named.write_text(f"elsewhere:\n  base_path: {folder}\n  diffusers: bases\n", encoding="utf-8")
    return named


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With bases elsewhere, and beside another pack."""
    paths = elsewhere(tmp_path_factory.mktemp("elsewhere"))
    running = Server(new_home(tmp_path_factory.mktemp("comfyui")), ("--extra-model-paths-config", str(paths)))
    (running.home / "custom_nodes" / "neighbour").mkdir()
    shutil.copy(Path(__file__).with_name("neighbour.py"), running.home / "custom_nodes" / "neighbour" / "__init__.py")
    add_wan(running.home)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def page(server: Server) -> Iterator[Page]:
    if find_chromium() is None:
        pytest.skip("no Chromium found: install Debian's chromium to test the page")
    with Page(server.url) as opened:
        yield opened


WINDOWS = ["core's page", "core's page, Nodes 2.0", "newer page", "newer page, Nodes 2.0"]


@pytest.fixture(scope="session", params=WINDOWS)
def window(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Server]]:
    """A page on a ComfyUI of its own, with each frontend and node renderer."""
    options: tuple[str, ...] = ()
    if request.param.startswith("newer"):
        if not NEWER.is_dir():
            pytest.skip("the newer page is not installed: `make test-comfyui` does it")
        options = ("--front-end-root", str(NEWER))
    elif request.param.endswith("2.0") and not core_has_nodes_2():
        pytest.skip("this core's own page has no Nodes 2.0")
    server = Server(new_home(tmp_path_factory.mktemp("page")), options)
    add_wan(server.home)
    server.start()
    settings = NODES_2 if request.param.endswith("2.0") else {"Comfy.VueNodes.Enabled": False}
    try:
        with Page(server.url, settings) as page:
            page.name = request.param
            yield page, server
    finally:
        server.stop()


def core_has_nodes_2() -> bool:
    """Pages have them as a setting since 1.33."""
    major, minor = importlib.metadata.version("comfyui-frontend-package").split(".")[:2]
    return (int(major), int(minor)) >= (1, 33)


@pytest.fixture(scope="session")
def prompts(page: Page) -> dict[str, dict[str, Any]]:
    """Each shipped workflow as the page would queue it, by the workflow's title."""
    found = {}
    for path in WORKFLOWS:
        page.load(read_workflow(path))
        found[path.stem] = page.prompt()
    return found
