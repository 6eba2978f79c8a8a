"""Where each node comes from, as ComfyUI-Manager writes it into workflows and reads it to install what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from server import PACK, Server

from .layout import Saved

CORE = "comfy-core"


def pack_origin() -> dict[str, str]:
    """The pack's name in ComfyUI's registry, and its version."""
    project = (PACK / "pyproject.toml").read_text(encoding="utf-8").partition("[project]")[2]
    found = [re.search(rf'^{key} = "(.+)"', project, re.MULTILINE) for key in ("name", "version")]
    return {key: match[1] for key, match in zip(("cnr_id", "ver"), found, strict=True) if match}


def stamp(server: Server) -> Callable[[Saved], Saved]:
    """What writes the origins of a workflow's nodes into it; those that only the page has, as notes, have none."""
    known: dict[str, Any] = server.get("/object_info")
    core = {"cnr_id": CORE, "ver": server.get("/system_stats")["system"]["comfyui_version"]}

    def write(saved: Saved) -> Saved:
        for node in saved["nodes"]:
            module = known.get(node["type"], {}).get("python_module")
            if module is not None:
                node["properties"].update(pack_origin() if module.startswith("custom_nodes.") else core)
        return saved

    return write
