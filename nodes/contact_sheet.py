"""Contact Sheet: images and videos in rows on one image."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ..videomage_core.data.contact_sheet import contact_sheet
from ..videomage_core.data.frames import image_to_frames
from .conversions import CLIP_TYPES, clip_pixels
from .schema import Node, schema

MOST = 8


class ContactSheet(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_ContactSheet",
            display_name="Contact Sheet",
            search_aliases=["grid", "montage", "compare videos", "image grid"],
            description="Arranges images, clips and videos in rows, each with its frames side by side and a label.",
            is_output_node=True,
            inputs=[
                *(
                    io.MultiType.Input(
                        f"row_{i}", types=CLIP_TYPES, optional=i > 1, tooltip=f"Row {i}: images, frames or a VIDEO."
                    )
                    for i in range(1, MOST + 1)
                ),
                io.String.Input(
                    "labels", default="", multiline=True, tooltip="Labels, one per line, in the order of the rows."
                ),
                io.Int.Input(
                    "scale",
                    default=1,
                    min=1,
                    max=16,
                    tooltip="Integer upscaling factor, for tiny videos.",
                ),
            ],
            outputs=[io.Image.Output("sheet", display_name="sheet", tooltip="All rows in one image.")],
        )

    @classmethod
    def execute(cls, labels: str, scale: int, **rows: Any) -> Any:
        texts = labels.splitlines()
        numbered = [(i, rows[f"row_{i + 1}"]) for i in range(MOST) if rows.get(f"row_{i + 1}") is not None]
        named = [texts[i].strip() if i < len(texts) else "" for i, _ in numbered]
        sheet = image_to_frames(
            contact_sheet([clip_pixels(row) for _, row in numbered], [name or " " for name in named], scale)
        )
        return io.NodeOutput(sheet, ui=ui.PreviewImage(sheet))
