"""Which icons are drawings of which concept: the names in the icon sets, and the icons left out after a look.

``ICONS`` lists for each concept the names that the sets give it, best first.  Each set names things
its own way, so a set has some of the names.  An artist's drawings of a concept are numbered in this order;
a name that is an alias of one before it is not counted.
"""

from __future__ import annotations

ICONS: dict[str, tuple[str, ...]] = {
    # The small world's twelve.
    "dog": ("dog-face", "dog", "dogside"),
    "cat": ("cat-face", "cat", "catside", "black-cat"),
    "fox": ("fox-face", "fox", "fox-face-1", "fox-face-2"),
    "panda": ("panda-face", "panda", "pandaface"),
    "frog": ("frog-face", "frog"),
    "pig": ("pig-face", "pig", "pigside"),
    "rabbit": ("rabbit-face", "rabbit", "bunny"),
    "monkey": ("monkey-face", "monkey", "monkeyface"),
    "robot": ("robot-face", "robot", "robot-face-1", "robot-face-2", "robot-face-3"),
    "penguin": ("penguin", "penguin-1", "penguin-2"),
    "octopus": ("octopus",),
    "chick": (
        "baby-chick", "front-facing-baby-chick", "hatching-chick", "hatching-chick-1",
        "babychick", "frontfacingchick", "hatchingchick",
    ),
    # Other animals.
    "tiger": ("tiger-face", "tiger", "tigerside"),
    "lion": ("lion-face", "lion"),
    "bear": ("bear-face", "bear"),
    "koala": ("koala",),
    "mouse": ("mouse-face", "mouse"),
    "cow": ("cow-face", "cow", "cowface"),
    "horse": ("horse-face", "horse", "horseface"),
    "sheep": ("ewe", "ewe-1", "ewe-2", "sheep", "ram"),
    "camel": ("camel", "two-hump-camel", "bactriancamel", "dromedarycamel"),
    "elephant": ("elephant",),
    "turtle": ("turtle",),
    "snake": ("snake",),
    "dragon": ("dragon-face", "dragonhead", "dragon"),
    "whale": ("spouting-whale", "spurtingwhale", "whale"),
    "fish": ("fish", "tropical-fish", "tropicalfish"),
    "crab": ("crab",),
    "snail": ("snail",),
    "butterfly": ("butterfly",),
    "bee": ("honeybee",),
    "ladybug": ("lady-beetle", "ladybeetle"),
    "caterpillar": ("bug",),
    "owl": ("owl",),
    "rooster": ("rooster",),
    "duck": ("duck",),
    "bird": ("bird", "bird-1", "bird-2"),
    "squirrel": ("chipmunk",),
    # Toys, vehicles, fruit and plants.
    "ghost": ("ghost",),
    "snowman": ("snowman-without-snow", "snowmanwithoutsnow", "snowman"),
    "alien": ("alien",),
    "pumpkin": ("jack-o-lantern", "jackolantern"),
    "car": ("automobile", "oncoming-automobile", "oncomingautomobile"),
    "bus": ("bus", "oncoming-bus", "oncomingbus"),
    "tractor": ("tractor",),
    "train": ("locomotive", "steamlocomotive"),
    "helicopter": ("helicopter",),
    "rocket": ("rocket",),
    "apple": ("red-apple", "redapple", "green-apple", "greenapple"),
    "strawberry": ("strawberry", "strawberry-1", "strawberry-2"),
    "banana": ("banana",),
    "pineapple": ("pineapple",),
    "mushroom": ("mushroom",),
    "cactus": ("cactus", "cactus-1", "cactus-2"),
}  # fmt: skip

# Looked at and left out: another thing of that name, or not to be told at 48x48 pixels.
LEFT_OUT = {
    ("noto-v1", "koala"),  # sits behind a tree trunk
    ("twemoji", "mouse"),  # a grey drop with a line
    ("noto-v1", "dragon"),  # a brown snake
    ("emojione", "dragon"),  # a green snake
    ("emojione", "duck"),  # swims: a strip of water belongs to the drawing
    ("fxemoji", "bird"),  # a grey disc
    ("noto", "snowman"), ("noto-v1", "snowman"), ("twemoji", "snowman"),  # the same one in falling snow
    ("fluent-flat", "snowman"), ("emojione", "snowman"),
    ("fluent-flat", "black-cat"),  # violet
}  # fmt: skip
