"""LoRA files for Wan: others' read into the original names, merged exactly, and written for ComfyUI's *Load LoRA*.

Layers are called as Wan's authors and ComfyUI call them, ``blocks.N.{self_attn,cross_attn}.{q,k,v,o}`` and
``blocks.N.ffn.{0,2}``; files are written as ``diffusion_model.<layer>.lora_A.weight`` and ``.lora_B.weight`` with the
scale in B, which ComfyUI and diffusers load alike, one file for each expert of Wan 2.2.  Learned token vectors ride
along as ``lora_emb.<name>``.

Merging N files is the average of what they add to the weights, sum of w_n B_n A_n, which no average of the factors is:
A = [A_1; ...; A_N] and B = [w_1 B_1, ..., w_N B_N] (``lora_weights.average``); the ranks add up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..model.lora_weights import LoraWeights, average
from .lora_kinds import base_of
from .lora_layers import EMBEDDING, ExternalLora, read_external_lora
from .model_spec import merged_header
from .safetensors_file import read_safetensors, short, write_safetensors

ARCHITECTURE = "wan2.1"  # as musubi-tuner writes it; Wan 2.2's experts are of the same
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_PREFIX = "diffusion_model."
_BLOCK = re.compile(
    r"^blocks_(?P<block>\d+)_(?:(?P<attention>self_attn|attn1|cross_attn|attn2)_"
    r"(?P<which>(?:to_)?[qkv]|o|to_out_0|[kv]_img|add_[kv]_proj)|ffn_(?P<ffn>0|2|net_0_proj|net_2))$"
)
_ATTENTION = {"attn1": "self_attn", "attn2": "cross_attn"}
_WHICH = {"to_out_0": "o", "add_k_proj": "k_img", "add_v_proj": "v_img"}
_FFN = {"net_0_proj": "0", "net_2": "2"}
# Linear layers outside the blocks, by both names; speed-up LoRAs have them.
_OTHERS = {
    "head_head": "head.head", "proj_out": "head.head",
    "text_embedding_0": "text_embedding.0", "condition_embedder_text_embedder_linear_1": "text_embedding.0",
    "text_embedding_2": "text_embedding.2", "condition_embedder_text_embedder_linear_2": "text_embedding.2",
    "time_embedding_0": "time_embedding.0", "condition_embedder_time_embedder_linear_1": "time_embedding.0",
    "time_embedding_2": "time_embedding.2", "condition_embedder_time_embedder_linear_2": "time_embedding.2",
    "time_projection_1": "time_projection.1", "condition_embedder_time_proj": "time_projection.1",
    "img_emb_proj_1": "img_emb.proj.1", "condition_embedder_image_embedder_ff_net_0_proj": "img_emb.proj.1",
    "img_emb_proj_3": "img_emb.proj.3", "condition_embedder_image_embedder_ff_net_2": "img_emb.proj.3",
}  # fmt: skip


def wan_layer(name: str) -> str | None:
    """A layer's original name, e.g. "blocks.0.self_attn.q", of any that files use; None if Wan has no such layer."""
    flat = name.replace(".", "_")
    match = _BLOCK.match(flat)
    if match is None:
        return _OTHERS.get(flat)
    if match["ffn"]:
        return f"blocks.{match['block']}.ffn.{_FFN.get(match['ffn'], match['ffn'])}"
    which = _WHICH.get(match["which"], match["which"].removeprefix("to_"))
    return f"blocks.{match['block']}.{_ATTENTION.get(match['attention'], match['attention'])}.{which}"


@dataclass(frozen=True)
class WanLora:
    """A LoRA for Wan.

    Attributes:
        name: of the file, or of the merged files.
        experts: the LoRA by expert: "high_noise" and "low_noise", or "" for Wan 2.1 or a file of one expert.
        vectors: learned embeddings by token, [k, D].
        metadata: for the header.
        scale: one line per file: which scale was read, and where.
    """

    name: str
    experts: dict[str, LoraWeights]
    vectors: dict[str, torch.Tensor] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    scale: str = ""

    def state_dict(self, expert: str = "", dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """One expert in the keys that ComfyUI loads, without token vectors.

        Raises:
            ValueError: there is no such expert, or a number is too large for the dtype.
        """
        if expert not in self.experts:
            raise ValueError(
                f"expert: got {expert!r}, {self.name} holds {', '.join(map(repr, sorted(self.experts)))}; choose one"
            )
        weights, tensors = self.experts[expert], {}
        for layer, (a, b) in weights.layers.items():
            tensors[f"{_PREFIX}{layer}.lora_A.weight"] = a.to(dtype).contiguous()
            tensors[f"{_PREFIX}{layer}.lora_B.weight"] = (b * weights.scale).to(dtype).contiguous()
        for key, tensor in tensors.items():
            if not bool(tensor.isfinite().all()):
                raise ValueError(f"dtype: {key} is too large for {dtype}; use bf16 or fp32")
        return tensors


def read_wan_lora(path: Path) -> WanLora:
    """Read a LoRA for Wan by any trainer.

    Raises:
        FileNotFoundError: no such file.
        ValueError: see ``read_external_lora``; or it is for another base.
    """
    external = read_external_lora(path)
    experts = {expert: LoraWeights(_original(external, expert)) for expert in external.layers}
    return WanLora(external.name, experts, external.vectors, external.metadata, external.scale)


def _original(external: ExternalLora, expert: str) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    layers = external.layers[expert]
    strangers = [name for name in layers if wan_layer(name) is None]
    if strangers:
        base = base_of(external.all_layers, external.metadata)
        seems = f"; it seems to be for {base}" if base else ""
        raise ValueError(
            f"LoRA: {external.name} does not fit Wan: {len(strangers)} of its layers, e.g. {short(strangers[0])}, are "
            f"none of Wan's{seems}"
        )
    return {str(wan_layer(name)): pair for name, pair in layers.items()}


def merge_wan_loras(loras: Sequence[WanLora], weights: Sequence[float] | None = None) -> WanLora:
    """The exact average of N LoRAs; a layer that one of them lacks counts as zero there.

    Args:
        loras: of one size of Wan.
        weights: of each LoRA, at least 0; they are divided by their sum.  None: equal weights.

    Raises:
        ValueError: no LoRA, invalid weights, LoRAs of different sizes or experts, or two learned tokens of one
            name.
    """
    coefficients = _shares(loras, weights)
    experts = _common_experts(loras)
    for lora in loras[1:]:
        _require_same_size(loras[0], lora)
    merged = {e: average([_of_expert(lora, e) for lora in loras], coefficients) for e in experts}
    vectors: dict[str, torch.Tensor] = {}
    for lora in loras:
        for name, tensor in lora.vectors.items():
            if name in vectors and not torch.equal(vectors[name], tensor):
                raise ValueError(
                    f"LoRA: {lora.name} and another one have learned different vectors for <{name}>; rename it in one: "
                    f"python -m videomage_core rename FILE '<{name}>' '<{name}_2>'"
                )
            vectors[name] = tensor
    names = [lora.name for lora in loras]
    header = merged_header(names, [lora.metadata for lora in loras], ARCHITECTURE)
    lines = "\n".join(f"{lora.name}: {lora.scale}" for lora in loras)
    return WanLora(" + ".join(names), merged, vectors, header, lines)


def _shares(loras: Sequence[WanLora], weights: Sequence[float] | None) -> list[float]:
    if not loras:
        raise ValueError("LoRAs: got none, give at least one")
    each = [1.0] * len(loras) if weights is None else [float(weight) for weight in weights]
    total = sum(each)
    if len(each) != len(loras) or not all(math.isfinite(w) and w >= 0 for w in each) or total <= 0:
        raise ValueError(
            f"weights: got {', '.join(f'{w:g}' for w in each) or 'none'} for {len(loras)} LoRAs, allowed is a number "
            "of at least 0 for each, not all 0"
        )
    return [weight / total for weight in each]


def _common_experts(loras: Sequence[WanLora]) -> list[str]:
    """The experts of what is merged: a file that names none is for all of them."""
    experts = sorted({expert for lora in loras for expert in lora.experts if expert})
    named = {end for lora in loras for end in ("high_noise", "low_noise") if re.search(rf"{end}\b", lora.name)}
    if len(named) > 1 or (named and any(set(lora.experts) - {"", *named} for lora in loras)):
        raise ValueError(
            "LoRAs: got files of Wan 2.2's high-noise and of its low-noise expert; merge each expert's files by "
            f"themselves ({', '.join(lora.name for lora in loras)})"
        )
    return experts or [""]


def _of_expert(lora: WanLora, expert: str) -> LoraWeights:
    return lora.experts.get(expert) or lora.experts.get("") or LoraWeights({})


def _require_same_size(one: WanLora, other: WanLora) -> None:
    sizes = {layer: (a.shape[1], b.shape[0]) for w in one.experts.values() for layer, (a, b) in w.layers.items()}
    for weights in other.experts.values():
        for layer, (a, b) in weights.layers.items():
            if sizes.get(layer, (a.shape[1], b.shape[0])) != (a.shape[1], b.shape[0]):
                raise ValueError(
                    f"LoRAs: {one.name} and {other.name} are for different sizes of Wan: {layer} is "
                    f"{sizes[layer][1]}x{sizes[layer][0]} and {b.shape[0]}x{a.shape[1]}; 1.3B is 1536 wide, 14B 5120, "
                    "5B 3072"
                )


def save_wan_lora(path: Path, lora: WanLora, dtype: str = "fp32") -> list[Path]:
    """Write a LoRA that ComfyUI's *Load LoRA* reads; one file per expert.

    Args:
        path: ends in .safetensors; ``_high_noise`` or ``_low_noise`` is appended to its name if there are experts.
        lora: what to write.
        dtype: "fp32" (exact), "fp16" or "bf16".

    Returns:
        The files.

    Raises:
        ValueError: another dtype, or numbers too large for it.
        OSError: the disk is full or the folder is not writable; an existing file is kept.
    """
    written = []
    for file, tensors in _files(path, lora, dtype).items():
        title = {"modelspec.title": file.stem, "ss_output_name": file.stem}
        write_safetensors(file, tensors, {"format": "pt", **lora.metadata, **title})
        written.append(file)
    return written


def publish_wan_lora(folder: Path, name: str, lora: WanLora, dtype: str = "fp32") -> list[Path]:
    """As ``save_wan_lora``, but never over another file: a number is added to the name if it is taken.

    Returns:
        The files; those that hold these very weights are not written again.
    """
    for number in range(1, 10_000):
        path = folder / (f"{name}.safetensors" if number == 1 else f"{name}_{number}.safetensors")
        files = _files(path, lora, dtype)
        there = [file for file in files if file.exists()]
        if not there:
            return save_wan_lora(path, lora, dtype)
        if len(there) == len(files) and all(_holds(file, tensors) for file, tensors in files.items()):
            return list(files)
    raise ValueError(f"file name: {folder} is full of LoRAs called {name!r}; choose another name")


def _files(path: Path, lora: WanLora, dtype: str) -> dict[Path, dict[str, torch.Tensor]]:
    """What is written where: a file for each expert, with all token vectors."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype: got {dtype!r}, allowed: {', '.join(DTYPES)}")
    vectors = {EMBEDDING + name: tensor.float().cpu().contiguous() for name, tensor in lora.vectors.items()}
    files = {}
    for expert in sorted(lora.experts):
        end = f"_{expert}" if expert and not path.stem.endswith(expert) else ""
        files[path.with_name(f"{path.stem}{end}.safetensors")] = {**lora.state_dict(expert, DTYPES[dtype]), **vectors}
    return files


def _holds(path: Path, tensors: dict[str, torch.Tensor]) -> bool:
    try:
        there = read_safetensors(path).tensors
    except ValueError:
        return False
    return there.keys() == tensors.keys() and all(torch.equal(there[key], tensors[key]) for key in tensors)
