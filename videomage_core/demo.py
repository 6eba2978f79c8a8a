"""The demonstration: what works today, on the embedded base, in one call.

Today: prompts to videos.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

from .config import EMOJI_SAMPLING
from .data.contact_sheet import contact_sheet
from .data.media import save_video
from .model.unet3d import load_unet3d
from .run import Run
from .sampling import generate_videos

PROMPTS = (
    "a panda is jumping on grass",
    "a robot is walking to the right on a beach",
    "a frog is growing on a plain background",
    "a penguin is standing still in the snow",
    "a dog is chasing a cat on grass",
    "a pig is on top of a rabbit under water",
    "a fox is next to a monkey at night",
    "an octopus is walking towards a chick on a beach",
)


def run_demo(output: Path, seed: int, run: Run) -> None:
    """Make a video of each prompt; write the videos, ``contact_sheet.png`` and ``report.json``.

    Args:
        output: folder for what is made.
        seed: of the first video; each next one adds 1.
        run: progress and cancel.
    """
    config = EMOJI_SAMPLING
    began = time.monotonic()
    backbone = load_unet3d()
    loaded = time.monotonic()
    seeds = range(seed, seed + len(PROMPTS))
    videos = generate_videos(backbone, PROMPTS, seeds, config, run)
    sampled = time.monotonic()

    output.mkdir(parents=True, exist_ok=True)
    for prompt, video in zip(PROMPTS, videos, strict=True):
        save_video(video, output / f"{prompt.replace(' ', '_')}.mp4", config.fps, scale=4)
    contact_sheet(list(videos), list(PROMPTS), scale=2).save(output / "contact_sheet.png")
    seconds = {"load": loaded - began, "sample": sampled - loaded, "total": time.monotonic() - began}
    report = {
        "prompts": list(PROMPTS),
        "seeds": list(seeds),
        "settings": dataclasses.asdict(config),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }
    (output / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    run.log(f"wrote {len(videos)} videos, contact_sheet.png and report.json to {output}")
