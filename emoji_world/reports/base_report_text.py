"""The model card of a base: one template, filled from the base's own texts and the figures that were measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..world.backgrounds import PLACES
from ..world.characters import HELD_OUT_ARTIST
from ..world.colours import COLOURS
from ..world.worlds import World

# artist folder: name of the set, its author and home, licence
ARTISTS = {
    "noto": ("Noto Emoji", "Google", "https://github.com/googlefonts/noto-emoji", "Apache-2.0"),
    "noto-v1": ("Noto Emoji v1", "Google", "https://github.com/googlefonts/noto-emoji", "Apache-2.0"),
    "twemoji": ("Twitter Emoji", "Twitter", "https://github.com/jdecked/twemoji", "CC-BY-4.0"),
    "emojione": ("Emoji One", "Emoji One", "https://github.com/EmojiTwo/emojitwo", "CC-BY-4.0"),
    "streamline": ("Streamline Emojis", "Streamline", "https://github.com/webalys-hq/streamline-vectors", "CC-BY-4.0"),
    "fxemoji": ("Firefox OS Emoji", "Mozilla", "https://github.com/mozilla/fxemoji", "Apache-2.0"),
    "fluent-flat": ("Fluent Emoji Flat", "Microsoft", "https://github.com/microsoft/fluentui-emoji", "MIT"),
}

MEASURES = {
    "single concept": "the character of a one-character prompt is named right",
    "both of a pair": "both characters of a two-character prompt are named right",
    "both, each in its role": "and who is on top, or chases, is the one asked for",
    "motion": "the motion is named right, over all trained motions",
    "motion of one": "of these, with one character",
    "motion of two": "of these, with two characters",
    "background": "the background is named right, over all prompts",
}

MOST_CONFUSED = 8  # of what the judge takes for another thing, so many are named

TEMPLATE = """\
---
license: cc-by-4.0
pipeline_tag: text-to-video
tags: [{tags}]
---
# {name}

{introduction}  It knows a world of moving emoji: 48x48 pixels, {frames} frames.  It is no use for real video.

![unselected samples of one character](../../../docs/images/{name}_singles.png)
![unselected samples of two characters](../../../docs/images/{name}_pairs.png)

The pictures are unselected: the first prompts of the fixed list, the first seed of each.

## What it is
{architecture}

## What it knows
* Characters: {concepts}.
* Motions of one: {single_motions}.
* Motions of two: {pair_motions}.
* Places: {places}.
{knows}
{example}

## Data
Scenes drawn by `emoji_world` from {drawings} drawings by these artists (licences of their graphics):

{artists}

{colours}
All drawings by the held-out artist ({held_out} of them), and the motions listed as held out in
`emoji_world/world/small_motions.py`, were kept from training: they are what a subject or motion LoRA has to learn.

## Cost
{cost}

## Quality
The judge took no part in training.  Characters are found by their difference from the background and named by their
nearest drawings in the features of an ImageNet MobileNetV2; their motion is named by the nearest trajectories of true
renders.  The ceiling is what the same judge says of true renders of the same prompts.  In brackets: Wilson 95 %
intervals.

| | samples | ceiling | share of ceiling | aim |
|---|---|---|---|---|
{quality}

{prompts} prompts, {seeds} seeds each, {videos} videos.  {meanings}

The seeds of one prompt are not independent, so the true intervals are somewhat wider.  {judge}
All figures: `docs/{name}.json`; measured anew by `python -m emoji_world.reports.{name}_report`.

## Licence
Noto, Noto v1 and Firefox OS Emoji are under Apache-2.0, Twitter Emoji, Emoji One and Streamline Emojis under CC-BY-4.0:
name these artists, as above, wherever you pass on the weights or the drawings.
"""


@dataclass(frozen=True)
class Card:
    """What one base's card says of its own; texts may name the figures of ``model_card`` in braces.

    Attributes:
        name: of the base, its files and its report.
        tags: of the card's header, with commas.
        introduction: a sentence on what it is for.
        architecture: its parts, and how it is sampled.
        example: what prompts read like.
        colours: how the training scenes' colours differ from the drawings'.
        cores: on what its training's minutes were counted.
        judge: how well the judge names drawings it has not seen.
        knows: list items of what it knows beyond characters, motions and places.
    """

    name: str
    tags: str
    introduction: str
    architecture: str
    example: str
    colours: str
    cores: str
    judge: str
    knows: str = ""


def world_facts(world: World) -> dict[str, Any]:
    """What a card says of the world its base was trained on."""
    held_out = [world.held_out_characters(split) for split in ("development", "test")]
    return {
        "frames": world.frames,
        "concepts": ", ".join(world.concepts),
        "single_motions": ", ".join(world.single_motions),
        "pair_motions": ", ".join(world.interactions),
        "places": ", ".join(PLACES.values()),
        "colour_names": ", ".join(COLOURS),
        "drawings": len(world.training_characters()),
        "held_out": sum(map(len, held_out)),
        "choices": len(world.concepts),
    }


def model_card(card: Card, figures: Mapping[str, Any], training_minutes: float | None, facts: Mapping[str, Any]) -> str:
    """The card's text.

    Args:
        card: the base's own texts.
        figures: as in docs/BASE.json.
        training_minutes: what the whole training took, on ``card.cores``; None leaves it unsaid.
        facts: of ``world_facts``.
    """
    cost = "Not recorded." if training_minutes is None else f"{training_minutes:.0f} minutes on {card.cores}, no GPU."
    confused = [f"{pair} ({count})" for pair, count in figures.get("taken_for_another", {}).items()][:MOST_CONFUSED]
    values = {
        **facts,
        "steps": figures["sampling"]["steps"],
        "guidance": f"{figures['sampling']['guidance_scale']:g}",
        "artists": "\n".join(artist_line(key) for key in ARTISTS),
        "cost": cost,
        "quality": "\n".join(quality_line(name, row) for name, row in figures["quality"].items()),
        "prompts": figures["prompts"],
        "seeds": figures["seeds_per_prompt"],
        "videos": figures["videos"],
        "meanings": " ".join(f"{name[0].upper()}{name[1:]}: {meaning}." for name, meaning in MEASURES.items()),
        "unseen": f"{100 * figures['judge_on_unseen_artists']['share']:.0f} %",
        "confused": ", ".join(confused) or "nothing",
    }
    own = {field.name: getattr(card, field.name).format(**values) for field in dataclasses.fields(card)}
    return TEMPLATE.format(**values, **own)


def artist_line(key: str) -> str:
    """One artist, with home and licence, as a list item."""
    name, author, home, licence = ARTISTS[key]
    held_out = " **(held out)**" if key == HELD_OUT_ARTIST else ""
    return f"* [{name}]({home}) by {author}, {licence}{held_out}"


def quality_line(name: str, row: dict[str, Any]) -> str:
    """One measure as a table row."""
    aim = "" if row["aim"] is None else f"{100 * row['aim']:.0f} %"
    share = 100 * row["share_of_ceiling"]
    return f"| {name} | {_with_interval(row['samples'])} | {_with_interval(row['ceiling'])} | {share:.0f} % | {aim} |"


def _with_interval(rate: dict[str, Any]) -> str:
    low, high = (100 * bound for bound in rate["interval"])
    return f"{100 * rate['share']:.0f} % ({low:.0f} to {high:.0f}, n={rate['of']})"
