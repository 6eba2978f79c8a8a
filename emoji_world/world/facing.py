"""Which way the drawings look that show their thing from the side.

A character that goes somewhere is mirrored to look there.  Most artists draw sideways things looking
to the left; a drawing not named here looks at the viewer.
"""

from __future__ import annotations

_LEFT = {
    "noto": (
        "dog-2 cat-2 cat-3 pig-2 rabbit-2 monkey-2 penguin chick tiger-2 mouse-2 cow-2 horse horse-2 sheep sheep-2 "
        "camel camel-2 elephant turtle snake dragon-2 whale whale-2 fish fish-2 snail bee caterpillar rooster duck "
        "bird squirrel car bus tractor train helicopter"
    ),
    "noto-v1": (
        "dog-2 pig-2 rabbit-2 penguin chick tiger-2 mouse-2 cow-2 horse horse-2 sheep sheep-2 camel camel-2 elephant "
        "turtle snake dragon whale whale-2 fish fish-2 snail bee caterpillar rooster duck bird squirrel car bus "
        "tractor train helicopter"
    ),
    "twemoji": (
        "dog-2 cat-2 cat-3 pig-2 rabbit-2 monkey-2 chick tiger-2 cow-2 horse horse-2 sheep sheep-2 camel camel-2 "
        "elephant turtle snake dragon dragon-2 whale whale-2 fish fish-2 snail caterpillar rooster duck bird squirrel "
        "car bus tractor train helicopter"
    ),
    "emojione": (
        "pig-2 chick cow-2 horse-2 camel-2 elephant turtle snake dragon whale whale-2 fish fish-2 snail rooster bird "
        "squirrel car bus tractor train helicopter"
    ),
    "streamline": (
        "dog-2 cat-2 fox pig-2 rabbit-2 monkey-2 penguin tiger-2 mouse-2 cow-2 horse horse-2 sheep-3 camel elephant "
        "turtle snake whale fish bee caterpillar rooster bird bird-2 squirrel car bus tractor train helicopter"
    ),
    "fxemoji": (
        "dog-2 cat-2 pig-2 chick-2 tiger-2 cow horse sheep sheep-2 camel camel-2 elephant turtle snake whale whale-2 "
        "fish fish-2 snail rooster squirrel car bus tractor train helicopter"
    ),
    "fluent-flat": (
        "dog-2 cat-2 pig-2 rabbit-2 monkey-2 chick tiger-2 mouse-2 cow-2 horse horse-2 sheep sheep-2 camel camel-2 "
        "elephant turtle snake dragon dragon-2 whale whale-2 fish fish-2 snail bee caterpillar rooster duck bird "
        "squirrel car bus tractor train helicopter"
    ),
}
_RIGHT = {
    "noto": "rocket",
    "noto-v1": "rocket",
    "twemoji": "penguin rocket",
    "emojione": "caterpillar rocket",
    "streamline": "snail rocket",
    "fxemoji": "dragon caterpillar rocket",
    "fluent-flat": "rocket",
}

# (artist, file name without ending) -> "left" or "right"
FACING: dict[tuple[str, str], str] = {
    (artist, stem): side
    for side, table in (("left", _LEFT), ("right", _RIGHT))
    for artist, stems in table.items()
    for stem in stems.split()
}
