"""The embedded base's model card: a template, filled from the figures that were measured."""

from __future__ import annotations

from typing import Any

from ..world.backgrounds import PLACES
from ..world.characters import CONCEPTS, HELD_OUT_ARTIST
from ..world.small_motions import TRAINED_PAIR, TRAINED_SINGLE

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

TEMPLATE = """\
---
license: cc-by-4.0
pipeline_tag: text-to-video
tags: [text-to-video, toy, emoji]
---
# emoji_base

A tiny text-to-video diffusion model, so that every stage of VideoMage can be tried, tested and
understood in minutes on a CPU.  It knows a little world of moving emoji: 48x48 pixels, 8 frames.
It is no use for real video.

![unselected samples of one character](../../../docs/images/emoji_base_singles.png)
![unselected samples of two characters](../../../docs/images/emoji_base_pairs.png)

The pictures are unselected: the first prompts of the fixed list, the first seed of each.

## What it is
A diffusers folder: `UNet3DConditionModel`, `AutoencoderKL`, `CLIPTextModel` trained along with the
U-Net, a word tokenizer, `DDIMScheduler`.  Sampled with {steps} DDIM steps at guidance {guidance}.

## What it knows
* Characters: {concepts}.
* Motions of one: {single_motions}.
* Motions of two: {pair_motions}.
* Places: {places}.

Prompts read like "a dog is chasing a cat on grass".

## Data
Scenes drawn by `emoji_world` from drawings by these artists (licences of their graphics):

{artists}

Half of the training scenes have their colours varied.  All drawings by the held-out artist, and the
motions listed as held out in `emoji_world/world/small_motions.py`, were kept from training: they are what a
subject or motion LoRA has to learn.

## Cost
{cost}

## Quality
The judge took no part in training.  Characters are found by their difference from the background,
named by their nearest drawings in the features of an ImageNet MobileNetV2, and their motion by
the nearest ways of true renders.  The ceiling is what the same judge says of true renders of the
same prompts.  In brackets: Wilson 95 % intervals.

| | samples | ceiling | share of ceiling | aim |
|---|---|---|---|---|
{quality}

{prompts} prompts, {seeds} seeds each, {videos} videos.  {meanings}

The seeds of one prompt are not independent, so the true intervals are somewhat wider.  The judge is
at home among these drawings: of true renders by an artist left out of its bank it names {unseen}.
All figures: `docs/emoji_base.json`; measured anew by `python -m emoji_world.reports.base_report`.

## Licence
Noto, Noto v1 and Firefox OS Emoji are under Apache-2.0, Twitter Emoji, Emoji One and Streamline
Emojis under CC-BY-4.0: name these artists, as above, wherever you pass on the weights or the drawings.
"""


def model_card(figures: dict[str, Any], training_minutes: float | None) -> str:
    """The card's text.

    Args:
        figures: as in docs/emoji_base.json.
        training_minutes: what the whole training took, in minutes on two CPU cores; None leaves it unsaid.
    """
    cost = "Not recorded." if training_minutes is None else f"{training_minutes:.0f} minutes on two CPU cores, no GPU."
    return TEMPLATE.format(
        steps=figures["sampling"]["steps"],
        guidance=figures["sampling"]["guidance_scale"],
        concepts=", ".join(CONCEPTS),
        single_motions=", ".join(TRAINED_SINGLE),
        pair_motions=", ".join(TRAINED_PAIR),
        places=", ".join(PLACES.values()),
        artists="\n".join(artist_line(key) for key in ARTISTS),
        cost=cost,
        quality="\n".join(quality_line(name, row) for name, row in figures["quality"].items()),
        prompts=figures["prompts"],
        seeds=figures["seeds_per_prompt"],
        videos=figures["videos"],
        meanings=" ".join(f"{name[0].upper()}{name[1:]}: {meaning}." for name, meaning in MEASURES.items()),
        unseen=f"{100 * figures['judge_on_unseen_artists']['share']:.0f} %",
    )


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
