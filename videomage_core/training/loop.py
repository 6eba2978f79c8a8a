"""The one training loop: every stage brings parameters and a loss, everything else is here.

A step is a function of (seed, step): all its randomness comes from a generator made for it.  So a
resumed training needs no random state, only parameters, optimiser and history, and ten steps
equal five, a restart and five more, bit for bit.

Checkpoints are written beside the old one and renamed over it: a kill, a full disk or a power
cut in between leaves the old one whole.

Under a constant schedule a training may be asked for another number of steps.  More: it goes on.  Fewer
than its checkpoint has: that one is set aside as ``checkpoint-<steps>.pt`` and the training goes on from the
furthest one that is not beyond what is asked, or begins anew.  Each gives, bit for bit, what a training of so
many steps gives by itself, and a checkpoint set aside is taken up again when as many steps are asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..callbacks import Callbacks
from ..config import TrainingConfig
from ..distributed import process_group
from ..history import History
from ..locks import exclusive_lock
from ..model.fingerprint import Fingerprint
from .checkpoint import CHECKPOINT, latest_checkpoint, save_checkpoint


@dataclass(frozen=True)
class ParameterGroup:
    """What is trained together.

    Attributes:
        name: e.g. "lora" or "tokens".
        parameters: by names that stay the same from run to run.
        learning_rate: peak of the schedule.
        weight_decay: AdamW's.
    """

    name: str
    parameters: Mapping[str, torch.Tensor]
    learning_rate: float
    weight_decay: float = 0.0


class TrainingDiverged(ArithmeticError):
    """A loss or gradient became NaN or infinite; the last good checkpoint is kept."""


LossFn = Callable[[torch.Generator], Mapping[str, torch.Tensor]]


def fit(
    groups: Sequence[ParameterGroup],
    loss_fn: LossFn,
    config: TrainingConfig,
    folder: Path,
    identity: str,
    callbacks: Callbacks | None = None,
    sample_fn: Callable[[int], torch.Tensor] | None = None,
    loss_scale: float = 1.0,
    base: Fingerprint | None = None,
) -> History:
    """Train the groups' parameters in place, or go on where an earlier run stopped.

    Args:
        groups: what is trained.
        loss_fn: the terms of one forward's loss, whose sum is minimised; takes all randomness
            from the generator it is given.  Whatever adapters it needs are active around ``fit``.
        config: the loop's settings.
        folder: keeps the checkpoint.
        identity: names what is trained on what: a key of what the user gave (pictures, prompts, LoRAs), never of
            what a network made of it, which another device or precision rounds otherwise.  A checkpoint of
            another identity, or of other settings that count, is refused.
        callbacks: progress and cancel.
        sample_fn: a video [3, F, H, W] to look at, made every ``config.sample_every_n_steps`` steps.
        loss_scale: the loss is this many times larger in the backward pass, so that small gradients
            survive half precision; a power of two changes nothing else.
        base: the fingerprint of the base; a checkpoint of another base, not of another precision, is refused.

    Raises:
        Cancelled: the host stopped the run; a checkpoint was written first.
        TrainingDiverged: with the step and the likely cause.
        ValueError: the folder holds another training's checkpoint, a damaged one, or another process trains in it.
    """
    # Always in one order: a LoRA read from its file has its weights in another than one just trained, and in another
    # order sums round otherwise.
    groups = [replace(group, parameters=dict(sorted(group.parameters.items()))) for group in groups]
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder) if process_group().first else contextlib.nullcontext():
        return _fit(groups, loss_fn, config, folder, identity, callbacks or Callbacks(), sample_fn, loss_scale, base)


def _fit(
    groups: Sequence[ParameterGroup],
    loss_fn: LossFn,
    config: TrainingConfig,
    folder: Path,
    identity: str,
    callbacks: Callbacks,
    sample_fn: Callable[[int], torch.Tensor] | None,
    loss_scale: float,
    base: Fingerprint | None,
) -> History:
    checkpoint, spread = folder / CHECKPOINT, process_group()
    spread.share(config.gradient_accumulation_steps)  # refused before anything is done
    optimizer = _optimizer(groups, config)
    identity = f"{identity} {json.dumps(cache_key_settings(config), sort_keys=True)}"
    owner = {"identity": identity, "base": None if base is None else [base.architecture, *base.weights]}
    history = _resume(checkpoint, groups, optimizer, owner, config.steps)
    callbacks.watch(history)
    done = saved = history.resumed_at
    if done:
        callbacks.log(f"resumed at step {done} of {config.steps}")
    moving = False  # inside the optimiser's step, when what is in memory is neither of one step nor of the next
    try:
        while done < config.steps:
            callbacks.check()
            began = time.monotonic()
            terms, finite = _gradients(groups, loss_fn, optimizer, config, done, loss_scale)
            if not finite and loss_scale > 1:  # half precision overflowed in the backward pass: again, scaled less
                loss_scale /= 2
                continue
            if not finite:
                raise TrainingDiverged(_diverged("the gradient", done))
            moving = True
            optimizer.step()
            history.add(terms, time.monotonic() - began)
            done, moving = done + 1, False
            callbacks.progress(done, config.steps, "training")
            if not spread.first:
                continue
            if done % config.save_every_n_steps == 0 or done == config.steps:
                save_checkpoint(checkpoint, _state(groups, optimizer, history, done, owner))
                saved = done
            if sample_fn is not None and config.sample_every_n_steps and done % config.sample_every_n_steps == 0:
                callbacks.preview(sample_fn(done))
    except TrainingDiverged:  # what led there is not worth keeping: the last checkpoint is
        raise
    except BaseException:  # a cancel may be one; what was learned since the last checkpoint is kept
        if spread.first and not moving and done > saved:
            save_checkpoint(checkpoint, _state(groups, optimizer, history, done, owner))
        raise
    return history


def _gradients(
    groups: Sequence[ParameterGroup],
    loss_fn: LossFn,
    optimizer: Any,
    config: TrainingConfig,
    step: int,
    loss_scale: float,
) -> tuple[dict[str, float], bool]:
    """The gradients of one step; returns the mean of each loss term over its forwards, and whether all are finite."""
    optimizer.zero_grad(set_to_none=True)
    for entry, group in zip(optimizer.param_groups, groups, strict=True):
        entry["lr"] = group.learning_rate * lr_factor(step, config)
    means: dict[str, float] = {}
    spread = process_group()
    for forward in spread.share(config.gradient_accumulation_steps):
        seed = ((config.seed * 1_000_003 + step) * 2_048 + forward) * 2
        generator = torch.Generator().manual_seed(seed % 2**63)
        with _seeded(seed + 1):  # dropout draws from the global generator, and other numbers
            terms = loss_fn(generator)
            total = sum(terms.values(), torch.zeros(()))
            (total * (loss_scale / config.gradient_accumulation_steps)).backward()
        for name, term in terms.items():
            means[name] = means.get(name, 0.0) + float(term.detach()) / config.gradient_accumulation_steps
    parameters = [p for group in groups for p in group.parameters.values()]
    means = spread.all_reduce(parameters, means)
    _require_finite(means, step)
    if loss_scale != 1:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad /= loss_scale
    norm = torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm or math.inf)
    return means, bool(norm.isfinite())


def cache_key(*parts: object) -> str:
    """A short mark of texts, numbers and tensors, to tell one training's inputs from another's."""
    mark = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.Tensor):
            values = part.detach().cpu().contiguous()
            mark.update(f"{tuple(part.shape)}".encode())
            mark.update((values.float() if values.is_floating_point() else values).numpy().tobytes())
        else:
            mark.update(repr(part).encode())
        mark.update(b"|")
    return mark.hexdigest()[:16]


def lr_factor(step: int, config: TrainingConfig) -> float:
    """The learning rates' factor at a step, counted from 0: linear warm-up, then constant or a half cosine."""
    if step < config.lr_warmup_steps:
        return (step + 1) / config.lr_warmup_steps
    if config.lr_scheduler == "constant":
        return 1.0
    progress = (step - config.lr_warmup_steps) / max(1, config.steps - config.lr_warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


def _optimizer(groups: Sequence[ParameterGroup], config: TrainingConfig) -> Any:
    entries = [
        {"params": list(g.parameters.values()), "lr": g.learning_rate, "weight_decay": g.weight_decay} for g in groups
    ]
    if config.optimizer == "adamw8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError as error:
            raise ValueError(
                "optimizer: got 'adamw8bit', which needs bitsandbytes; pip install bitsandbytes, or choose 'adamw'"
            ) from error
        return AdamW8bit(entries)
    return torch.optim.AdamW(entries)


@contextlib.contextmanager
def _seeded(seed: int) -> Any:
    """The global generators are seeded inside and as they were outside."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed % 2**63)
        yield


def _require_finite(terms: Mapping[str, float], step: int) -> None:
    bad = [name for name, term in terms.items() if not math.isfinite(term)]
    if bad:
        raise TrainingDiverged(_diverged(f"the loss ({', '.join(bad)})", step))


def _diverged(what: str, step: int) -> str:
    return (
        f"{what} is not a finite number at step {step + 1}. The last checkpoint is kept. Likely causes: a learning "
        "rate that is too high (try a tenth), fp16 overflow (try bf16 or fp32), or a broken input picture"
    )


def cache_key_settings(config: TrainingConfig) -> dict[str, Any]:
    """All settings that change the result; not the steps under a constant schedule, which may be trained longer."""
    kept = asdict(config)
    free = ["save_every_n_steps", "sample_every_n_steps"]
    for name in [*free, *(["steps"] if config.lr_scheduler == "constant" else [])]:
        kept.pop(name, None)
    return kept


def _state(
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


def _resume(
    path: Path, groups: Sequence[ParameterGroup], optimizer: Any, owner: Mapping[str, Any], steps: int
) -> History:
    state = latest_checkpoint(path, owner, steps)
    if state is None:
        return History()
    kept, trained = state["parameters"], {group.name: set(group.parameters) for group in groups}
    if {group: set(kept[group]) for group in kept} != trained:
        raise ValueError(
            f"folder: {path} was written by another version of VideoMage, which trained other weights; finish the "
            "training with that version, choose another folder, or delete the file to begin anew"
        )
    with torch.no_grad():
        for group in groups:
            for name, parameter in group.parameters.items():
                parameter.copy_(state["parameters"][group.name][name])
    optimizer.load_state_dict(_reordered(state["optimizer"], kept, groups))
    history = state["history"]
    return History(history["losses"], history["seconds"], resumed_at=state["step"])


def _reordered(
    optimizer: Mapping[str, Any], kept: Mapping[str, Mapping[str, torch.Tensor]], groups: Sequence[ParameterGroup]
) -> dict[str, Any]:
    """A kept optimiser's state, which goes by the number of a parameter, renumbered from its order to the groups'."""
    numbers = {key: number for number, key in enumerate((group, name) for group in kept for name in kept[group])}
    moved = enumerate(numbers[group.name, name] for group in groups for name in group.parameters)
    return {
        **optimizer,
        "state": {new: optimizer["state"][old] for new, old in moved if old in optimizer["state"]},
    }
