"""The one training loop: every stage brings parameters and a loss, everything else is here.

There is one way to take gradients: ``fit`` hands ``loss_fn`` a ``backward``, and ``loss_fn`` calls it with the terms of
its loss, once or several times.  So a term whose backward pass must run while adapters or recorded attention layers
are in place takes it right there, and its activations are freed before the next term is computed.

A step is a function of (seed, step): all its randomness comes from a generator made for it.  So a
resumed training needs no random state, only parameters, optimiser and history, and ten steps
equal five, a restart and five more, bit for bit.

Checkpoints are written beside the old one and renamed over it: a kill, a full disk or a power
cut in between leaves the old one whole.

Under a constant schedule a training may be asked for another number of steps.  More: it resumes.  Fewer
than its checkpoint has: that one is set aside as ``checkpoint-<steps>.pt`` and the training resumes from the
latest one within the steps asked for, or begins anew.  Each gives, bit for bit, what a training of so
many steps gives by itself, and a checkpoint set aside is taken up again when as many steps are asked for.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch

from ..callbacks import Callbacks
from ..config import TrainingConfig
from ..distributed import process_group
from ..history import History
from ..locks import exclusive_lock
from ..model.fingerprint import Fingerprint
from .checkpoint import CHECKPOINT, restore, save_checkpoint, state_of
from .optimizer import ParameterGroup, lr_factor, make_optimizer


class TrainingDiverged(ArithmeticError):
    """A loss or gradient became NaN or infinite; the last good checkpoint is kept."""


class Backward(Protocol):
    """Adds the gradients of the sum of some loss terms to the parameters, now, and notes the terms' values."""

    def __call__(self, terms: Mapping[str, torch.Tensor], parameters: Sequence[torch.Tensor] | None = None) -> None:
        """Args:
        terms: of one forward's loss, by name, each [].
        parameters: which alone are to get gradients; None: all that the terms depend on.
        """


LossFn = Callable[[torch.Generator, Backward], None]


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
    """Train the groups' parameters in place, or resume an earlier run.

    Args:
        groups: what is trained.
        loss_fn: one forward: calls the ``backward`` it is given with the terms of its loss, whose sum is minimised;
            takes all randomness from the generator it is given.  Whatever adapters it needs are active around ``fit``.
        config: the loop's settings.
        folder: keeps the checkpoint.
        identity: the training's key (``training_key``); a checkpoint of another one is refused.
        callbacks: progress and cancel.
        sample_fn: a video [3, F, H, W] to look at, made every ``config.sample_every_n_steps`` steps.
        loss_scale: the loss is this many times larger in the backward pass, so that small gradients
            survive half precision; a power of two changes nothing else.  Halved where gradients overflow.
        base: the base's fingerprint; a checkpoint of another base, not of another precision, is refused.

    Raises:
        Cancelled: the host stopped the run; a checkpoint was written first.
        TrainingDiverged: with the step and the likely cause.
        ValueError: the folder holds another training's checkpoint, a damaged one, or another process trains in it.
    """
    # Always in one order: a LoRA read from its file has its weights in another than one just trained, and in another
    # order sums round otherwise.
    groups = [replace(group, parameters=dict(sorted(group.parameters.items()))) for group in groups]
    process_group().share(config.gradient_accumulation_steps)  # refused before anything is done
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder) if process_group().first else contextlib.nullcontext():
        owner = {"identity": identity, "base": None if base is None else [base.architecture, *base.weights]}
        return _fit(
            groups, loss_fn, config, folder / CHECKPOINT, owner, callbacks or Callbacks(), sample_fn, loss_scale
        )


def _fit(
    groups: Sequence[ParameterGroup],
    loss_fn: LossFn,
    config: TrainingConfig,
    path: Path,
    owner: Mapping[str, Any],
    callbacks: Callbacks,
    sample_fn: Callable[[int], torch.Tensor] | None,
    loss_scale: float,
) -> History:
    spread, optimizer = process_group(), make_optimizer(groups, config)
    checkpoint = _Checkpoint(path, groups, optimizer, owner, config.steps)
    history, done = checkpoint.history, checkpoint.step
    callbacks.watch(history)
    if done:
        callbacks.log(f"resumed at step {done} of {config.steps}")
    moving = False  # inside the optimiser's step, when what is in memory is neither of one step nor of the next
    try:
        while done < config.steps:
            callbacks.check()
            began = time.monotonic()
            terms, loss_scale = _finite_gradients(groups, loss_fn, optimizer, config, done, loss_scale)
            moving = True
            optimizer.step()
            history.add(terms, time.monotonic() - began)
            done, moving = done + 1, False
            callbacks.progress(done, config.steps, "training")
            if not spread.first:
                continue
            if done % config.save_every_n_steps == 0 or done == config.steps:
                checkpoint.save(done)
            if sample_fn is not None and config.sample_every_n_steps and done % config.sample_every_n_steps == 0:
                callbacks.preview(sample_fn(done))
    except TrainingDiverged:  # what led there is not worth keeping: the last checkpoint is
        raise
    except BaseException:  # a cancel may be one; what was learned since the last checkpoint is kept
        if spread.first and not moving and done > checkpoint.step:
            checkpoint.save(done)
        raise
    return history


class _Checkpoint:
    """A running training's checkpoint: it is restored at the start, and ``step`` is the step of the last one."""

    def __init__(
        self, path: Path, groups: Sequence[ParameterGroup], optimizer: Any, owner: Mapping[str, Any], steps: int
    ) -> None:
        self.path, self.groups, self.optimizer, self.owner = path, groups, optimizer, owner
        self.history = restore(path, groups, optimizer, owner, steps)
        self.step = self.history.resumed_at

    def save(self, step: int) -> None:
        save_checkpoint(self.path, state_of(self.groups, self.optimizer, self.history, step, self.owner))
        self.step = step


def _finite_gradients(
    groups: Sequence[ParameterGroup],
    loss_fn: LossFn,
    optimizer: Any,
    config: TrainingConfig,
    step: int,
    loss_scale: float,
) -> tuple[dict[str, float], float]:
    """``_gradients``, taken again and scaled less where half precision overflowed; with the scale that was right."""
    while True:
        terms, finite = _gradients(groups, loss_fn, optimizer, config, step, loss_scale)
        if finite:
            return terms, loss_scale
        if loss_scale <= 1:
            raise TrainingDiverged(_diverged("the gradient", step))
        loss_scale /= 2


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

    def backward(terms: Mapping[str, torch.Tensor], parameters: Sequence[torch.Tensor] | None = None) -> None:
        total = sum(terms.values(), torch.zeros(()))
        (total * (loss_scale / config.gradient_accumulation_steps)).backward(inputs=parameters)
        for name, term in terms.items():
            means[name] = means.get(name, 0.0) + float(term.detach()) / config.gradient_accumulation_steps

    for forward in spread.share(config.gradient_accumulation_steps):
        seed = ((config.seed * 1_000_003 + step) * 2_048 + forward) * 2
        generator = torch.Generator().manual_seed(seed % 2**63)
        with _seeded(seed + 1):  # dropout draws from the global generator, and other numbers
            loss_fn(generator, backward)
    assert means, "loss_fn called no backward"
    parameters = [p for group in groups for p in group.parameters.values()]
    means = spread.all_reduce(parameters, means)
    _require_finite(means, step)
    if loss_scale != 1:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad /= loss_scale
    norm = torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm or math.inf)
    return means, bool(norm.isfinite())


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
        "rate that is too high (try a tenth), fp16 overflow (try bf16 or fp32), or a broken input image"
    )
