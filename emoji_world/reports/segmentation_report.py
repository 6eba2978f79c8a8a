"""How good masks from boxes are in the emoji world: the tiny SAM 2 against the world's own masks.

    python -m emoji_world.reports.segmentation_report

writes ``docs/segmentation_report.json``.  Scenes that it was not fitted on, with known and with the held-out
artist's characters; intersection over union (IoU) in every frame, 1 where both masks are empty.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..fixtures.fit_sam2 import HELD_OUT, SEGMENTERS, box_of
from ..fixtures.weight_conversion import sam2_folder
from ..world.backgrounds import BACKGROUNDS
from ..world.characters import HELD_OUT_ARTIST, characters
from ..world.scene import Drawing, Scene, draw, random_scene
from ..world.small_motions import TRAINED_PAIR, TRAINED_SINGLE

SAM2 = SEGMENTERS / "sam2_emoji.safetensors"
SIDE, FRAMES = 64, 8


def held_out_scenes(count: int, subjects: int, new_artist: bool) -> Iterator[tuple[Scene, Drawing]]:
    """Scenes of one or two different subjects, each seen in the first frame.

    Args:
        count: how many.
        subjects: 1 or 2.
        new_artist: with the held-out artist's characters; else with known ones in scenes of unused seeds.
    """
    seed = HELD_OUT
    while count:
        seed += 1
        scene = _new_scene(seed, subjects) if new_artist else random_scene(seed)
        names = [c.concept for c in scene.characters]
        if len(set(names)) != subjects or len(names) != subjects:
            continue
        drawing = draw(scene, FRAMES, SIDE)
        if all((mask[0] > 0.5).mean() > 0.01 for mask in drawing.masks):
            count -= 1
            yield scene, drawing


def _new_scene(seed: int, subjects: int) -> Scene:
    rng = np.random.default_rng([seed, 23])
    drawings = characters((HELD_OUT_ARTIST,))
    chosen = tuple(drawings[int(i)] for i in rng.choice(len(drawings), subjects, replace=False))
    motions = TRAINED_SINGLE if subjects == 1 else TRAINED_PAIR
    return Scene(chosen, str(rng.choice(list(motions))), str(rng.choice(list(BACKGROUNDS))), seed)


def pixels_of(drawing: Drawing) -> torch.Tensor:
    """[3, F, S, S] in -1..1."""
    return torch.from_numpy(drawing.frames).permute(3, 0, 1, 2).float() / 127.5 - 1


def true_masks(drawing: Drawing) -> torch.Tensor:
    """[N, F, S, S] bool."""
    return torch.from_numpy(np.stack(drawing.masks)) > 0.5


def iou(mask: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Of masks [..., H, W] -> [...]; 1 where both are empty."""
    both, either = (mask & true).flatten(-2).sum(-1), (mask | true).flatten(-2).sum(-1)
    return torch.where(either == 0, 1.0, both / either.clamp(min=1))


def from_boxes(tracker: Any, scenes: Iterator[tuple[Scene, Drawing]]) -> dict[str, float]:
    """SAM 2 alone, from the true boxes of the first frame: IoU there, in all frames, and in the last."""
    ious = []
    for _, drawing in scenes:
        true = true_masks(drawing)
        boxes = torch.stack([box_of(mask.float()) for mask in true[:, 0]])
        with torch.no_grad():
            ious.append(iou(tracker.follow(pixels_of(drawing), 0, boxes, lambda: None), true))
    scores = torch.cat(ious)  # [M,F]
    return {
        "subjects": len(scores), "first frame": _mean(scores[:, 0]), "all frames": _mean(scores),
        "last frame": _mean(scores[:, -1]), "share over 0.5": _mean((scores.mean(1) > 0.5).float()),
    }  # fmt: skip


def _mean(values: torch.Tensor) -> float:
    return round(float(values.mean()), 3)


def segmentation_figures(count: int) -> dict[str, Any]:
    """All figures, on ``count`` scenes of each kind."""
    from videomage_core.segmentation.tracker import load_tracker

    kinds = [(s, new) for new in (False, True) for s in (1, 2)]
    results: dict[str, Any] = {"scenes of each kind": count, "frames": FRAMES}
    with tempfile.TemporaryDirectory() as at:
        for implementation, path in {
            "package sam2": SAM2,
            "transformers": sam2_folder(SAM2, Path(at) / "sam2-emoji"),
        }.items():
            tracker = load_tracker(path, torch.device("cpu"))
            results[implementation] = {}
            for subjects, new in kinds:
                name = f"{subjects} {'of a new artist' if new else 'known'}"
                results[implementation][name] = from_boxes(tracker, held_out_scenes(count, subjects, new))
                print(implementation, name, json.dumps(results[implementation][name]), flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="scenes of each kind (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/segmentation_report.json"))
    options = parser.parse_args()
    options.output.write_text(json.dumps(segmentation_figures(options.count), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
