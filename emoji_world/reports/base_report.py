"""Measure the embedded base and write its model card.

    python -m emoji_world.reports.base_report --samples 3 --training-minutes 300

asks the base for every prompt of ``card_prompts`` with several seeds, lets the judge look, looks at
true renders of the same prompts for the ceiling, and writes docs/emoji_base.json, the base's
README.md and two sheets of unselected samples.  Stopped, it goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videomage_core.data.contact_sheet import contact_sheet

from ..judge.judge import Expected, Judge, Rate, Scores, standard_judge
from ..world.scene import draw
from ..world.small_dataset import write_json
from .base_report_prompts import SECTIONS, CardPrompt, card_prompts
from .base_report_text import model_card

Generate = Callable[[list[str], list[int]], np.ndarray]

ROOT = Path(__file__).parents[2]
BASE = ROOT / "videomage_core" / "assets" / "emoji_base"
CHUNK = 8  # videos sampled at a time
SHEET_ROWS = 12

# section (None: all), aspect, number of characters (None: any), aim as a share of the ceiling
Measure = tuple[str | None, str, int | None, float | None]
MEASURES: dict[str, Measure] = {
    "single concept": ("singles", "subjects", 1, 0.90),
    "both of a pair": ("pairs", "subjects", 2, 0.75),
    "both, each in its role": ("pairs", "roles", 2, None),
    "motion": ("motions", "motion", None, 0.90),
    "motion of one": ("motions", "motion", 1, None),
    "motion of two": ("motions", "motion", 2, None),
    "background": (None, "background", None, None),
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=3, help="seeds per prompt (3)")
    parser.add_argument("--base", type=Path, default=BASE, help="diffusers folder of the base")
    parser.add_argument("--cache-dir", type=Path, default=Path("runs/card"), help="folder for the raw samples")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where figures and sheets go")
    parser.add_argument("--steps", type=int, help="denoising steps (the base's default)")
    parser.add_argument("--guidance", type=float, help="guidance scale (the base's default)")
    parser.add_argument("--training-minutes", type=float, help="what training took, in minutes on two CPU cores")
    options = parser.parse_args(arguments)
    if options.samples < 1:
        parser.error(f"--samples: got {options.samples}, allowed: 1 or more")
    generate, sampling = base_sampler(options.base, options.steps, options.guidance)
    prompts = card_prompts()
    folder = options.cache_dir / sampling["fingerprint"]
    videos = sampled(folder, prompts, options.samples, generate)
    figures = measure(prompts, videos, options.samples, standard_judge()) | {"sampling": sampling}
    write_json(options.docs / "emoji_base.json", figures)
    (options.base / "README.md").write_text(model_card(figures, options.training_minutes), encoding="utf-8")
    for section in ("singles", "pairs"):
        rows = [index for index, prompt in enumerate(prompts) if prompt.section == section][:SHEET_ROWS]
        labels = [prompts[row].scene.caption for row in rows]
        save_sheet(videos[rows], labels, options.docs / "images" / f"emoji_base_{section}.png")
    for name, row in figures["quality"].items():
        print(f"{name}: {row['samples']['share']:.3f}, ceiling {row['ceiling']['share']:.3f}")


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

    digest = hashlib.sha256(f"{config.steps} {config.guidance_scale}".encode())
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(path.read_bytes())
    settings = {"steps": config.steps, "guidance_scale": config.guidance_scale}
    return generate, settings | {"fingerprint": digest.hexdigest()[:12]}


def sampled(folder: Path, prompts: Sequence[CardPrompt], seeds: int, generate: Generate) -> np.ndarray:
    """A video for each prompt and seed, the first seed of all prompts first.

    Args:
        folder: keeps finished chunks; those already there are not sampled again.
        prompts: P prompts.
        seeds: S seeds, 0 to S - 1.
        generate: prompts and seeds, N each, to uint8 [N, F, H, W, 3].

    Returns:
        uint8 [S * P, F, H, W, 3].
    """
    folder.mkdir(parents=True, exist_ok=True)
    captions = [prompt.scene.caption for prompt in prompts]
    wanted = [(caption, seed) for seed in range(seeds) for caption in captions]
    chunks = []
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        chunks.append(_chunk(folder / f"{start:05d}.npz", [c for c, _ in part], [s for _, s in part], generate))
    return np.concatenate(chunks)


def _chunk(path: Path, captions: list[str], seeds: list[int], generate: Generate) -> np.ndarray:
    if path.is_file():
        with np.load(path) as kept:
            if kept["captions"].tolist() == captions and kept["seeds"].tolist() == seeds:
                return kept["videos"]
    videos = generate(captions, seeds)
    if videos.dtype != np.uint8 or videos.ndim != 5 or len(videos) != len(captions):
        raise ValueError(
            f"generate: got {videos.dtype} {videos.shape}, allowed: uint8 [N, F, H, W, 3] with N {len(captions)}"
        )
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, videos=videos, captions=np.array(captions), seeds=np.array(seeds))
    os.replace(partial, path)
    return videos


def true_renders(prompts: Sequence[CardPrompt], seeds: int) -> np.ndarray:
    """The same prompts drawn truly, in the order of ``sampled``: uint8 [S * P, F, H, W, 3]."""
    return np.stack(
        [draw(prompt.rendered(turn), frames=prompt.world.frames).frames for turn in range(seeds) for prompt in prompts]
    )


def measure(
    prompts: Sequence[CardPrompt],
    videos: np.ndarray,
    seeds: int,
    judge: Judge,
    measures: Mapping[str, Measure] = MEASURES,
) -> dict[str, Any]:
    """Samples and ceiling through the judge; what docs/emoji_base.json holds.

    Args:
        prompts: P prompts.
        videos: uint8 [S * P, F, H, W, 3], in the order of ``sampled``.
        seeds: S.
        judge: who looks.
        measures: what is counted, and the aims.
    """
    expected = [Expected.of(prompt.scene) for prompt in prompts] * seeds
    sections = [prompt.section for prompt in prompts] * seeds
    ceiling, samples = (judge.score(scored, expected) for scored in (true_renders(prompts, seeds), videos))
    quality = {}
    for name, (*_, aim) in measures.items():
        best, rate = (counted(scores, sections, measures[name]) for scores in (ceiling, samples))
        share = rate.share / best.share if best.share else 0.0
        quality[name] = {
            "samples": as_json(rate),
            "ceiling": as_json(best),
            "share_of_ceiling": round(share, 4),
            "aim": aim,
            "reached": None if aim is None else share >= aim,
        }
    return {
        "prompts": len(prompts),
        "seeds_per_prompt": seeds,
        "videos": len(videos),
        "by_section": {name: sections.count(name) for name in SECTIONS},
        "quality": quality,
        "judge_on_unseen_artists": as_json(judge.names_unseen_artists()),
        "details": {"samples": by_expected(samples), "ceiling": by_expected(ceiling)},
        "taken_for_another": taken_for_another(ceiling),
    }


def taken_for_another(scores: Scores) -> dict[str, int]:
    """Which single characters of true renders the judge takes for which: "sheep for ghost", most often first."""
    singles = [v for v in scores.verdicts if len(v.expected.subjects) == 1 and not v.subjects_right]
    counts = Counter(f"{v.expected.subjects[0]} for {v.names[0]}" for v in singles)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def counted(scores: Scores, sections: Sequence[str], measure: Measure) -> Rate:
    """One measure of verdicts, whose prompts are from ``sections``."""
    section, aspect, count, _ = measure
    verdicts = zip(scores.verdicts, sections, strict=True)
    return Scores([verdict for verdict, its in verdicts if section is None or its == section]).rate(aspect, count)


def as_json(rate: Rate) -> dict[str, Any]:
    """A rate with its interval, rounded."""
    low, high = rate.interval
    return {
        "right": rate.right,
        "of": rate.of,
        "share": round(rate.share, 4),
        "interval": [round(low, 4), round(high, 4)],
    }


def by_expected(scores: Scores) -> dict[str, dict[str, str]]:
    """Right of asked, by single concept, by motion and by background."""
    keys: dict[str, Callable[[Expected], str | None]] = {
        "subjects": lambda expected: expected.subjects[0] if len(expected.subjects) == 1 else None,
        "motion": lambda expected: expected.motion,
        "background": lambda expected: expected.background,
    }
    table = {}
    for aspect, key in keys.items():
        values = sorted({value for v in scores.verdicts if (value := key(v.expected)) is not None})
        rates = {
            value: Scores([v for v in scores.verdicts if key(v.expected) == value]).rate(aspect) for value in values
        }
        table[aspect] = {value: f"{rate.right} of {rate.of}" for value, rate in rates.items()}
    return table


def save_sheet(videos: np.ndarray, labels: Sequence[str], path: Path, scale: int = 2) -> None:
    """Write a contact sheet as PNG.

    Args:
        videos: uint8 [N, F, H, W, 3].
        labels: N captions.
        path: the PNG.
        scale: enlargement, nearest neighbour.
    """
    pixels = torch.from_numpy(videos).permute(0, 4, 1, 2, 3).float() / 127.5 - 1  # -> [N,3,F,H,W]
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(list(pixels), labels, scale).save(path, optimize=True)


if __name__ == "__main__":
    main()
