# ruff: noqa: E402  # paths first, then what lies there
"""Fixtures of checks that run inside a ComfyUI core, without its server; a plugin of pytest for ``test_guider.py``."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CORE = os.environ["VIDEOMAGE_CORE"]
PACK = Path(__file__).resolve().parents[4]
sys.path[:0] = [CORE, str(Path(__file__).parent)]
sys.argv = sys.argv[:1]  # the core reads them

import comfy.cli_args

comfy.cli_args.args.cpu = True
logging.getLogger().setLevel(logging.ERROR)

package = ModuleType("videomage_pack")  # the pack as a package, without its nodes
package.__path__ = [str(PACK)]
sys.modules["videomage_pack"] = package

import tiny_wan as tiny
import torch


@pytest.fixture(scope="session")
def shared_wan() -> Any:
    return tiny.tiny_wan()


@pytest.fixture
def wan(shared_wan: Any) -> Any:
    """A MODEL; a check that leaves its weights or layers changed fails."""
    before = tiny.weights(shared_wan)
    yield shared_wan
    shared_wan.unpatch_model()
    after = tiny.weights(shared_wan)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any("forward" in vars(module) for module in shared_wan.model.modules())
    assert not any(getattr(module, "weight_function", None) for module in shared_wan.model.modules())


@pytest.fixture
def subject(wan: Any) -> Any:
    """The base with a subject LoRA."""
    return tiny.with_lora(wan, tiny.lora_patches(wan, 1), 0.8)


@pytest.fixture
def motion(wan: Any) -> Any:
    """The base with a motion LoRA."""
    return tiny.with_lora(wan, tiny.lora_patches(wan, 2, rank=3, alpha=1.5, parts=("self_attn.q", "self_attn.v")), 1.1)
