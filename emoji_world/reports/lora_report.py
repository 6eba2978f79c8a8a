"""Measure what the LoRA stages learn on the built-in base.

    python -m emoji_world.reports.lora_report --split development

trains subject LoRAs of held-out characters and motion LoRAs of held-out interactions, samples each
with five seeds beside the base at the same initial noise, and lets the judge look.  Figures go to
docs/lora_report_HALF.json, sheets of the unselected samples beside it.

* Identity: cosine of the tracked, cropped character with its own pictures (MobileNetV2 features); how
  often that is more than the base's own character of this concept reaches from the same initial noise;
  and how often no other artist's drawing of its concept is nearer (chance: 1 in their number).  The
  ceiling is the character itself, drawn in the same scenes and passed through the base's autoencoder.
* Way: how far it goes where it is asked to walk to the right: a LoRA that is too strong holds it still.
* Motion: how often the tracked way is nearest to true renders of the asked interaction, among all
  trained and this half's held-out ones; the performers are never the clip's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videomage_core.callbacks import Callbacks
from videomage_core.data.contact_sheet import contact_sheet
from videomage_core.data.lora_file import LoraModel, apply_loras
from videomage_core.data.media import to_uint8
from videomage_core.evaluation.tracking import track
from videomage_core.model.loading import load_unet3d
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.presets import EMOJI
from videomage_core.sampling import generate_videos
from videomage_core.stages.motion_lora import train_motion
from videomage_core.stages.subject_lora import train_subject

from ..judge.judge import Identity, Judge, Rate, character_crops, standard_judge
from ..judge.motion_judge import MotionJudge
from ..world.characters import Character, training_characters
from ..world.examples import motion_clip, pictures, prompt, to_pixels
from ..world.scene import Scene, draw
from ..world.small_dataset import write_json
from ..world.small_motions import TRAINED_PAIR, TRAINED_SINGLE
from ..world.small_splits import DEVELOPMENT, TEST, Split

ROOT = Path(__file__).parents[2]
SEEDS = 5
SUBJECT_SCENES = (("standing still", "night"), ("walking to the right", "grass"))
TOKEN = "<toy>"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("development", "test"), default="development")
    parser.add_argument("--subjects", type=int, default=3, help="characters learned (3)")
    parser.add_argument("--motions", type=int, default=2, help="interactions learned (2)")
    parser.add_argument("--cache-dir", type=Path, default=Path("runs/lora_report"), help="folder of the trainings")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where figures and sheets go")
    options = parser.parse_args(arguments)
    split = DEVELOPMENT if options.split == "development" else TEST
    backbone, judge, callbacks = load_unet3d(), standard_judge(), Callbacks(log=print)
    figures: dict[str, Any] = {"half": options.split, "seeds": SEEDS, "subjects": [], "motions": []}
    for character in split.characters[: options.subjects]:
        folder = options.cache_dir / options.split / character.concept
        figures["subjects"].append(learn_subject(backbone, judge, character, split, folder, options.docs, callbacks))
        print(figures["subjects"][-1], flush=True)
    for motion in split.interactions[: options.motions]:
        folder = options.cache_dir / options.split / motion.replace(" ", "_")
        figures["motions"].append(learn_motion(backbone, split, motion, folder, options.docs, callbacks))
        print(figures["motions"][-1], flush=True)
    write_json(options.docs / f"lora_report_{options.split}.json", figures)


def learn_subject(
    backbone: UNet3DBackbone,
    judge: Judge,
    character: Character,
    split: Split,
    folder: Path,
    docs: Path,
    callbacks: Callbacks,
) -> dict[str, Any]:
    """Train one character, sample it with and without its LoRA, and compare with its own drawing."""
    images = pictures(character, split.seeds[0], TOKEN)
    trained = train_subject(
        backbone, images, TOKEN, character.concept, EMOJI.subject, folder, captions=EMOJI.captions, callbacks=callbacks,
        cache=folder.parent / "auxiliary",
    )  # fmt: skip
    seeds = list(split.seeds[100 : 100 + SEEDS])
    result: dict[str, Any] = {"concept": character.concept}
    similarity: dict[str, list[float]] = {}
    rows, labels = [image.pixels[:, None] for image in images[:1]], [f"{character.concept}: one of its pictures"]
    for name, subject, loras in (
        ("base", character.concept, []),
        ("LoRA", TOKEN, [(trained.lora_model, 1.0)]),
    ):
        videos = []
        for motion, place in SUBJECT_SCENES:
            text = prompt((subject,), motion, place)
            generated = sample(backbone, text, seeds, loras)
            videos += list(generated)
            rows += list(generated)
            labels += [f"{name}, seed {seed}: {text}" for seed in seeds]
        similarity[name] = similarities(judge, videos, character)
        walks = [distance_to_the_right(video) for video in videos[-SEEDS:]]
        result[name] = identity(judge, videos, character) | {"way": round(float(np.mean(walks)), 3)}
    nearer = sum(learned > own for learned, own in zip(similarity["LoRA"], similarity["base"], strict=True))
    result["nearer than the base's own"] = f"{nearer}/{len(similarity['base'])}"
    result["ceiling"] = identity(judge, [through_autoencoder(backbone, v) for v in drawn(character, split)], character)
    contact_sheet(rows, labels).save(docs / "images" / f"subject_{split_name(split)}_{character.concept}.png")
    return result


def distance_to_the_right(video: torch.Tensor) -> float:
    """How far the character goes from the first frame to the last, in shares of the frame's width."""
    centres = track(to_uint8(video), 1)[0].centres
    return float(centres[-1, 0] - centres[0, 0]) / video.shape[-1]


def drawn(character: Character, split: Split) -> list[torch.Tensor]:
    """The character itself in the scenes that are asked for, [3, F, H, W] each."""
    scenes = [
        Scene((character,), motion, place, split.seeds[100 + i]) for motion, place in SUBJECT_SCENES for i in (0, 1)
    ]
    return [to_pixels(draw(scene).frames) for scene in scenes]


def through_autoencoder(backbone: UNet3DBackbone, video: torch.Tensor) -> torch.Tensor:
    """[3, F, H, W], encoded and decoded: the best that anything sampled with this base can look."""
    return backbone.decode_video(backbone.encode_video(video[None]))[0]


def judged_identity(judge: Judge, video: torch.Tensor, character: Character) -> Identity | None:
    """What the judge says of a video [3, F, H, W]; None if nothing is found in it."""
    frames = to_uint8(video)
    seen = character_crops(frames, track(frames, 1)[0])
    return judge.identity(seen, character) if len(seen) else None


def similarities(judge: Judge, videos: Sequence[torch.Tensor], character: Character) -> list[float]:
    """Of each video; -1 where nothing is found."""
    identities = [judged_identity(judge, video, character) for video in videos]
    return [-1.0 if one is None else one.similarity for one in identities]


def identity(judge: Judge, videos: Sequence[torch.Tensor], character: Character) -> dict[str, Any]:
    """Similarity to the character's own drawing, mean and standard deviation, and how often it is the nearest."""
    judged = (judged_identity(judge, video, character) for video in videos)
    identities = [one for one in judged if one is not None]
    values = np.array([one.similarity for one in identities])
    first = Rate(sum(one.rank == 1 for one in identities), len(videos))
    return {
        "similarity": round(float(values.mean()), 3) if len(values) else None,
        "spread": round(float(values.std(ddof=1)), 3) if len(values) > 1 else None,
        "nearest of its class": f"{first.right}/{first.of}",
        "rivals": identities[0].of - 1 if identities else None,
    }


def learn_motion(
    backbone: UNet3DBackbone, split: Split, motion: str, folder: Path, docs: Path, callbacks: Callbacks
) -> dict[str, Any]:
    """Train one interaction from one clip; others perform it."""
    performers = tuple(c for c in training_characters() if c.artist == "noto" and c.concept in ("pig", "cat"))
    clip, text = motion_clip(performers, motion, "plain", split.seeds[50])
    trained = train_motion(backbone, [clip], text, EMOJI.motion, folder, callbacks=callbacks)
    judge = MotionJudge(motions={1: tuple(TRAINED_SINGLE), 2: (*TRAINED_PAIR, *split.interactions)})
    seeds = list(split.seeds[100 : 100 + SEEDS])
    prompts = [
        prompt(pair, motion, place) for pair, place in ((("frog", "panda"), "grass"), (("fox", "penguin"), "night"))
    ]
    result: dict[str, Any] = {"motion": motion}
    rows, labels = [clip.pixels], [f"the clip: {text}"]
    for name, loras in (("base", []), ("LoRA", [(trained.lora_model, 1.0)])):
        right = 0
        distances = []
        for request in prompts:
            generated = sample(backbone, request, seeds, loras)
            rows += list(generated)
            labels += [f"{name}, seed {seed}: {request}" for seed in seeds]
            for video in generated:
                distances_to = judge.distances(track(to_uint8(video), 2))
                right += min(distances_to, key=distances_to.__getitem__) == motion
                distances.append(distances_to[motion])
        result[name] = {
            "performed": f"{right}/{len(distances)}",
            "distance": round(float(np.mean(distances)), 3),
            "spread": round(float(np.std(distances, ddof=1)), 3),
        }
    contact_sheet(rows, labels).save(docs / "images" / f"motion_{split_name(split)}_{motion.replace(' ', '_')}.png")
    return result


def sample(
    backbone: UNet3DBackbone, text: str, seeds: Sequence[int], lora_models: Sequence[tuple[LoraModel, float]]
) -> torch.Tensor:
    """Videos of one prompt [N, 3, F, H, W], the initial noise of a seed the same whatever LoRA acts."""
    with apply_loras(backbone, lora_models) as tokens:
        return generate_videos(backbone, [text] * len(seeds), seeds, EMOJI.sampling, None, tokens)


def split_name(split: Split) -> str:
    return "development" if split is DEVELOPMENT else "test"


if __name__ == "__main__":
    main()
