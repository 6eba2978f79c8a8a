"""The command that measures the method: benchmark."""

from __future__ import annotations

import argparse
import importlib.metadata
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..output_paths import require_output_folder
from .common import add_base, preset_of, terminal_callbacks
from .segmenter_options import add_segmenter, segmenter_of

if TYPE_CHECKING:
    from ..evaluation.benchmark import Metrics, Results
    from ..evaluation.grid import Grid


def add_benchmark(commands: Any) -> None:
    """Register ``benchmark`` and its flags."""
    parser = commands.add_parser(
        "benchmark",
        help="generate and score a grid of videos by every method, and write the report",
        description="Make and score a grid of videos by VideoMage, its ablations and baselines; it resumes.",
    )
    parser.add_argument("grid", type=Path, help="folder with grid.toml, images and clips (evaluation/grid.py)")
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
    grid, swept = _checked(options)
    from ..evaluation.report import log_run, write_report
    from ..evaluation.study_folder import require_new, write_study

    learned = _learned_metrics(options)
    grids = [grid, *([swept] if swept else [])]
    metrics, meanings = _metrics(grids, learned)
    scorers = {of.folder: _scorers(of, learned) for of in grids}
    if options.study is not None:
        require_new(options.study)
    preset, segmenter = preset_of(options), segmenter_of(options)
    backbone = _load(options, preset)
    about = _about(options, grid, swept, preset, backbone)
    log_run(about, options.report)
    run = partial(_run, options, backbone, preset, segmenter)
    results = run(scorers[grid.folder], grid)
    written = write_report(results, grid, metrics, meanings, about, options.report, finished=swept is None)
    if swept is not None:
        others = run(scorers[swept.folder], swept)
        results.sweeps.update(others.sweeps)
        results.failures.extend(others.failures)
        words = f"the grid `{swept.folder.name}`"
        written = write_report(results, grid, metrics, meanings, about, options.report, swept=words)
    print(f"wrote {written}")
    if options.study is not None:
        count = write_study(results.sample_videos, grid, preset.sampling.fps, options.study)
        print(f"wrote {options.study} with {count} videos; next: python -m videomage_core study {options.study}")


def _checked(options: argparse.Namespace) -> tuple[Grid, Grid | None]:
    """The grid, and that of the sweeps; what is wrong with the flags is found before anything heavy is imported."""
    from ..evaluation.grid import load_grid

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
    return grid, swept


def _learned_metrics(options: argparse.Namespace) -> Any:
    """CLIP and DINO, where their folders are given; else None."""
    from ..evaluation.learned_metrics import LearnedMetrics
    from ..model.loading import choose_device

    if not options.clip and not options.dino:
        return None
    return LearnedMetrics(options.clip, options.dino, str(choose_device(options.device)))


def _is_tracked(grid: Grid) -> bool:
    """Whether its characters stand on plain backgrounds."""
    return (grid.folder / "kinds").is_dir()


def _metrics(grids: Sequence[Grid], learned: Any) -> tuple[dict[str, bool], dict[str, str]]:
    """Of each metric whether more is better, and its meaning."""
    from ..evaluation import learned_metrics, tracked_metrics

    used = [learned_metrics] if learned is not None else []
    used += [tracked_metrics] if any(_is_tracked(grid) for grid in grids) else []
    if not used:
        raise ValueError("nothing to score with: give --clip, --dino or both; this grid has no images of kinds")
    metrics = {name: more for module in used for name, more in module.METRICS.items()}
    return metrics, {name: text for module in used for name, text in module.MEANINGS.items()}


def _scorers(grid: Grid, learned: Any) -> list[Metrics]:
    from ..evaluation.benchmark import GridMetrics
    from ..evaluation.tracked_metrics import TrackedMetrics

    tracked: list[Metrics] = [TrackedMetrics(grid)] if _is_tracked(grid) else []
    return tracked + ([GridMetrics(grid, learned)] if learned is not None else [])


def _run(
    options: argparse.Namespace, backbone: Any, preset: Any, segmenter: Any, metrics: Sequence[Metrics], grid: Grid
) -> Results:
    """Make and score a grid's videos; with several workers they are made ahead."""
    from ..evaluation.benchmark import run_grid

    callbacks = terminal_callbacks()
    if options.workers > 1:
        from ..evaluation.workers import precompute

        runner = partial(_runner, options, grid)
        precompute(options.workers, runner, grid, options.subset, preset, options.cache_dir, callbacks)
    return run_grid(backbone, preset, grid, options.subset, metrics, options.cache_dir, callbacks, segmenter)


def _about(options: argparse.Namespace, grid: Grid, swept: Grid | None, preset: Any, backbone: Any) -> dict[str, str]:
    """What the report says of the run."""
    import torch

    from ..cache_key import cache_key
    from ..evaluation.code_version import engine_version, metrics_version
    from ..model.fingerprint import fingerprint

    weights, threads = cache_key(*fingerprint(backbone.network).weights), torch.get_num_threads()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "reason": options.reason.strip(),
        "grid": f"{grid.folder.name}, subset {options.subset}",
        "sweeps": "none" if swept is None else f"{swept.folder.name}, subset {options.subset}",
        "base": f"{backbone.name}, weights {weights}, {str(backbone.dtype).removeprefix('torch.')}",
        "preset": f"{options.preset or ('paper' if options.base else 'emoji')}, settings {cache_key(str(preset))}",
        "engine": engine_version(),
        "metrics": metrics_version(),
        "machine": f"{backbone.device.type}, "
        + (f"{threads} threads" if options.workers == 1 else f"{options.workers} workers at a time"),
        "versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "diffusers", "peft")),
    }
