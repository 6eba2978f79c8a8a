"""The command that measures the method: benchmark."""

from __future__ import annotations

import argparse
import importlib.metadata
import time
from functools import partial
from pathlib import Path
from typing import Any

from ..output_paths import require_output_folder
from .common import add_base, preset_of, terminal_callbacks
from .segmenter_options import add_segmenter, segmenter_of


def add_benchmark(commands: Any) -> None:
    parser = commands.add_parser(
        "benchmark",
        help="generate and score a grid of videos by every method, and write the report",
        description="Make and score a grid of videos by VideoMage, its ablations and baselines; it resumes.",
    )
    parser.add_argument("grid", type=Path, help="folder with grid.toml, pictures and clips (evaluation/grid.py)")
    parser.add_argument("--subset", default="quick", help="one of the grid's subsets (%(default)s)")
    parser.add_argument("--sweeps", type=Path, help="another grid, whose sweeps of settings join the report")
    parser.add_argument(
        "--cache-dir",
        type=Path,
        default=Path("outputs/benchmark/work"),
        help="cache of trained LoRAs and generated videos",
    )
    parser.add_argument("--report", type=Path, default=Path("outputs/benchmark"), help="folder of the report")
    parser.add_argument("--clip", type=Path, help="folder of a CLIP model: scores CLIP-T, CLIP-I, T. Cons. too")
    parser.add_argument("--dino", type=Path, help="folder of a DINO or DINOv2 model: scores DINO-I too")
    parser.add_argument(
        "--reason", required=True, help="why the benchmark is run; recorded in the report with all earlier runs"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that make things at the same time, each with a base of its own; more than 1 needs Ray "
        "(pip install ray), and then seconds and memory are those of a shared machine (%(default)s)",
    )
    parser.add_argument("--study", type=Path, help="also export the videos as the folder of a human study")
    add_segmenter(parser, "finds performers without masks in the clips, and subjects in their LoRAs' videos")
    add_base(parser)
    parser.set_defaults(execute=_benchmark)


def _load(options: argparse.Namespace, preset: Any) -> Any:
    """The base, in a memory mode in which all stages fit."""
    from ..model.base_folder import EMOJI_BASE
    from ..model.loading import load_base
    from ..model.memory import workloads_for

    stages = (preset.subject, preset.motion, preset.fusion, preset.collaborative)
    workloads = [work for stage in stages for work in workloads_for(stage, subjects=3)]
    return load_base(options.base or EMOJI_BASE, options.dtype, options.device, options.memory, workloads)


def _runner(options: argparse.Namespace, grid: Any) -> Any:
    """A worker's own, in its own process."""
    from ..callbacks import Callbacks
    from ..evaluation.runner import Runner

    preset = preset_of(options)
    backbone = _load(options, preset)
    return Runner(backbone, preset, grid, options.cache_dir, Callbacks(log=lambda _: None), segmenter_of(options))


def _benchmark(options: argparse.Namespace) -> None:
    from ..evaluation.grid import Grid, load_grid

    if not options.reason.strip():
        raise ValueError('--reason: got nothing; say why it is run: REASON="..." with make')
    if options.workers < 1:
        raise ValueError(f"--workers: got {options.workers}, must be at least 1")
    for folder, flag in ((options.cache_dir, "--cache-dir"), (options.report, "--report"), (options.study, "--study")):
        if folder is not None:
            require_output_folder(folder, flag)
    grid = load_grid(options.grid)
    grid.subset(options.subset)
    swept = load_grid(options.sweeps) if options.sweeps is not None else None
    if swept is not None:
        swept.subset(options.subset)
    from ..evaluation.learned_metrics import check_folder

    for folder, what in ((options.clip, "CLIP"), (options.dino, "DINO")):
        if folder is not None:
            check_folder(folder, what)
    import torch

    from ..cache_key import cache_key
    from ..evaluation import learned_metrics, tracked_metrics
    from ..evaluation.benchmark import GridMetrics, Metrics, Results, run_grid
    from ..evaluation.code_version import engine_version, metrics_version
    from ..evaluation.report import log_run, write_report
    from ..evaluation.study_folder import require_new, write_study
    from ..model.fingerprint import fingerprint
    from ..model.loading import choose_device

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
        return tracked + ([GridMetrics(of, learned)] if learned is not None else [])

    if options.study is not None:
        require_new(options.study)
    preset, callbacks, segmenter = preset_of(options), terminal_callbacks(), segmenter_of(options)
    backbone = _load(options, preset)
    weights = cache_key(*fingerprint(backbone.network).weights)
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "reason": options.reason.strip(),
        "grid": f"{grid.folder.name}, subset {options.subset}",
        "sweeps": "none" if swept is None else f"{swept.folder.name}, subset {options.subset}",
        "base": f"{backbone.name}, weights {weights}, {str(backbone.dtype).removeprefix('torch.')}",
        "preset": f"{options.preset or ('paper' if options.base else 'emoji')}, settings {cache_key(str(preset))}",
        "engine": engine_version(),
        "metrics": metrics_version(),
        "machine": f"{backbone.device.type}, "
        + (f"{torch.get_num_threads()} threads" if options.workers == 1 else f"{options.workers} workers at a time"),
        "versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "diffusers", "peft")),
    }
    log_run(about, options.report)

    def run_whole(of: Grid) -> Results:
        if options.workers > 1:
            from ..evaluation.workers import precompute

            precompute(
                options.workers, partial(_runner, options, of), of, options.subset, preset, options.cache_dir, callbacks
            )
        return run_grid(
            backbone, preset, of, options.subset, scores[of.folder], options.cache_dir, callbacks, segmenter
        )

    scores = {of.folder: scorers(of) for of in (grid, swept) if of is not None}
    results = run_whole(grid)
    written = write_report(results, grid, metrics, meanings, about, options.report, finished=swept is None)
    if swept is not None:
        others = run_whole(swept)
        results.sweeps.update(others.sweeps)
        results.failures.extend(others.failures)
        words = f"the grid `{swept.folder.name}`"
        written = write_report(results, grid, metrics, meanings, about, options.report, swept=words)
    print(f"wrote {written}")
    if options.study is not None:
        count = write_study(results.shown, grid, preset.sampling.fps, options.study)
        print(f"wrote {options.study} with {count} videos; next: python -m videomage_core study {options.study}")
