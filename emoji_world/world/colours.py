"""Colours in words: drawings painted over in one strong colour, for captions such as "a blue dog"."""

from __future__ import annotations

import numpy as np

# name -> hue in degrees, saturation of what was grey or white
COLOURS: dict[str, tuple[float, float]] = {
    "red": (0.0, 0.75),
    "orange": (28.0, 0.75),
    "yellow": (54.0, 0.75),
    "green": (125.0, 0.60),
    "blue": (218.0, 0.70),
    "purple": (275.0, 0.60),
    "pink": (330.0, 0.45),
}


def recoloured(sprite: np.ndarray, colour: str) -> np.ndarray:
    """The drawing with every hue turned to one; light and dark stay, so eyes and outlines do.

    Args:
        sprite: float32 RGBA in 0..1, (H, W, 4), colour not premultiplied.
        colour: a name from ``COLOURS``.
    """
    if colour not in COLOURS:
        raise ValueError(f"colour: got {colour!r}, allowed: {', '.join(COLOURS)}")
    hue, least = COLOURS[colour]
    rgb = sprite[..., :3]
    value, low = rgb.max(-1), rgb.min(-1)
    own = (value - low) / np.maximum(value, 1e-6)
    saturation = least + (1 - least) * 0.6 * own
    lifted = value**0.75  # dark drawings show their colour too; black stays black
    sector = (hue / 60 + np.array([5.0, 3.0, 1.0])) % 6  # HSV to RGB: red, green, blue
    share = np.clip(np.minimum(sector, 4 - sector), 0, 1)
    painted = lifted[..., None] * (1 - saturation[..., None] * share)
    return np.concatenate([painted, sprite[..., 3:]], axis=-1).astype(np.float32)
