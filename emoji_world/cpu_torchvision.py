"""torchvision beside a CPU build of torch.

The torchvision that pip installs is built for CUDA; beside a CPU build of torch its import fails for want of two
operators, which neither SAM 2 nor GroundingDINO ever calls here.  Their declarations are enough for the rest of it.
"""

from __future__ import annotations

import importlib.util
import sys

import torch


def make_importable() -> None:
    """Import torchvision, where it is installed, with the two operators declared if it needs that."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error) or torch.version.cuda is not None:
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        make_importable.library = library  # type: ignore[attr-defined]  # declarations live as long as it
        import torchvision  # noqa: F401
