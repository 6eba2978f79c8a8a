"""What is measured of a base, whichever it is: each base's own report is ``emoji_base_report`` or ``emoji_wan_report``.

The base is asked for every prompt of ``base_report_prompts`` with several seeds, a judge that took no part in training
looks, and looks at true renders of the same prompts for the ceiling.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videomage_core.data.contact_sheet import contact_sheet

from ..judge.judge import Expected, Judge, Rate, Scores
from ..world.scene import draw
from ..world.small_dataset import write_json
from .base_report_prompts import SECTIONS, CardPrompt
from .base_report_text import Card, model_card

Generate = Callable[[list[str], list[int]], np.ndarray]

ROOT = Path(__file__).parents[2]
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


@dataclass(frozen=True)
class Report:
    """One base's report: what it is asked for, by whom it is judged, what its card says.

    Attributes:
        card: the card's own texts.
        base: the base's folder, in which the card is written.
        docs: where figures and sheets go, named after the base.
        prompts: what is asked for.
        judge: who looks.
        measures: what is counted, and the aims.
        facts: of the world, for the card's text.
    """

    card: Card
    base: Path
    docs: Path
    prompts: Sequence[CardPrompt]
    judge: Judge
    measures: Mapping[str, Measure]
    facts: Mapping[str, Any]

    def write(
        self,
        cache_dir: Path,
        seeds: int,
        generate: Generate,
        sampling: Mapping[str, Any],
        training_minutes: float | None,
    ) -> None:
        """Sample, judge, and write card, figures and sheets; stopped, the same call resumes.

        Args:
            cache_dir: keeps the samples.
            seeds: of each prompt.
            generate: prompts and seeds, N each, to uint8 [N, F, H, W, 3].
            sampling: the settings and the "fingerprint" of weights and settings.
            training_minutes: what training took; None leaves it unsaid.
        """
        videos = sampled(cache_dir / sampling["fingerprint"], self.prompts, seeds, generate)
        figures = measure(self.prompts, videos, seeds, self.judge, self.measures) | {"sampling": dict(sampling)}
        write_json(self.docs / f"{self.card.name}.json", figures)
        text = model_card(self.card, figures, training_minutes, self.facts)
        (self.base / "README.md").write_text(text, encoding="utf-8")
        for section in ("singles", "pairs"):
            rows = [index for index, prompt in enumerate(self.prompts) if prompt.section == section][:SHEET_ROWS]
            labels = [self.prompts[row].scene.caption for row in rows]
            save_sheet(videos[rows], labels, self.docs / "images" / f"{self.card.name}_{section}.png")
        for name, row in figures["quality"].items():
            print(f"{name}: {row['samples']['share']:.3f}, ceiling {row['ceiling']['share']:.3f}")


def add_report_flags(parser: argparse.ArgumentParser, base: Path, cache_dir: str, samples: int) -> None:
    """The flags of every base's report."""
    parser.add_argument("--samples", type=int, default=samples, help="seeds per prompt (%(default)s)")
    parser.add_argument("--base", type=Path, default=base, help="the base's folder")
    parser.add_argument("--cache-dir", type=Path, default=Path(cache_dir), help="folder for the raw samples")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where figures and sheets go")
    parser.add_argument("--training-minutes", type=float, help="what training took, in minutes on CPU cores")


def require_samples(parser: argparse.ArgumentParser, samples: int) -> None:
    """Stop the command line at fewer than one seed per prompt."""
    if samples < 1:
        parser.error(f"--samples: got {samples}, allowed: 1 or more")


def with_fingerprint(folder: Path, steps: int, guidance_scale: float) -> dict[str, Any]:
    """Settings of sampling, with a fingerprint of them and of all weights in a folder."""
    fingerprint = hashlib.sha256(f"{steps} {guidance_scale}".encode())
    for path in sorted(folder.rglob("*.safetensors")):
        fingerprint.update(path.read_bytes())
    return {"steps": steps, "guidance_scale": guidance_scale, "fingerprint": fingerprint.hexdigest()[:12]}


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
    requests = [(caption, seed) for seed in range(seeds) for caption in captions]
    chunks = []
    for start in range(0, len(requests), CHUNK):
        part = requests[start : start + CHUNK]
        chunks.append(_chunk(folder / f"{start:05d}.npz", [c for c, _ in part], [s for _, s in part], generate))
    return np.concatenate(chunks)


def _chunk(path: Path, captions: list[str], seeds: list[int], generate: Generate) -> np.ndarray:
    if path.is_file():
        with np.load(path) as cached:
            if cached["captions"].tolist() == captions and cached["seeds"].tolist() == seeds:
                return cached["videos"]
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
    """Samples and ceiling through the judge; what docs/BASE.json holds.

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
