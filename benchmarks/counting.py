"""What a piece of work takes, counted without computing it: operations, and bytes alive at once.

PyTorch's meta tensors have shapes and no values, so that a U-Net of ZeroScope's size runs through any stage in
seconds on any machine.  Counted are the tensors that PyTorch allocates; not an operation's own workspace, nor what the
allocator rounds up or cannot use.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from videomage_core.model import lora
from videomage_core.model.loading import load_unet3d
from videomage_core.model.memory import MODES
from videomage_core.model.unet3d import UNet3DBackbone


class Alive(TorchDispatchMode):
    """The bytes of all tensors made inside and alive at once, at their most.

    Args:
        known: tensors that were there before, such as weights: views of them are not counted.
    """

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self.now = self.most = 0

    def __torch_dispatch__(self, function: Any, _: Any, arguments: Any = (), named: Any = None) -> Any:
        out = function(*arguments, **(named or {}))
        for output in tree_leaves(out):
            if not isinstance(output, torch.Tensor) or output.untyped_storage()._cdata in self._known:
                continue
            storage = output.untyped_storage()
            self._known.add(storage._cdata)
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return out

    def _gone(self, storage: int, size: int) -> None:
        self._known.discard(storage)
        self.now -= size


class _Fused(torch.autograd.Function):
    """Shapes of a GPU's fused attention, which keeps queries, keys, values and output for the backward pass."""

    @staticmethod
    def forward(context: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(q)
        context.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    def backward(context: Any, _: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(map(torch.empty_like, context.saved_tensors[:3]))


@contextmanager
def _without_values(fused: bool) -> Iterator[None]:
    """Inside, what asks for values or knows no meta device does without."""
    with ExitStack() as stack:
        if fused:
            attention = lambda q, k, v, *_, **__: _Fused.apply(q, k, v)  # noqa: E731
            stack.enter_context(mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attention))
        stack.enter_context(mock.patch.object(torch, "autocast", lambda *_, **__: nullcontext()))
        stack.enter_context(mock.patch.object(torch.Tensor, "__bool__", lambda _: True))  # "is it finite?"
        yield


def peak_bytes(job: Callable[[], object], parts: Sequence[torch.nn.Module]) -> int:
    """Bytes alive at once beyond the weights of a base's parts.

    Attention counts as a GPU's fused kernel does it: queries, keys, values and output, never the map.
    """
    counted = Alive([tensor for part in parts for tensor in (*part.parameters(), *part.buffers())])
    with _without_values(fused=True), counted:
        job()
    return counted.most


def operations(job: Callable[[], object]) -> int:
    """Multiplications and additions of matrix products, convolutions and attention."""
    counted = FlopCounterMode(display=False)
    with _without_values(fused=False), counted:
        job()
    return int(counted.get_total_flops())


def zeroscope(dtype: torch.dtype = torch.float16) -> UNet3DBackbone:
    """A base of ZeroScope's shapes, without values."""
    from diffusers import AutoencoderKL, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    small = load_unet3d(dtype="fp32", device="cpu")  # for its words and its schedule
    scheduler = mock.Mock(alphas_cumprod=small.alphas_cumprod)
    scheduler.config = type("Config", (dict,), {"prediction_type": "epsilon"})()
    text = CLIPTextConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16, hidden_act="gelu"
    )
    vae = {
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "sample_size": 512,
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    }  # fmt: skip
    with torch.device("meta"):
        parts = [part.to(dtype) for part in (UNet3DConditionModel(), AutoencoderKL(**vae), CLIPTextModel(text))]
    base = UNet3DBackbone("zeroscope", *parts, small.prompts.tokenizer, scheduler)
    for part in (*base.unet.children(), base.vae, base.prompts.text_encoder):
        part.to = lambda *_, part=part, **__: part  # what has no values cannot be moved
    return base


@dataclass(frozen=True)
class Counted:
    """One step of a stage in one memory mode.

    Attributes:
        weights: bytes of the base's weights that are on the device at once.
        loras: bytes of the LoRAs on it, with what the optimiser keeps of them.
        activations: the most bytes alive at once beyond those.
        operations: multiplications and additions; 0 where they were not asked for.
    """

    weights: int
    loras: int
    activations: int
    operations: int = 0

    @property
    def gigabytes(self) -> float:
        return (self.weights + self.loras + self.activations) / 1e9


def count(base: UNet3DBackbone, step: Any, mode: str, with_operations: bool = True) -> Counted:
    """A step of ``stage_steps``, counted on a base without values in a memory mode."""
    base.use_memory(MODES[mode])
    with step() as (job, loras):
        activations = peak_bytes(job, (base.network, base.vae, base.prompts.text_encoder))
        work = operations(job) if with_operations else 0
    return Counted(base.weights_memory(MODES[mode]), loras, activations, work)


def eight_bit(base: UNet3DBackbone) -> dict[str, dict[str, int]]:
    """Training -> "trained" weights, and the bytes that AdamW's moments of them take in "fp32" and in "8 bit".

    As bitsandbytes keeps them: a byte for each, a float32 for each block of 256, and a weight of fewer than 4096
    values in float32 still.
    """
    states = {}
    for stage, role, rank in (("train subject", "spatial", 4), ("train motion", "temporal", 4), ("fuse", "spatial", 8)):
        with lora.restore_adapters(base):
            sizes = [weight.numel() for weight in lora.add(base, "counted", base.targets(role), rank=rank)]
        small = [8 * n if n < 4096 else 2 * (n + 4 * -(-n // 256)) for n in sizes]
        states[stage] = {"trained": sum(sizes), "fp32": 8 * sum(sizes), "8 bit": sum(small)}
    return states
