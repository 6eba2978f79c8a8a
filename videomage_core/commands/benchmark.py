"""The command that measures the method: benchmark."""

from __future__ import annotations

import argparse
import importlib.metadata
import time
from pathlib import Path
from typing import Any

from .common import add_base, preset_of, terminal_run


def add_benchmark(commands: Any) -> None:
    parser = commands.add_parser(
        "benchmark",
        help="make and score a grid of videos by every method, and write the report",
        description="Make and score a grid of videos by VideoMage, its ablations and baselines; it resumes.",
    )
    parser.add_argument("grid", type=Path, help="folder with grid.toml, pictures and clips (evaluation/grid.py)")
    parser.add_argument("--size", default="quick", help="one of the grid's sizes (%(default)s)")
    parser.add_argument("--sweeps", type=Path, help="another grid, whose sweeps of settings join the report")
    parser.add_argument("--work", type=Path, default=Path("outputs/benchmark/work"), help="keeps LoRAs and videos")
    parser.add_argument("--report", type=Path, default=Path("outputs/benchmark"), help="folder of the report")
    parser.add_argument("--clip", type=Path, help="folder of a CLIP model: scores CLIP-T, CLIP-I, T. Cons. too")
    parser.add_argument("--dino", type=Path, help="folder of a DINO or DINOv2 model: scores DINO-I too")
    parser.add_argument("--reason", help="why it is run: kept in the report beside all earlier runs")
    add_base(parser)
    parser.set_defaults(execute=_benchmark)


def _benchmark(options: argparse.Namespace) -> None:
    from ..evaluation.grid import Grid, load_grid

    grid = load_grid(options.grid)
    grid.size(options.size)
    swept = load_grid(options.sweeps) if options.sweeps is not None else None
    if swept is not None:
        swept.size(options.size)
    from ..evaluation.learned_metrics import check_folder

    for folder, what in ((options.clip, "CLIP"), (options.dino, "DINO")):
        if folder is not None:
            check_folder(folder, what)
    from ..evaluation import learned_metrics, tracked_metrics
    from ..evaluation.benchmark import Metrics, OfCells, run_grid
    from ..evaluation.report import write_report
    from ..model.fingerprint import fingerprint
    from ..model.unet3d import EMOJI_BASE, choose_device, load_unet3d

    metrics, meanings, learned = {}, {}, None
    if options.clip or options.dino:
        learned = learned_metrics.LearnedMetrics(options.clip, options.dino, str(choose_device(options.device)))
        metrics, meanings = dict(learned_metrics.METRICS), dict(learned_metrics.MEANINGS)
    of_worlds = [g for g in (grid, swept) if g is not None and (g.folder / "kinds").is_dir()]
    if of_worlds:  # characters on plain backgrounds
        metrics, meanings = metrics | tracked_metrics.METRICS, meanings | tracked_metrics.MEANINGS
    if not metrics:
        raise ValueError("nothing to score with: give --clip, --dino or both; this grid has no pictures of kinds")

    def scorers(of: Grid) -> list[Metrics]:
        tracked: list[Metrics] = [tracked_metrics.TrackedMetrics(of)] if of in of_worlds else []
        return tracked + ([OfCells(of, learned)] if learned is not None else [])

    preset, run = preset_of(options), terminal_run()
    backbone = load_unet3d(options.base or EMOJI_BASE, options.dtype, options.device)
    results = run_grid(backbone, preset, grid, options.size, scorers(grid), options.work, run)
    if swept is not None:
        others = run_grid(backbone, preset, swept, options.size, scorers(swept), options.work, run)
        results.sweeps.update(others.sweeps)
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "grid": grid.folder.name,
        "size": options.size,
        "base": f"{backbone.name} ({fingerprint(backbone.network).architecture})",
        "torch": importlib.metadata.version("torch"),
        "reason": options.reason or "not given",
    }
    written = write_report(results, grid, metrics, meanings, about, options.report)
    print(f"wrote {written}")
