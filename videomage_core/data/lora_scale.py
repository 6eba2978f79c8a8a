"""The scale of a LoRA that others trained: every place where one can stand is read, and none is guessed.

A LoRA adds scale * B A.  Where the scale stands depends on who wrote the file:

* tensors ``<layer>.alpha`` (kohya, musubi, LyCORIS, OneTrainer, ComfyUI's SaveLoRA): alpha / R;
* the header's ``lora_adapter_metadata`` (diffusers): peft's settings as JSON, under ``unet.`` or ``transformer.``;
* ``adapter_config.json`` beside ``adapter_model.safetensors``, and nowhere else (peft, diffusion-pipe);
* the header's ``ss_network_alpha`` and ``ss_network_dim`` (kohya, musubi), or a plain ``lora_alpha``;
* nowhere (ai-toolkit, lightx2v, older diffusers scripts): alpha = R, by all who read and write such files.

peft's settings are alpha / R, or alpha / sqrt(R) with ``use_rslora``, each layer by ``alpha_pattern`` and
``rank_pattern``.  Two places that differ are an error; so is a file that lacks what its
writer always writes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ..text_files import read_json_object
from .peft_settings import MOST_JSON, Factors, PeftSettings, Said, parsed, settings_of
from .safetensors_file import SafetensorsFile, short

PEFT_NAMES, PEFT_CONFIG = "adapter_model", "adapter_config.json"
_HEADER = "lora_adapter_metadata"
_NEAR = 0.01  # relative: alphas are often stored in half precision
_PARTS = ("unet", "transformer_2", "transformer")


def alpha_of(file: str, key: str, tensor: torch.Tensor) -> float:
    """The number in an ``.alpha`` tensor; ValueError if it holds none that can be a scale."""
    value = float(tensor.float()) if tensor.numel() == 1 else math.nan
    if not (math.isfinite(value) and value > 0):
        got = f"{value:g}" if tensor.numel() == 1 else f"{tensor.numel()} numbers"
        raise ValueError(f"LoRA: {file} has {got} in {key}, allowed is one number above 0; the file is broken")
    return value


def scales(file: SafetensorsFile, path: Path, all_factors: Iterable[Factors]) -> tuple[list[float], str]:
    """The scale of each layer, and a line that says where it was read.

    Raises:
        ValueError: two places differ, one is broken, or the writer's usual place is missing.
    """
    factors = list(all_factors)
    settings = [*_of_header(file), *_of_folder(path)]
    missing = [f.layer for f in factors if f.alpha is None]
    if missing and len(missing) < len(factors):
        raise ValueError(f"LoRA: {file.name} has no .alpha for {missing[0]!r}, but has it for others; it is broken")
    chosen = [_chosen(file, one, _said(file, one, settings)) for one in factors]
    return [said.scale for said in chosen], _line(chosen)


def _line(chosen: list[Said]) -> str:
    low, high = min(s.scale for s in chosen), max(s.scale for s in chosen)
    span = f"{low:.4g}" if high - low <= _NEAR * high else f"{low:.4g} to {high:.4g}"
    places = list(dict.fromkeys(re.sub(r" \(.*\)$", "", said.place) for said in chosen))
    one = chosen[0].place if len({said.place for said in chosen}) == 1 else " and ".join(places)
    return f"scale {span} from {one}"


def _said(file: SafetensorsFile, factors: Factors, settings: list[tuple[str, PeftSettings]]) -> list[Said]:
    """What every place says of one layer."""
    said = []
    if factors.alpha is not None:
        said.append(Said(factors.alpha / factors.rank, f"its .alpha tensor (alpha {factors.alpha:g} / {factors.rank})"))
    own = _part_of(factors.prefix)
    meant = [one for part, one in settings if own == "" or part in ("", own)]
    if settings and not meant:
        raise ValueError(
            f"LoRA: {file.name} contradicts itself: its header's {_HEADER} is for {settings[0][0]!r}, the layer "
            f"{factors.layer!r} is of {own!r}; export it again"
        )
    said += [one.scale(file.name, factors) for one in meant]
    named = [_of_kohya(file, factors), _of_plain(file, factors)]
    return said + [one for one in named if one is not None]


def _chosen(file: SafetensorsFile, factors: Factors, said: list[Said]) -> Said:
    for one in said[1:]:
        if abs(one.scale - said[0].scale) > _NEAR * abs(said[0].scale):
            raise ValueError(
                f"LoRA: {file.name} contradicts itself about the scale of {factors.layer!r}: {said[0].scale:.4g} by "
                f"{said[0].place}, {one.scale:.4g} by {one.place}; export it again with the program that trained it"
            )
    if said:
        return said[0]
    if "base_model.model." in factors.prefix:
        raise ValueError(
            f"LoRA: {file.name} is a file of peft, whose scale is in {PEFT_CONFIG}; put that beside it and keep the "
            f"file's own name, {PEFT_NAMES}.safetensors"
        )
    return Said(1.0, "no entry of the file, which means alpha = rank")


# --- peft's settings: diffusers' header and adapter_config.json


def _part_of(prefix: str) -> str:
    part = next((part for part in _PARTS if part + "." in prefix), "")
    return "transformer" if part == "" and "diffusion_model." in prefix else part


def _of_header(file: SafetensorsFile) -> list[tuple[str, PeftSettings]]:
    """Settings by the part of the model they are for; "" for all."""
    if _HEADER not in file.metadata:
        return []
    place = f"the header's {_HEADER}"
    about = parsed(f"{place} of {file.name}", file.metadata[_HEADER])
    by_part: dict[str, dict[str, Any]] = {}
    for key, value in about.items():
        part, _, entry = key.partition(".")
        known = bool(entry) and (part in _PARTS or part.startswith("text_encoder"))
        by_part.setdefault(part if known else "", {})[entry if known else key] = value
    parts = {part: entries for part, entries in by_part.items() if not part.startswith("text_encoder")}
    return [(part, settings_of(file.name, place, entries)) for part, entries in parts.items()]


def _of_folder(path: Path) -> list[tuple[str, PeftSettings]]:
    config = path.parent / PEFT_CONFIG
    if path.stem != PEFT_NAMES or not config.is_file():
        return []
    try:
        if config.stat().st_size > MOST_JSON:
            raise ValueError(f"LoRA: {PEFT_CONFIG} beside {path.name} is larger than {MOST_JSON} bytes")
        about = read_json_object(config, "LoRA")
    except OSError as error:
        raise ValueError(f"LoRA: {PEFT_CONFIG} beside {path.name} cannot be read ({error})") from error
    return [("", settings_of(path.name, f"{PEFT_CONFIG} beside it", about))]


# --- numbers in the header


def _number(file: SafetensorsFile, entry: str) -> float | None:
    """A number of the header; None where it is not said.  ValueError for one that can be no alpha and no rank.

    kohya takes an alpha of 0 for the rank, as if none were said.
    """
    text = file.metadata.get(entry, "").strip()
    if text in ("", "None", "null", "Dynamic"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if value == 0 and entry == "ss_network_alpha":
        return None
    if not (math.isfinite(value) and value > 0):
        raise ValueError(
            f"LoRA: {file.name} has {short(text)} for {entry} in its header, allowed is a number above 0; export it "
            "again"
        )
    return value


def _of_kohya(file: SafetensorsFile, factors: Factors) -> Said | None:
    """``ss_network_alpha``; "None" and "Dynamic" mean that it differs, and stands in ``.alpha`` alone."""
    alpha, dim = (_number(file, f"ss_network_{entry}") for entry in ("alpha", "dim"))
    if alpha is None or dim is None:
        return None
    place = f"the header's ss_network_alpha (alpha {alpha:g} / {dim:g})"
    if factors.alpha is None and factors.peft_names:
        # musubi's and kohya's converters write lora_A and lora_B with the scale in them, and keep the header.
        if alpha == dim:
            return Said(1.0, place)
        if file.metadata.get("ss_network_module", "").startswith("networks."):
            return Said(1.0, f"its key names: the converter multiplied alpha {alpha:g} / {dim:g} into the factors")
        raise ValueError(
            f"LoRA: {file.name} says ss_network_alpha {alpha:g} and ss_network_dim {dim:g} beside keys that have the "
            "scale multiplied in; which holds cannot be known, export it again"
        )
    if dim != factors.rank:
        if factors.alpha is None:
            raise ValueError(
                f"LoRA: {file.name} contradicts itself about the rank of {factors.layer!r}: {dim:g} by the header's "
                f"ss_network_dim, {factors.rank} by its tensors, and has no .alpha; export it again"
            )
        return None  # ranks differ from layer to layer, and the header knows one
    if factors.alpha is not None and re.search(r"alpha|rs_lora", file.metadata.get("ss_network_args", "")):
        return None  # alphas of their own for some layers
    return Said(alpha / dim, place)


def _of_plain(file: SafetensorsFile, factors: Factors) -> Said | None:
    """A number under a plain name, as smaller trainers write it."""
    for name in ("lora_alpha", "network_alpha", "alpha"):
        alpha = _number(file, name)
        if alpha is not None:
            rslora = file.metadata.get("use_rslora", "").lower() in ("true", "1")
            rank = math.sqrt(factors.rank) if rslora else factors.rank
            return Said(alpha / rank, f"the header's {name} (alpha {alpha:g} / {rank:g})")
    return None
