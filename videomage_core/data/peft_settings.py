"""peft's settings of a LoRA, as JSON that may come from anyone: checked, and the scale of each layer by them.

The scale is lora_alpha / r, or lora_alpha / sqrt(r) with ``use_rslora`` (Kalajdzievski 2023); ``alpha_pattern`` and
``rank_pattern`` give single layers numbers of their own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .safetensors_file import short

MOST_JSON, _MOST_PATTERNS, _MOST_QUANTIFIERS = 4_000_000, 5000, 3
# Starts that change the base's weights, so that the LoRA does not fit the plain base.
_OTHER_BASE = ("pissa", "olora", "corda")


@dataclass(frozen=True)
class Factors:
    """One layer of a file, before its scale is known.

    Attributes:
        layer: its name without prefixes, as the file writes it.
        prefix: what stood before it, e.g. "unet.".
        rank: R.
        peft_names: whether its keys are lora_A and lora_B, not lora_down and lora_up.
        alpha: of its ``.alpha`` tensor; None without one.
    """

    layer: str
    prefix: str
    rank: int
    peft_names: bool
    alpha: float | None


@dataclass(frozen=True)
class Said:
    """A scale, and where it stands, in words."""

    scale: float
    place: str


@dataclass(frozen=True)
class PeftSettings:
    """What peft's JSON says of scales, checked; ``place`` names where it stands."""

    place: str
    rank: float
    alpha: float
    rank_pattern: dict[str, float]
    alpha_pattern: dict[str, float]
    rslora: bool

    def scale(self, file: str, factors: Factors) -> Said:
        """ValueError if its rank is not that of the tensors."""
        rank = _by_pattern(self.rank_pattern, factors.layer, self.rank)
        if rank != factors.rank:
            raise ValueError(
                f"LoRA: {file} contradicts itself about the rank of {factors.layer!r}: {rank:g} by {self.place}, "
                f"{factors.rank} by its tensors; its parts are not of one training"
            )
        alpha = _by_pattern(self.alpha_pattern, factors.layer, self.alpha)
        root = "sqrt " if self.rslora else ""
        scale = alpha / (math.sqrt(rank) if self.rslora else rank)
        return Said(scale, f"{self.place} (alpha {alpha:g} / {root}{rank:g})")


def parsed(what: str, text: str) -> dict[str, Any]:
    """A JSON object; ValueError for anything else, with what it is."""
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"LoRA: {what} is no JSON ({str(error)[:200]}); copy it again") from error
    if not isinstance(about, dict):
        raise ValueError(f"LoRA: {what} is a {type(about).__name__}, not the settings that peft writes")
    return about


def settings_of(file: str, place: str, about: Mapping[str, Any]) -> PeftSettings:
    """Settings out of JSON.

    Raises:
        ValueError: they are of another method, of a LoRA that does not fit the plain base, or no numbers.
    """
    kind = about.get("peft_type", "LORA")
    if str(kind).rpartition(".")[2].upper() != "LORA":
        raise ValueError(f"LoRA: {file} is a {short(kind)} by {place}, not a LoRA; train an ordinary LoRA")
    if about.get("use_dora"):
        raise ValueError(f"LoRA: {file} is a DoRA by {place}, which cannot be averaged; train an ordinary LoRA")
    start = str(about.get("init_lora_weights", "")).lower()
    if start.startswith(_OTHER_BASE):
        raise ValueError(
            f"LoRA: {file} began with {start} by {place}, which changes the base's own weights; convert it with "
            "peft's path_initial_model_for_weight_conversion"
        )
    numbers = {entry: _positive(file, place, entry, about.get(entry)) for entry in ("r", "lora_alpha")}
    patterns = {entry: _patterns(file, place, entry, about.get(entry)) for entry in ("rank_pattern", "alpha_pattern")}
    return PeftSettings(
        place, numbers["r"], numbers["lora_alpha"], patterns["rank_pattern"], patterns["alpha_pattern"],
        bool(about.get("use_rslora", False)),
    )  # fmt: skip


def _positive(file: str, place: str, entry: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError(f"LoRA: {file} has {short(value)} for {entry} in {place}, allowed is a number above 0")
    return float(value)


def _patterns(file: str, place: str, entry: str, value: Any) -> dict[str, float]:
    """Patterns come from strangers, and some regular expressions take for ever: few quantifiers, none of a group."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _MOST_PATTERNS:
        raise ValueError(f"LoRA: {file} has {short(value)} for {entry} in {place}, allowed are names with numbers")
    for pattern in value:
        quantifiers = len(re.findall(r"[*+{?]", pattern))
        try:
            if len(pattern) > 400 or quantifiers > _MOST_QUANTIFIERS or re.search(r"\)[*+{?]", pattern):
                raise re.error("too long or too nested")
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"LoRA: {file} has the pattern {short(pattern)} in {place}: {error}") from error
    return {pattern: _positive(file, place, entry, number) for pattern, number in value.items()}


def _by_pattern(patterns: Mapping[str, float], layer: str, usual: float) -> float:
    """As peft: the first pattern that matches the end of a layer's name, from a dot on."""
    for pattern, value in patterns.items():
        if layer == pattern or layer.endswith(f".{pattern}"):
            return value
        if re.search(r"[^\w.]", pattern) and re.match(rf"(.*\.)?({pattern})$", layer):
            return value
    return usual
