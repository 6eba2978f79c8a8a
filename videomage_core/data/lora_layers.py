"""The layers of a LoRA file that others wrote, whatever its keys are called, checked and with the scale in B.

A key is a prefix, a layer and an end:

* prefixes: ``unet.``, ``transformer.``, ``diffusion_model.``, ``base_model.model.``, ``lora_unet_``, ``lora_unet__``,
  or none; ``transformer_1.`` and ``transformer_2.`` behind them are the two experts of Wan 2.2 in one file;
* layers: with dots, or with "_" for them (kohya, musubi);
* ends: ``.lora_A.weight``, ``.lora_A.default.weight``, ``.lora_down.weight``, ``.lora.down.weight``, and older ones.

Where the scale stands: ``lora_scale``.  What is no plain LoRA: ``lora_kinds``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .lora_kinds import TEXT_ENCODER, kind_of
from .lora_metadata import MOST_RANK
from .lora_scale import alpha_of, scales
from .peft_settings import Factors
from .safetensors_file import SafetensorsFile, read_safetensors, short

EMBEDDING = "lora_emb."
# As diffusers numbers the transformers of Wan 2.2, and as their files are called.
EXPERTS = {"transformer_1.": "high_noise", "transformer_2.": "low_noise"}
_PREFIXES = (
    "base_model.model.", "model.diffusion_model.", "diffusion_model.", "unet.", "transformer.", "lora_unet__",
    "lora_unet_", "lora_transformer_",
)  # fmt: skip
_FACTOR = re.compile(
    r"^(?P<stem>.+?)(?:"
    r"\.lora_(?P<peft>[AB])(?:\.(?P<adapter>[^.]+))?\.weight|\.lora_(?P<bare>[AB])|"
    r"\.lora_(?P<kohya>down|up)\.weight|\.lora\.(?P<dots>down|up)\.weight|"
    r"_lora\.(?P<old>down|up)\.weight|\.lora_linear_layer\.(?P<layer>down|up)\.weight)$"
)
_ALPHA = re.compile(r"^(?P<stem>.+)\.alpha$")
# What may lie beside the factors if it is zero: trainers and extractors write such for norms and biases.
_WHOLE = re.compile(r"\.(diff|diff_b|w_norm|b_norm|lora_B\.bias|lora_up\.bias)$")
_HALVES = {"A": "A", "B": "B", "down": "A", "up": "B"}


@dataclass(frozen=True)
class ExternalLora:
    """What a LoRA file of others holds.

    Attributes:
        name: of the file.
        layers: expert ("" for a base that has one) -> layer as the file calls it, without prefixes ->
            (A [R, in], B [out, R]), float32, the scale multiplied into B.
        vectors: learned token vectors by name, [k, D].
        metadata: the header's texts.
        scale: a line that says what scale was read, and where.
    """

    name: str
    layers: dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]]
    vectors: dict[str, torch.Tensor] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    scale: str = ""

    @property
    def all_layers(self) -> list[str]:
        return [layer for layers in self.layers.values() for layer in layers]


@dataclass
class _Layer:
    """The keys of one layer, as they are found."""

    expert: str
    name: str
    prefix: str
    stem: str
    halves: dict[str, str] = field(default_factory=dict)
    peft_names: bool = False
    alpha: str | None = None


def read_external_lora(path: Path) -> ExternalLora:
    """Read and check a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no plain LoRA, is broken, or its scale cannot be known; names the file and the key.
    """
    file = read_safetensors(path)
    what = kind_of(file.tensors, file.metadata)
    if what is not None:
        raise ValueError(f"LoRA: {file.name} is {what[0]}; {what[1]}")
    if any(TEXT_ENCODER.match(key) for key in file.tensors):
        raise ValueError(
            f"LoRA: {file.name} changes the text encoder too, which cannot be fused; train it again without, or use "
            "a LoRA of the network alone"
        )
    found = _found(file)
    pairs = [_pair(file, one) for one in found]
    factors = [
        Factors(one.name, one.prefix, a.shape[0], one.peft_names, _alpha(file, one))
        for one, (a, _) in zip(found, pairs, strict=True)
    ]
    each, line = scales(file, path, factors)
    layers: dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]] = {}
    for one, (a, b), scale in zip(found, pairs, each, strict=True):
        layers.setdefault(one.expert, {})[one.name] = (a, b * scale)
    vectors = {key.removeprefix(EMBEDDING): t for key, t in file.tensors.items() if key.startswith(EMBEDDING)}
    for name, tensor in vectors.items():
        _require_numbers(file.name, EMBEDDING + name, tensor)
    return ExternalLora(file.name, layers, {n: t.float() for n, t in vectors.items()}, file.metadata, line)


def _found(file: SafetensorsFile) -> list[_Layer]:
    """Which keys make up which layer; every key of the file is accounted for."""
    layers: dict[tuple[str, str], _Layer] = {}
    rest = []
    for key in file.tensors:
        factor = _FACTOR.match(key)
        if factor is None:
            rest.append(key)
            continue
        half = _HALVES[next(v for n, v in factor.groupdict().items() if v and n not in ("stem", "adapter"))]
        one = _layer(layers, factor["stem"])
        if half in one.halves:
            raise ValueError(
                f"LoRA: {file.name} has {one.name!r} twice, as {one.halves[half]} and as {key}; which is meant cannot "
                "be known"
            )
        one.halves[half] = key
        one.peft_names = bool(factor["peft"] or factor["bare"])
    if not layers:
        raise ValueError(
            f"LoRA: {file.name} holds no LoRA: none of its keys is one of a layer's factors"
            + (f"; the first is {short(rest[0])}" if rest else "; it is empty")
        )
    for key in rest:
        _account_for(file, key, layers)
    if "high_noise" not in (experts := {one.expert for one in layers.values()}) and "low_noise" in experts:
        for one in layers.values():  # diffusers calls the first expert "transformer", as it does an only one
            one.expert = one.expert or "high_noise"
    return list(layers.values())


def _account_for(file: SafetensorsFile, key: str, layers: Mapping[tuple[str, str], _Layer]) -> None:
    """Take a key that is no factor for what it is; ValueError for one that would be lost."""
    alpha = _ALPHA.match(key)
    owner = layers.get(_place(alpha["stem"])[:2]) if alpha else None
    if owner is not None:
        owner.alpha = key
    elif _WHOLE.search(key):
        tensor = file.tensors[key]
        if bool(tensor.float().isfinite().all()) and not bool(tensor.any()):
            return
        raise ValueError(
            f"LoRA: {file.name} has more than a LoRA: {key} is a whole difference (.diff) that is not zero, as "
            "speed-up LoRAs have; load it with ComfyUI's Load LoRA, or train an ordinary LoRA"
        )
    elif not key.startswith(EMBEDDING):
        raise ValueError(
            f"LoRA: {file.name} has {short(key)}, which belongs to none of its layers and would be lost; it is no "
            "plain LoRA, or was changed after it was written"
        )


def _layer(layers: dict[tuple[str, str], _Layer], stem: str) -> _Layer:
    expert, flat, name, prefix = _place(stem)
    return layers.setdefault((expert, flat), _Layer(expert, name, prefix, stem))


def _place(stem: str) -> tuple[str, str, str, str]:
    """(expert, name with "_" for ".", name, prefix) of what stands before a key's end."""
    name, expert = stem, ""
    while True:
        begin = next((p for p in (*_PREFIXES, *EXPERTS) if name.startswith(p)), None)
        if begin is None:
            break
        name, expert = name[len(begin) :], EXPERTS.get(begin, expert)
    prefix = stem[: len(stem) - len(name)]
    name = name.replace(".processor.", ".")  # older diffusers kept a LoRA in the attention's processor
    name = re.sub(r"\.to_out$", ".to_out.0", name)
    return expert, name.replace(".", "_"), name, prefix


def _alpha(file: SafetensorsFile, one: _Layer) -> float | None:
    return None if one.alpha is None else alpha_of(file.name, one.alpha, file.tensors[one.alpha])


def _pair(file: SafetensorsFile, one: _Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """A [R, in] and B [out, R] of a layer, checked, float32."""
    if len(one.halves) < 2:
        (half, key) = next(iter(one.halves.items()))
        other = "B (up)" if half == "A" else "A (down)"
        raise ValueError(f"LoRA: {file.name} has {key}, but no factor {other} of that layer; the file is broken")
    down, up = (_matrix(file, one.halves[half]) for half in "AB")
    if down.shape[0] != up.shape[1] or not 1 <= down.shape[0] <= MOST_RANK:
        raise ValueError(
            f"LoRA: {file.name} has {tuple(down.shape)} in {one.halves['A']} and {tuple(up.shape)} in "
            f"{one.halves['B']}, which do not fit each other: [R, in] and [out, R] are needed, R from 1 to {MOST_RANK}"
        )
    return down, up


def _matrix(file: SafetensorsFile, key: str) -> torch.Tensor:
    tensor = file.tensors[key]
    _require_numbers(file.name, key, tensor)
    if tensor.ndim > 2 and all(side == 1 for side in tensor.shape[2:]):  # kohya writes some layers as 1x1 convolutions
        tensor = tensor.flatten(1)
    if tensor.ndim != 2:
        what = "is of a convolution" if tensor.ndim > 2 else "is no matrix"
        raise ValueError(f"LoRA: {file.name}: {key} {what}, {tuple(tensor.shape)}; train a LoRA of linear layers alone")
    return tensor.float()


def _require_numbers(file: str, key: str, tensor: torch.Tensor) -> None:
    if not tensor.is_floating_point():
        raise ValueError(f"LoRA: {file} has {tensor.dtype} in {key}, allowed are floating-point numbers")
    if not bool(tensor.float().isfinite().all()):
        raise ValueError(f"LoRA: {file} has NaN or infinity in {key}; its training went wrong, or the copy is damaged")
