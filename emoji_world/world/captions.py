"""What a text-to-video user would write for a scene of the rich world: many phrasings of one thing.

``training_caption`` phrases a scene anew each time it is shown.  Every phrasing keeps who does what to
whom: roles are told by the order of the nouns and the verb alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .backgrounds import BACKGROUNDS, PLACES
from .characters import with_article
from .colours import COLOURS
from .motions import PAIR, SINGLE
from .scene import Scene
from .small_dataset import unknown_word
from .worlds import RICH, World

DROPPED = 0.1  # share of empty captions, for classifier-free guidance
NO_PLACE = 0.08  # share that leaves the place out
UNKNOWN_VERB = 0.04  # share whose motion is an unknown word
# Shares of nouns that are told otherwise:
GENERAL = 0.04  # by the concept's kind, "animal"
CHARACTER = 0.02
UNKNOWN_NOUN = 0.03
UNKNOWN_ADJECTIVE = 0.05  # "a voruk dog": as a new token is used

# name: third person, as in "a dog ... on grass"; the gerund is the motion's name
PRESENT: Mapping[str, str] = {
    "standing still": "stands still",
    "walking to the left": "walks to the left",
    "walking to the right": "walks to the right",
    "rising": "rises",
    "falling": "falls",
    "jumping": "jumps",
    "growing": "grows",
    "shrinking": "shrinks",
    "next to": "stands next to",
    "on top of": "stands on top of",
    "chasing": "chases",
    "walking towards": "walks towards",
    "walking away from": "walks away from",
    "under": "stands under",
    "running from": "runs from",
    "bumping into": "bumps into",
    "landing on": "lands on",
    "lifting": "lifts",
}
STILL_LEADS = ("", "", "", "a picture of ", "a photo of ", "a drawing of ", "an image of ")
CLIP_LEADS = ("", "", "", "", "a video of ", "a clip of ", "a cartoon of ", "a short film of ")
PLACE_PHRASES: Mapping[str, tuple[str, ...]] = {
    "grass": ("on grass", "on the grass", "in a meadow"),
    "beach": ("on a beach", "at the beach", "by the sea"),
    "snow": ("in the snow", "on snow", "in winter"),
    "night": ("at night", "in the dark", "under the stars"),
    "water": ("under water", "in the sea", "underwater"),
    "plain": ("on a plain background", "in front of a plain background", "on an empty background"),
}
# A place's first phrase, which prompts use, is shown in six of ten captions that name the place.
FIRST_PHRASE = 0.6


def training_caption(scene: Scene, rng: np.random.Generator, still: bool, world: World = RICH) -> str:
    """One phrasing of a scene.

    Args:
        scene: what is shown.
        rng: chooses the words.
        still: one frame is shown, not a clip.
        world: whose general words are used.
    """
    if rng.random() < DROPPED:
        return ""
    place = "" if rng.random() < NO_PLACE else _place(scene.background, rng)
    if not scene.characters:
        text = str(rng.choice(("an empty scene", "nothing", "an empty background", "a place without anyone")))
        return f"{text} {place}".strip()
    nouns = [_noun(scene, index, rng, world) for index in range(len(scene.characters))]
    text = _sentence(scene, nouns, place, rng, still, world)
    return text + ("." if rng.random() < 0.1 else "")


def _place(background: str, rng: np.random.Generator) -> str:
    first, *others = PLACE_PHRASES[background]
    return first if rng.random() < FIRST_PHRASE else str(rng.choice(others))


def _noun(scene: Scene, index: int, rng: np.random.Generator, world: World) -> str:
    """What one character is called, with its colour and without an article."""
    concept, colour = scene.characters[index].concept, scene.painted[index]
    roll = rng.random()
    if roll < GENERAL:
        noun = world.kinds[concept]
    elif roll < GENERAL + CHARACTER:
        noun = "character"
    elif roll < GENERAL + CHARACTER + UNKNOWN_NOUN:
        noun = unknown_word(rng)
    elif roll < GENERAL + CHARACTER + UNKNOWN_NOUN + UNKNOWN_ADJECTIVE:
        noun = f"{unknown_word(rng)} {concept}"
    else:
        noun = concept
    return f"{colour} {noun}" if colour else noun


def _sentence(scene: Scene, nouns: list[str], place: str, rng: np.random.Generator, still: bool, world: World) -> str:
    who = [with_article(noun) for noun in nouns]
    if rng.random() < 0.06:
        who = [f"the {noun}" for noun in nouns]
    object_ = f" {who[1]}" if len(who) == 2 else ""
    style = rng.random()
    if not still and rng.random() < UNKNOWN_VERB:
        return f"{who[0]} is {unknown_word(rng, 'ing')}{object_} {place}".strip()
    if scene.motion == "standing still" and (still or style < 0.4):
        return f"{_lead(rng, still)}{who[0]} {place}".strip()
    if scene.motion == "next to" and style < 0.45:
        pair = who if rng.random() < 0.5 else who[::-1]  # "next to" has no order
        return f"{_lead(rng, still)}{' and '.join(pair)} {place}".strip()
    present, gerund = f"{who[0]} {PRESENT[scene.motion]}{object_}", f"{who[0]} {scene.motion}{object_}"
    if style < 0.5:
        return f"{_lead(rng, still, 0.3)}{who[0]} is {scene.motion}{object_} {place}".strip()
    if style < 0.65:
        return f"{present} {place}".strip()
    if style < 0.78:
        return f"{_lead(rng, still)}{gerund} {place}".strip()
    if style < 0.9 and place:
        comma = "," if rng.random() < 0.5 else ""
        return f"{place}{comma} " + (present if rng.random() < 0.4 else f"{who[0]} is {scene.motion}{object_}")
    return _announced(scene, f"{who[0]} is {scene.motion}{object_}", place, world)


def _announced(scene: Scene, sentence: str, place: str, world: World) -> str:
    """ "two animals on grass: a dog is chasing a cat"."""
    kinds = {world.kinds[character.concept] for character in scene.characters}
    kind = kinds.pop() if len(kinds) == 1 else "character"
    count = f"two {kind}s" if len(scene.characters) == 2 else with_article(kind)
    return f"{count} {place}".strip() + f": {sentence}"


def _lead(rng: np.random.Generator, still: bool, share: float = 1.0) -> str:
    return str(rng.choice(STILL_LEADS if still else CLIP_LEADS)) if rng.random() < share else ""


_OTHER_WORDS = (
    "a an the is and of in on at to by two picture photo drawing image video clip cartoon short film "
    "character characters empty scene nothing background place without anyone . , :"
)


def vocabulary(world: World = RICH) -> list[str]:
    """The words that become one token each, in alphabetical order."""
    words = set(_OTHER_WORDS.split())
    kinds = set(world.kinds.values())
    phrases = [*world.concepts, *kinds, *(f"{kind}s" for kind in kinds), *SINGLE, *PAIR, *PRESENT.values(), *COLOURS]
    phrases += [phrase for name in BACKGROUNDS for phrase in (PLACES[name], *PLACE_PHRASES[name])]
    for phrase in phrases:
        words.update(phrase.split())
    return sorted(words)
