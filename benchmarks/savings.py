"""What each saving saves, on the built-in base: a part with it beside the same part without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.stage_steps import both_loras, prediction, stage_steps
from benchmarks.timing import Ratio, by_turns, ratio, seconds
from videomage_core.model import lora
from videomage_core.model.attention_maps import select_layers
from videomage_core.model.fast_attention import FastAttention
from videomage_core.model.lora_forward import adapted_layers, with_adapters
from videomage_core.model.memory import MODES
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.presets import EMOJI
from videomage_core.stages.algorithm1 import attended, map_distance

CPU = torch.device("cpu")
Job = Callable[[], object]


def of_savings(base: UNet3DBackbone, rounds: int) -> dict[str, Ratio]:
    """Each saving: the time with it over the time without."""
    steps, ratios = stage_steps(base, EMOJI), {}
    with prediction(base, EMOJI.collaborative) as (merged, _):
        layers = list(adapted_layers(base).values())
        taken = by_turns({"with": merged, "without": partial(_unmerged, layers, merged)}, rounds, CPU)
        ratios["LoRAs merged into weights in sampling"] = ratio(taken["with"], taken["without"])
    for name, stage in (("train motion", "a motion step"), ("SCS, a guidance", "a guidance")):
        for mode in ("medium", "low"):
            ratios[f"{stage} in the memory mode {mode}, over high"] = _mode_ratio(base, steps[name], mode, rounds)
    ratios["a prediction in the memory mode low, over high"] = _mode_ratio(
        base, steps["SCS, a prediction"], "low", rounds
    )
    with steps["train motion"]() as (job, _):
        taken = by_turns({"with": job, "without": partial(_always_fused, job)}, rounds, CPU)
    ratios["short attention written out on a CPU, in a training step"] = ratio(taken["with"], taken["without"])
    ratios.update(_of_guidance(base, rounds))
    ratios.update(_of_batches(base, rounds))
    return ratios


def _unmerged(layers: list[Any], job: Job) -> None:
    merged = [layer.forward for layer in layers]
    for layer in layers:
        layer.forward = partial(with_adapters, layer)
    try:
        job()
    finally:
        for layer, forward in zip(layers, merged, strict=True):
            layer.forward = forward


def _mode_ratio(base: UNet3DBackbone, step: Any, mode: str, rounds: int) -> Ratio:
    """A step in a memory mode over one in high, by turns; a round before them does not count, nor does the switch."""
    taken: dict[str, list[float]] = {mode: [], "high": []}
    with step() as (job, _):
        for _round in range(rounds + 1):
            for name, durations in taken.items():
                base.use_memory(MODES[name])
                durations.append(seconds(job, CPU))
    return ratio(taken[mode][1:], taken["high"][1:])


def _always_fused(job: Job) -> None:
    longest, FastAttention.LONGEST = FastAttention.LONGEST, 0
    try:
        job()
    finally:
        FastAttention.LONGEST = longest


def _of_guidance(base: UNet3DBackbone, rounds: int) -> dict[str, Ratio]:
    """The parts of a guidance, each against plain code: all layers, all with a graph, to the network's end."""
    config = EMOJI.collaborative
    every = base.attention_layers("cross"), base.attention_layers("temporal")
    chosen = (
        select_layers(every[0], config.cross_attention_layers),
        select_layers(every[1], config.temporal_attention_layers),
    )
    with both_loras(base) as (branches, _), lora.merged(base):
        x = torch.randn(1, *base.latent_shape(config.frames, config.height, config.width))
        level = base.levels(config.steps)[3]
        guided = partial(_guidance_pass, base, x, level, branches)
        forward = partial(_forward_pass, base, x, level, branches[0], [*chosen[0], *chosen[1]])
        jobs = {
            "usual": lambda: guided(*chosen, False), "graph": lambda: guided(*chosen, True),
            "all layers": lambda: guided(*every, False), "stopped": lambda: forward(True),
            "whole": lambda: forward(False),
        }  # fmt: skip
        taken = by_turns(jobs, rounds, CPU)
    return {
        "the other branch's maps without a graph, in a guidance": ratio(taken["usual"], taken["graph"]),
        "the forward ends after the last recorded layer, in a forward and its backward pass": ratio(
            taken["stopped"], taken["whole"]
        ),
        "the chosen layers instead of all, in a guidance": ratio(taken["usual"], taken["all layers"]),
    }


def _guidance_pass(
    base: UNet3DBackbone,
    x: torch.Tensor,
    level: Any,
    branches: Sequence[Any],
    cross: Any,
    temporal: Any,
    graph_everywhere: bool,
) -> None:
    """Both gradients of Eq. 10, by the maps of these layers."""
    recorded = []
    for branch, moving, constant in ((branches[0], temporal, cross), (branches[1], cross, temporal)):
        layers = ([*moving, *constant], []) if graph_everywhere else (moving, constant)
        with torch.enable_grad(), attended(base, x, level, branch, *layers) as (latents, maps):
            recorded.append((latents, maps))
    (x_sub, subject), (x_mot, motion) = recorded
    torch.autograd.grad(map_distance(subject.temporal, motion.temporal), x_sub)
    torch.autograd.grad(map_distance(motion.cross, subject.cross), x_mot)


def _forward_pass(base: UNet3DBackbone, x: torch.Tensor, level: Any, branch: Any, layers: list, stop: bool) -> None:
    """One branch's maps and a gradient; ``stop``: the forward ends after the last recorded layer."""
    latents = x.clone().requires_grad_()
    with (
        lora.use_adapters(base, {branch.adapter: 1.0}),
        base.record(layers, branch.spans, stop=stop) as maps,
    ):
        (base.record_forward if stop else base.predict)(latents, level, branch.text)
        torch.autograd.grad(map_distance(maps.temporal, maps.temporal), latents)


def _of_batches(base: UNet3DBackbone, rounds: int) -> dict[str, Ratio]:
    """A batch of videos beside the same videos in smaller ones."""
    config = EMOJI.sampling
    x = torch.randn(4, *base.latent_shape(config.frames, config.height, config.width))
    with torch.no_grad():
        text, level = base.encode_prompt(["a dog"] * 4), base.levels(config.steps)[3]

        def in_batches_of(size: int, count: int) -> None:
            with torch.no_grad():
                for start in range(0, count, size):
                    base.predict(x[start : start + size], level, text[start : start + size])

        jobs = {
            "halves": lambda: in_batches_of(2, 2), "one by one": lambda: in_batches_of(1, 2),
            "four": lambda: in_batches_of(4, 4), "two by two": lambda: in_batches_of(2, 4),
        }  # fmt: skip
        taken = by_turns(jobs, rounds, CPU)
    return {
        "both halves of guidance in one batch": ratio(taken["halves"], taken["one by one"]),
        "both branches in one batch (not built: see below)": ratio(taken["four"], taken["two by two"]),
    }
