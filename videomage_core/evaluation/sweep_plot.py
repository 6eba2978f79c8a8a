"""A setting's values from left to right, and what each metric makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from ..data.loss_plot import INK, PALE, PAPER
from .statistics import Estimate

PANEL, HEIGHT, MARGIN, FONT_SIZE = 210, 170, 34, 12  # pixels
LINE = (31, 119, 180)


def sweep_plot(
    values: Sequence[str], lines: Mapping[str, Sequence[Estimate]], at: Sequence[float] | None = None
) -> Image.Image:
    """A small panel for each metric: means as a line, 95 % intervals as bars; each panel has its own scale.

    Args:
        values: the setting's, as text.
        lines: by metric, an estimate for each value.
        at: where each value stands between the first and the last; None: evenly.

    Returns:
        An RGB image.
    """
    image = Image.new("RGB", (PANEL * max(1, len(lines)), HEIGHT + 2 * FONT_SIZE), PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(FONT_SIZE)
    for panel, (metric, estimates) in enumerate(lines.items()):
        left, right = PANEL * panel + MARGIN, PANEL * (panel + 1) - 12
        low, high = min(e.low for e in estimates), max(e.high for e in estimates)
        span = max(high - low, 1e-3)

        def height(value: float, low: float = low, span: float = span) -> float:
            return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value - low) / span

        pen.text((left, 6), metric, fill=INK, font=font)
        for value in (low, low + span):
            pen.line([(left, height(value)), (right, height(value))], fill=PALE)
            pen.text((PANEL * panel + 2, height(value) - FONT_SIZE / 2), f"{value:.2f}", fill=INK, font=font)
        numbers = range(len(values)) if at is None else at
        whole = (numbers[-1] - numbers[0]) or 1
        places = [left + 14 + (right - left - 28) * (number - numbers[0]) / whole for number in numbers]
        for x, estimate in zip(places, estimates, strict=True):
            pen.line([(x, height(estimate.low)), (x, height(estimate.high))], fill=LINE, width=2)
            pen.ellipse([x - 3, height(estimate.mean) - 3, x + 3, height(estimate.mean) + 3], fill=LINE)
        pen.line([(x, height(e.mean)) for x, e in zip(places, estimates, strict=True)], fill=LINE, width=2)
        pen.text((left, HEIGHT - MARGIN + 8), str(_short(values[0])), fill=INK, font=font)
        last = _short(values[-1])
        pen.text((right - font.getlength(last), HEIGHT - MARGIN + 8), last, fill=INK, font=font)
    pen.text((8, HEIGHT), ", ".join(values), fill=INK, font=font)
    return image


def _short(value: str) -> str:
    return value.split()[-1]
