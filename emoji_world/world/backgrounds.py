"""The named backgrounds.

Each is drawn by a function of (generator, size) and returns an RGB image; colours, horizon
and decoration vary from scene to scene.  ``PLACES`` maps a background's name to the words a
caption uses for it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]


def _vary(rng: np.random.Generator, colour: Colour, amount: int = 14) -> Colour:
    red, green, blue = (int(np.clip(c + rng.integers(-amount, amount + 1), 0, 255)) for c in colour)
    return red, green, blue


def _two_bands(rng: np.random.Generator, size: int, above: Colour, below: Colour) -> tuple[Image.Image, int]:
    """A sky and a ground; returns the image and the horizon's row."""
    image = Image.new("RGB", (size, size), _vary(rng, above))
    horizon = int(size * rng.uniform(0.35, 0.55))
    ImageDraw.Draw(image).rectangle((0, horizon, size, size), fill=_vary(rng, below))
    return image, horizon


def _dots(
    rng: np.random.Generator, image: Image.Image, rows: tuple[int, int], count: int, radius: float, colour: Colour
) -> None:
    draw = ImageDraw.Draw(image)
    for _ in range(count):
        x, y, r = rng.uniform(0, image.width), rng.uniform(*rows), radius * rng.uniform(0.6, 1.4)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def grass(rng: np.random.Generator, size: int) -> Image.Image:
    image, horizon = _two_bands(rng, size, (150, 205, 245), (95, 175, 75))
    draw = ImageDraw.Draw(image)
    for _ in range(10):
        x, y = rng.uniform(0, size), rng.uniform(horizon + size * 0.05, size)
        draw.line((x, y, x, y - size * 0.05), fill=(60, 135, 50), width=max(1, size // 48))
    return image


def beach(rng: np.random.Generator, size: int) -> Image.Image:
    image, horizon = _two_bands(rng, size, (175, 225, 250), (240, 215, 150))
    sea = int(size * 0.16)
    ImageDraw.Draw(image).rectangle((0, horizon - sea, size, horizon), fill=_vary(rng, (45, 125, 200)))
    return image


def snow(rng: np.random.Generator, size: int) -> Image.Image:
    image, _ = _two_bands(rng, size, (165, 180, 205), (240, 245, 252))
    _dots(rng, image, (0, size), 16, size * 0.012, (255, 255, 255))
    return image


def night(rng: np.random.Generator, size: int) -> Image.Image:
    image, horizon = _two_bands(rng, size, (22, 26, 68), (44, 40, 62))
    _dots(rng, image, (0, horizon), 12, size * 0.010, (250, 245, 200))
    return image


def under_water(rng: np.random.Generator, size: int) -> Image.Image:
    top, bottom = np.array(_vary(rng, (70, 180, 220))), np.array(_vary(rng, (10, 70, 140)))
    rows = np.linspace(0, 1, size)[:, None, None]
    image = Image.fromarray(np.broadcast_to(top * (1 - rows) + bottom * rows, (size, size, 3)).astype(np.uint8))
    _dots(rng, image, (0, size), 8, size * 0.018, (170, 220, 240))
    return image


def plain(rng: np.random.Generator, size: int) -> Image.Image:
    """One light colour, the background on which a subject is easily cut out."""
    grey = int(rng.integers(205, 246))
    return Image.new("RGB", (size, size), _vary(rng, (grey, grey, grey), 10))


BACKGROUNDS: dict[str, Callable[[np.random.Generator, int], Image.Image]] = {
    "grass": grass,
    "beach": beach,
    "snow": snow,
    "night": night,
    "water": under_water,
    "plain": plain,
}

PLACES = {
    "grass": "on grass",
    "beach": "on a beach",
    "snow": "in the snow",
    "night": "at night",
    "water": "under water",
    "plain": "on a plain background",
}
