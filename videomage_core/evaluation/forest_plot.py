"""A forest plot: a line for each comparison, its difference as a point, its 95 % intervals as bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..data.loss_plot import INK, PALE, PAPER
from .statistics import Estimate

LABEL, PLOT, NUMBERS, VERDICT, ROW, FONT_SIZE, PAD = 590, 380, 190, 230, 24, 13, 10  # pixels
GREEN, RED, GREY = (31, 119, 60), (190, 40, 40), (120, 120, 120)
COLOURS = {"significant": GREEN, "contradicted": RED, "worse": GREEN, "better": RED}  # any other word is grey


@dataclass(frozen=True)
class Comparison:
    """One line.

    Attributes:
        label: what is compared, and in which metric.
        difference: more is to the right.
        population: the verdict for other subjects like these: a word of ``COLOURS``, or "inconclusive".
        sample: the same for these subjects.
        margin: by how much less than 0 still counts as no worse.
    """

    label: str
    difference: Estimate
    population: str
    sample: str
    margin: float = 0.0


def forest_plot(comparisons: Sequence[Comparison], left: str, right: str) -> Image.Image:
    """Thin bars are the interval, or where there is none the dotted range, for other subjects; thick ones for these.

    Args:
        comparisons: a line for each, at least one.
        left: what a difference below 0 says.
        right: what one above 0 says.

    Returns:
        An RGB image.
    """
    reach = max(_reach(c.difference) for c in comparisons) * 1.05 or 1.0
    width, height = LABEL + PLOT + NUMBERS + VERDICT, ROW * (len(comparisons) + 3)
    image = Image.new("RGB", (width, height), PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(FONT_SIZE)

    def place(value: float) -> float:
        return LABEL + PLOT / 2 + (PLOT / 2 - PAD) * value / reach

    for tick in _ticks(reach):
        pen.line([(place(tick), ROW), (place(tick), height - 2 * ROW)], fill=INK if tick == 0 else PALE)
        text = f"{tick:g}"
        pen.text((place(tick) - font.getlength(text) / 2, height - 2 * ROW + 2), text, fill=INK, font=font)
    pen.text((LABEL, height - ROW), left, fill=INK, font=font)
    pen.text((LABEL + PLOT - font.getlength(right), height - ROW), right, fill=INK, font=font)
    heads = [
        (LABEL + PLOT + PAD, "difference (95 % interval)"),
        (LABEL + PLOT + NUMBERS + PAD, "other / these subjects"),
    ]
    for x, text in heads:
        pen.text((x, 4), text, fill=INK, font=font)
    for index, comparison in enumerate(comparisons):
        _line(pen, font, comparison, ROW * (index + 1.5), place)
    return image


def _line(pen: ImageDraw.ImageDraw, font: Any, comparison: Comparison, y: float, at: Callable[[float], float]) -> None:
    estimate = comparison.difference
    colour = COLOURS.get(comparison.population) or COLOURS.get(comparison.sample, GREY)
    pen.text((PAD, y - FONT_SIZE / 2 - 2), _fitting(comparison.label, font), fill=INK, font=font)
    if comparison.margin:
        pen.line([(at(-comparison.margin), y - 8), (at(-comparison.margin), y + 8)], fill=INK)
    if estimate.is_interval:
        pen.line([(at(estimate.low), y), (at(estimate.high), y)], fill=colour, width=1)
    else:
        for x in range(int(at(estimate.low)), int(at(estimate.high)), 4):
            pen.point((x, y), fill=colour)
    if estimate.within is not None:
        pen.line(
            [(at(estimate.mean - estimate.within), y), (at(estimate.mean + estimate.within), y)], fill=colour, width=5
        )
    pen.ellipse([at(estimate.mean) - 4, y - 4, at(estimate.mean) + 4, y + 4], fill=PAPER, outline=colour, width=2)
    top = y - FONT_SIZE / 2 - 2
    pen.text(
        (LABEL + PLOT + PAD, top),
        f"{estimate.mean:+.3f} ({estimate.low:+.3f} to {estimate.high:+.3f})",
        fill=INK,
        font=font,
    )
    verdict = f"{comparison.population} / {comparison.sample}"
    pen.text((LABEL + PLOT + NUMBERS + PAD, top), verdict, fill=colour, font=font)


def _fitting(label: str, font: Any) -> str:
    """The label, cut short with dots where it is too long."""
    length = font.getlength
    if length(label) <= LABEL - 2 * PAD:
        return label
    while label and length(label + "...") > LABEL - 2 * PAD:
        label = label[:-1]
    return label.rstrip() + "..."


def _reach(estimate: Estimate) -> float:
    within = estimate.within or 0.0
    return max(abs(estimate.low), abs(estimate.high), abs(estimate.mean - within), abs(estimate.mean + within))


def _ticks(reach: float) -> list[float]:
    """0 and steps of 1, 2 or 5 times a power of ten to both sides, four or fewer a side."""
    power = 10.0 ** math.floor(math.log10(reach))
    step = next(s for s in (power / 10, power / 5, power / 2, power, 2 * power, 5 * power) if reach / s <= 4)
    return [round(n * step, 10) for n in range(-int(reach / step), int(reach / step) + 1)]
