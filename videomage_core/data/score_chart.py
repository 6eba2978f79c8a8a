"""A bar chart of the scores of a few videos."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont

from .loss_plot import COLOURS, INK, PALE, PAPER

WIDTH, MARGIN, BAR, GAP, FONT_SIZE = 640, 16, 18, 14, 14  # pixels
_NAMES = 150  # pixels for the metrics' names


def score_chart(scores: Mapping[str, Mapping[str, float]]) -> Image.Image:
    """A group of bars per metric, one bar per video.

    Args:
        scores: by video, then by metric, in -1..1; missing metrics have no bar.  Bars start at 0, or at -1 if a score
            is negative.

    Returns:
        An RGB image 640 pixels wide.
    """
    metrics = list(dict.fromkeys(metric for of in scores.values() for metric in of))
    if not metrics:
        raise ValueError("scores: got none, give at least one metric of one video")
    font = ImageFont.load_default(FONT_SIZE)
    top = MARGIN + (BAR + 4) * len(scores) + GAP
    height = top + len(metrics) * (BAR * len(scores) + GAP) + MARGIN
    image = Image.new("RGB", (WIDTH, height), PAPER)
    pen = ImageDraw.Draw(image)
    low = -1.0 if any(value < 0 for of in scores.values() for value in of.values()) else 0.0
    left, right = MARGIN + _NAMES, WIDTH - MARGIN - 60

    def place(value: float) -> float:
        return left + (right - left) * (min(max(value, low), 1.0) - low) / (1 - low)

    for index, label in enumerate(scores):
        y = MARGIN + (BAR + 4) * index
        pen.rectangle([MARGIN, y + 3, MARGIN + 12, y + 15], fill=COLOURS[index % len(COLOURS)])
        pen.text((MARGIN + 20, y), label, fill=INK, font=font)
    for tick in (low, 0.0, 0.5, 1.0):
        pen.line([(place(tick), top - 4), (place(tick), height - MARGIN)], fill=PALE)
    for number, metric in enumerate(metrics):
        y = top + number * (BAR * len(scores) + GAP)
        pen.text((MARGIN, y + (BAR * len(scores) - FONT_SIZE) / 2 - 2), metric, fill=INK, font=font)
        for index, of in enumerate(scores.values()):
            if metric not in of:
                continue
            ends = sorted((place(0.0), place(of[metric])))
            box = (ends[0], y + BAR * index + 1, ends[1], y + BAR * (index + 1) - 2)
            pen.rectangle(box, fill=COLOURS[index % len(COLOURS)])
            pen.text((right + 8, y + BAR * index), f"{of[metric]:.3f}", fill=INK, font=font)
    return image


def score_table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """The scores as text: a row per metric, a column per video."""
    metrics = list(dict.fromkeys(metric for of in scores.values() for metric in of))
    wide = max(map(len, metrics))
    lines = [" ".join([" " * wide, *(f"{label[:14]:>14}" for label in scores)])]
    for metric in metrics:
        values = (f"{of[metric]:>14.3f}" if metric in of else " " * 14 for of in scores.values())
        lines.append(" ".join([f"{metric:<{wide}}", *values]))
    return "\n".join(lines)
