"""LoRAs that others trained, as subjects: ordinary peft/diffusers or kohya files for the same base.

They know no special token but trigger words, e.g. "sks cup".  So a token is made whose vectors are the
base's own for those words: a prompt with the token means what one with the words would.

Key names read, before a layer's own name and after:

* peft and diffusers: ``unet.`` or ``base_model.model.`` or nothing; ``.lora_A.weight``, ``.lora_B.weight``,
  also ``.lora.down.weight`` and ``.lora.up.weight``;
* kohya: ``lora_unet_`` and the name with "_" for "."; ``.lora_down.weight``, ``.lora_up.weight``, ``.alpha``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ..model.backbone import Backbone
from ..model.fingerprint import fingerprint
from ..model.lora_weights import LoraWeights
from ..model.text import SpecialToken
from .lora_file import LoraModel

_DOWN = (".lora_A.weight", ".lora.down.weight", ".lora_down.weight", ".lora_A.default.weight")
_UP = (".lora_B.weight", ".lora.up.weight", ".lora_up.weight", ".lora_B.default.weight")
_PREFIXES = ("unet.", "base_model.model.", "lora_unet_")
_TEXT = ("text_encoder.", "lora_te")


def load_external_lora(backbone: Backbone, path: Path, trigger: str, superclass: str) -> LoraModel:
    """An ordinary LoRA as a subject.

    Args:
        backbone: the base it is for.
        path: a safetensors file.
        trigger: the words that call the subject, e.g. "sks cup".
        superclass: the kind of thing it is, e.g. "cup".

    Raises:
        FileNotFoundError: no such file.
        ValueError: no LoRA, one for another base, one of convolutions, or one that changes the text encoder.
    """
    tensors = _read(path)
    if any(key.startswith(_TEXT) for key in tensors):
        raise ValueError(
            f"LoRA: {path.name} changes the text encoder too, which cannot be fused; train it again without, or use "
            "a LoRA of the U-Net alone"
        )
    if any("dora_scale" in key or "lora_magnitude_vector" in key for key in tensors):
        raise ValueError(f"LoRA: {path.name} is a DoRA, which cannot be averaged with others; train an ordinary LoRA")
    layers = _layers(backbone, tensors, path.name, _peft_alpha(path))
    name = f"<{re.sub(r'[^A-Za-z0-9_-]+', '_', trigger.strip()).strip('_')}>"
    vectors = backbone.initial_vectors(trigger, len(backbone.word_spans(trigger, trigger)[0].positions)).cpu()
    token = SpecialToken(name, vectors, superclass)
    about = {"trigger": trigger, "from": "an ordinary LoRA"}
    return LoraModel("subject", LoraWeights(layers), (token,), backbone.name, fingerprint(backbone.network), about)


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"LoRA: {path} is not there; give a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise ValueError(f"LoRA: {path.name} is not a whole safetensors file ({error}); copy it again") from error


def _peft_alpha(path: Path) -> float | None:
    """What peft writes beside its file; kohya's alphas are in the file itself."""
    config = path.parent / "adapter_config.json"
    if not config.is_file():
        return None
    alpha = json.loads(config.read_text(encoding="utf-8")).get("lora_alpha")
    return float(alpha) if isinstance(alpha, int | float) else None


def _layers(
    backbone: Backbone, tensors: dict[str, torch.Tensor], file: str, alpha_of_all: float | None
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The factors by the base's layer names, alpha / R multiplied into B."""
    known = {_flat(target.module): target.module for target in backbone.targets("spatial")}
    layers, strangers = {}, []
    for key in tensors:
        end = next((end for end in _DOWN if key.endswith(end)), None)
        if end is None:
            continue
        stem = key[: -len(end)]
        module = known.get(_flat(stem))
        if module is None:
            strangers.append(stem)
            continue
        other = stem + _UP[_DOWN.index(end)]
        if other not in tensors:
            raise ValueError(f"LoRA: {file} has {key} but not {other}; the file is broken")
        down, up = tensors[key].float(), tensors[other].float()
        if down.ndim == 4:  # a 1x1 convolution's, as kohya writes those of proj_in and proj_out
            down, up = down.flatten(1), up.flatten(1)
        alpha = float(tensors.get(f"{stem}.alpha", torch.tensor(alpha_of_all or float(down.shape[0]))))
        layers[module] = (down, up * (alpha / down.shape[0]))
    if not layers or strangers:
        what = f"{len(strangers)} of its layers, e.g. {strangers[0]!r}," if strangers else "none of its keys"
        verb = "are" if strangers else "is"
        raise ValueError(
            f"LoRA: {file} does not fit {backbone.name!r}: {what} {verb} no LoRA of one of its spatial transformers; "
            "only such a LoRA can be a subject"
        )
    return layers


def _flat(name: str) -> str:
    """A layer's name however it is written."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.replace(".", "_")
