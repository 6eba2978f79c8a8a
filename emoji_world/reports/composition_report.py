"""The main job, five seeds in a row: how often both subjects are themselves, and whether they do the motion.

    python -m emoji_world.reports.composition_report

With the demonstration's subjects and motion, all of the development half, from the same initial noise:
the whole method, the base alone, all LoRAs in one model.  Figures go to docs/composition_report.json, all
videos to a sheet beside it.  Seeds are consecutive and none is left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from videomage_core.callbacks import Callbacks
from videomage_core.data.contact_sheet import contact_sheet
from videomage_core.demo import PROMPT, Clock, compose, demo_cache_key, evaluate_videos, train_loras
from videomage_core.model.loading import load_unet3d
from videomage_core.presets import EMOJI

from ..world.small_dataset import write_json

ROOT = Path(__file__).parents[2]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 (5)")
    parser.add_argument(
        "--cache-dir", type=Path, default=Path("outputs/demo/work"), help="the demonstration's trainings"
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where figures and sheet go")
    options = parser.parse_args(arguments)
    backbone, callbacks, clock = load_unet3d(), Callbacks(log=print), Clock()
    learned = train_loras(backbone, EMOJI, options.cache_dir / demo_cache_key(backbone, EMOJI), callbacks, clock)
    rows, labels, reports = [learned.clip.pixels], ["The clip"], []
    for seed in range(options.seeds):
        _, videos = compose(backbone, learned, seed, EMOJI, Callbacks(), clock)
        reports.append(evaluate_videos(learned, videos, callbacks))
        rows += list(videos.values())
        labels += [f"{name}, seed {seed}" for name in videos]
    contact_sheet(rows, labels).save(options.docs / "images" / "compose.png")
    figures = {"prompt": PROMPT, "seeds": options.seeds, "methods": summary(reports)}
    write_json(options.docs / "composition_report.json", figures)
    print(figures)


def summary(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """By method: mean and standard deviation of each figure over the seeds, and how often a subject is nearest."""
    methods: dict[str, Any] = {}
    for method in reports[0]["identity"]:
        seen = [report["identity"][method] for report in reports]
        figures: dict[str, Any] = {
            subject: {
                "similarity": spread([of[subject]["similarity"] for of in seen]),
                "nearest of its class": f"{sum(of[subject]['rank'] == 1 for of in seen)}/{len(seen)}",
                "rivals": seen[0][subject]["of"] - 1,
            }
            for subject in seen[0]
        }
        for what in ("placement", "movement"):
            figures[what] = spread([report["motion_agreement"][method][what] for report in reports])
        methods[method] = figures
    return methods


def spread(values: list[float]) -> dict[str, float]:
    """Mean and standard deviation."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": round(float(np.mean(values)), 3), "deviation": round(deviation, 3)}


if __name__ == "__main__":
    main()
