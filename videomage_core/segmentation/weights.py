"""Weights on disk: what a file or folder holds, and reading it without running anything in it."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..file_problem import file_problem
from ..folders import files_in
from ..text_files import read_json, read_json_object

ASSETS = Path(__file__).parents[1] / "assets" / "segmentation"
SUFFIXES = (".safetensors", ".pt", ".pth")
VOCABULARIES = ("vocab.txt", "tokenizer.json")
DINO, SAM2 = "GroundingDINO", "SAM 2"
# What is asked for, and where its makers have it.
EXPECTED = {
    DINO: "groundingdino_swint_ogc.pth or groundingdino_swinb_cogcoor.pth (IDEA Research publishes them with its "
    "repository GroundingDINO), or the whole folder of its grounding-dino-tiny or -base on Hugging Face; "
    "in ComfyUI they belong in models/grounding-dino",
    SAM2: "sam2.1_hiera_tiny.pt, _small, _base_plus or _large (Meta publishes them with its repository sam2), or the "
    "whole folder of its sam2.1-hiera-tiny, ... on Hugging Face; in ComfyUI they belong in models/sam2",
    "BERT": "the folder bert-base-uncased with config.json and vocab.txt (Google publishes it on Hugging Face); "
    "in ComfyUI it is models/bert-base-uncased",
}
_SIGNS = {
    "image_encoder.trunk.patch_embed.proj.weight": SAM2,
    "backbone.0.patch_embed.proj.weight": DINO,
    "image_encoder.patch_embed.proj.weight": "Segment Anything 1",
    "embeddings.word_embeddings.weight": "BERT",
}
_MODEL_TYPES = {"grounding-dino": DINO, "sam2": SAM2, "sam2_video": SAM2, "bert": "BERT"}


def folder_kind(folder: Path) -> str | None:
    """The ``model_type`` that a folder's ``config.json`` names; None where there is none."""
    try:
        read = read_json(folder / "config.json")
    except (OSError, ValueError):
        return None
    return str(read["model_type"]) if isinstance(read, dict) and "model_type" in read else None


def require_source(path: Path, kind: str) -> None:
    """Raise unless a file or a Hugging Face folder of that kind can lie at ``path``; reads no weights.

    Raises:
        FileNotFoundError: nothing is there, or a folder lacks weights or a vocabulary; says what belongs there.
        ValueError: it is of another kind.
    """
    if not path.exists():
        raise FileNotFoundError(f"{kind}: {path} does not exist; expected {EXPECTED[kind]}")
    if path.is_dir():
        there = folder_kind(path)
        if there is None:
            raise FileNotFoundError(
                f"{kind}: {path.name} has no config.json that names a model; expected {EXPECTED[kind]}"
            )
        if _MODEL_TYPES.get(there) != kind:
            raise ValueError(f"{kind}: the folder {path.name} holds {there!r}; expected {EXPECTED[kind]}")
        if kind != "BERT" and not _has_weights(path):
            raise FileNotFoundError(f"{kind}: the folder {path.name} has no weights; expected {EXPECTED[kind]}")
        if kind != SAM2 and not any((path / name).is_file() for name in VOCABULARIES):
            raise FileNotFoundError(
                f"{kind}: the folder {path.name} has no vocabulary ({' or '.join(VOCABULARIES)}); expected "
                f"{EXPECTED[kind]}"
            )
    elif path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{kind}: {path.name} is no file of weights ({', '.join(SUFFIXES)}); expected {EXPECTED[kind]}"
        )


def _has_weights(folder: Path) -> bool:
    """Whether transformers finds weights in a folder."""
    files = files_in(folder, (".safetensors", ".bin"))
    return any(file.suffix.lower() == ".safetensors" or file.name.startswith("pytorch_model") for file in files)


def read_weights(path: Path, kind: str) -> dict[str, torch.Tensor]:
    """The weights of a file by name, as its makers name them; nothing in the file is executed.

    Raises:
        ValueError: damaged, more than weights, or of another model.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            read: Any = load_file(path)
        else:
            read = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        if (problem := file_problem(path)) is not None:
            raise ValueError(f"{kind}: {path.name} {problem}; expected {EXPECTED[kind]}") from error
        raise ValueError(
            f"{kind}: {path.name} cannot be read as weights: it is damaged, or holds more than weights, which is never "
            f"executed; expected {EXPECTED[kind]}"
        ) from error
    for shell in ("model", "state_dict"):
        if isinstance(read, Mapping) and isinstance(read.get(shell), Mapping):
            read = read[shell]
    if not isinstance(read, Mapping):
        raise ValueError(f"{kind}: {path.name} holds {type(read).__name__}, no weights; expected {EXPECTED[kind]}")
    weights = {str(k).removeprefix("module."): v for k, v in read.items() if isinstance(v, torch.Tensor)}
    there = next((model for sign, model in _SIGNS.items() if sign in weights), "something else")
    if there != kind:
        raise ValueError(f"{kind}: {path.name} holds {there}; expected {EXPECTED[kind]}")
    return weights


def load_into(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], path: Path, kind: str) -> None:
    """Fill a model; what the file has besides is left out.

    Raises:
        ValueError: weights are missing or of another size: says how many, and which is the first.
    """
    own = model.state_dict()
    # Of weights that several names share, converters to safetensors keep one name.
    given = {_storage(own[name]) for name in own if name in weights}
    missing = [n for n, t in own.items() if n not in weights and _storage(t) not in given and not _is_counter(n)]
    other = [name for name in own if name in weights and weights[name].shape != own[name].shape]
    if missing or other:
        first = (missing or other)[0]
        raise ValueError(
            f"{kind}: {path.name} does not fit: {len(missing)} of {len(own)} weights are missing, {len(other)} are of "
            f"another size, the first is {first}; expected {EXPECTED[kind]}"
        )
    model.load_state_dict({name: weights[name] for name in own if name in weights}, strict=False)


def _storage(weight: torch.Tensor) -> tuple[object, ...]:
    return weight.data_ptr(), weight.shape


def load_folder(kind: Any, folder: Path, what: str) -> Any:
    """A model of transformers from a folder, in float32; transformers itself would draw at random what is missing.

    Args:
        kind: its class.
        folder: in the Hugging Face layout.
        what: for messages, one of ``EXPECTED``.

    Raises:
        ValueError: damaged, or weights are missing.
    """
    try:
        model, info = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"{what}: the folder {folder.name} cannot be loaded ({error}); expected {EXPECTED[what]}"
        ) from error
    missing = sorted(name for name in info["missing_keys"] if not _is_counter(name))
    if missing or info["mismatched_keys"]:
        raise ValueError(
            f"{what}: the weights in {folder.name} do not fit its config.json: {len(missing)} are missing, "
            f"{len(info['mismatched_keys'])} are of another size; expected {EXPECTED[what]}"
        )
    return model.float()


def load_tokenizer(folder: Path, what: str) -> Any:
    """The tokenizer of a folder in the Hugging Face layout.

    Args:
        folder: with one of ``VOCABULARIES``.
        what: for messages, one of ``EXPECTED``.

    Raises:
        ValueError: its vocabulary is damaged, or lacks what GroundingDINO's captions need.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        special = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", "."])
    except Exception as error:  # what the tokenizers' library raises is nothing more special
        raise ValueError(
            f"{what}: the vocabulary of the folder {folder.name} cannot be read ({error}); expected {EXPECTED[what]}"
        ) from error
    if None in special or tokenizer.unk_token_id in special:
        raise ValueError(
            f"{what}: the vocabulary of the folder {folder.name} lacks [CLS], [SEP] or the dot; expected "
            f"{EXPECTED[what]}"
        )
    return tokenizer


def _is_counter(name: str) -> bool:
    """Tables that a model makes itself, and that not all versions save."""
    return name.endswith(("position_ids", "token_type_ids", "relative_position_index"))


def own_sizes(path: Path) -> dict[str, Any]:
    """Sizes of a model of one's own: a JSON of the weights' name beside them; empty where there is none.

    Raises:
        ValueError: it is no JSON object.
    """
    file = path.with_suffix(".json")
    if not file.is_file():
        return {}
    return read_json_object(file, "sizes")


def known_sizes(name: str, given: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """``given``, checked: only sizes that the model has.

    Raises:
        ValueError: another name among them.
    """
    strange = sorted(set(given) - set(known))
    if strange:
        raise ValueError(f"{name}: it has {', '.join(strange)}; known are {', '.join(sorted(known))}")
    return dict(given)


def asset(name: str) -> dict[str, Any]:
    """A bundled description of published models."""
    return read_json_object(ASSETS / name)
