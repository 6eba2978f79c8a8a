"""A training's checkpoint: written whole or not at all, and known by what it was trained on."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..atomic_write import partial_file
from ..folders import files_in
from ..history import History
from ..model.fingerprint import Fingerprint
from .optimizer import ParameterGroup

CHECKPOINT = "checkpoint.pt"
_KEYS = {"identity", "base", "step", "parameters", "optimizer", "history"}


def _set_aside(path: Path) -> dict[int, Path]:
    """The longer trainings' checkpoints beside ``path``, by their step; other files of such names are a user's."""
    matches = {
        other: re.fullmatch(rf"{re.escape(path.stem)}-(\d+)", other.stem)
        for other in files_in(path.parent, (path.suffix,))
    }
    return {int(match[1]): other for other, match in matches.items() if match}


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint beside ``path``, then rename it over; on any error the old one stays.

    Raises:
        OSError: the disk is full or the folder cannot be written; says which checkpoint is kept.
    """
    partial = partial_file(path)
    try:
        with open(partial, "wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
        partial.unlink(missing_ok=True)
        remaining = f"the checkpoint before it is kept in {path}" if path.is_file() else "there is none before it"
        raise OSError(f"the checkpoint of step {state['step']} could not be written ({error}); {remaining}") from error


def latest_checkpoint(path: Path, owner: Mapping[str, Any], steps: int) -> dict[str, Any] | None:
    """The checkpoint with most steps, but no more than ``steps``; one at ``path`` that has more is set aside.

    Args:
        path: of the checkpoint.
        owner: the training's key as "identity", and the fingerprint of its "base".
        steps: asked for.

    Raises:
        ValueError: another training's checkpoint, one that is damaged, or of another version; says what to do.
    """
    found = _read(path)
    if found is not None:
        if not _belongs(found, owner):
            raise ValueError(
                f"folder: {path.parent} holds the checkpoint of another training (other data, settings or base, or of "
                "another version of VideoMage); choose another folder, or delete it to start again"
            )
        if found["step"] > steps:
            with contextlib.suppress(FileNotFoundError):  # another process of the same training was first
                os.replace(path, path.with_stem(f"{path.stem}-{found['step']}"))
            found = None
    aside = _set_aside(path)
    for step in sorted((step for step in aside if step <= steps), reverse=True):
        if found is not None and found["step"] >= step:
            break
        state = _read(aside[step])
        # One of another owner was left behind by a training whose own checkpoint was deleted.
        if state is not None and _belongs(state, owner):
            return state
    return found


def _read(path: Path) -> dict[str, Any] | None:
    """None if there is no such file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"folder: {path} cannot be read ({why}); delete it to start again, or restore a copy of it"
        ) from error
    if not isinstance(state, dict) or not state.keys() >= _KEYS:
        raise ValueError(
            f"folder: {path} was written by another version of VideoMage and cannot be resumed; finish the training "
            "with that version, choose another folder, or delete the file to start again"
        )
    return state


def _belongs(state: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of this training: of the same inputs and settings, on the same base."""
    if state["identity"] != owner["identity"] or (state["base"] is None) != (owner["base"] is None):
        return False
    if owner["base"] is None:
        return True
    theirs, ours = (Fingerprint(base[0], tuple(base[1:])) for base in (state["base"], owner["base"]))
    return theirs.matches(ours)


def state_of(
    groups: Sequence[ParameterGroup], optimizer: Any, history: History, done: int, owner: Mapping[str, Any]
) -> dict[str, Any]:
    """What a checkpoint holds."""
    return {
        **owner,
        "step": done,
        "parameters": {g.name: {n: p.detach().cpu() for n, p in g.parameters.items()} for g in groups},
        "optimizer": optimizer.state_dict(),
        "history": asdict(history),
    }


def restore(
    path: Path, groups: Sequence[ParameterGroup], optimizer: Any, owner: Mapping[str, Any], steps: int
) -> History:
    """Bring parameters and optimiser to where the furthest fitting checkpoint stopped; the history up to there.

    Raises:
        ValueError: see ``latest_checkpoint``; a checkpoint of other weights.
    """
    state = latest_checkpoint(path, owner, steps)
    if state is None:
        return History()
    stored, trained = state["parameters"], {group.name: set(group.parameters) for group in groups}
    if {group: set(stored[group]) for group in stored} != trained:
        raise ValueError(
            f"folder: {path} was written by another version of VideoMage, which trained other weights; finish the "
            "training with that version, choose another folder, or delete the file to start again"
        )
    with torch.no_grad():
        for group in groups:
            for name, parameter in group.parameters.items():
                parameter.copy_(state["parameters"][group.name][name])
    optimizer.load_state_dict(_in_order(state["optimizer"], stored, groups))
    history = state["history"]
    return History(history["losses"], history["seconds"], resumed_at=state["step"])


def _in_order(
    optimizer: Mapping[str, Any], stored: Mapping[str, Mapping[str, torch.Tensor]], groups: Sequence[ParameterGroup]
) -> dict[str, Any]:
    """A kept optimiser's state, which goes by the number of a parameter, renumbered from its order to the groups'."""
    numbers = {key: number for number, key in enumerate((group, name) for group in stored for name in stored[group])}
    moved = enumerate(numbers[group.name, name] for group in groups for name in group.parameters)
    return {
        **optimizer,
        "state": {new: optimizer["state"][old] for new, old in moved if old in optimizer["state"]},
    }
