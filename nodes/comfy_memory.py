"""Memory in ComfyUI: the base is loaded and offloaded as ComfyUI's own models are; out of memory gives advice."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from ..videomage_core.model.backbone import Backbone, MemoryMode
from ..videomage_core.model.base_names import is_wan_folder
from ..videomage_core.model.loading import auto_dtype
from ..videomage_core.model.loading import load_base as load_engine_base
from ..videomage_core.model.memory import Workload, choose_mode, is_out_of_memory, required_memory
from ..videomage_core.model.unet3d import UNet3DBackbone
from ..videomage_core.model.wan import WanBackbone
from ..videomage_core.presets import Preset, preset_for
from .comfy_host import base_folder

DTYPES = ("auto", "fp32", "fp16", "bf16")
SEGMENTER_NEEDS = 4 * 1024**3  # bytes: SAM 2 large, a frame of 1024 pixels and its memories, with some to spare
SCORERS_NEED = 3 * 1024**3  # bytes: CLIP and DINO of the large kind with a batch of frames


@contextlib.contextmanager
def reserve_memory(needed: int, advice: str) -> Iterator[str]:
    """Context in which this many bytes are free for other models; yields the device to use.

    Raises:
        RuntimeError: out of memory; the message gives the advice, and the memory is freed.
    """
    import comfy.model_management as management

    full = False
    with torch.inference_mode(False):
        try:
            device = management.get_torch_device()
            management.free_memory(needed, device)
            yield str(device)
        except Exception as error:
            if not _is_full(error):
                raise
            traceback.clear_frames(error.__traceback__)
            full = True
    if full:
        management.unload_all_models()
        management.soft_empty_cache()
        raise RuntimeError(f"VideoMage ran out of memory; everything was freed. {advice}")


@dataclass(frozen=True)
class HostedBase:
    """A base whose memory ComfyUI manages.

    Attributes:
        name: as the user chose it.
        backbone: the engine's.
        preset: settings that suit it.
        memory: a mode's name, or "auto".
        load_device: the device it computes on.
        offload_device: where it is when idle.
    """

    name: str
    backbone: UNet3DBackbone | WanBackbone
    preset: Preset
    memory: str
    load_device: torch.device
    offload_device: torch.device
    _patchers: dict[int, Any] = field(default_factory=dict)  # by part; kept, or ComfyUI would forget them
    file_suffix: ClassVar[str] = ""  # of the LoRA files that are trained on it

    def patchers_for(self, mode: MemoryMode) -> list[Any]:
        """One patcher for each part that stays on the device in this memory mode; ComfyUI moves the part by it."""
        parts = self.backbone.resident(mode)
        for part in parts:
            if id(part) not in self._patchers:
                self._patchers[id(part)] = _patcher(part, self.load_device, self.offload_device)
        return [self._patchers[id(part)] for part in parts]

    def mode_for(self, workloads: Sequence[Workload]) -> MemoryMode:
        """The memory mode in which the workloads fit on ComfyUI's device."""
        import comfy.model_management as management

        return choose_mode(self.memory, self.backbone, workloads, available_memory(management.get_torch_device()))

    def load(self, mode: MemoryMode, workloads: Sequence[Workload]) -> None:
        """Put the base on ComfyUI's device in a memory mode, with room for the workloads."""
        import comfy.model_management as management

        backbone, device = self.backbone, management.get_torch_device()
        if mode != backbone.memory:
            self.unload()  # other parts of it will stay loaded than before
        staying = [_bytes(part) for part in backbone.resident(mode)]
        beside = required_memory(backbone, workloads, mode) - sum(staying)
        management.load_models_gpu(self.patchers_for(mode), memory_required=beside, force_full_load=True)
        backbone.use_memory(mode, device)

    def less_memory(self, mode: MemoryMode) -> str | None:
        """What to set to which value to take less memory than in a mode, if that can be."""
        lower = {"high": "'medium' or 'low'", "medium": "'low'"}.get(mode.name)
        return f"the base's memory mode to {lower}" if lower else None

    def unload(self) -> None:
        """Take the base's parts off the device, and no other model."""
        import comfy.model_management as management

        own = list(self._patchers.values())
        for loaded in list(management.current_loaded_models):
            if any(loaded.model is patcher for patcher in own):
                loaded.model_unload()
                management.current_loaded_models.remove(loaded)

    def get_ram_usage(self) -> int:
        """Bytes of the base's weights, by which ComfyUI's cache decides what to drop when main memory is short."""
        parts = (self.backbone.network, self.backbone.vae, self.backbone.prompts.text_encoder)
        return sum(map(_bytes, parts))


class _Part(torch.nn.Module):
    """One part of a base; ComfyUI writes attributes on what it manages, and diffusers' models refuse some."""

    def __init__(self, part: torch.nn.Module) -> None:
        super().__init__()
        self.part = part
        self.device = torch.device("cpu")


def _patcher(part: torch.nn.Module, load: torch.device, offload: torch.device) -> Any:
    from comfy.model_patcher import ModelPatcher

    class WholePatcher(ModelPatcher):
        """Moves a part as a whole, and never as inference tensors, which cannot be trained."""

        def partially_unload(self, *_: Any, **__: Any) -> int:
            return 0  # so that ComfyUI takes it off whole

        def patch_model(self, *arguments: Any, **named: Any) -> Any:
            with torch.inference_mode(False):
                return super().patch_model(*arguments, **named)

        def unpatch_model(self, *arguments: Any, **named: Any) -> Any:
            with torch.inference_mode(False):
                return super().unpatch_model(*arguments, **named)

        def load(self, *arguments: Any, **named: Any) -> Any:  # called by some versions without ``patch_model``
            with torch.inference_mode(False):
                return super().load(*arguments, **named)

    return WholePatcher(_Part(part), load, offload)


def load_base(name: str, dtype: str, memory: str) -> HostedBase:
    """Load a base to ComfyUI's offload device."""
    import comfy.model_management as management

    folder = base_folder(name)
    device, offload = management.get_torch_device(), management.unet_offload_device()
    with torch.inference_mode(False):
        backbone = load_engine_base(folder, _dtype(dtype, device, folder), "cpu")
    return HostedBase(name, backbone, preset_for(folder), memory, device, offload)


def _dtype(name: str, device: torch.device, folder: Path) -> str:
    """The finest of those that ComfyUI would use on the device, where the user leaves it to us: ``auto_dtype``."""
    import comfy.model_management as management

    if name != "auto":
        return name
    usable = {"fp16": management.should_use_fp16(device), "bf16": management.should_use_bf16(device)}
    kinds = ("bf16",) if is_wan_folder(folder) else (auto_dtype(folder, device), "fp16", "bf16")
    return next((kind for kind in kinds if usable.get(kind)), "fp32")


@contextlib.contextmanager
def on_device(base: HostedBase, oom_hint: str, workloads: Sequence[Workload]) -> Iterator[UNet3DBackbone | WanBackbone]:
    """Context in which the base is on ComfyUI's device with memory for the largest workload, and autograd works.

    Args:
        base: the base.
        oom_hint: the settings to lower if memory runs out.
        workloads: to fit on the device.

    Raises:
        RuntimeError: out of memory; the message says what to lower, and the memory is freed.
    """
    import comfy.model_management as management

    backbone, mode, full = base.backbone, base.backbone.memory, False
    with torch.inference_mode(False):
        try:
            mode = base.mode_for(workloads)
            base.load(mode, workloads)
            yield backbone
        except Exception as error:
            if not _is_full(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold activations
            full = True
        finally:
            backbone.put_away()
    if full:  # outside of "except", so that nothing holds what is freed
        management.unload_all_models()
        management.soft_empty_cache()
        raise RuntimeError(_oom_message(mode.name, base.less_memory(mode), oom_hint))


def _oom_message(mode: str, lower: str | None, oom_hint: str) -> str:
    lowering = f"Set {lower}: a training then resumes from its last checkpoint. Or lower"
    return (
        f"VideoMage ran out of memory in the memory mode {mode!r}; everything was freed. "
        f"{lowering if lower else 'Lower'} {oom_hint}"
    )


class _SegmenterWorkload(Workload):
    """A segmenter at work; meanwhile the base waits beside it."""

    def memory(self, backbone: Backbone, mode: MemoryMode) -> int:
        return SEGMENTER_NEEDS


def segmenter_workloads(segmenter: Any) -> list[Workload]:
    """The workload of a segmenter in a stage; empty without one."""
    return [] if segmenter is None else [_SegmenterWorkload((), 0, 0)]


def available_memory(device: torch.device) -> int:
    """Bytes that ComfyUI can free for us: what is free, and what its own models hold."""
    import comfy.model_management as management

    held = 0
    if device.type != "cpu":
        alive = [m for m in management.current_loaded_models if m.model is not None]  # ComfyUI keeps weak references
        held = sum(m.model_loaded_memory() for m in alive if m.device == device)
    return int(management.get_free_memory(device)) + held


def _bytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in module.state_dict().values())


def _is_full(error: BaseException) -> bool:
    """Whether memory ran out, as ComfyUI's device says it or any allocator.

    Newer versions of ComfyUI know more forms of it, some of which leave a CUDA error pending: it is discarded there.
    """
    import comfy.model_management as management

    known = getattr(management, "is_oom", lambda one: isinstance(one, management.OOM_EXCEPTION))
    if not (known(error) or is_out_of_memory(error)):
        return False
    if torch.cuda.is_available():
        getattr(management, "discard_cuda_async_error", lambda: None)()
    return True
