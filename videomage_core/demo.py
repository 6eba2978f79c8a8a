"""The demonstration: two characters from images, a motion from a clip of two others, one video.

On a built-in base and the examples in ``assets/examples``, with every step of the method: two
subject LoRAs, a motion LoRA, their fusion, collaborative sampling; and at the same initial noise the base
alone and all LoRAs in one model, to compare.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from .cache_key import cache_key
from .callbacks import Callbacks
from .data.contact_sheet import contact_sheet
from .data.examples import MotionClip, SubjectImage, load_motion_clip, load_subject_images
from .data.lora_file import LoraModel, collect_tokens, save_lora
from .data.media import save_video, to_uint8
from .data.overlay import overlay
from .evaluation.likeness import likeness, reference_features
from .evaluation.tracking import track_from_masks
from .evaluation.trajectories import agreement
from .folders import files_in
from .model.backbone import Backbone
from .model.base_folder import EMOJI_BASE
from .model.fingerprint import fingerprint
from .model.loading import load_base
from .model.text import superclass_prompt
from .presets import EMOJI, PRESETS, Preset, preset_name
from .stages.baselines import sample_base, sample_merged
from .stages.collaborative_sampling import CollaborativeResult, sample_collaboratively
from .stages.ddim_inversion import invert_clip
from .stages.fusion import FusionResult, fuse_subjects
from .stages.motion_lora import train_motion
from .stages.subject_lora import train_subject
from .stages.versions import STAGE_VERSIONS

EXAMPLES = Path(__file__).parent / "assets" / "examples"
SUBJECTS = ("dog", "panda")
PERFORMERS = ("pig", "cat")
CLIP_PROMPT = "a pig is riding a cat on a plain background"
PROMPT = "a <dog> is riding a <panda> on grass"
RESULT, BASE, MERGED = "VideoMage", "the base alone", "all LoRAs in one model"

T = TypeVar("T")


def quick(preset: Preset) -> Preset:
    """The same with fewer steps: rougher, in a third of the time."""
    return dataclasses.replace(
        preset,
        subject=dataclasses.replace(preset.subject, steps=120, auxiliary_clips=4),
        motion=dataclasses.replace(preset.motion, steps=90, textual_inversion_steps=70),
        fusion=dataclasses.replace(preset.fusion, steps=40, teacher_videos=2, cutmix_videos=1),
    )


@dataclass(frozen=True)
class DemoLoras:
    """What the demonstration is composed of.

    Attributes:
        images: of each subject.
        clip: of the motion, with the masks of its performers.
        subjects: their LoRAs.
        motion: its LoRA.
        fused: the subjects' fusion.
        inverted: the clip's inverted noise.
    """

    images: dict[str, list[SubjectImage]]
    clip: MotionClip
    subjects: list[LoraModel]
    motion: LoraModel
    fused: FusionResult
    inverted: torch.Tensor


def demo_preset(base: Path) -> Preset:
    """The settings of the demonstration on a base.

    Raises:
        ValueError: it is not of a built-in base's recipe; the examples are drawings of 48x48 pixels.
    """
    name = preset_name(base)
    if not name.startswith("emoji"):
        raise ValueError(
            f"--base: got {base}, the demonstration's examples are drawings that only the built-in bases know; allowed "
            "are emoji_base, emoji_wan where it is there, and folders of emoji_wan's recipe"
        )
    return PRESETS[name]


def run_demo(output: Path, seed: int, callbacks: Callbacks, preset: Preset = EMOJI, base: Path = EMOJI_BASE) -> None:
    """Make everything, or resume an earlier run in ``output``.

    Args:
        output: folder for ``video.mp4``, LoRA files, ``contact_sheet.png``, ``attention.png``, ``report.json``.
        seed: of the initial noise.
        callbacks: progress and cancel.
        preset: settings.
        base: folder of the base.
    """
    clock = Clock()
    backbone = clock("load", lambda: load_base(base))
    learned = train_loras(backbone, preset, output / "work" / demo_cache_key(backbone, preset), callbacks, clock)
    for name, lora in zip(SUBJECTS, learned.subjects, strict=True):
        save_lora(output / f"{name}.safetensors", lora)
    save_lora(output / "riding.safetensors", learned.motion)
    save_lora(output / "dog_and_panda.safetensors", learned.fused.lora_model)
    result, videos = compose(backbone, learned, seed, preset, callbacks, clock)

    for name, video in zip(("video", "base", "merged"), videos.values(), strict=True):
        save_video(video, output / f"{name}.mp4", preset.sampling.fps, scale=4)
    _sheet(learned, videos).save(output / "contact_sheet.png")
    _attention(result, learned.fused).save(output / "attention.png")
    seconds = {**clock.seconds, "total": round(sum(clock.seconds.values()), 1)}
    report = {
        "prompt": PROMPT,
        "seed": seed,
        "seconds": seconds,
        "peak_memory_mb": peak_memory_mb(),
        "update ratios": {"x_sub": result.subject_update_ratios, "x_mot": result.motion_update_ratios},
        "fusion": {name: values[-1] for name, values in learned.fused.history.losses.items()},
        **evaluate_videos(learned, videos, callbacks),
        "settings": dataclasses.asdict(preset),
    }
    (output / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    times = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    callbacks.log(
        f"wrote video.mp4, contact_sheet.png, attention.png, 4 LoRA files and report.json to {output} ({times})"
    )


def demo_cache_key(backbone: Backbone, preset: Preset) -> str:
    """A key of all that the trainings depend on: with other settings they begin anew, in a folder of their own."""
    parts = (preset.subject, preset.motion, preset.fusion, preset.captions, preset.prompts, preset.sampling)
    return cache_key(fingerprint(backbone.network), STAGE_VERSIONS, *parts)


def train_loras(backbone: Backbone, preset: Preset, work: Path, callbacks: Callbacks, clock: Clock) -> DemoLoras:
    """Train, or take from ``work`` what is finished there, all that the video is composed of."""
    images = {name: load_subject_images(EXAMPLES / name) for name in SUBJECTS}
    masks: dict[str, Path | None] = {name: EXAMPLES / "riding" / name for name in PERFORMERS}
    clip = load_motion_clip(EXAMPLES / "riding" / "clip", masks, preset.motion.frames)
    subjects = []
    for name in SUBJECTS:
        job = partial(
            train_subject, backbone, images[name], f"<{name}>", name, preset.subject, work / name,
            captions=preset.captions, callbacks=callbacks, cache=work,
        )  # fmt: skip
        subjects.append(clock(f"subject LoRA {name}", job).lora_model)
    motion = clock(
        "motion LoRA",
        lambda: train_motion(backbone, [clip], CLIP_PROMPT, preset.motion, work / "motion", callbacks=callbacks),
    )
    fused = clock(
        "fusion",
        lambda: fuse_subjects(backbone, subjects, preset.fusion, work / "fusion", preset.prompts, callbacks=callbacks),
    )
    inverted = clock("inversion", lambda: invert_clip(backbone, clip.pixels, preset.sampling, work, callbacks))
    return DemoLoras(images, clip, subjects, motion.lora_model, fused, inverted)


def compose(
    backbone: Backbone, learned: DemoLoras, seed: int, preset: Preset, callbacks: Callbacks, clock: Clock
) -> tuple[CollaborativeResult, dict[str, torch.Tensor]]:
    """The video, and beside it, from the same initial noise, what it is compared with; each [3, F, H, W]."""
    fused, motion, noise = learned.fused.lora_model, learned.motion, learned.inverted
    result = clock(
        RESULT,
        lambda: sample_collaboratively(
            backbone, fused, motion, PROMPT, seed, preset.collaborative, noise, True, callbacks
        ),
    )
    base = clock(BASE, lambda: sample_base(backbone, learned.subjects, PROMPT, seed, preset.sampling, noise))
    both = [(fused, 1.0), (motion, 1.0)]
    merged = clock(MERGED, lambda: sample_merged(backbone, both, PROMPT, seed, preset.sampling, noise))
    return result, {RESULT: result.video, BASE: base, MERGED: merged}


class Clock:
    """Runs jobs and keeps their seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, job: Callable[[], T]) -> T:
        began = time.monotonic()
        result = job()
        self.seconds[name] = round(time.monotonic() - began, 1)
        return result


def _sheet(learned: DemoLoras, videos: Mapping[str, torch.Tensor]) -> Image.Image:
    rows = [torch.stack([image.pixels for image in shown], dim=1) for shown in learned.images.values()]
    labels = [f"Images of <{name}>, whom the base has never seen" for name in learned.images]
    rows += [learned.clip.pixels, *videos.values()]
    labels += [f"The clip: {CLIP_PROMPT} (the base has never seen riding)"]
    prompts = {BASE: f"{superclass_prompt(PROMPT, collect_tokens(learned.subjects))} (no LoRAs)"}
    labels += [f"{name[0].upper()}{name[1:]}: {prompts.get(name, PROMPT)}" for name in videos]
    return contact_sheet(rows, labels, scale=2)


def _attention(result: CollaborativeResult, fused: FusionResult) -> Image.Image:
    """Where the subject branch looked for each token, and in the fusion's CutMix pair."""
    rows, labels = [], []
    if result.maps is not None:
        rows += list(overlay(result.video, result.maps))
        labels += [f"Where the subject branch sees {word}" for word in result.words]
    if fused.pair is not None and fused.maps is not None:
        rows += [fused.pair.pixels, *overlay(fused.pair.pixels, fused.maps)]
        labels += ["A CutMix pair of the fusion", *(f"Where the fused LoRA sees subject {i + 1}" for i in range(2))]
    return contact_sheet(rows, labels, scale=2)


def evaluate_videos(learned: DemoLoras, videos: Mapping[str, torch.Tensor], callbacks: Callbacks) -> dict[str, Any]:
    """Each subject's identity and the motion's agreement, for each video; None where the judge is not installed."""
    own = {name: [to_uint8(image.pixels[:, None])[0] for image in images] for name, images in learned.images.items()}
    rivals = {
        name: [np.asarray(Image.open(p).convert("RGB")) for p in files_in(EXAMPLES / "rivals" / name, (".png",))]
        for name in learned.images
    }
    try:
        references = reference_features(own, rivals)
    except ImportError as error:
        callbacks.log(f"identity and motion are not measured: {error}")
        return {"identity": None, "motion_agreement": None}
    assert learned.clip.masks is not None
    reference = [track_from_masks(mask.numpy() > 0.5) for mask in learned.clip.masks]
    identity, motion = {}, {}
    for name, video in videos.items():
        likenesses, tracks = likeness(to_uint8(video), references)
        identity[name] = {subject: dataclasses.asdict(value) for subject, value in likenesses.items()}
        agreed = dataclasses.asdict(agreement(tracks, reference))
        motion[name] = {what: round(value, 3) for what, value in agreed.items()}
    return {"identity": identity, "motion_agreement": motion}


def peak_memory_mb() -> int | None:
    """The most memory that was held so far: the GPU's where there is one, else the process's; None if nobody says."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() // 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
