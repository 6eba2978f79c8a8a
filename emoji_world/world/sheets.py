"""Pictures of the rich world for the docs: all drawings, and a clip of every motion.

    python -m emoji_world.world.sheets

writes docs/images/rich_world_drawings.png and docs/images/rich_world_motions.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from videomage_core.data.contact_sheet import contact_sheet

from .backgrounds import BACKGROUNDS
from .motions import PAIR, SINGLE
from .scene import Scene, draw
from .worlds import RICH, World

SIDE, GAP, LABEL, COLUMNS = 34, 4, 84, 2
PAPER, INK, FRAME = (214, 226, 214), (20, 20, 20), (200, 60, 60)


def drawings_sheet(world: World) -> Image.Image:
    """All drawings, a row a concept, at about the size at which a pair's are shown; those held out in a red frame."""
    artists = (*world.training_artists, world.held_out_artist)
    rows = [world.drawings(artists, (concept,)) for concept in world.concepts]
    per_column = -(-len(rows) // COLUMNS)
    step = SIDE + GAP
    width = LABEL + max(map(len, rows)) * step
    sheet = Image.new("RGB", (COLUMNS * width, per_column * step), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for index, row in enumerate(rows):
        left, top = (index // per_column) * width, (index % per_column) * step
        pen.text((left + 4, top + 9), row[0].concept, fill=INK, font=font)
        for place, character in enumerate(row):
            x = left + LABEL + place * step
            with Image.open(character.path) as image:
                small = image.convert("RGBA").resize((SIDE - 2, SIDE - 2), Image.Resampling.BOX)
            sheet.paste(small, (x + 1, top + 3), small)
            if character.artist == world.held_out_artist:
                pen.rectangle((x - 1, top + 1, x + SIDE, top + SIDE + 2), outline=FRAME)
    return sheet


def motions_sheet(world: World, scale: int = 2) -> Image.Image:
    """One clip of each trained motion, with its caption."""
    characters = world.training_characters()
    rng = np.random.default_rng(4)
    places = list(BACKGROUNDS)
    videos, labels = [], []
    for index, motion in enumerate((*SINGLE, *PAIR)):
        chosen = rng.choice(len(characters), 1 if motion in SINGLE else 2, replace=False)
        scene = Scene(tuple(characters[int(i)] for i in chosen), motion, places[index % len(places)], index)
        frames = draw(scene, frames=world.frames).frames
        videos.append(torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1)  # [F,H,W,3] -> [3,F,H,W]
        labels.append(scene.caption)
    return contact_sheet(videos, labels, scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).parents[2] / "docs" / "images"
    parser.add_argument("--folder", type=Path, default=default, help="where the pictures go (docs/images)")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, sheet in (("drawings", drawings_sheet(RICH)), ("motions", motions_sheet(RICH))):
        sheet.quantize(256, dither=Image.Dither.NONE).save(folder / f"rich_world_{name}.png", optimize=True)


if __name__ == "__main__":
    main()
