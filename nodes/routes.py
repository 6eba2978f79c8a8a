"""The server's routes for the page: read-only; files only by names from ComfyUI's own lists.

Files are read in threads, as the server has one event loop for all pages and for progress.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import functools
import io
import re
from pathlib import Path
from typing import Any

from aiohttp import web

from ..videomage_core.data.lora_file import LoraHeader, read_header
from ..videomage_core.folders import files_in
from ..videomage_core.model.fingerprint import Fingerprint, fingerprint_of_file
from ..videomage_core.presets import PRESETS, preset_for
from ..videomage_core.training.store import require_file_name
from . import comfy_host as host
from . import progress

KINDS = ("subject", "motion", "fusion")
PACK = Path(__file__).parents[1]


def add_routes() -> None:
    host.add_route("/videomage/training", training)
    host.add_route("/videomage/sample", sample)
    host.add_route("/videomage/lora", lora)
    host.add_route("/videomage/presets", presets)
    host.add_route(f"/workflow_templates/{PACK.name}/{{title}}.jpg", thumbnail)


def _asked(request: Any) -> progress.Training:
    kind, name, node = (request.query.get(key, "") for key in ("kind", "name", "node"))
    try:
        require_file_name(name)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    if kind not in KINDS:
        raise web.HTTPBadRequest(text=f"kind: got {kind!r}, allowed: {', '.join(KINDS)}")
    if not re.fullmatch(r"[\w:.-]{1,64}", node):
        raise web.HTTPBadRequest(text=f"node: got {node!r}, write a node's id, e.g. 5, or 2:5 in a subgraph")
    return progress.Training(kind, name, node)


async def training(request: Any) -> web.Response:
    """GET ?kind=&name=&node= -> the state of a node's latest training with that file name, or null."""
    return web.json_response(await asyncio.to_thread(progress.training_state, _asked(request)))


async def sample(request: Any) -> web.StreamResponse:
    """GET ?kind=&name=&node= -> its last sample, a JPEG."""
    try:
        image = await asyncio.to_thread(_asked(request).sample_file.read_bytes)
    except OSError as error:
        raise web.HTTPNotFound(text="no sample yet") from error
    return web.Response(body=image, content_type="image/jpeg", headers={"Cache-Control": "no-store"})


async def lora(request: Any) -> web.Response:
    """GET ?name=&base= -> what a LoRA file of the list holds; whether it fits a base of the list (null: unknown)."""
    try:
        card = await asyncio.to_thread(_header, request.query.get("name", ""))
    except (OSError, ValueError) as error:  # not there, or damaged
        return web.json_response({"error": str(error)})
    base_fingerprint = await asyncio.to_thread(_base_fingerprint, request.query.get("base", ""))
    return web.json_response(
        {
            "kind": card.kind,
            "base": card.base,
            "tokens": [{"name": name, "superclass": superclass} for name, superclass in card.tokens],
            "rank": card.rank,
            "fits": None if base_fingerprint is None else card.fingerprint.matches(base_fingerprint),
            "thumbnail": _data_url(card.thumbnail),
        }
    )


def _header(name: str) -> LoraHeader:
    path = host.lora_file(name)
    return _read_header(path, _written(path))


def _base_fingerprint(base: str) -> Fingerprint | None:
    """The fingerprint of a listed base; None if it has no safetensors file or does not exist."""
    if not base:
        return None
    try:
        unet = host.base_folder(base) / "unet"
        return _read_fingerprint(unet, *map(_written, files_in(unet, (".safetensors",))))
    except (OSError, ValueError):
        return None


def _written(path: Path) -> tuple[str, int, int]:
    """What changes when a file is written again."""
    about = path.stat()
    return path.name, about.st_mtime_ns, about.st_size


@functools.lru_cache(maxsize=128)  # thumbnails of 128 pixels a side: a few megabytes at most
def _read_header(path: Path, written: object) -> LoraHeader:
    return read_header(path)


@functools.lru_cache(maxsize=16)
def _read_fingerprint(unet: Path, *written: object) -> Fingerprint | None:
    return fingerprint_of_file(unet)


def _data_url(image: Any) -> str | None:
    if image is None:
        return None
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


async def presets(request: Any) -> web.Response:
    """GET ?base= -> the settings that suit a base of the list, by stage."""
    base = request.query.get("base", "")
    try:
        preset = (
            PRESETS["wan"] if base == host.FROM_MODEL else preset_for(await asyncio.to_thread(host.base_folder, base))
        )
    except (OSError, ValueError) as error:
        raise web.HTTPNotFound(text=str(error)) from error
    stages = ("sampling", "subject", "motion", "fusion", "collaborative")
    return web.json_response({stage: dataclasses.asdict(getattr(preset, stage)) for stage in stages})


async def thumbnail(request: Any) -> web.StreamResponse:
    """GET -> the image of a shipped workflow, where the template browser asks for it.

    Some versions of ComfyUI serve a pack's workflows there and not their images; where the images are served too,
    ComfyUI's own answer comes first.
    """
    titles = {path.stem: path for path in files_in(PACK / "workflows", (".jpg",))}
    title = request.match_info["title"]
    if title not in titles:
        raise web.HTTPNotFound(text=f"no such workflow: {title!r}")
    return web.Response(body=await asyncio.to_thread(titles[title].read_bytes), content_type="image/jpeg")
