"""What the four models give for fixed weights: one line of transformers writes it, all others are compared.

    python -m tests.core.segmentation.numbers_of_both_lines

writes ``numbers.json`` beside this file.  Scores, boxes and shares of masks, rounded to what half an ulp may change.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

FILE = Path(__file__).with_name("numbers.json")
CAPTION = "dog . stuffed animal ."
CPU = torch.device("cpu")


def of_detector(detector: Any) -> dict[str, Any]:
    """Scores and boxes of one image of fixed noise."""
    image = torch.randn(3, 128, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores, boxes = detector.find(image, CAPTION)
    return {"tokens": detector.tokens(CAPTION), "scores": scores[:8].tolist(), "boxes": boxes[:8].tolist()}


def of_tracker(tracker: Any) -> list[list[float]]:
    """Each subject's share of each frame."""
    pixels = torch.rand(3, 5, 40, 56, generator=torch.Generator().manual_seed(0)) * 2 - 1
    boxes = torch.tensor([[4.0, 5, 30, 30], [20, 10, 50, 38]])
    with torch.no_grad():
        return list(tracker.follow(pixels, 2, boxes, lambda: None).float().mean((2, 3)).tolist())


def main() -> None:
    import transformers

    from emoji_world.fixtures.tiny_detector import random_detector
    from emoji_world.fixtures.weight_conversion import random_sam2, sam2_folder
    from videomage_core.segmentation.detector import load_detector
    from videomage_core.segmentation.tracker import load_tracker

    with tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        detector = load_detector(random_detector(folder / "detector"), None, CPU)
        file = random_sam2(folder / "sam2.safetensors")
        told = {
            "transformers": transformers.__version__,
            "detector": of_detector(detector),
            "tracker": of_tracker(load_tracker(sam2_folder(file, folder / "sam2"), CPU)),
        }
    FILE.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {FILE}")


if __name__ == "__main__":
    main()
