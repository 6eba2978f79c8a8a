"""Measure a base of the rich world, a folder that ``diffusers.WanPipeline`` opens, and write its model card.

    python -m emoji_world.world.report --base FOLDER --samples 2 --training-minutes 300
    python -m emoji_world.world.report --judge-alone

As ``emoji_world.reports.base_report`` does for ``emoji_base``: the base is asked for every prompt of the rich world
with several seeds, a judge that took no part in training looks, and looks at true renders of the same prompts for the
ceiling.  Writes docs/emoji_wan.json, the base's README.md and two sheets of unselected samples.  Stopped, it goes
on where it was.  ``--judge-alone`` measures the judge on true renders: docs/rich_world_judge.json.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..judge.judge import Expected, Judge
from ..reports.base_report import (
    MEASURES,
    ROOT,
    SHEET_ROWS,
    Generate,
    Measure,
    as_json,
    by_expected,
    counted,
    measure,
    sampled,
    save_sheet,
    taken_for_another,
    true_renders,
)
from ..reports.base_report_prompts import card_prompts
from .report_text import model_card
from .small_dataset import write_json
from .worlds import RICH, World, part_of

BASE = ROOT / "videomage_core" / "assets" / "emoji_wan"
JUDGE_CLIPS = 2  # on how many backgrounds each drawing is in the judge's bank; more takes long
STEPS, GUIDANCE_SCALE = 20, 5.0
AIMS = {"single concept": 0.95, "both of a pair": 0.90, "both, each in its role": 0.85, "motion": 0.97}
RICH_MEASURES: dict[str, Measure] = {
    name: (section, aspect, count, AIMS.get(name)) for name, (section, aspect, count, _) in MEASURES.items()
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2, help="seeds per prompt (2)")
    parser.add_argument("--base", type=Path, default=BASE, help="the base's folder")
    parser.add_argument("--concepts", nargs="+", metavar="NAME", help="those the base was trained on (all)")
    parser.add_argument("--first-drawings", action="store_true", help="it was trained on first drawings alone")
    parser.add_argument("--cache-dir", type=Path, default=Path("runs/wan_card"), help="folder for the raw samples")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where figures and sheets go")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"denoising steps ({STEPS})")
    parser.add_argument("--guidance", type=float, default=GUIDANCE_SCALE, help=f"guidance scale ({GUIDANCE_SCALE:g})")
    parser.add_argument("--training-minutes", type=float, help="what training took, in minutes on one CPU core")
    parser.add_argument("--judge-alone", action="store_true", help="no base: how well the judge names true renders")
    options = parser.parse_args(arguments)
    if options.samples < 1:
        parser.error(f"--samples: got {options.samples}, allowed: 1 or more")
    world = part_of(RICH, options.concepts, options.first_drawings)
    if options.judge_alone:
        write_json(options.docs / "rich_world_judge.json", judge_alone(world, options.samples))
    else:
        report(world, options)


def judge_alone(world: World, seeds: int) -> dict[str, Any]:
    """What the judge says of true renders: the most that any base can reach, and what it takes for what."""
    prompts = card_prompts(world)
    judge = Judge(JUDGE_CLIPS, world=world)
    scores = judge.score(true_renders(prompts, seeds), [Expected.of(prompt.scene) for prompt in prompts] * seeds)
    sections = [prompt.section for prompt in prompts] * seeds
    return {
        "prompts": len(prompts),
        "seeds_per_prompt": seeds,
        "videos": len(scores.verdicts),
        "ceiling": {name: as_json(counted(scores, sections, how)) for name, how in RICH_MEASURES.items()},
        "judge_on_unseen_artists": as_json(judge.names_unseen_artists()),
        "taken_for_another": taken_for_another(scores),
        "details": by_expected(scores),
    }


def report(world: World, options: argparse.Namespace) -> None:
    """Sample, look, write."""
    generate, sampling = wan_sampler(options.base, world, options.steps, options.guidance)
    prompts = card_prompts(world)
    videos = sampled(options.cache_dir / sampling["fingerprint"], prompts, options.samples, generate)
    judge = Judge(JUDGE_CLIPS, world=world)
    figures = measure(prompts, videos, options.samples, judge, RICH_MEASURES) | {"sampling": sampling}
    write_json(options.docs / "emoji_wan.json", figures)
    (options.base / "README.md").write_text(model_card(world, figures, options.training_minutes), encoding="utf-8")
    for section in ("singles", "pairs"):
        rows = [index for index, prompt in enumerate(prompts) if prompt.section == section][:SHEET_ROWS]
        labels = [prompts[row].scene.caption for row in rows]
        save_sheet(videos[rows], labels, options.docs / "images" / f"emoji_wan_{section}.png")
    for name, row in figures["quality"].items():
        print(f"{name}: {row['samples']['share']:.3f}, ceiling {row['ceiling']['share']:.3f}")


def wan_sampler(folder: Path, world: World, steps: int, guidance: float) -> tuple[Generate, dict[str, Any]]:
    """diffusers' own pipeline on a base's folder, and the settings with a fingerprint of weights and settings."""
    from diffusers import WanPipeline

    from .scene import SIZE

    pipeline = WanPipeline.from_pretrained(folder).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    # The pipeline rounds to 4n+1 frames for its factor 4; for a factor of 1 the same rounding adds a frame.
    frames = world.frames - (pipeline.vae.config.scale_factor_temporal == 1)

    def generate(prompts: list[str], seeds: list[int]) -> np.ndarray:
        videos = pipeline(
            prompt=prompts,
            negative_prompt=[""] * len(prompts),
            height=SIZE,
            width=SIZE,
            num_frames=frames,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
        ).frames  # [N,F,H,W,3] in 0..1
        return (np.clip(videos, 0, 1) * 255).round().astype(np.uint8)

    digest = hashlib.sha256(f"{steps} {guidance}".encode())
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(path.read_bytes())
    settings = {"steps": steps, "guidance_scale": guidance}
    return generate, settings | {"fingerprint": digest.hexdigest()[:12]}


if __name__ == "__main__":
    main()
