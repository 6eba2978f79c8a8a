"""Measure ``emoji_wan``, a folder that ``diffusers.WanPipeline`` opens, and write its model card.

    python -m emoji_world.reports.emoji_wan_report --base FOLDER --samples 2 --training-minutes 300
    python -m emoji_world.reports.emoji_wan_report --judge-alone

writes docs/emoji_wan.json, the base's README.md and two sheets of unselected samples; see ``base_report``.  Stopped, it
resumes.  ``--judge-alone`` measures the judge on true renders: docs/rich_world_judge.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..judge.judge import Expected, Judge
from ..world.small_dataset import write_json
from ..world.worlds import RICH, World, part_of
from .base_report import (
    MEASURES,
    ROOT,
    Generate,
    Measure,
    Report,
    add_report_flags,
    as_json,
    by_expected,
    counted,
    require_samples,
    taken_for_another,
    true_renders,
    with_fingerprint,
)
from .base_report_prompts import card_prompts
from .base_report_text import Card, world_facts

BASE = ROOT / "videomage_core" / "assets" / "emoji_wan"
JUDGE_CLIPS = 2  # on how many backgrounds each drawing is in the judge's bank; more takes long
STEPS, GUIDANCE_SCALE = 20, 5.0
AIMS = {"single concept": 0.95, "both of a pair": 0.90, "both, each in its role": 0.85, "motion": 0.97}
RICH_MEASURES: dict[str, Measure] = {
    name: (section, aspect, count, AIMS.get(name)) for name, (section, aspect, count, _) in MEASURES.items()
}
CARD = Card(
    name="emoji_wan",
    tags="text-to-video, toy, emoji, wan",
    introduction="A tiny text-to-video model of the architecture of Wan 2.1, so that the method can be tried, tested "
    "and understood in\nminutes on a CPU.",
    architecture="""\
A diffusers folder that `WanPipeline` opens: `WanTransformer3DModel`, `AutoencoderKLWan`, `UMT5EncoderModel` with a
small tokenizer of its own.  Flow matching.  Sampled in {steps} steps at guidance {guidance}.""",
    knows="* Colours of characters: {colour_names}.\n",
    example='Prompts read like "a dog is chasing a blue cat on grass"; other phrasings are understood.',
    colours="Half of the training scenes have their colours varied a little, and some characters are painted in one "
    "colour, which the\ncaption names.",
    cores="one CPU core",
    judge="""\
Of single pictures by an artist
left out of its bank the judge names {unseen} right, of {choices} concepts.  What it takes for another thing even in
true renders: {confused}.""",
)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_report_flags(parser, BASE, "runs/wan_card", samples=2)
    parser.add_argument("--concepts", nargs="+", metavar="NAME", help="those the base was trained on (all)")
    parser.add_argument("--first-drawings", action="store_true", help="it was trained on first drawings alone")
    parser.add_argument("--steps", type=int, default=STEPS, help="denoising steps (%(default)s)")
    parser.add_argument("--guidance", type=float, default=GUIDANCE_SCALE, help="guidance scale (%(default)s)")
    parser.add_argument("--judge-alone", action="store_true", help="no base: how well the judge names true renders")
    options = parser.parse_args(arguments)
    require_samples(parser, options.samples)
    world = part_of(RICH, options.concepts, options.first_drawings)
    if options.judge_alone:
        write_json(options.docs / "rich_world_judge.json", judge_alone(world, options.samples))
        return
    generate, sampling = wan_sampler(options.base, world, options.steps, options.guidance)
    prompts, judge = card_prompts(world), Judge(JUDGE_CLIPS, world=world)
    report = Report(CARD, options.base, options.docs, prompts, judge, RICH_MEASURES, world_facts(world))
    report.write(options.cache_dir, options.samples, generate, sampling, options.training_minutes)


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


def wan_sampler(folder: Path, world: World, steps: int, guidance: float) -> tuple[Generate, dict[str, Any]]:
    """diffusers' own pipeline on a base's folder, and the settings with a fingerprint of weights and settings."""
    from diffusers import WanPipeline

    from ..world.scene import SIZE

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

    return generate, with_fingerprint(folder, steps, guidance)


if __name__ == "__main__":
    main()
