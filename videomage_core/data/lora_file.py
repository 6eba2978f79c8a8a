"""The LoRA file: one safetensors file is one LoRA to share, a subject, a motion or a fusion.

Tensors: ``unet.<module>.lora_A.weight`` [R, in] and ``.lora_B.weight`` [out, R], the names of diffusers (which
cannot load them on a stock UNet3DConditionModel: ``into_diffusers``); of a Wan ``diffusion_model.<layer>...``, which
ComfyUI's Load LoRA reads (``lora_layout``); learned token vectors as ``lora_emb.<name>``
[k, D] (stock loaders refuse a file with any key that lacks "lora", and pass over those that do not begin with
"unet.").  The scale alpha / R is multiplied into B, so that every loader, whatever it takes
alpha to be, gets it right.

Metadata: one JSON text under "videomage", parsed and never evaluated, and beside it what LoRA managers
read (``model_spec``).  It holds no path, no training image, and prompts only if the user wants them in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..model import lora
from ..model.backbone import Backbone
from ..model.fingerprint import Fingerprint, fingerprint
from ..model.lora_weights import LoraWeights
from ..model.text import SpecialToken
from .cutmix import Cutout
from .lora_layout import layout_of_keys, layout_of_modules
from .lora_metadata import FORMAT, MOST_RANK, Kind, damaged, image_to_text, read_metadata, shortened
from .model_spec import manager_header
from .safetensors_file import opened, read_safetensors, write_safetensors

_EMBEDDING = "lora_emb."


@dataclass(frozen=True)
class LoraModel:
    """The contents of a LoRA file.

    Attributes:
        kind: "subject", "motion" or "fusion".
        weights: the LoRA.
        tokens: its special tokens with their learned vectors; none for a motion.
        base: the name of the base it was trained on.
        fingerprint: the base's fingerprint.
        details: settings, steps, versions and, optionally, prompts: JSON values.
        thumbnail: a generated sample, at most 128 pixels a side.
        cutouts: cut-outs of the subject from the user's clips, for fusion (``add_cutout``); not saved to files.
    """

    kind: Kind
    weights: LoraWeights
    tokens: tuple[SpecialToken, ...]
    base: str
    fingerprint: Fingerprint
    details: dict[str, Any] = field(default_factory=dict)
    thumbnail: Image.Image | None = None
    cutouts: tuple[Cutout, ...] = ()

    def key_parts(self) -> list[object]:
        """All that a result depends on that is made with it, for ``cache_key``."""
        layers = sorted(self.weights.layers)  # a file does not keep their order
        factors = [factor for name in layers for factor in self.weights.layers[name]]
        tokens = [part for token in self.tokens for part in (token.name, token.superclass, token.vectors)]
        cut = [part for cutout in self.cutouts for part in (cutout.pixels, cutout.mask)]
        return [self.kind, self.fingerprint, self.weights.scale, *layers, *factors, *tokens, *cut]


@dataclass(frozen=True)
class LoraHeader:
    """What a LoRA file tells of itself in its header.

    Attributes:
        kind: "subject", "motion" or "fusion".
        base: the name of the base it was trained on.
        fingerprint: the base's fingerprint.
        tokens: its special tokens' names, each with its superclass.
        rank: of the LoRA.
        thumbnail: a generated sample.
    """

    kind: Kind
    base: str
    fingerprint: Fingerprint
    tokens: tuple[tuple[str, str], ...]
    rank: int
    thumbnail: Image.Image | None


def save_lora(path: Path, lora_model: LoraModel) -> None:
    """Write a LoRA file atomically.

    Raises:
        OSError: the disk is full or the folder is not writable; an existing file is kept.
    """
    tensors, layout = {}, layout_of_modules(lora_model.weights.layers)
    for module, (a, b) in lora_model.weights.layers.items():
        key_a, key_b = layout.keys(module)
        tensors[key_a], tensors[key_b] = a.contiguous(), (b * lora_model.weights.scale).contiguous()
    for token in lora_model.tokens:
        tensors[_EMBEDDING + token.name.strip("<>")] = token.vectors.detach().float().cpu().contiguous()
    about = {
        "format": FORMAT,
        "kind": lora_model.kind,
        "base": lora_model.base,
        "fingerprint": {"architecture": lora_model.fingerprint.architecture, "weights": lora_model.fingerprint.weights},
        "rank": lora_model.weights.rank,
        "tokens": [{"name": t.name, "superclass": t.superclass} for t in lora_model.tokens],
        "details": lora_model.details,
        "thumbnail": image_to_text(lora_model.thumbnail),
    }
    write_safetensors(
        path, tensors, {"format": "pt", **_for_managers(path.stem, lora_model), "videomage": json.dumps(about)}
    )


def _for_managers(title: str, lora_model: LoraModel) -> dict[str, str]:
    """What LoRA managers show, beside our own text."""
    settings = lora_model.details.get("settings", {})
    sides = [settings.get(side) for side in ("width", "height")] if isinstance(settings, dict) else [None]
    trigger = lora_model.details.get("trigger")
    named = ", ".join(f"{token.name} (a {token.superclass})" for token in lora_model.tokens)
    return manager_header(
        title,
        layout_of_modules(lora_model.weights.layers).architecture,
        lora_model.base,
        {trigger: 1} if isinstance(trigger, str) else {token.name: 1 for token in lora_model.tokens},
        [a.shape[0] for a, _ in lora_model.weights.layers.values()],
        f"A {lora_model.kind} by VideoMage{': ' + named if named else ''}.",
        "x".join(map(str, sides)) if all(isinstance(side, int) for side in sides) else "",
        image_to_text(lora_model.thumbnail),
    )


def load_lora(path: Path) -> LoraModel:
    """Read a LoRA file with its tokens.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a complete safetensors file, or not one by VideoMage.
    """
    file = read_safetensors(path)
    tensors, about = file.tensors, read_metadata(file.metadata, path.name)
    weights = _weights(tensors, path.name)
    tokens = []
    for name, superclass in about.tokens:
        vectors = tensors.get(_EMBEDDING + name.strip("<>"))
        if vectors is None or not vectors.is_floating_point() or not bool(vectors.float().isfinite().all()):
            raise ValueError(damaged(path.name, f"has no vectors of finite numbers for {name}"))
        try:
            tokens.append(SpecialToken(name, vectors, superclass))
        except ValueError as error:
            raise ValueError(damaged(path.name, f"has a token that cannot be: {error}")) from error
    return LoraModel(
        about.kind, weights, tuple(tokens), about.base, about.fingerprint, about.details, about.thumbnail
    )  # fmt: skip


def read_header(path: Path) -> LoraHeader:
    """Read a file's header alone, however large its weights are; errors as ``load_lora``."""
    with opened(path) as file:
        metadata, keys = file.metadata() or {}, list(file.keys())
    about = read_metadata(metadata, path.name)
    if not layout_of_keys(keys).modules(keys):
        raise ValueError(damaged(path.name, "holds no layers"))
    return LoraHeader(about.kind, about.base, about.fingerprint, about.tokens, about.rank, about.thumbnail)


def _weights(tensors: dict[str, torch.Tensor], name: str) -> LoraWeights:
    layout, layers = layout_of_keys(tensors), {}
    for module in layout.modules(tensors):
        a, b = (tensors.get(key) for key in layout.keys(module))
        if a is None or b is None:
            raise ValueError(damaged(name, f"lacks a half of the layer {shortened(module)}"))
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1] or not 1 <= a.shape[0] <= MOST_RANK:
            raise ValueError(damaged(name, f"has {tuple(a.shape)} and {tuple(b.shape)} for {shortened(module)}"))
        if not all(t.is_floating_point() and bool(t.float().isfinite().all()) for t in (a, b)):
            raise ValueError(damaged(name, f"has no finite numbers for {shortened(module)}"))
        layers[module] = (a.float(), b.float())
    if not layers:
        raise ValueError(damaged(name, "holds no layers"))
    return LoraWeights(layers)


def require_base(lora_model: LoraModel, base: str, base_fingerprint: Fingerprint) -> None:
    """Raise ValueError if the LoRA was trained on another base, naming the one it wants."""
    if not lora_model.fingerprint.matches(base_fingerprint):
        raise ValueError(
            f"LoRA: this {lora_model.kind} was trained on the base {lora_model.base!r} and does not fit {base!r}; "
            f"load {lora_model.base!r}, or train it again on this one"
        )


def collect_tokens(lora_models: Sequence[LoraModel]) -> list[SpecialToken]:
    """All tokens of several LoRAs.

    Raises:
        ValueError: two have the same name; says how to rename one.
    """
    tokens = [token for lora_model in lora_models for token in lora_model.tokens]
    names = [token.name.lower() for token in tokens]
    clashes = sorted({name for name in names if names.count(name) > 1})
    if clashes:
        raise ValueError(
            f"tokens: {', '.join(clashes)} is in more than one of these LoRAs; rename it in one: "
            f"'{clashes[0]}={clashes[0][:-1]}_2>' as 'rename' in Load VideoMage LoRA, or "
            f"python -m videomage_core rename FILE '{clashes[0]}' '{clashes[0][:-1]}_2>'"
        )
    return tokens


@contextmanager
def apply_loras(backbone: Backbone, lora_models: Sequence[tuple[LoraModel, float]]) -> Iterator[list[SpecialToken]]:
    """Inside, the base carries these LoRAs, all acting at their strengths; afterwards it is as it was.

    Yields:
        Their special tokens, for prompts.

    Raises:
        ValueError: a LoRA for another base, or two with the same token.
    """
    tokens = collect_tokens([lora_model for lora_model, _ in lora_models])
    with lora.restore_adapters(backbone):
        if not lora.names(backbone):
            base_fingerprint = fingerprint(backbone.network)
            for lora_model, _ in lora_models:
                require_base(lora_model, backbone.name, base_fingerprint)
        strengths = {}
        for index, (lora_model, strength) in enumerate(lora_models):
            name = f"{lora_model.kind}_{index}"
            lora.load(backbone, name, lora_model.weights)
            strengths[name] = strength
        with lora.use_adapters(backbone, strengths):
            yield tokens


def describe(lora_model: LoraModel) -> str:
    """What a LoRA file holds, in lines for people."""
    lines = [f"kind: {lora_model.kind}", f"base: {lora_model.base}"]
    lines += [f"token: {t.name}, a {t.superclass}, {len(t.vectors)} vector(s)" for t in lora_model.tokens]
    lines.append(f"LoRA: rank {lora_model.weights.rank} on {len(lora_model.weights.layers)} layers")
    settings = lora_model.details.get("settings", {})
    lines += [f"  {name}: {value}" for name, value in settings.items()]
    versions = lora_model.details.get("versions", {})
    if versions:
        lines.append("made with " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    return "\n".join(lines)


def rename_token(lora_model: LoraModel, old: str, new: str) -> LoraModel:
    """The same LoRA with one token renamed."""
    known = [token.name for token in lora_model.tokens]
    if old.lower() not in [name.lower() for name in known]:
        raise ValueError(f"token: got {old!r}, this LoRA has {', '.join(known) or 'none'}")
    tokens = tuple(replace(t, name=new) if t.name.lower() == old.lower() else t for t in lora_model.tokens)
    renamed = replace(lora_model, tokens=tokens)
    collect_tokens([renamed])
    return renamed


def lora_path(folder: Path, name: str) -> Path:
    """``folder/name.safetensors``; ValueError for a name that leads out of the folder."""
    path = (folder / (name if name.endswith(".safetensors") else f"{name}.safetensors")).resolve()
    if not name or not path.is_relative_to(folder.resolve()):
        raise ValueError(f"name: got {name!r}, allowed is a file name, with sub-folders if you like, inside {folder}")
    return path
