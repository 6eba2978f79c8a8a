"""How a LoRA file calls a base's layers: one way for each architecture.

| architecture | tensors | who else reads them |
|---|---|---|
| ModelScope's U-Net | ``unet.<module>.lora_A.weight`` | diffusers' names (``into_diffusers``) |
| Wan | ``diffusion_model.<layer>.lora_A.weight``, with the names of Wan's authors | ComfyUI's *Load LoRA*, diffusers |

In the engine a layer is called as diffusers' module is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_A, _B = ".lora_A.weight", ".lora_B.weight"
_WAN = (
    ("attn1.", "self_attn."), ("attn2.", "cross_attn."), ("to_out.0", "o"), ("to_", ""),
    ("net.0.proj", "0"), ("net.2", "2"),
)  # fmt: skip
_WAN_BLOCK = re.compile(r"^blocks\.\d+\.(attn[12]\.(to_[qkv]|to_out\.0)|ffn\.net\.(0\.proj|2))$")


@dataclass(frozen=True)
class LoraLayout:
    """The names of one architecture's layers in files.

    Attributes:
        architecture: as ModelSpec names it.
        prefix: what its keys begin with.
        to_file: a module's name -> the layer's in files.
        from_file: the other way.
    """

    architecture: str
    prefix: str
    to_file: Callable[[str], str]
    from_file: Callable[[str], str]

    def keys(self, module: str) -> tuple[str, str]:
        """The keys of a module's A and B."""
        stem = self.prefix + self.to_file(module)
        return stem + _A, stem + _B

    def modules(self, keys: Iterable[str]) -> list[str]:
        """The modules of which there is an A."""
        mine = [key for key in keys if key.startswith(self.prefix) and key.endswith(_A)]
        return [self.from_file(key[len(self.prefix) : -len(_A)]) for key in mine]


def _wan_to_file(module: str) -> str:
    for ours, theirs in _WAN:
        module = module.replace(ours, theirs)
    return module


def _wan_from_file(layer: str) -> str:
    block, number, part, which = layer.split(".", 3) if layer.count(".") == 3 else ("", "", "", layer)
    if part == "ffn":
        which = {"0": "net.0.proj", "2": "net.2"}.get(which, which)
        return f"{block}.{number}.ffn.{which}"
    attention = {"self_attn": "attn1", "cross_attn": "attn2"}.get(part)
    if attention is None:
        return layer
    return f"{block}.{number}.{attention}.{'to_out.0' if which == 'o' else f'to_{which}'}"


UNET = LoraLayout("modelscope-t2v", "unet.", str, str)
WAN = LoraLayout("wan2.1", "diffusion_model.", _wan_to_file, _wan_from_file)


def is_wan_module(module: str) -> bool:
    """Whether a module of that name is a linear layer of a Wan's block that LoRAs are on."""
    return bool(_WAN_BLOCK.match(module))


def layout_of_modules(modules: Iterable[str]) -> LoraLayout:
    """How the layers of a LoRA in the engine are called in files."""
    return WAN if all(map(is_wan_module, modules)) else UNET


def layout_of_keys(keys: Iterable[str]) -> LoraLayout:
    """How a file calls its layers."""
    return WAN if any(key.startswith(WAN.prefix) for key in keys) else UNET
