"""Does collaborative guidance bring the two branches' maps nearer to each other, and what does that do to videos?

    python -m emoji_world.reports.guidance_report

On the development half, for each place where a guided step may start (``guided_step_from``) and some alphas:

* one step: from the same latents, L_m->s and L_s->m after a guided step over those after a plain one;
* whole videos, by the benchmark's metrics, against the same without guidance; also with one of the losses alone.

Writes docs/guidance.json and .md, with the LoRAs that the benchmark has trained.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videomage_core.callbacks import Callbacks
from videomage_core.evaluation.grid import Cell, Grid, load_grid
from videomage_core.evaluation.runner import Runner
from videomage_core.evaluation.statistics import estimate, paired
from videomage_core.evaluation.tracked_metrics import TrackedMetrics
from videomage_core.model.backbone import Backbone
from videomage_core.model.loading import load_unet3d
from videomage_core.presets import EMOJI
from videomage_core.sampling import initial_noise

from ..world.small_dataset import write_json
from .two_branches import TwoBranches, Variant

ROOT = Path(__file__).parents[2]
FIRST_SEED = 1_000_600  # of the development half; the benchmark's are others
SHOWN = ("identity", "placement", "motion fidelity", "temporal consistency", "attribute mixing")
TEXT = """\
# What collaborative guidance does

Written by `python -m emoji_world.reports.guidance_report`, on the development half: {pairs}, {motions}, on grass.

## One guided step

From the same latents, at each of the first {tau} steps of a video sampled without guidance: the relative change of
L_m->s (temporal maps, updates x_sub) and L_s->m (spatial maps, updates x_mot) at the next noise level after a guided
step, compared with a plain one.  Geometric mean of {step_videos} videos, lowest and highest, and in how many the loss
fell.

| a step starts from | alpha | L_m->s | fell in | L_s->m | fell in |
|---|---|---|---|---|---|
{one_step}

Why the start of the step matters: a network that predicts noise takes much of a small update for noise, and the step
removes it.  The updated latents contain the update, and the step continues from them.  The original latents do not
contain it, so removing it works against the update, and a loss that the update lowered may rise.

## Whole videos

Guided in the first {tau} of {all_steps} steps.  The row "none" has the metrics' means without guidance, the others the
differences to it for the same videos.  Higher is better, except for attribute mixing.  {each} videos per row; after
"±" half a 95 % interval for these subjects, in brackets the range over the pairs.
"""


BOTH = [Variant(guided_step_from, alpha) for guided_step_from in ("updated", "original") for alpha in (1e4, 1e5, 1e6)]
ALONE = [Variant("updated", 1e5, losses) for losses in ((True, False), (False, True))]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=Path, default=Path("outputs/benchmark/development"))
    parser.add_argument(
        "--cache-dir", type=Path, default=Path("outputs/benchmark/work"), help="the benchmark's trainings"
    )
    parser.add_argument("--seeds", type=int, default=4, help="videos of each pair and motion (4)")
    parser.add_argument("--step-seeds", type=int, default=2, help="of these, for the single steps (2)")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args(arguments)
    grid, backbone = load_grid(options.grid), load_unet3d(dtype="bf16")  # as the benchmark's
    runner, exact = Runner(backbone, EMOJI, grid, options.cache_dir, Callbacks(log=print)), load_unet3d(dtype="fp32")
    metrics = TrackedMetrics(grid)
    changes: dict[Variant, list[np.ndarray]] = {variant: [] for variant in BOTH}
    scores: dict[Variant, dict[Cell, dict[str, float]]] = {variant: {} for variant in (Variant(), *BOTH, *ALONE)}
    for cell in guidance_cells(grid, options.seeds):
        if cell.seed < FIRST_SEED + options.step_seeds:  # in fp32: an alpha of 1e4 moves less than bf16 resolves
            branches, x = prepared(runner, exact, cell)
            with branches.on_base():
                for variant, change in branches.changes(x, BOTH).items():
                    changes[variant].append(change)
        branches, x = prepared(runner, backbone, cell)
        with branches.on_base():
            for variant, of in scores.items():
                of[cell] = metrics.score(branches.video(x, variant), cell)
        print(cell.name, flush=True)
    steps, videos = steps_table(changes), videos_table(scores)
    write_json(options.docs / "guidance.json", {"one step": steps, "whole videos": videos})
    (options.docs / "guidance.md").write_text(report(steps, videos, scores[Variant()]), encoding="utf-8")


def guidance_cells(grid: Grid, seeds: int) -> list[Cell]:
    """Every pair of the half doing every motion."""
    return [
        Cell(pair, motion, "grass", FIRST_SEED + seed)
        for pair in grid.subsets["full"].pairs
        for motion in grid.motions
        for seed in range(seeds)
    ]


def prepared(runner: Runner, backbone: Backbone, cell: Cell) -> tuple[TwoBranches, torch.Tensor]:
    """A cell's branches on a base, and its initial noise [1, C, F, h, w]."""
    assert cell.motion is not None
    subject, motion = runner.fusion(cell.subjects, EMOJI), runner.motion(cell.motion, EMOJI)
    branches = TwoBranches(backbone, subject, motion, runner.grid.prompt(cell), EMOJI.collaborative)
    x = initial_noise(backbone, cell.seed, branches.config, runner.inverted(cell.motion, EMOJI))
    return branches, x.to(backbone.device)


def steps_table(changes: dict[Variant, list[np.ndarray]]) -> dict[str, dict[str, Any]]:
    """By variant and loss: the geometric mean of the relative change, lowest, highest, and how many videos fell."""
    return {
        str(variant): {
            name: {
                "change": round(float(np.expm1(of.mean())), 5),
                "lowest": round(float(np.expm1(of.min())), 5),
                "highest": round(float(np.expm1(of.max())), 5),
                "fell": int((of < 0).sum()),
                "videos": len(of),
            }
            for name, of in zip(("L_m->s", "L_s->m"), np.array(videos).T, strict=True)
        }
        for variant, videos in changes.items()
    }


def videos_table(scores: dict[Variant, dict[Cell, dict[str, float]]]) -> dict[str, dict[str, dict[str, str]]]:
    """By motion, variant and metric: the mean without guidance, else the difference to it."""
    plain = scores[Variant()]
    table: dict[str, dict[str, dict[str, str]]] = {}
    for motion in dict.fromkeys(str(cell.motion) for cell in plain):
        for variant, of in scores.items():
            row = {}
            for name in SHOWN:
                here, there = ({c: s[name] for c, s in by.items() if c.motion == motion} for by in (of, plain))
                if variant == Variant():
                    row[name] = str(estimate(list(here.values()), [cell.subjects for cell in here]))
                else:
                    row[name] = paired(here, there, lambda cell: cell.subjects).signed()
            table.setdefault(motion, {})[str(variant)] = row
    return table


def report(steps: dict[str, Any], videos: dict[str, Any], plain: dict[Cell, Any]) -> str:
    """docs/guidance.md."""
    rows = []
    for variant, by_loss in steps.items():
        cells = [
            f"{of['change']:+.2%} ({of['lowest']:+.2%} to {of['highest']:+.2%}) | {of['fell']} of {of['videos']}"
            for of in by_loss.values()
        ]
        rows.append(f"| {variant} | {' | '.join(cells)} |")
    text = TEXT.format(
        pairs=", ".join(dict.fromkeys(" and ".join(cell.subjects) for cell in plain)),
        motions=" and ".join(videos),
        tau=EMOJI.collaborative.tau,
        all_steps=EMOJI.collaborative.steps,
        step_videos=next(iter(steps.values()))["L_m->s"]["videos"],
        one_step="\n".join(rows),
        each=len(plain) // len(videos),
    )
    for motion, variants in videos.items():
        head = f"| a step starts from | alpha | {' | '.join(SHOWN)} |\n|---|---|{'---|' * len(SHOWN)}\n"
        text += f"\n{motion.capitalize()}:\n\n{head}"
        text += "".join(f"| {variant} | {' | '.join(row.values())} |\n" for variant, row in variants.items())
    return text


if __name__ == "__main__":
    main()
