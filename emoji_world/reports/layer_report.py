"""Which attention layers are worth recording: measured on the development half, written to docs/layers.md.

    python -m emoji_world.reports.layer_report

* Cross-attention: true renders of two characters are noised to the levels of sampling steps; a layer's
  map of each character's word is cut at as many places as the true mask has, and compared with the
  mask: intersection over union (IoU).  Chance is what a map of random numbers reaches.
* Temporal attention: a clip, and the same trajectories of other characters among clips of other motions;
  a layer follows the motion if, by its maps, the clip of the same trajectories is the nearest.  No prompt.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from videomage_core.data.masks import resize_mask
from videomage_core.model.backbone import NoiseLevel
from videomage_core.model.loading import load_unet3d
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.presets import EMOJI
from videomage_core.sampling import add_noise

from ..world.backgrounds import BACKGROUNDS
from ..world.characters import Character, training_characters
from ..world.examples import to_pixels
from ..world.scene import Drawing, Scene, draw
from ..world.small_motions import TRAINED_PAIR
from ..world.small_splits import DEVELOPMENT

ROOT = Path(__file__).parents[2]
STEPS = {"first steps": (0, 2, 4, 6), "middle": (9, 12, 15), "last steps": (18, 21, 24)}  # of 25
Table = dict[str, dict[str, list[float]]]  # layer -> when -> values


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=24, help="scenes for cross-attention (24)")
    parser.add_argument("--clips", type=int, default=10, help="clips for temporal attention (10)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "layers.md")
    options = parser.parse_args(arguments)
    backbone = load_unet3d()
    cross, chance = cross_table(backbone, options.scenes)
    temporal = temporal_table(backbone, options.clips)
    options.output.write_text(report(cross, chance, temporal, options.scenes, options.clips), encoding="utf-8")
    print(f"wrote {options.output}")


def random_pair(rng: np.random.Generator) -> tuple[Character, Character]:
    """Two training artists' characters of different concepts."""
    characters = training_characters()
    first = characters[int(rng.integers(len(characters)))]
    others = [c for c in characters if c.concept != first.concept]
    return first, others[int(rng.integers(len(others)))]


@torch.no_grad()
def cross_table(backbone: UNet3DBackbone, scenes: int) -> tuple[Table, float]:
    """IoU of each layer's map with the true mask, and the IoU of chance."""
    layers = backbone.attention_layers("cross")
    table: Table = {layer.name: {when: [] for when in STEPS} for layer in layers}
    chance = []
    motions = (*TRAINED_PAIR, *DEVELOPMENT.interactions)
    for index in range(scenes):
        rng = np.random.default_rng([DEVELOPMENT.seeds[200 + index], 13])
        pair = random_pair(rng)
        scene = Scene(
            pair, motions[index % len(motions)], str(rng.choice(list(BACKGROUNDS))), DEVELOPMENT.seeds[200 + index]
        )
        drawing = draw(scene)
        spans = [backbone.word_spans(scene.caption, c.concept)[0] for c in pair]
        masks = torch.stack([torch.from_numpy(mask) for mask in drawing.masks])
        text = backbone.encode_prompt([scene.caption])
        for when, x_t, level in noised(backbone, drawing, index):
            with backbone.record(layers, spans, stop=True) as maps:
                backbone.record_forward(x_t, level, text)
            for name, recorded in maps.cross.items():
                target = resize_mask(masks, *recorded.shape[-2:]) > 0.5
                table[name][when].append(overlap(recorded[0], target))
                chance.append(overlap(torch.rand(recorded[0].shape), target))
    return table, float(np.mean(chance))


def noised(backbone: UNet3DBackbone, drawing: Drawing, seed: int) -> list[tuple[str, torch.Tensor, NoiseLevel]]:
    """A drawing as it is at several sampling steps."""
    x0 = backbone.encode_video(to_pixels(drawing.frames)[None])
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))
    levels = backbone.levels(EMOJI.sampling.steps)
    return [(when, add_noise(x0, eps, levels[i]), levels[i]) for when, steps in STEPS.items() for i in steps]


def overlap(maps: torch.Tensor, masks: torch.Tensor) -> float:
    """Mean IoU over subjects and frames; each map [K, F, h, w] cut at as many places as its mask has."""
    values = []
    for recorded, mask in zip(maps.flatten(0, 1).flatten(1), masks.flatten(0, 1).flatten(1), strict=True):
        count = int(mask.sum())
        if count:
            chosen = torch.zeros_like(mask)
            chosen[recorded.topk(count).indices] = True
            values.append(float((chosen & mask).sum() / (chosen | mask).sum()))
    return float(np.mean(values))


@torch.no_grad()
def temporal_table(backbone: UNet3DBackbone, clips: int) -> Table:
    """1 where the clip of the same trajectories is the nearest, 0 where not, for each layer."""
    layers = backbone.attention_layers("temporal")
    table: Table = {layer.name: {when: [] for when in STEPS} for layer in layers}
    motions = (*TRAINED_PAIR, *DEVELOPMENT.interactions)
    text = backbone.encode_prompt([""])
    for index in range(clips):
        seed = DEVELOPMENT.seeds[300 + index]
        rng = np.random.default_rng([seed, 17])
        background, motion = str(rng.choice(list(BACKGROUNDS))), motions[index % len(motions)]
        pair, others = random_pair(rng), random_pair(rng)
        maps = [
            recorded(backbone, draw(Scene(who, way, background, seed)), text)
            for who, way in ((pair, motion), *((others, way) for way in motions))
        ]
        for layer in layers:
            for step, (when, anchor) in enumerate(maps[0]):
                distances = [float((anchor[layer.name] - m[step][1][layer.name]).square().mean()) for m in maps[1:]]
                table[layer.name][when].append(float(motions[int(np.argmin(distances))] == motion))
    return table


def recorded(
    backbone: UNet3DBackbone, drawing: Drawing, text: torch.Tensor
) -> list[tuple[str, dict[str, torch.Tensor]]]:
    """The temporal maps of a drawing at each step, always under the same noise."""
    result = []
    for when, x_t, level in noised(backbone, drawing, 0):
        with backbone.record(backbone.attention_layers("temporal"), stop=True) as maps:
            backbone.record_forward(x_t, level, text)
        result.append((when, dict(maps.temporal)))
    return result


def report(cross: Table, chance: float, temporal: Table, scenes: int, clips: int) -> str:
    """The page."""
    motions = len(TRAINED_PAIR) + len(DEVELOPMENT.interactions)
    return "\n".join(
        [
            "# Which attention layers are recorded",
            "",
            "Written by `python -m emoji_world.reports.layer_report`, on the development half of the emoji world.",
            "",
            "M_SCA is a spatial cross-attention map, of a word; M_TSA a temporal self-attention map, of a place.",
            "",
            "## Cross-attention: does the map of a word find its character?",
            "",
            f"IoU with the true mask, mean and standard deviation over {scenes} scenes of two characters; "
            f"chance is {chance:.2f}.",
            "",
            *rows(cross),
            "",
            "## Temporal attention: do maps follow the motion?",
            "",
            f"How often the clip in which other characters go the same ways is the nearest of {motions} "
            f"({clips} clips, several steps each); chance is {1 / motions:.2f}.",
            "",
            *rows(temporal),
            "",
            "## What the preset takes",
            "",
            f"The preset `emoji` compares M_SCA of `{EMOJI.collaborative.cross_attention_layers}` and M_TSA of",
            f"`{EMOJI.collaborative.temporal_attention_layers}`. The last "
            "cross-attention overlaps its character least.",
            "The last temporal maps are among the best, but hardly better than the best of those that stay;",
            "without them guidance need not run the last layers, which saves time.",
            "",
        ]
    )


def rows(table: Table) -> Sequence[str]:
    """A Markdown table."""
    lines = ["| layer | " + " | ".join(STEPS) + " |", "|---|" + "---|" * len(STEPS)]
    for layer, values in table.items():
        cells = [f"{np.mean(values[when]):.2f} ± {np.std(values[when]):.2f}" for when in STEPS]
        lines.append(f"| `{layer}` | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
