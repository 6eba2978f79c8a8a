"""The demonstration: what works today, on the embedded base and the examples in ``assets/examples``.

Today: prompts to videos, a subject learned from four pictures, a motion learned from one clip.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from .data.contact_sheet import contact_sheet
from .data.examples import load_motion_clip, load_subject_images
from .data.lora_file import Concept, applied, save_lora
from .data.media import save_video
from .model.backbone import Backbone
from .model.unet3d import load_unet3d
from .presets import EMOJI, Preset
from .run import Run
from .sampling import generate_videos
from .stages.motion_lora import train_motion
from .stages.subject_lora import train_subject

EXAMPLES = Path(__file__).parent / "assets" / "examples"
PROMPTS = (
    "a panda is jumping on grass",
    "a robot is walking to the right on a beach",
    "a pig is on top of a rabbit under water",
    "an octopus is walking towards a chick on a beach",
)
SUBJECT_PROMPT = "a {subject} is walking to the right on a beach"
MOTION_PROMPT = "a frog is riding a panda on grass"
CLIP_PROMPT = "a pig is riding a cat on a plain background"

T = TypeVar("T")


def run_demo(output: Path, seed: int, run: Run, preset: Preset = EMOJI) -> None:
    """Make everything, or go on where an earlier run in ``output`` stopped.

    Args:
        output: folder for videos, LoRA files, ``contact_sheet.png`` and ``report.json``.
        seed: of the first prompt's video, each next one adds 1; and of the LoRAs' samples.
        run: progress and cancel.
        preset: settings.
    """
    seconds: dict[str, float] = {}

    def timed(name: str, job: Callable[[], T]) -> T:
        began = time.monotonic()
        result = job()
        seconds[name] = round(time.monotonic() - began, 1)
        return result

    backbone = timed("load", load_unet3d)
    seeds = range(seed, seed + len(PROMPTS))
    videos = timed("sample", lambda: generate_videos(backbone, PROMPTS, seeds, preset.sampling, run))
    rows, labels = list(videos), list(PROMPTS)

    pictures = load_subject_images(EXAMPLES / "dog")
    subject = timed(
        "subject LoRA",
        lambda: train_subject(
            backbone, pictures, "<dog>", "dog", preset.subject, output / "subject.training",
            captions=preset.captions, run=run,
        ),
    )  # fmt: skip
    save_lora(output / "dog.safetensors", subject.concept)
    clip = load_motion_clip(
        EXAMPLES / "riding" / "clip",
        {name: EXAMPLES / "riding" / name for name in ("pig", "cat")},
        preset.motion.frames,
    )
    motion = timed(
        "motion LoRA",
        lambda: train_motion(backbone, [clip], CLIP_PROMPT, preset.motion, output / "motion.training", run=run),
    )
    save_lora(output / "riding.safetensors", motion.concept)

    rows.append(torch.stack([picture.pixels for picture in pictures], dim=1))
    labels.append("Pictures of a dog that the base has never seen")
    comparisons = (
        ("The base", SUBJECT_PROMPT.format(subject="dog"), None),
        ("The subject LoRA, same start noise", SUBJECT_PROMPT.format(subject="<dog>"), subject.concept),
        ("A clip of a motion that the base has never seen", CLIP_PROMPT, clip.pixels),
        ("The base", MOTION_PROMPT, None),
        ("The motion LoRA, same start noise", MOTION_PROMPT, motion.concept),
    )
    for label, prompt, what in comparisons:
        video = what if isinstance(what, torch.Tensor) else _one(backbone, prompt, seed, what, preset)
        rows.append(video)
        labels.append(f"{label}: {prompt}")

    output.mkdir(parents=True, exist_ok=True)
    for index, video in enumerate(rows):
        save_video(video, output / f"{index + 1:02}.mp4", preset.sampling.fps, scale=4)
    contact_sheet(rows, labels, scale=2).save(output / "contact_sheet.png")
    report = {
        "rows": labels,
        "seed": seed,
        "settings": {name: dataclasses.asdict(getattr(preset, name)) for name in ("sampling", "subject", "motion")},
        "seconds": seconds,
    }
    (output / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    times = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    run.log(f"wrote {len(rows)} videos, 2 LoRA files, contact_sheet.png and report.json to {output} ({times})")


def _one(backbone: Backbone, prompt: str, seed: int, concept: Concept | None, preset: Preset) -> torch.Tensor:
    with applied(backbone, [] if concept is None else [(concept, 1.0)]) as tokens:
        return generate_videos(backbone, [prompt], [seed], preset.sampling, None, tokens)[0]
