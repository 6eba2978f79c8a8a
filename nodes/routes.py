"""What the page asks the server: read-only, and no path but names from ComfyUI's own lists."""

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

from ..videomage_core.data.lora_file import LoraCard, read_card
from ..videomage_core.finished import require_file_name
from ..videomage_core.model.fingerprint import Fingerprint, fingerprint_of_file
from . import comfy_host as host
from . import progress

KINDS = ("subject", "motion", "fusion")
_bases: dict[str, Fingerprint | None] = {}  # by name, as far as they were asked for


def add_routes() -> None:
    host.add_route("/videomage/training", training)
    host.add_route("/videomage/sample", sample)
    host.add_route("/videomage/lora", lora)
    host.add_route("/videomage/presets", presets)


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
    return web.json_response(progress.training_state(_asked(request)))


async def sample(request: Any) -> web.StreamResponse:
    """GET ?kind=&name=&node= -> its last sample, a JPEG."""
    path = _asked(request).sample_file
    if not path.is_file():
        raise web.HTTPNotFound(text="no sample yet")
    return web.Response(body=path.read_bytes(), content_type="image/jpeg", headers={"Cache-Control": "no-store"})


async def lora(request: Any) -> web.Response:
    """GET ?name=&base= -> what a LoRA file of the list holds; whether it fits a base of the list (null: unknown)."""
    name = request.query.get("name", "")
    try:
        path = host.lora_file(name)
        about = path.stat()
        card = await asyncio.to_thread(_card, path, about.st_mtime_ns, about.st_size)
    except (OSError, ValueError) as error:  # not there, or damaged
        return web.json_response({"error": str(error)})
    mark = _fingerprint(request.query.get("base", ""))
    return web.json_response(
        {
            "kind": card.kind,
            "base": card.base,
            "tokens": [{"name": name, "superclass": superclass} for name, superclass in card.tokens],
            "rank": card.rank,
            "fits": None if mark is None else card.fingerprint.matches(mark),
            "thumbnail": _data_url(card.thumbnail),
        }
    )


@functools.lru_cache(maxsize=128)  # thumbnails of 128 pixels a side: a few megabytes at most
def _card(path: Path, changed: int, size: int) -> LoraCard:
    """A file's card, read again only after the file was written again."""
    return read_card(path)


def _fingerprint(base: str) -> Fingerprint | None:
    """The mark of a base of the list, read from its file once; None if it has no safetensors file or is not there."""
    if base and base not in _bases:
        try:
            _bases[base] = fingerprint_of_file(host.base_folder(base) / "unet")
        except (OSError, ValueError):
            return None
    return _bases.get(base)


def _data_url(picture: Any) -> str | None:
    if picture is None:
        return None
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


async def presets(request: Any) -> web.Response:
    """GET ?base= -> the settings that suit a base of the list, by stage."""
    try:
        preset = host.preset_for(host.base_folder(request.query.get("base", "")))
    except OSError as error:
        raise web.HTTPNotFound(text=str(error)) from error
    stages = ("sampling", "subject", "motion", "fusion", "collaborative")
    return web.json_response({stage: dataclasses.asdict(getattr(preset, stage)) for stage in stages})
