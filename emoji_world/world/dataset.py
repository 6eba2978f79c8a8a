"""The rich world's training data: drawn once by one process, kept as a memory map, resumable.

    python -m emoji_world.world.dataset FOLDER --stills 40000 --clips 6000

writes ``stills-40000.npy`` and ``clips-6000.npy``, uint8 [N, F, H, W, 3]; scene n is
``random_scene(n, still)``.  Beside an unfinished file lies ``.partial``, and ``.done`` with the number of
scenes in it; the same command goes on from there.  Captions are not stored: ``training_caption`` phrases a
scene anew each time it is shown.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from .sampler import random_scene
from .scene import SIZE, draw
from .small_dataset import Dataset
from .worlds import RICH, World

FLUSHED = 500  # scenes drawn between two notes of how far it is
COMPARED = 8  # stored scenes that are drawn again, to see that they are of this world


def drawn(folder: Path, count: int, still: bool, world: World = RICH) -> Dataset:
    """The first ``count`` scenes of a world, drawn now where the folder does not hold them yet.

    Args:
        folder: where the data are kept.
        count: number of scenes N.
        still: one frame of each, of scenes that one frame can show; else clips of ``world.frames``.
        world: whose scenes.

    Raises:
        ValueError: the folder holds other scenes, of another world or another version of it.
    """
    name, frames = ("stills", 1) if still else ("clips", world.frames)
    path = folder / f"{name}-{count}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _draw_all(path, count, frames, still, world)
    data = Dataset(np.load(path, mmap_mode="r"), [random_scene(seed, still, world) for seed in range(count)])
    for index in {count * part // COMPARED for part in range(COMPARED)}:
        if not np.array_equal(data.pixels[index], draw(data.scenes[index], frames=frames).frames):
            raise ValueError(
                f"folder: {path} holds other scenes than the world {world.name!r} draws today; remove it, or give "
                "another folder"
            )
    return data


def _draw_all(path: Path, count: int, frames: int, still: bool, world: World) -> None:
    partial, note = path.with_suffix(".partial"), path.with_suffix(".done")
    start = int(note.read_text()) if note.is_file() and partial.is_file() else 0
    shape = (count, frames, SIZE, SIZE, 3)
    pixels = np.lib.format.open_memmap(partial, mode="r+" if start else "w+", dtype=np.uint8, shape=shape)
    began = time.monotonic()
    for seed in range(start, count):
        pixels[seed] = draw(random_scene(seed, still, world), frames=frames).frames
        done = seed + 1
        if done % FLUSHED == 0 or done == count:
            pixels.flush()
            note.write_text(f"{done}\n")
            rate = (time.monotonic() - began) / (done - start)
            print(f"{path.stem}: {done} of {count}, {1000 * rate:.1f} ms each", flush=True)
    os.replace(partial, path)
    note.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the data are kept")
    parser.add_argument("--stills", type=int, default=40_000, help="single pictures (40000)")
    parser.add_argument("--clips", type=int, default=6_000, help="clips (6000)")
    options = parser.parse_args()
    for still, count in ((True, options.stills), (False, options.clips)):
        if count:
            drawn(options.folder, count, still)


if __name__ == "__main__":
    main()
