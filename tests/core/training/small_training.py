"""A small training of three parameters, and what the loop's tests share."""

from __future__ import annotations

from pathlib import Path

import torch

from videomage_core.cache_key import training_key
from videomage_core.callbacks import Callbacks
from videomage_core.config import TrainingConfig
from videomage_core.training.loop import ParameterGroup, fit

CONFIG = TrainingConfig(
    steps=10, save_every_n_steps=2, gradient_accumulation_steps=2, lr_scheduler="cosine", lr_warmup_steps=2
)
KEY = training_key("x", 1, CONFIG)


def make_groups() -> list[ParameterGroup]:
    torch.manual_seed(1)
    lora = {"a": torch.randn(3, 4, requires_grad=True), "b": torch.zeros(4, 3, requires_grad=True)}
    return [
        ParameterGroup("lora", lora, 0.1, weight_decay=0.01),
        ParameterGroup("tokens", {"<toy>": torch.randn(2, 3, requires_grad=True)}, 0.5),
    ]


def make_loss(groups: list[ParameterGroup]):
    lora, token = groups[0].parameters, groups[1].parameters["<toy>"]

    def loss_fn(generator: torch.Generator, backward) -> None:
        x = torch.randn(5, 3, generator=generator)
        dropped = torch.nn.functional.dropout(x, 0.5)  # draws from the global generator
        fit_term = (dropped @ lora["a"] @ lora["b"] - x * 2 + token.sum(0)).square().mean()
        backward({"subject": fit_term, "prior": 0.25 * token.square().mean()})

    return loss_fn


def train(folder: Path, config: TrainingConfig = CONFIG, callbacks: Callbacks | None = None, identity: str = "x"):
    groups = make_groups()
    history = fit(groups, make_loss(groups), config, folder, training_key(identity, 1, config), callbacks)
    return groups, history


def values(groups: list[ParameterGroup]) -> list[torch.Tensor]:
    return [p.detach() for g in groups for p in g.parameters.values()]


def same(one: list[ParameterGroup], two: list[ParameterGroup]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(values(one), values(two), strict=True))
