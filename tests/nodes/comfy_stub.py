"""A small ComfyUI: what the nodes touch of it, so that they are tested where there is none.

It has the shapes of the real thing (``comfy_api.latest``, folders, memory, progress); the tests in
``tests/comfyui`` meet the real one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

OF_CORE = ("Clip", "Conditioning", "Guider", "Model", "Vae")  # wires between core's own nodes


class Interrupted(Exception):
    """ComfyUI's InterruptProcessingException."""


class OutOfMemory(Exception):
    """torch's out-of-memory error, as ComfyUI names it."""


class Input:
    def __init__(self, id: str, *positional: Any, **about: Any) -> None:
        self.id, self.positional, self.about, self.extra_dict = id, positional, about, {}
        self.optional = about.get("optional", False)


class Output:
    def __init__(self, id: str | None = None, **about: Any) -> None:
        self.id, self.about = id, about


class Hidden(str, Enum):
    unique_id = "UNIQUE_ID"


@dataclass
class Schema:
    """The fields of core 0.3.64: a node that passes others fails there, and here."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Any] | None = None
    outputs: list[Any] | None = None
    hidden: list[Any] = field(default_factory=list)
    description: str = ""
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False


class NodeOutput:
    def __init__(self, *result: Any, ui: Any = None) -> None:
        self.result, self.ui = result, ui


class ComfyNode:
    hidden = SimpleNamespace(unique_id="7")


class ComfyExtension:
    pass


@dataclass
class VideoComponents:
    images: torch.Tensor
    frame_rate: Any


class Video:
    def __init__(self, components: VideoComponents) -> None:
        self.components = components

    def get_components(self) -> VideoComponents:
        return self.components


class VideoFromFile:
    def __init__(self, file: Any) -> None:
        self.__file = file

    def get_stream_source(self) -> Any:
        return self.__file

    def get_components(self) -> VideoComponents:
        raise AssertionError("it is read frame by frame")


class ModelPatcher:
    def __init__(self, model: Any, load_device: Any, offload_device: Any) -> None:
        self.model, self.load_device, self.offload_device = model, load_device, offload_device


class Host:
    """What the stub remembers: interrupts asked for, progress told, events sent, models loaded."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.interrupt_at: int | None = None  # the number of progress calls after which the user presses cancel
        self.progress: list[tuple[int, int, Any]] = []
        self.texts: dict[str, str] = {}  # the last under each node
        self.events: list[tuple[str, Any]] = []
        self.routes: dict[str, Any] = {}
        self.loaded: list[Any] = []
        self.memory_required: list[int] = []  # each time something was to be loaded
        self.freed = False
        self.free_memory = 24 * 2**30
        self.room: list[int] = []

    def folders(self, kind: str) -> list[str]:
        return [str(self.home / "models" / kind)]

    def files(self, kind: str) -> list[str]:
        root = self.home / "models" / kind
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.safetensors"))

    def check(self) -> None:
        if self.interrupt_at is not None and len(self.progress) >= self.interrupt_at:
            self.interrupt_at = None
            raise Interrupted

    def update_progress(self, node: str, value: int, most: int, image: Any) -> None:
        self.progress.append((value, most, image))

    def load(self, patchers: list[Any], memory_required: int = 0, force_full_load: bool = False) -> None:
        self.loaded.extend(patchers)
        self.memory_required.append(memory_required)

    def free(self) -> None:
        self.freed = True


def modules(host: Host) -> dict[str, ModuleType]:
    """The stub's modules by name, for ``sys.modules``."""
    progress = SimpleNamespace(update_progress=host.update_progress)
    return {
        "comfy_api": _module("comfy_api"),
        "comfy_api.latest": _latest_api(),
        "comfy": _module("comfy"),
        "comfy.model_management": _model_management(host),
        "comfy.model_patcher": _module("comfy.model_patcher", ModelPatcher=ModelPatcher),
        "comfy_execution": _module("comfy_execution"),
        "comfy_execution.progress": _module("comfy_execution.progress", get_progress_state=lambda: progress),
        "folder_paths": _folder_paths(host),
        "server": _server(host),
    }


def _latest_api() -> ModuleType:
    def kind() -> Any:
        return SimpleNamespace(Input=type("Input", (Input,), {}), Output=type("Output", (Output,), {}))

    io = SimpleNamespace(
        Schema=Schema, NodeOutput=NodeOutput, ComfyNode=ComfyNode, Hidden=Hidden, Input=Input, Output=Output,
        Custom=lambda name: kind(), MultiType=kind(),
        **{name: kind() for name in ("Image", "Mask", "Video", "String", "Int", "Float", "Boolean", "Combo", *OF_CORE)},
    )  # fmt: skip
    ui = SimpleNamespace(
        PreviewImage=lambda image, **_: {"images": image}, PreviewText=lambda text, **_: {"text": text}
    )
    return _module(
        "comfy_api.latest",
        io=io,
        ui=ui,
        ComfyExtension=ComfyExtension,
        InputImpl=SimpleNamespace(VideoFromComponents=Video, VideoFromFile=VideoFromFile),
        Types=SimpleNamespace(VideoComponents=VideoComponents),
    )


def _model_management(host: Host) -> ModuleType:
    return _module(
        "comfy.model_management",
        get_torch_device=lambda: torch.device("cpu"),
        unet_offload_device=lambda: torch.device("cpu"),
        should_use_bf16=lambda device: False,
        should_use_fp16=lambda device: False,
        get_free_memory=lambda device: host.free_memory,
        current_loaded_models=[],
        load_models_gpu=host.load,
        unload_all_models=host.free,
        free_memory=lambda need, device: host.room.append(need),
        soft_empty_cache=lambda: None,
        throw_exception_if_processing_interrupted=host.check,
        OOM_EXCEPTION=OutOfMemory,
        InterruptProcessingException=Interrupted,
    )


def _folder_paths(host: Host) -> ModuleType:
    return _module(
        "folder_paths",
        models_dir=str(host.home / "models"),
        get_folder_paths=host.folders,
        add_model_folder_path=lambda kind, path: None,
        get_filename_list=host.files,
        get_full_path=lambda kind, name: str(host.home / "models" / kind / name),
        get_output_directory=lambda: str(host.home / "output"),
    )


def _server(host: Host) -> ModuleType:
    instance = SimpleNamespace(
        send_progress_text=lambda text, node: host.texts.__setitem__(node, text),
        send_sync=lambda event, data, to: host.events.append((event, data)),
        routes=SimpleNamespace(get=lambda path: lambda answer: host.routes.__setitem__(path, answer)),
    )
    return _module("server", PromptServer=SimpleNamespace(instance=instance))


def _module(name: str, **members: Any) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(members)
    return made


def install(host: Host) -> None:
    for name, made in modules(host).items():
        sys.modules[name] = made
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, made)
