"""Importing the pack: quick, and nobody else notices."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

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
        "heavy = {'diffusers', 'transformers', 'peft'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_all_routes_are_there(nodes: dict[str, Any], host: Any) -> None:
    assert sorted(host.routes) == [
        "/videomage/lora", "/videomage/presets", "/videomage/sample", "/videomage/training",
    ]  # fmt: skip
