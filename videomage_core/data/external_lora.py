"""LoRAs that others trained, as subjects: ordinary peft, diffusers or kohya files for the same base.

They know no special token but trigger words, e.g. "sks cup".  So a token is made whose vectors are the
base's own for those words: a prompt with the token means what one with the words would.

Which keys and scales are read: ``lora_layers`` and ``lora_scale``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..model.backbone import Backbone
from ..model.fingerprint import fingerprint
from ..model.lora_weights import LoraWeights
from ..model.text import SpecialToken
from .lora_file import LoraModel
from .lora_kinds import base_of
from .lora_layers import ExternalLora, read_external_lora
from .lora_layout import WAN, is_wan_module, layout_of_modules
from .model_spec import trigger_words
from .safetensors_file import short
from .wan_lora import wan_layer


def load_external_lora(backbone: Backbone, path: Path, trigger: str, superclass: str) -> LoraModel:
    """An ordinary LoRA as a subject.

    Args:
        backbone: the base it is for.
        path: a safetensors file.
        trigger: the words that call the subject, e.g. "sks cup".
        superclass: the kind of thing it is, e.g. "cup".

    Returns:
        The subject; ``details["scale"]`` says in a line what scale the file has, and where that stands.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no LoRA, one for another base, one of convolutions, one that changes the text encoder, one
            whose scale cannot be known; or there are no trigger words, or no superclass.
    """
    words = re.sub(r"[^A-Za-z0-9_-]+", "_", trigger.strip()).strip("_")
    if not words or not superclass.strip():
        missing = "superclass" if words else "trigger"
        raise ValueError(
            f"{missing}: got {short(superclass if words else trigger)}; a LoRA that others trained needs its trigger "
            "words, e.g. 'sks cup', and the kind of thing it is, e.g. 'cup'"
        )
    external = read_external_lora(path)
    if "videomage" in external.metadata:
        raise ValueError(
            f"LoRA: {external.name} was written by VideoMage and has tokens of its own; leave out its trigger words"
        )
    weights = LoraWeights(_on_base(backbone, external))
    vectors = backbone.initial_vectors(trigger, len(backbone.word_spans(trigger, trigger)[0].positions)).cpu()
    token = SpecialToken(f"<{words}>", vectors, superclass)
    about = {"trigger": trigger, "from": "an ordinary LoRA", "scale": external.scale}
    return LoraModel("subject", weights, (token,), backbone.name, fingerprint(backbone.network), about)


def describe_external(external: ExternalLora) -> str:
    """What an ordinary LoRA file holds, in lines for people."""
    words = trigger_words(external.metadata)
    ranks = [a.shape[0] for layers in external.layers.values() for a, _ in layers.values()]
    span = f"{min(ranks)}" if min(ranks) == max(ranks) else f"{min(ranks)} to {max(ranks)}"
    lines = ["kind: an ordinary LoRA, made by another program"]
    lines.append(f"base: {base_of(external.all_layers, external.metadata) or 'unknown'}")
    lines += [f"trigger words: {', '.join(list(words)[:10])}"] if words else []
    lines += [f"token: <{name}>, {len(vectors)} vector(s)" for name, vectors in external.vectors.items()]
    experts = f", for {' and '.join(sorted(external.layers))}" if set(external.layers) != {""} else ""
    lines.append(f"LoRA: rank {span} on {len(ranks)} layers{experts}")
    return "\n".join([*lines, external.scale])


def _on_base(backbone: Backbone, external: ExternalLora) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The factors by the base's own layer names."""
    if len(external.layers) > 1:
        raise ValueError(
            f"LoRA: {external.name} holds two experts (high and low noise, as Wan 2.2 has); {backbone.name!r} has one"
        )
    known = {module.replace(".", "_"): module for module in _subject_modules(backbone)}
    layers, strangers = {}, []
    for name, pair in next(iter(external.layers.values())).items():
        module = known.get(_own_name(name, known).replace(".", "_"))
        if module is None:
            strangers.append(name)
            continue
        _require_size(backbone, external.name, module, pair)
        layers[module] = pair
    if strangers:
        base = base_of(external.all_layers, external.metadata)
        seems = f"; it seems to be for {base}" if base else ""
        raise ValueError(
            f"LoRA: {external.name} does not fit {backbone.name!r}: {len(strangers)} of its layers, e.g. "
            f"{short(strangers[0])}, are no LoRA of one of its spatial transformers; only such a LoRA can be a "
            f"subject{seems}"
        )
    return layers


def _subject_modules(backbone: Backbone) -> list[str]:
    """The layers on which another's LoRA can be: in a Wan, which is not split by layers, all of its blocks'."""
    spatial = [target.module for target in backbone.targets("spatial")]
    if layout_of_modules(spatial) is not WAN:
        return spatial
    return [name.removesuffix(".base_layer") for name, _ in backbone.network.named_modules() if is_wan_module(name)]


def _own_name(name: str, known: Mapping[str, str]) -> str:
    """A layer's name in the engine, of any that files use."""
    original = wan_layer(name) if layout_of_modules(known.values()) is WAN else None
    return name if original is None else WAN.from_file(original)


def _require_size(backbone: Backbone, file: str, module: str, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    layer: Any = backbone.network.get_submodule(module)
    expected, got = (layer.out_features, layer.in_features), (pair[1].shape[0], pair[0].shape[1])
    if got != expected:
        raise ValueError(
            f"LoRA: {file} does not fit {backbone.name!r}: {module} is {got[0]}x{got[1]} in the file and "
            f"{expected[0]}x{expected[1]} in the base; it is for another base"
        )
