"""What the recipes of both bases share: their flags, cached latents, and the last checkpoint of stills or clips."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn


def add_recipe_flags(parser: argparse.ArgumentParser, cache_dir: str, output: Path, clips: int) -> None:
    """The flags of every recipe; ``clips`` is how many are drawn."""
    parser.add_argument(
        "--cache-dir", type=Path, default=Path(cache_dir), help="folder for data and checkpoints (%(default)s)"
    )
    parser.add_argument("--output", type=Path, default=output, help="where the finished base goes")
    parser.add_argument("--stills", type=int, default=40_000, help="still scenes drawn (%(default)s)")
    parser.add_argument("--clips", type=int, default=clips, help="clips drawn (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak, of stills and clips (%(default)s)")
    parser.add_argument("--from-base", type=Path, help="start from this base's weights, keep its autoencoder")
    parser.add_argument("--write-only", action="store_true", help="write the base from the last checkpoint and stop")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def save_atomically(state: object, path: Path) -> None:
    """Write next to ``path``, then rename: a stop in between leaves the old file whole."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def cached_latents(
    folder: Path, name: str, autoencoder: nn.Module, count: int, encode: Callable[[], torch.Tensor]
) -> torch.Tensor:
    """A data set's latents, cached under the fingerprint of the autoencoder that made them.

    Args:
        folder: where they are cached.
        name: of the data set.
        autoencoder: what encodes; its weights are the fingerprint.
        count: of samples in the data set.
        encode: called where nothing is cached.
    """
    weights = b"".join(w.cpu().numpy().tobytes() for w in autoencoder.state_dict().values())
    path = folder / f"{name}-{count}.{hashlib.sha256(weights).hexdigest()[:8]}.latents"
    if not path.is_file():
        save_atomically(encode(), path)
    return torch.load(path, weights_only=True)


def last_average(folder: Path) -> dict[str, Any]:
    """The averaged weights of the last checkpoint, of clips if there is one, else of stills.

    Raises:
        FileNotFoundError: nothing was trained there.
    """
    checkpoints = [path for path in (folder / "clips.pt", folder / "stills.pt") if path.is_file()]
    if not checkpoints:
        raise FileNotFoundError(f"--write-only: {folder} holds neither clips.pt nor stills.pt; train first")
    return torch.load(checkpoints[0], map_location="cpu", weights_only=True)["average"]
