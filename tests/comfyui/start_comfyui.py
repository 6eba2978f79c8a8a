"""Start ComfyUI's main.py in this process, also beside a torch without CUDA.

The torchvision that pip installs is built for CUDA; beside a CPU build of torch its import fails for want of
two operators, which ComfyUI never calls.  Their declarations are enough for the rest of it to work.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import torch


def declare_missing_operators() -> None:
    if torch.version.cuda is None:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        declare_missing_operators.library = library  # type: ignore[attr-defined]  # declarations live as long as it


if __name__ == "__main__":
    declare_missing_operators()
    main = Path(sys.argv[1]) / "main.py"
    sys.argv = [str(main), *sys.argv[2:]]
    sys.path.insert(0, str(main.parent))
    runpy.run_path(str(main), run_name="__main__")
