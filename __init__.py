"""ComfyUI's door to VideoMage."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./js"


async def comfy_entrypoint() -> Any:
    """Called by ComfyUI once, at its start."""
    from .nodes.comfy_host import name_model_folders
    from .nodes.registry import VideoMageExtension
    from .nodes.routes import add_routes

    name_model_folders()
    add_routes()
    return VideoMageExtension()
