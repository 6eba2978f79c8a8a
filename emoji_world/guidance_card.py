"""Does collaborative guidance bring the two branches' maps nearer to each other, and what does that do to videos?

    python -m emoji_world.guidance_card

On the development half, for each place where a guided step may start (``step_from``) and some alphas:

* one step: from the same latents, L_m->s and L_s->m after a guided step over those after a plain one;
* whole videos, by the benchmark's metrics, against the same without guidance; also with one of the losses alone.

Writes docs/guidance.json and .md, with the LoRAs that the benchmark has trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videomage_core.config import CollaborativeConfig
from videomage_core.data.lora_file import Concept
from videomage_core.data.media import to_uint8
from videomage_core.evaluation.grid import Cell, Grid, load_grid
from videomage_core.evaluation.runner import Runner
from videomage_core.evaluation.statistics import estimate, paired
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

ROOT = Path(__file__).parent.parent
FIRST_SEED = 1_000_600  # of the development half; the benchmark's are others
SHOWN = ("identity", "placement", "motion fidelity", "temporal consistency", "attribute mixing")
TEXT = """\
# What collaborative guidance does

Written by `python -m emoji_world.guidance_card`, on the development half: {pairs}, {motions}, on grass.

## One guided step

From the same latents, at each of the first {tau} steps of a video made without guidance: by how much L_m->s (temporal
maps, moves x_sub) and L_s->m (spatial maps, moves x_mot) are larger or smaller at the next level after a guided step
than after a plain one.  Geometric means of {step_videos} videos, lowest and highest, and in how many it fell.

| a step starts from | alpha | L_m->s | fell in | L_s->m | fell in |
|---|---|---|---|---|---|
{one_step}

Why it matters where the step starts: a network that predicts noise takes much of a small move for noise.  From the
moved latents the step goes on with the move.  From those that were not moved, the noise that it expects to be gone
already stays in them, so the step goes against the move, and a loss that the move lowered may rise.

## Whole videos

Guided in the first {tau} of {all_steps} steps.  Without guidance the metrics' means, else differences to the same
videos without it: more likeness, placement, movement and consistency is better, less mixing is.  {each} videos in each
row; behind "±" half a 95 % interval for these subjects, in brackets the range over the pairs.
"""


@dataclass(frozen=True)
class Way:
    """How a video is guided.

    Attributes:
        step_from: "moved" or "unmoved", where a guided step starts; "none": no guidance.
        alpha: how far.
        losses: which of L_m->s and L_s->m take part.
    """

    step_from: str = "none"
    alpha: float = 0.0
    losses: tuple[bool, bool] = (True, True)

    def __str__(self) -> str:
        alone = {(True, False): ", L_m->s alone", (False, True): ", L_s->m alone"}.get(self.losses, "")
        return f"{self.step_from}{alone} | {self.alpha:g}"


BOTH = [Way(step_from, alpha) for step_from in ("moved", "unmoved") for alpha in (1e4, 1e5, 1e6)]
ALONE = [Way("moved", 1e5, losses) for losses in ((True, False), (False, True))]


@dataclass(frozen=True)
class Branch:
    """One of Algorithm 1's two."""

    adapter: str
    strength: float
    share: float
    text: torch.Tensor  # [1, T, D]
    spans: list[TokenSpan]


class Pair:
    """Both branches of one video."""

    def __init__(
        self, backbone: Backbone, subject: Concept, motion: Concept, prompt: str, config: CollaborativeConfig
    ) -> None:
        self.backbone, self.config, self.loras = backbone, config, {SUBJECT: subject.weights, MOTION: motion.weights}
        tokens = list(subject.tokens)

        def branch(adapter: str, strength: float, share: float, plain: bool) -> Branch:
            text = backbone.encode_prompt([prompt], tokens, as_superclass=plain)
            return Branch(adapter, strength, share, text, backbone.token_spans(prompt, tokens, as_superclass=plain))

        self.branches = (
            branch(SUBJECT, config.subject_strength, config.beta_subject, plain=False),
            branch(MOTION, config.motion_strength, config.beta_motion, plain=True),
        )
        self.empty = backbone.encode_prompt([config.negative_prompt])
        self.levels = backbone.levels(config.steps)
        self.cross = chosen_sites(backbone.map_sites("cross"), config.cross_layers)
        self.temporal = chosen_sites(backbone.map_sites("temporal"), config.temporal_layers)

    @contextmanager
    def on_base(self) -> Iterator[None]:
        """Inside, both LoRAs are on the base."""
        with lora.leaving_no_trace(self.backbone), torch.no_grad():
            for name, weights in self.loras.items():
                lora.load(self.backbone, name, weights)
            yield

    def losses(self, copies: Sequence[torch.Tensor], level: Level) -> tuple[torch.Tensor, torch.Tensor]:
        """L_m->s, with a gradient to the first of x_sub and x_mot, and L_s->m, with one to the second."""
        seen: list[Maps] = []
        for branch, at in zip(self.branches, copies, strict=True):
            with (
                lora.active(self.backbone, {branch.adapter: branch.strength}),
                self.backbone.record([*self.cross, *self.temporal], branch.spans, stop=True) as maps,
            ):
                self.backbone.attend(at, level, branch.text)
                seen.append(maps)
        subject, motion = seen
        return map_distance(subject.temporal, motion.temporal), map_distance(motion.cross, subject.cross)

    def gradients(self, x: torch.Tensor, level: Level) -> list[torch.Tensor]:
        """Of L_m->s to x_sub (Eq. 10) and of L_s->m to x_mot (Eq. 9), at x [1, C, F, h, w]."""
        with torch.enable_grad():
            copies = [x.detach().requires_grad_() for _ in self.branches]
            losses = self.losses(copies, level)
            return [torch.autograd.grad(loss, at)[0] for loss, at in zip(losses, copies, strict=True)]

    def stepped(self, x: torch.Tensor, index: int, way: Way, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """x after step ``index`` (Algorithm 1, Eq. 11)."""
        far = alpha_at(index, replace(self.config, alpha=way.alpha)) * x.numel() / PAPER_VALUES
        copies = [x - far * g if moves else x for g, moves in zip(gradients, way.losses, strict=True)]
        level, eps, mix = self.levels[index], torch.zeros_like(x), torch.zeros_like(x)
        for branch, at in zip(self.branches, copies, strict=True):
            with lora.active(self.backbone, {branch.adapter: branch.strength}):
                output = predict_guided(self.backbone, at, level, branch.text, self.empty, self.config.guidance_scale)
            eps = eps + branch.share * split_output(output, at, level, self.backbone.prediction)[1]
            mix = mix + branch.share * at
        return step(eps, mix if way.step_from == "moved" else x, level, self.levels[index + 1], "epsilon")

    def video(self, x: torch.Tensor, way: Way) -> np.ndarray:
        """uint8 [F, H, W, 3], from start noise."""
        for index in range(self.config.steps):
            guided = way.alpha > 0 and index < self.config.tau
            gradients = self.gradients(x, self.levels[index]) if guided else [torch.zeros_like(x)] * 2
            x = self.stepped(x, index, way, gradients)
        return to_uint8(self.backbone.decode_video(x)[0].cpu())

    def changes(self, x: torch.Tensor) -> dict[Way, np.ndarray]:
        """By way: the mean over the first steps of log(loss after a guided step / after a plain one), of both."""
        found: dict[Way, list[list[float]]] = {way: [] for way in BOTH}
        for index in range(self.config.tau):
            following, gradients = self.levels[index + 1], self.gradients(x, self.levels[index])
            plain = self.stepped(x, index, Way(), gradients)
            without = self.losses([plain, plain], following)
            for way in BOTH:
                after = self.stepped(x, index, way, gradients)
                losses = self.losses([after, after], following)
                found[way].append([float((a / b).log()) for a, b in zip(losses, without, strict=True)])
            x = plain
        return {way: np.mean(values, axis=0) for way, values in found.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=Path, default=Path("outputs/benchmark/development"))
    parser.add_argument("--work", type=Path, default=Path("outputs/benchmark/work"), help="the benchmark's trainings")
    parser.add_argument("--seeds", type=int, default=4, help="videos of each pair and motion (4)")
    parser.add_argument("--step-seeds", type=int, default=2, help="of these, for the single steps (2)")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args(arguments)
    grid, backbone = load_grid(options.grid), load_unet3d(dtype="bf16")  # as the benchmark's
    runner, exact = Runner(backbone, EMOJI, grid, options.work, Run(log=print)), load_unet3d(dtype="fp32")
    metrics = TrackedMetrics(grid)
    changes: dict[Way, list[np.ndarray]] = {way: [] for way in BOTH}
    scores: dict[Way, dict[Cell, dict[str, float]]] = {way: {} for way in (Way(), *BOTH, *ALONE)}
    for cell in asked(grid, options.seeds):
        if cell.seed < FIRST_SEED + options.step_seeds:  # in fp32: an alpha of 1e4 moves less than bf16 resolves
            pair, x = prepared(runner, exact, cell)
            with pair.on_base():
                for way, change in pair.changes(x).items():
                    changes[way].append(change)
        pair, x = prepared(runner, backbone, cell)
        with pair.on_base():
            for way, of in scores.items():
                of[cell] = metrics.score(pair.video(x, way), cell)
        print(cell.name, flush=True)
    steps, videos = steps_table(changes), videos_table(scores)
    write_json(options.docs / "guidance.json", {"one step": steps, "whole videos": videos})
    (options.docs / "guidance.md").write_text(report(steps, videos, scores[Way()]), encoding="utf-8")


def asked(grid: Grid, seeds: int) -> list[Cell]:
    """Every pair of the half doing every motion."""
    return [
        Cell(pair, motion, "grass", FIRST_SEED + seed)
        for pair in grid.sizes["full"].pairs
        for motion in grid.motions
        for seed in range(seeds)
    ]


def prepared(runner: Runner, backbone: Backbone, cell: Cell) -> tuple[Pair, torch.Tensor]:
    """A cell's branches on a base, and its start noise [1, C, F, h, w]."""
    assert cell.motion is not None
    subject, motion = runner.fusion(cell.subjects, EMOJI), runner.motion(cell.motion, EMOJI)
    pair = Pair(backbone, subject, motion, runner.grid.prompt(cell), EMOJI.collaborative)
    x = start_for(backbone, cell.seed, pair.config, runner.inverted(cell.motion, EMOJI))
    return pair, x.to(backbone.device)


def steps_table(changes: dict[Way, list[np.ndarray]]) -> dict[str, dict[str, Any]]:
    """By way and loss: the geometric mean of a video's relative change, lowest, highest, and in how many it fell."""
    return {
        str(way): {
            name: {
                "change": round(float(np.expm1(of.mean())), 5),
                "lowest": round(float(np.expm1(of.min())), 5),
                "highest": round(float(np.expm1(of.max())), 5),
                "fell": int((of < 0).sum()),
                "videos": len(of),
            }
            for name, of in zip(("L_m->s", "L_s->m"), np.array(videos).T, strict=True)
        }
        for way, videos in changes.items()
    }


def videos_table(scores: dict[Way, dict[Cell, dict[str, float]]]) -> dict[str, dict[str, dict[str, str]]]:
    """By motion, way and metric: the mean without guidance, else the difference to it."""
    plain = scores[Way()]
    table: dict[str, dict[str, dict[str, str]]] = {}
    for motion in dict.fromkeys(str(cell.motion) for cell in plain):
        for way, of in scores.items():
            row = {}
            for name in SHOWN:
                here, there = ({c: s[name] for c, s in by.items() if c.motion == motion} for by in (of, plain))
                if way == Way():
                    row[name] = str(estimate(list(here.values()), [cell.subjects for cell in here]))
                else:
                    row[name] = paired(here, there, lambda cell: cell.subjects).signed()
            table.setdefault(motion, {})[str(way)] = row
    return table


def report(steps: dict[str, Any], videos: dict[str, Any], plain: dict[Cell, Any]) -> str:
    """docs/guidance.md."""
    rows = []
    for way, by_loss in steps.items():
        cells = [
            f"{of['change']:+.2%} ({of['lowest']:+.2%} to {of['highest']:+.2%}) | {of['fell']} of {of['videos']}"
            for of in by_loss.values()
        ]
        rows.append(f"| {way} | {' | '.join(cells)} |")
    text = TEXT.format(
        pairs=", ".join(dict.fromkeys(" and ".join(cell.subjects) for cell in plain)),
        motions=" and ".join(videos),
        tau=EMOJI.collaborative.tau,
        all_steps=EMOJI.collaborative.steps,
        step_videos=next(iter(steps.values()))["L_m->s"]["videos"],
        one_step="\n".join(rows),
        each=len(plain) // len(videos),
    )
    for motion, ways in videos.items():
        head = f"| a step starts from | alpha | {' | '.join(SHOWN)} |\n|---|---|{'---|' * len(SHOWN)}\n"
        text += f"\n{motion.capitalize()}:\n\n{head}"
        text += "".join(f"| {way} | {' | '.join(row.values())} |\n" for way, row in ways.items())
    return text


if __name__ == "__main__":
    main()
