from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import comfy_stub
import pytest

from videomage_core.data.lora_file import LoraModel, save_lora

web = pytest.importorskip("aiohttp.web", reason="aiohttp comes with ComfyUI")


def ask(host: comfy_stub.Host, path: str, **query: str) -> Any:
    answer = asyncio.run(host.routes[f"/videomage/{path}"](SimpleNamespace(query=query)))
    return json.loads(answer.body) if answer.content_type == "application/json" else answer


def test_a_training_that_never_was(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    assert ask(host, "training", kind="subject", name="dog", node="7") is None
    with pytest.raises(web.HTTPNotFound):
        ask(host, "sample", kind="subject", name="dog", node="7")


@pytest.mark.parametrize("name", ["", "../dog", "a/b", ".hidden", "dog."])
def test_names_with_folders_are_refused(nodes: dict[str, Any], host: comfy_stub.Host, name: str) -> None:
    with pytest.raises(web.HTTPBadRequest):
        ask(host, "training", kind="subject", name=name, node="7")
    with pytest.raises(web.HTTPBadRequest):
        ask(host, "sample", kind="subject", name=name, node="7")


@pytest.mark.parametrize("node", ["", "7/8", "..\\7", "7" * 65])
def test_ids_that_no_node_has_are_refused(nodes: dict[str, Any], host: comfy_stub.Host, node: str) -> None:
    with pytest.raises(web.HTTPBadRequest) as refused:
        ask(host, "training", kind="subject", name="dog", node=node)
    assert "write a node's id" in refused.value.text


def test_a_lora_card(
    nodes: dict[str, Any], host: comfy_stub.Host, shared_emoji_base: Any, make_lora_model: Callable[..., LoraModel]
) -> None:
    save_lora(host.home / "models" / "loras" / "toy.safetensors", make_lora_model(shared_emoji_base, 1))
    card = ask(host, "lora", name="toy.safetensors", base="emoji base (built in)")
    assert card["kind"] == "subject" and card["fits"] is True
    assert [token["name"] for token in card["tokens"]] == ["<toy>"]
    assert ask(host, "lora", name="toy.safetensors", base="")["fits"] is None
    assert "not in models/loras" in ask(host, "lora", name="../toy.safetensors")["error"]


def readers_of_headers_alone(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files whose tensors cannot be read any more, only their headers; the paths that are opened."""
    opened: list[Path] = []
    stock = module.safe_open

    class HeaderAlone:
        def __init__(self, path: Path, framework: str) -> None:
            opened.append(path)
            self.inner = stock(path, framework=framework)

        def __enter__(self) -> HeaderAlone:
            self.file = self.inner.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            self.inner.__exit__(*error)

        def metadata(self) -> Any:
            return self.file.metadata()

        def keys(self) -> Any:
            return self.file.keys()

    monkeypatch.setattr(module, "safe_open", HeaderAlone)
    return opened


def test_a_card_needs_the_header_alone_and_is_read_once(
    nodes: dict[str, Any],
    host: comfy_stub.Host,
    shared_emoji_base: Any,
    make_lora_model: Callable[..., LoraModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    safetensors_file = next(
        module
        for name, module in sys.modules.items()
        if name.endswith("-videomage.videomage_core.data.safetensors_file")
    )
    path = host.home / "models" / "loras" / "toy.safetensors"
    save_lora(path, make_lora_model(shared_emoji_base, 1))
    opened = readers_of_headers_alone(safetensors_file, monkeypatch)
    cards = [ask(host, "lora", name=path.name, base="") for _ in range(3)]
    assert len(opened) == 1 and cards[0] == cards[2] and cards[0]["rank"] == 2
    save_lora(path, make_lora_model(shared_emoji_base, 1, "<bear>", rank=3))
    card = ask(host, "lora", name=path.name, base="")
    assert len(opened) == 2 and (card["rank"], card["tokens"][0]["name"]) == (3, "<bear>")
    path.write_bytes(path.read_bytes()[:-9])
    assert "not a whole safetensors file" in ask(host, "lora", name=path.name)["error"]


def test_settings_that_suit_a_base(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    presets = ask(host, "presets", base="emoji base (built in)")
    assert presets["sampling"]["frames"] == 8 and presets["collaborative"]["width"] == 48
    with pytest.raises(web.HTTPNotFound):
        ask(host, "presets", base="gone")


def test_a_base_that_was_replaced_is_read_again_and_never_on_the_servers_loop(
    nodes: dict[str, Any],
    host: comfy_stub.Host,
    shared_emoji_base: Any,
    make_lora_model: Callable[..., LoraModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import shutil
    import threading

    from safetensors.torch import load_file, save_file

    from videomage_core.model.base_folder import EMOJI_BASE

    routes = next(module for name, module in sys.modules.items() if name.endswith("-videomage.nodes.routes"))
    read, threads = routes.fingerprint_of_file, []
    monkeypatch.setattr(
        routes, "fingerprint_of_file", lambda unet: threads.append(threading.current_thread()) or read(unet)
    )
    base = host.home / "models" / "diffusers" / "mine"
    shutil.copytree(EMOJI_BASE, base)
    save_lora(host.home / "models" / "loras" / "toy.safetensors", make_lora_model(shared_emoji_base, 1))

    def fits() -> bool:
        return ask(host, "lora", name="toy.safetensors", base="mine")["fits"]

    assert fits() and fits()
    (file,) = (base / "unet").glob("*.safetensors")
    (base / "unet" / f"._{file.name}").write_bytes(b"left behind by macOS")
    assert fits() and len(threads) == 1, "a hidden file is no weights"
    save_file({name: weight + 0.1 for name, weight in load_file(file).items()}, file)
    assert not fits()
    assert len(threads) == 2 and threading.main_thread() not in threads


def test_the_pack_serves_its_workflows_images_and_nothing_else(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    (route,) = (path for path in host.routes if path.startswith("/workflow_templates/"))

    def thumbnail(title: str) -> Any:
        return asyncio.run(host.routes[route](SimpleNamespace(match_info={"title": title})))

    images = sorted((Path(__file__).parents[2] / "workflows").glob("*.jpg"))
    assert images
    for image in images:
        assert thumbnail(image.stem).body == image.read_bytes()
    for title in ("gone", "../README", "..%2F..%2Fsecret"):
        with pytest.raises(web.HTTPNotFound):
            thumbnail(title)
