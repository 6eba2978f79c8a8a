"""Does collaborative guidance do what Eq. 9 and 10 say: bring the two branches' maps nearer to each other?

    python -m emoji_world.guidance_card

On the development half, for each place where a guided step may start (``step_from``) and some alphas:

* one step: from the same latents, how much larger or smaller L_m->s and L_s->m are after a guided step
  than after the same step without guidance;
* whole videos: likeness, placement and movement, by the benchmark's own metrics.

Figures go to docs/guidance.json and docs/guidance.md.  LoRAs that the benchmark has trained are taken from its folder.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videomage_core.config import CollaborativeConfig
from videomage_core.data.lora_file import Concept
from videomage_core.evaluation.grid import Cell, Grid, load_grid
from videomage_core.evaluation.methods import FULL, METHODS
from videomage_core.evaluation.runner import Runner
from videomage_core.evaluation.tracked_metrics import TrackedMetrics
from videomage_core.model import lora
from videomage_core.model.attention_maps import Maps, chosen_sites
from videomage_core.model.backbone import Backbone, Level
from videomage_core.model.loading import load_unet3d
from videomage_core.model.text import TokenSpan
from videomage_core.presets import EMOJI
from videomage_core.run import Run
from videomage_core.sampling import predict_guided, split_output, start_for, step
from videomage_core.stages.collaborative_sampling import MOTION, PAPER_VALUES, SUBJECT, alpha_at, map_distance

from .dataset import write_json
from .metric_card import summary

ROOT = Path(__file__).parent.parent
FIRST_SEED = 1_000_400  # of the development half, far from the benchmark's
WAYS = {"unmoved": (1e5, 1e6), "moved": (1e4, 3e4, 1e5, 1e6)}  # step_from -> alphas
SHOWN = ("identity", "placement", "motion fidelity", "temporal consistency", "attribute mixing")
TEXT = """\
# What collaborative guidance does

Written by `python -m emoji_world.guidance_card`, on the development half: {videos} videos of each row, of the pairs
{pairs}, {motions}.

## One guided step

From the same latents, in the first {tau} steps of videos made without guidance: the losses at the next level after a
guided step, over those after a plain one (mean and standard error of {steps} steps; how often they are lower).

| a step starts from | alpha | L_m->s (Eq. 10) | lower in | L_s->m (Eq. 9) | lower in |
|---|---|---|---|---|---|
{one_step}

## Whole videos

Guided in the first {tau} of {all_steps} steps; mean and standard deviation.

| a step starts from | alpha | {shown} |
|---|---|{dashes}|
{whole}
"""


@dataclass(frozen=True)
class Branch:
    """One of Algorithm 1's two."""

    adapter: str
    text: torch.Tensor  # [1, T, D]
    spans: list[TokenSpan]


class Pair:
    """Both branches of one video on one base; ``on_base`` loads their LoRAs."""

    def __init__(
        self, backbone: Backbone, subject: Concept, motion: Concept, prompt: str, config: CollaborativeConfig
    ) -> None:
        tokens = list(subject.tokens)
        self.backbone, self.config, self.loras = backbone, config, {SUBJECT: subject.weights, MOTION: motion.weights}
        self.branches = [
            Branch(
                adapter,
                backbone.encode_prompt([prompt], tokens, as_superclass=plain),
                backbone.token_spans(prompt, tokens, as_superclass=plain),
            )
            for adapter, plain in ((SUBJECT, False), (MOTION, True))
        ]
        self.empty = backbone.encode_prompt([config.negative_prompt])
        self.cross = chosen_sites(backbone.map_sites("cross"), config.cross_layers)
        self.temporal = chosen_sites(backbone.map_sites("temporal"), config.temporal_layers)

    def on_base(self) -> ExitStack:
        """Inside, both LoRAs are on the base."""
        stack = ExitStack()
        stack.enter_context(lora.leaving_no_trace(self.backbone))
        for name, weights in self.loras.items():
            lora.load(self.backbone, name, weights)
        return stack

    def losses(self, x: torch.Tensor, level: Level) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """L_m->s and L_s->m at x [1, C, F, h, w], with the copies of x that have gradients: x_sub, x_mot."""
        copies = [x.detach().requires_grad_(torch.is_grad_enabled()) for _ in self.branches]
        seen: list[Maps] = []
        for branch, at in zip(self.branches, copies, strict=True):
            with (
                lora.active(self.backbone, {branch.adapter: 1.0}),
                self.backbone.record([*self.cross, *self.temporal], branch.spans, stop=True) as maps,
            ):
                self.backbone.attend(at, level, branch.text)
                seen.append(maps)
        subject, motion = seen
        return map_distance(subject.temporal, motion.temporal), map_distance(motion.cross, subject.cross), copies

    def gradients(self, x: torch.Tensor, level: Level) -> list[torch.Tensor]:
        """Of L_m->s to x_sub (Eq. 10) and of L_s->m to x_mot (Eq. 9)."""
        with torch.enable_grad():
            to_sub, to_mot, copies = self.losses(x, level)
            return [torch.autograd.grad(loss, at)[0] for loss, at in zip((to_sub, to_mot), copies, strict=True)]

    def mixed(self, copies: Sequence[torch.Tensor], level: Level) -> torch.Tensor:
        """eps of Eq. 11 from x_sub and x_mot."""
        eps = torch.zeros_like(copies[0])
        shares = (self.config.beta_subject, self.config.beta_motion)
        for branch, share, at in zip(self.branches, shares, copies, strict=True):
            with lora.active(self.backbone, {branch.adapter: 1.0}):
                output = predict_guided(self.backbone, at, level, branch.text, self.empty, self.config.guidance_scale)
            eps = eps + share * split_output(output, at, level, self.backbone.prediction)[1]
        return eps


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=Path, default=Path("outputs/benchmark/development"))
    parser.add_argument("--work", type=Path, default=Path("outputs/benchmark/work"), help="the benchmark's trainings")
    parser.add_argument("--seeds", type=int, default=4, help="videos of each pair and motion (4)")
    parser.add_argument("--dtype", default="bf16", help="of the base, as the benchmark's (bf16)")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args(arguments)
    grid, backbone = load_grid(options.grid), load_unet3d(dtype=options.dtype)
    full = grid.sizes["full"]
    cells = [
        Cell(pair, motion, "grass", FIRST_SEED + seed)
        for pair in full.pairs
        for motion in grid.motions
        for seed in range(options.seeds)
    ]
    runner = Runner(backbone, EMOJI, grid, options.work, Run(log=print))
    steps = one_steps(runner, grid, cells)
    videos = whole_videos(backbone, grid, cells, options.work)
    figures = {"cells": len(cells), "one step": steps, "whole videos": videos}
    write_json(options.docs / "guidance.json", figures)
    (options.docs / "guidance.md").write_text(report(figures, full.pairs, list(grid.motions)), encoding="utf-8")


def one_steps(runner: Runner, grid: Grid, cells: Sequence[Cell]) -> dict[str, dict[str, Any]]:
    """By way: how the losses after a guided step compare with those after a plain one."""
    changes: dict[str, list[tuple[float, float]]] = {}
    for cell in cells:
        assert cell.motion is not None
        subject, motion = runner.fusion(cell.subjects, EMOJI), runner.motion(cell.motion, EMOJI)
        pair = Pair(runner.backbone, subject, motion, grid.prompt(cell), EMOJI.collaborative)
        start = start_for(runner.backbone, cell.seed, pair.config, runner.inverted(cell.motion, EMOJI))
        with pair.on_base(), torch.no_grad():
            for way, change in guided_steps(pair, start.to(runner.backbone.device)):
                changes.setdefault(way, []).append(change)
        print(f"{cell.name}: {len(changes)} ways", flush=True)
    return {way: _change(np.array(values)) for way, values in changes.items()}


def guided_steps(pair: Pair, x: torch.Tensor) -> Iterator[tuple[str, tuple[float, float]]]:
    """Each way's change of (L_m->s, L_s->m) in each step that would be guided; the video itself is made without."""
    levels = pair.backbone.levels(pair.config.steps)
    for index in range(pair.config.tau):
        level, following = levels[index], levels[index + 1]
        plain = step(pair.mixed([x, x], level), x, level, following, "epsilon")
        without = [float(loss) for loss in pair.losses(plain, following)[:2]]
        gradients = pair.gradients(x, level)
        for step_from, alphas in WAYS.items():
            for alpha in alphas:
                config = dataclasses.replace(pair.config, alpha=alpha)
                far = alpha_at(index, config) * x.numel() / PAPER_VALUES
                copies = [x - far * gradient for gradient in gradients]
                eps = pair.mixed(copies, level)
                start = pair.config.beta_subject * copies[0] + pair.config.beta_motion * copies[1]
                after = step(eps, start if step_from == "moved" else x, level, following, "epsilon")
                to_sub, to_mot = (
                    float(loss) / was - 1 for loss, was in zip(pair.losses(after, following)[:2], without, strict=True)
                )
                yield f"{step_from} {alpha:g}", (to_sub, to_mot)
        x = plain


def whole_videos(
    backbone: Backbone, grid: Grid, cells: Sequence[Cell], work: Path
) -> dict[str, dict[str, dict[str, str]]]:
    """By way and motion: the benchmark's metrics."""
    metrics = TrackedMetrics(grid)
    ways = [("", 0.0), *((step_from, alpha) for step_from, alphas in WAYS.items() for alpha in alphas)]
    found: dict[str, dict[str, dict[str, str]]] = {}
    for step_from, alpha in ways:
        changed = {"alpha": alpha} | ({"step_from": step_from} if step_from else {"tau": 0})
        preset = dataclasses.replace(EMOJI, collaborative=dataclasses.replace(EMOJI.collaborative, **changed))
        runner = Runner(backbone, preset, grid, work, Run())
        scores = [(cell, metrics.score(runner.make(METHODS[FULL], cell).video, cell)) for cell in cells]
        way = f"{step_from or 'none'} {alpha:g}"
        found[way] = {
            motion: {name: summary([score[name] for cell, score in scores if cell.motion == motion]) for name in SHOWN}
            for motion in grid.motions
        }
        print(way, found[way], flush=True)
    return found


def _change(values: np.ndarray) -> dict[str, Any]:
    """Of [N, 2] relative changes."""
    return {
        name: {
            "mean": round(float(of.mean()), 4),
            "standard error": round(float(of.std(ddof=1) / len(of) ** 0.5), 4),
            "lower in": round(float((of < 0).mean()), 3),
            "steps": len(of),
        }
        for name, of in zip(("L_m->s", "L_s->m"), values.T, strict=True)
    }


def report(figures: dict[str, Any], pairs: Sequence[Sequence[str]], motions: Sequence[str]) -> str:
    """docs/guidance.md."""
    one_step = []
    for way, change in figures["one step"].items():
        cells = [f"{of['mean']:+.1%} ± {of['standard error']:.1%} | {of['lower in']:.0%}" for of in change.values()]
        one_step.append(f"| {' | '.join([*way.split(), *cells])} |")
    whole = [
        f"| {' | '.join([*way.split(), motion, *by_motion[motion].values()])} |"
        for motion in motions
        for way, by_motion in figures["whole videos"].items()
    ]
    steps = next(iter(figures["one step"].values()))["L_m->s"]["steps"]
    return TEXT.format(
        videos=figures["cells"],
        pairs=", ".join(" and ".join(pair) for pair in pairs),
        motions=" and ".join(motions),
        tau=EMOJI.collaborative.tau,
        all_steps=EMOJI.collaborative.steps,
        steps=steps,
        one_step="\n".join(one_step),
        shown=" | ".join(["motion", *SHOWN]),
        dashes="---|" * len(SHOWN) + "---",
        whole="\n".join(whole),
    )


if __name__ == "__main__":
    main()
