"""A contact sheet: one row per video, its frames from left to right below its label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .media import to_uint8

PAPER, INK = (255, 255, 255), (20, 20, 20)
MARGIN, GAP, FONT_SIZE = 12, 3, 16  # pixels


def contact_sheet(rows: Sequence[torch.Tensor], labels: Sequence[str], scale: int = 1) -> Image.Image:
    """Arrange videos on a contact sheet.

    Args:
        rows: videos [3, F, H, W] in -1..1; F, H and W may differ from row to row.
        labels: one per row; long ones are wrapped.
        scale: integer upscaling factor; 1 is off.

    Returns:
        An RGB image.
    """
    if not rows or len(rows) != len(labels):
        raise ValueError(f"labels: got {len(labels)} for {len(rows)} rows, give one for each, and at least one row")
    if scale < 1:
        raise ValueError(f"scale: got {scale}, must be at least 1")
    font = ImageFont.load_default(FONT_SIZE)
    strips = [strip(video, scale) for video in rows]
    words = [word for label in labels for word in label.split()]
    width = max(*(row.width for row in strips), *(int(font.getlength(word)) + 1 for word in words), 1)
    texts = [_wrapped(label, font, width) for label in labels]
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    tall = ["\n".join("Ag" for _ in text.split("\n")) for text in texts]  # of one height, whatever the letters
    heights = [int(ruler.multiline_textbbox((0, 0), text, font=font)[3]) + GAP for text in tall]

    height = sum(heights) + sum(row.height for row in strips) + MARGIN * (len(strips) + 1)
    sheet = Image.new("RGB", (width + 2 * MARGIN, height), PAPER)
    pen, y = ImageDraw.Draw(sheet), MARGIN
    for row, text, text_height in zip(strips, texts, heights, strict=True):
        pen.multiline_text((MARGIN, y), text, fill=INK, font=font)
        sheet.paste(row, (MARGIN, y + text_height))
        y += text_height + row.height + MARGIN
    return sheet


def strip(video: torch.Tensor, scale: int) -> Image.Image:
    """The frames of [3, F, H, W] side by side, GAP pixels apart."""
    frames = to_uint8(video).repeat(scale, 1).repeat(scale, 2)  # [F,H,W,3], enlarged
    spaced = np.pad(frames, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=PAPER[0])
    return Image.fromarray(np.concatenate(list(spaced), axis=1)[:, :-GAP])  # F x [H,W,3] -> [H,F*W,3]


def _wrapped(label: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """The label wrapped to lines of at most ``width`` pixels."""
    lines: list[str] = []
    for word in label.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
