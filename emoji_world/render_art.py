"""Render the characters' PNGs from the icon packages they come from.

Only needed to rebuild ``art/``; the rendered PNGs are in the repository.

    npm pack @iconify-json/noto      # and the others in PACKAGES; unpack each into DIR/<package>
    pip install resvg-py
    python -m emoji_world.render_art DIR
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

from PIL import Image

from .cast import ART, CONCEPTS

SIZE = 96

PACKAGES = {
    "noto": "noto",
    "noto-v1": "noto-v1",
    "twemoji": "twemoji",
    "emojione": "emojione",
    "streamline": "streamline-emojis",
    "fxemoji": "fxemoji",
    "fluent-flat": "fluent-emoji-flat",
}

# Sets name things differently; the first name that a set has is taken.
ICON_NAMES = {
    "dog": ("dog-face", "dog"),
    "cat": ("cat-face", "cat"),
    "fox": ("fox-face", "fox", "fox-face-1"),
    "panda": ("panda-face", "panda"),
    "frog": ("frog-face", "frog"),
    "pig": ("pig-face", "pig"),
    "rabbit": ("rabbit-face", "rabbit"),
    "monkey": ("monkey-face", "monkey"),
    "robot": ("robot-face", "robot", "robot-face-1"),
    "penguin": ("penguin", "penguin-1"),
    "octopus": ("octopus",),
    "chick": ("baby-chick",),
}


def svg_of(icons: dict, names: tuple[str, ...]) -> str | None:
    """The SVG text of the first of ``names`` that the set has, or None."""
    for name in names:
        parent = icons.get("aliases", {}).get(name, {}).get("parent", name)
        icon = icons["icons"].get(parent)
        if icon is not None:
            width = icon.get("width", icons.get("width", 16))
            height = icon.get("height", icons.get("height", 16))
            return (
                '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="0 0 {width} {height}" width="{4 * SIZE}" height="{4 * SIZE}">{icon["body"]}</svg>'
            )
    return None


def render(svg: str) -> Image.Image:
    """The drawing, cropped to its ink, centred on a SIZE x SIZE transparent square."""
    import resvg_py

    image = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")
    image = image.crop(image.getchannel("A").getbbox())
    scale = SIZE / max(image.size)
    image = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX
    )
    square = Image.new("RGBA", (SIZE, SIZE))
    square.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    return square


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path, help="folder that holds the unpacked icon packages")
    source = parser.parse_args().packages
    for artist, package in PACKAGES.items():
        icons = json.loads((source / package / "icons.json").read_text(encoding="utf-8"))
        for concept in CONCEPTS:
            svg = svg_of(icons, ICON_NAMES[concept])
            if svg is not None:
                target = ART / artist / f"{concept}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                render(svg).save(target, optimize=True)


if __name__ == "__main__":
    main()
