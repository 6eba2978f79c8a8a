"""A plot of a training's losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, MARGIN, FONT_SIZE = 640, 360, 44, 14  # pixels
PAPER, INK, PALE = (255, 255, 255), (20, 20, 20), (215, 215, 215)
COLOURS = ((31, 119, 180), (214, 95, 14), (44, 160, 44), (148, 60, 190))  # of the terms, by turns


def loss_plot(losses: Mapping[str, Sequence[float]]) -> Image.Image:
    """Each loss term over the steps: raw values in a pale colour, their running mean in a strong one.

    Args:
        losses: one value per step for each term; may be empty.

    Returns:
        An RGB image of 640 x 360 pixels with a logarithmic loss axis.
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(FONT_SIZE)
    positive = [v for values in losses.values() for v in values if v > 0 and math.isfinite(v)]
    if not positive:
        pen.text((MARGIN, HEIGHT / 2), "no steps yet", fill=INK, font=font)
        return image
    low, high = math.log10(min(positive)), math.log10(max(positive))
    span = max(high - low, 0.1)
    steps = max(len(values) for values in losses.values())

    def place(step: int, value: float) -> tuple[float, float]:
        level = (math.log10(max(value, 10**low)) - low) / span
        x = MARGIN + (WIDTH - 2 * MARGIN) * step / max(1, steps - 1)
        return x, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * level

    for power in range(math.floor(low), math.ceil(high) + 1):
        for value in (10.0**power, 3 * 10.0**power):
            y = place(0, value)[1]
            if MARGIN <= y <= HEIGHT - MARGIN:
                pen.line([(MARGIN, y), (WIDTH - MARGIN, y)], fill=PALE)
                pen.text((2, y - FONT_SIZE / 2), f"{value:.0e}".replace("e-0", "e-"), fill=INK, font=font)
    for index, (name, values) in enumerate(losses.items()):
        colour = COLOURS[index % len(COLOURS)]
        for line, tint, width in ((values, tuple((c + 3 * 255) // 4 for c in colour), 1), (smooth(values), colour, 2)):
            points = [place(step, value) for step, value in enumerate(line) if value > 0]
            if len(points) > 1:
                pen.line(points, fill=tint, width=width)
        pen.text((MARGIN + 130 * index, 8), name, fill=colour, font=font)
    pen.text((MARGIN, HEIGHT - FONT_SIZE - 12), f"{steps} steps", fill=INK, font=font)
    return image


def smooth(values: Sequence[float]) -> list[float]:
    """Running mean over a window of a tenth of the values."""
    width = max(1, len(values) // 10)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    return [(sums[i + 1] - sums[max(0, i + 1 - width)]) / (i + 1 - max(0, i + 1 - width)) for i in range(len(values))]


def thinned(values: Sequence[float], most: int = 300) -> list[float]:
    """At most ``most`` values: means of neighbouring ones."""
    width = max(1, -(-len(values) // most))
    parts = [values[i : i + width] for i in range(0, len(values), width)]
    return [sum(part) / len(part) for part in parts]
