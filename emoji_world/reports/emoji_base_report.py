"""Measure ``emoji_base`` and write its model card.

    python -m emoji_world.reports.emoji_base_report --samples 3 --training-minutes 300

writes docs/emoji_base.json, the base's README.md and two sheets of unselected samples; see ``base_report``.  Stopped,
it resumes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..judge.judge import standard_judge
from ..world.worlds import SMALL
from .base_report import (
    MEASURES,
    ROOT,
    Generate,
    Report,
    add_report_flags,
    require_samples,
    with_fingerprint,
)
from .base_report_prompts import card_prompts
from .base_report_text import Card, world_facts

BASE = ROOT / "videomage_core" / "assets" / "emoji_base"
CARD = Card(
    name="emoji_base",
    tags="text-to-video, toy, emoji",
    introduction="A tiny text-to-video diffusion model, so that every stage of VideoMage can be tried, tested and "
    "understood in\nminutes on a CPU.",
    architecture="""\
A diffusers folder: `UNet3DConditionModel`, `AutoencoderKL`, `CLIPTextModel` trained along with the
U-Net, a word tokenizer, `DDIMScheduler`.  Sampled with {steps} DDIM steps at guidance {guidance}.""",
    example='Prompts read like "a dog is chasing a cat on grass".',
    colours="Half of the training scenes have their colours varied.",
    cores="two CPU cores",
    judge="The judge is\nat home among these drawings: of true renders by an artist left out of its bank it names "
    "{unseen}.",
)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_report_flags(parser, BASE, "runs/card", samples=3)
    parser.add_argument("--steps", type=int, help="denoising steps (the base's default)")
    parser.add_argument("--guidance", type=float, help="guidance scale (the base's default)")
    options = parser.parse_args(arguments)
    require_samples(parser, options.samples)
    generate, sampling = base_sampler(options.base, options.steps, options.guidance)
    report = Report(CARD, options.base, options.docs, card_prompts(), standard_judge(), MEASURES, world_facts(SMALL))
    report.write(options.cache_dir, options.samples, generate, sampling, options.training_minutes)


def base_sampler(folder: Path, steps: int | None, guidance: float | None) -> tuple[Generate, dict[str, Any]]:
    """The base's own sampler, and its settings with a fingerprint of weights and settings."""
    from videomage_core.config import EMOJI_SAMPLING
    from videomage_core.model.loading import load_unet3d
    from videomage_core.sampling import generate_videos

    given = {"steps": steps, "guidance_scale": guidance}
    config = replace(EMOJI_SAMPLING, **{name: value for name, value in given.items() if value is not None})
    backbone = load_unet3d(folder)

    def generate(prompts: list[str], seeds: list[int]) -> np.ndarray:
        pixels = generate_videos(backbone, prompts, seeds, config).float().clamp(-1, 1)
        frames = ((pixels + 1) * 127.5).round().byte()
        return frames.permute(0, 2, 3, 4, 1).cpu().numpy()  # [N,3,F,H,W] -> [N,F,H,W,3]

    return generate, with_fingerprint(folder, config.steps, config.guidance_scale)


if __name__ == "__main__":
    main()
