"""torchvision beside a CPU build of torch, for the environments that ``make`` makes.

The torchvision that pip installs is built for CUDA; beside a CPU build of torch its import fails for want of two
operators, and with it much of transformers and diffusers.  Nothing here calls them: their declarations are enough.
``make`` copies this file and the ``.pth`` beside it, which Python reads at its start, to where they are needed.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.metadata import version


class _BeforeTorchvision(MetaPathFinder):
    """Finds nothing; declares the operators when torchvision is imported for the first time."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            _declare()
        return None


def _declare():
    import torch

    if torch.version.cuda is not None or version("torchvision").endswith("+cpu"):
        return
    if hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declare.library = library  # declarations live as long as it


sys.meta_path.insert(0, _BeforeTorchvision())
