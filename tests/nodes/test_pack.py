"""Importing the pack: quick, and nobody else notices."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from videomage_core.presets import EMOJI

PACK = Path(__file__).parents[2]


def state() -> dict[str, Any]:
    return {
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "benchmark": torch.backends.cudnn.benchmark,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "random": torch.random.get_rng_state().tolist(),
        "level": logging.getLogger().level,
        "handlers": list(logging.getLogger().handlers),
        "path": list(sys.path),
    }


def test_importing_and_listing_changes_nothing_of_others(nodes: dict[str, Any], host: Any) -> None:
    before = state()
    for node in nodes.values():
        node.define_schema()
    assert state() == before


def classes_of_others() -> dict[tuple[str, str], object]:
    """What the classes of other packages hold that the pack uses, each by its name."""
    import diffusers
    import peft
    import transformers
    from peft.tuners.lora import Linear

    classes = [
        diffusers.UNet3DConditionModel, diffusers.AutoencoderKL, diffusers.DDIMScheduler, transformers.CLIPTextModel,
        transformers.CLIPTokenizer, peft.LoraConfig, Linear, torch.nn.Module, torch.nn.Linear, torch.Tensor,
    ]  # fmt: skip
    caches = {"_abc_impl", "__annotations__", "__doc__"}
    return {(c.__name__, key): value for c in classes for key, value in vars(c).items() if key not in caches}


def test_importing_and_running_beside_a_pack_with_modules_of_the_same_names_changes_nothing_of_others(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbours = {name: ModuleType(name) for name in ("nodes", "utils", "utils.schema", "nodes.schema")}
    for name, module in neighbours.items():
        monkeypatch.setitem(sys.modules, name, module)
    pytest.importorskip("aiohttp.web", reason="aiohttp comes with ComfyUI")
    classes = classes_of_others()  # imports them, as another pack would have
    before, environment = state(), dict(os.environ)
    inference, filters, modules = torch.is_inference_mode_enabled(), list(warnings.filters), set(sys.modules)

    name = "custom_nodes_comfyui-videomage"  # the fixture ``host`` takes it away again
    spec = importlib.util.spec_from_file_location(name, PACK / "__init__.py", submodule_search_locations=[str(PACK)])
    assert spec is not None and spec.loader is not None
    pack = importlib.util.module_from_spec(spec)
    sys.modules[name] = pack
    spec.loader.exec_module(pack)
    extension = asyncio.run(pack.comfy_entrypoint())
    found = {node.define_schema().node_id: node for node in asyncio.run(extension.get_node_list())}
    base = found["VideoMage_LoadBase"].execute("emoji base (built in)", "fp32", "auto").result[0]
    quick = dataclasses.replace(base.preset, sampling=dataclasses.replace(base.preset.sampling, steps=1))
    base = dataclasses.replace(base, preset=quick)
    images, _ = found["VideoMage_ExampleSubject"].execute("dog").result
    settings = dataclasses.asdict(dataclasses.replace(EMOJI.subject, steps=1, batch_size=1, lambda1=0.0))
    words = {"token": "<dog>", "superclass": "dog", "file_name": "dog", "prompt": ""}
    folders = {"images_folder": "", "auxiliary_folder": ""}
    found["VideoMage_TrainSubject"].execute(base, images=images, **words, **folders, **settings)

    assert state() == before and dict(os.environ) == environment
    assert torch.is_inference_mode_enabled() == inference and list(warnings.filters) == filters
    assert all(sys.modules[name] is module for name, module in neighbours.items())
    ours = [n for n in set(sys.modules) - modules if str(PACK) in str(getattr(sys.modules[n], "__file__", ""))]
    assert ours and {n.split(".")[0] for n in ours if ".venv" not in str(sys.modules[n].__file__)} == {name}
    after = classes_of_others()
    assert [key for key, value in classes.items() if after.get(key) is not value] == []
    # Others may add to them, as transformers does when it loads a model; nothing of ours is on them.
    assert [key for key, value in after.items() if str(getattr(value, "__module__", "")).startswith(name)] == []


def test_the_web_folder_has_the_scripts(pack: Any) -> None:
    assert (PACK / pack.WEB_DIRECTORY).is_dir()
    assert list((PACK / pack.WEB_DIRECTORY).glob("*.js"))


def test_importing_the_door_loads_nothing_heavy() -> None:
    script = (
        "import importlib.util, sys;"
        f"spec = importlib.util.spec_from_file_location('pack', {str(PACK / '__init__.py')!r});"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module);"
        "heavy = {'torch', 'diffusers', 'transformers', 'peft', 'av'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_nodes_do_not_import_diffusers_before_a_base_is_loaded() -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(PACK)!r}];"
        "import asyncio, importlib.util; from pathlib import Path; from comfy_stub import Host, install;"
        "install(Host(Path('.')));"
        f"spec = importlib.util.spec_from_file_location('p', {str(PACK / '__init__.py')!r},"
        f" submodule_search_locations=[{str(PACK)!r}]);"
        "module = importlib.util.module_from_spec(spec); sys.modules['p'] = module; spec.loader.exec_module(module);"
        "asyncio.run(module.comfy_entrypoint());"
        "heavy = {'diffusers', 'transformers', 'peft', 'sam2', 'groundingdino'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_all_routes_are_there(nodes: dict[str, Any], host: Any) -> None:
    assert sorted(host.routes) == [
        "/videomage/lora", "/videomage/presets", "/videomage/sample", "/videomage/training",
        f"/workflow_templates/{PACK.name}/{{title}}.jpg",
    ]  # fmt: skip
