"""The model card of a base of the rich world: a template, filled from the figures that were measured."""

from __future__ import annotations

from typing import Any

from ..reports.base_report_text import ARTISTS, MEASURES, artist_line, quality_line
from .backgrounds import PLACES
from .colours import COLOURS
from .worlds import World

MOST_CONFUSED = 8  # of what the judge takes for another thing, so many are named

TEMPLATE = """\
---
license: cc-by-4.0
pipeline_tag: text-to-video
tags: [text-to-video, toy, emoji, wan]
---
# emoji_wan

A tiny text-to-video model of the architecture of Wan 2.1, so that the method can be tried, tested and understood in
minutes on a CPU.  It knows a world of moving emoji: 48x48 pixels, {frames} frames.  It is no use for real video.

![unselected samples of one character](../../../docs/images/emoji_wan_singles.png)
![unselected samples of two characters](../../../docs/images/emoji_wan_pairs.png)

The pictures are unselected: the first prompts of the fixed list, the first seed of each.

## What it is
A diffusers folder that `WanPipeline` opens: `WanTransformer3DModel`, `AutoencoderKLWan`, `UMT5EncoderModel` with a
small tokenizer of its own.  Flow matching.  Sampled in {steps} steps at guidance {guidance}.

## What it knows
* Characters: {concepts}.
* Motions of one: {single_motions}.
* Motions of two: {pair_motions}.
* Places: {places}.
* Colours of characters: {colours}.

Prompts read like "a dog is chasing a blue cat on grass"; other phrasings are understood.

## Data
Scenes drawn by `emoji_world` from {drawings} drawings by these artists (licences of their graphics):

{artists}

Half of the training scenes have their colours varied a little, and some characters are painted in one colour, which the
caption names.  All drawings by the held-out artist ({held_out} of them), and the motions listed as held out in
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

The seeds of one prompt are not independent, so the true intervals are somewhat wider.  Of single pictures by an artist
left out of its bank the judge names {unseen} right, of {choices} concepts.  What it takes for another thing even in
true renders: {confused}.
All figures: `docs/emoji_wan.json`; measured anew by `python -m emoji_world.world.report`.

## Licence
Noto, Noto v1 and Firefox OS Emoji are under Apache-2.0, Twitter Emoji, Emoji One and Streamline Emojis under CC-BY-4.0:
name these artists, as above, wherever you pass on the weights or the drawings.
"""


def model_card(world: World, figures: dict[str, Any], training_minutes: float | None) -> str:
    """The card's text.

    Args:
        world: what the base was trained on.
        figures: as in docs/emoji_wan.json.
        training_minutes: what the whole training took, in minutes on one CPU core; None leaves it unsaid.
    """
    cost = "Not recorded." if training_minutes is None else f"{training_minutes:.0f} minutes on one CPU core, no GPU."
    halves = [world.held_out_characters(split) for split in ("development", "test")]
    confused = [f"{pair} ({count})" for pair, count in figures["taken_for_another"].items()][:MOST_CONFUSED]
    return TEMPLATE.format(
        frames=world.frames,
        steps=figures["sampling"]["steps"],
        guidance=f"{figures['sampling']['guidance_scale']:g}",
        concepts=", ".join(world.concepts),
        single_motions=", ".join(world.single_motions),
        pair_motions=", ".join(world.interactions),
        places=", ".join(PLACES.values()),
        colours=", ".join(COLOURS),
        drawings=len(world.training_characters()),
        held_out=sum(map(len, halves)),
        artists="\n".join(artist_line(key) for key in ARTISTS),
        cost=cost,
        quality="\n".join(quality_line(name, row) for name, row in figures["quality"].items()),
        prompts=figures["prompts"],
        seeds=figures["seeds_per_prompt"],
        videos=figures["videos"],
        meanings=" ".join(f"{name[0].upper()}{name[1:]}: {meaning}." for name, meaning in MEASURES.items()),
        unseen=f"{100 * figures['judge_on_unseen_artists']['share']:.0f} %",
        choices=len(world.concepts),
        confused=", ".join(confused) or "nothing",
    )
