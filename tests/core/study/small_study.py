"""A small study's folder."""

from __future__ import annotations

from pathlib import Path

METHODS = ("VideoMage", "Merged", "Averaged")
CELLS = ("dog_riding", "cat_jumping")


def make_study(folder: Path) -> Path:
    """Three methods, two cells; the videos' bytes say what they are."""
    for method in METHODS:
        (folder / method).mkdir(parents=True)
        for cell in CELLS:
            (folder / method / f"{cell}.mp4").write_bytes(f"{method} {cell}".encode())
    for cell in CELLS:
        place = folder / "references" / cell
        place.mkdir(parents=True)
        (place / "1.png").write_bytes(b"an image")
        (place / "2.jpg").write_bytes(b"another")
        (place / "motion.gif").write_bytes(b"a clip")
        (place / "prompt.txt").write_text(f"a <{cell}>\n", encoding="utf-8")
    return folder
