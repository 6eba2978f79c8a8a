"""The pack as ComfyUI loads it, from its folder, among a small ComfyUI of our own."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from videomage_core.data.lora_file import LoraModel, save_lora

sys.path.insert(0, str(Path(__file__).parent))
from comfy_stub import Host, install, modules

PACK = Path(__file__).parents[2]
NAME = "custom_nodes_comfyui-videomage"  # ComfyUI makes such a name of the folder's path


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A ComfyUI in a folder of its own; sys.modules is as before afterwards."""
    before = {name: sys.modules.get(name) for name in modules(Host(tmp_path))}
    made = Host(tmp_path)
    for kind in ("loras", "diffusers"):
        (tmp_path / "models" / kind).mkdir(parents=True)
    install(made)
    yield made
    for name, module in before.items():
        if module is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = module
    for name in [name for name in sys.modules if name.split(".")[0] == NAME]:
        del sys.modules[name]


@pytest.fixture
def pack(host: Host) -> Any:
    """The pack's module, imported anew."""
    spec = importlib.util.spec_from_file_location(NAME, PACK / "__init__.py", submodule_search_locations=[str(PACK)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def nodes(pack: Any) -> dict[str, Any]:
    """Node classes by id, as the extension lists them."""
    extension = asyncio.run(pack.comfy_entrypoint())
    listed = asyncio.run(extension.get_node_list())
    return {node.define_schema().node_id: node for node in listed}


@pytest.fixture
def toy(host: Host, shared_emoji_base: Any, make_lora_model: Callable[..., LoraModel]) -> LoraModel:
    """A subject LoRA in models/loras/videomage/toy.safetensors."""
    made = make_lora_model(shared_emoji_base, 1)
    (host.home / "models" / "loras" / "videomage").mkdir()
    save_lora(host.home / "models" / "loras" / "videomage" / "toy.safetensors", made)
    return made
