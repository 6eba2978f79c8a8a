"""A scene: who, doing what, where; and the drawing of it.

``draw`` returns the frames together with the exact masks and paths.  ``random_scene`` is the
distribution the built-in base is trained on.  Everything is a function of the seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from .backgrounds import BACKGROUNDS, PLACES
from .characters import Character, characters, training_characters, with_article
from .colours import COLOURS, recoloured
from .motions import PAIR as RICH_PAIR
from .small_motions import PAIR, SINGLE, TRAINED_PAIR, TRAINED_SINGLE, Path

SIZE = 48  # pixels
FRAMES = 8
SUPERSAMPLING = 2
INTERACTIONS = PAIR | RICH_PAIR  # of all worlds


@dataclass(frozen=True)
class Scene:
    """What to draw.  No characters: the background alone.  Two: an interaction."""

    characters: tuple[Character, ...]
    motion: str
    background: str
    seed: int
    colour_jitter: float = 0.0  # 0: the artist's own colours
    colours: tuple[str | None, ...] = ()  # of each character a name from world.colours, or None; (): none

    def __post_init__(self) -> None:
        known = {0: ("",), 1: tuple(SINGLE), 2: tuple(INTERACTIONS)}
        if len(self.characters) not in known:
            raise ValueError(f"characters: got {len(self.characters)}, allowed: 0, 1 or 2")
        if self.motion not in known[len(self.characters)]:
            raise ValueError(
                f"motion: got {self.motion!r}, allowed with {len(self.characters)} characters: "
                f"{', '.join(map(repr, known[len(self.characters)]))}"
            )
        if self.background not in BACKGROUNDS:
            raise ValueError(f"background: got {self.background!r}, allowed: {', '.join(BACKGROUNDS)}")
        if self.colours and len(self.colours) != len(self.characters):
            raise ValueError(f"colours: got {len(self.colours)} for {len(self.characters)} characters, one each")
        unknown = [colour for colour in self.colours if colour is not None and colour not in COLOURS]
        if unknown:
            raise ValueError(f"colours: got {', '.join(map(repr, unknown))}, allowed: None, {', '.join(COLOURS)}")

    @property
    def painted(self) -> tuple[str | None, ...]:
        """Each character's colour in words, or None where it has its own colours."""
        return self.colours or (None,) * len(self.characters)

    @property
    def caption(self) -> str:
        """The scene in plain English: "a dog is chasing a blue cat on grass"."""
        nouns = (f"{colour} {c.concept}" if colour else c.concept for c, colour in self._coloured())
        return caption(tuple(nouns), self.motion, self.background)

    def _coloured(self) -> list[tuple[Character, str | None]]:
        return list(zip(self.characters, self.painted, strict=True))


@dataclass(frozen=True)
class Drawing:
    """What was drawn.

    Attributes:
        frames: (F, H, W, 3) uint8.
        masks: one (F, H, W) float32 in 0..1 for each character, without what another covers.
        paths: each character's true path, for all frames.
    """

    frames: np.ndarray
    masks: list[np.ndarray] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)


def caption(subjects: tuple[str, ...], motion: str, background: str | None) -> str:
    """A caption in plain English.

    Args:
        subjects: nouns of none, one or two characters, without article.
        motion: a name from ``motions.SINGLE`` or ``INTERACTIONS``.
        background: a name from ``backgrounds.BACKGROUNDS``, or None to leave the place out.
    """
    place = PLACES[background] if background else ""
    if not subjects:
        return f"an empty scene {place}".strip()
    who = [with_article(noun) for noun in subjects]
    doing = f"is {motion}" if len(who) == 1 else f"is {motion} {who[1]}"
    return f"{who[0]} {doing} {place}".strip()


def frame_times(frames: int) -> np.ndarray:
    """The time of every frame, from 0 to 1; a single frame is the middle of the clip."""
    return np.linspace(0, 1, frames) if frames > 1 else np.array([0.5])


def draw(scene: Scene, frames: int = FRAMES, size: int = SIZE) -> Drawing:
    """Draw a scene.

    Args:
        scene: what to draw.
        frames: number of frames F; 1 draws the middle of the motion.
        size: side of the square frame in pixels.
    """
    rng = np.random.default_rng([scene.seed, 7])
    canvas = size * SUPERSAMPLING
    background = BACKGROUNDS[scene.background](rng, canvas)
    u = frame_times(frames)
    if len(scene.characters) == 1:
        paths = [SINGLE[scene.motion](rng, u)]
    elif len(scene.characters) == 2:
        paths = list(INTERACTIONS[scene.motion](rng, u))
    else:
        paths = []
    drawn = zip(scene.characters, paths, scene.painted, strict=True)
    sprites = [_costume(who, path, rng, scene.colour_jitter, colour) for who, path, colour in drawn]

    pictures = []
    masks = [np.zeros((frames, size, size), dtype=np.float32) for _ in paths]
    for f in range(frames):
        picture = background.copy()
        layers = []
        for sprite, path in zip(sprites, paths, strict=True):
            layer = _place(sprite, path, f, canvas)
            picture.paste(layer, (0, 0), layer)
            layers.append(_reduce(np.asarray(layer.getchannel("A"), dtype=np.float32) / 255.0))
        pictures.append(np.asarray(picture.reduce(SUPERSAMPLING)))
        visible = np.ones((size, size), dtype=np.float32)
        for index in reversed(range(len(layers))):  # the last one painted covers the others
            masks[index][f] = layers[index] * visible
            visible = visible * (1 - layers[index])
    return Drawing(np.stack(pictures), masks, paths)


def _reduce(alpha: np.ndarray) -> np.ndarray:
    height, width = (side // SUPERSAMPLING for side in alpha.shape)
    return alpha.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING).mean((1, 3))


def _costume(
    character: Character, path: Path, rng: np.random.Generator, jitter: float, colour: str | None
) -> Image.Image:
    """The character's sprite: facing where it goes, in one named colour or with its own, varied."""
    sprite = character.sprite()
    if colour:
        sprite = recoloured(sprite, colour)
    elif jitter:
        sprite = _vary_colours(sprite, rng, jitter)
    if path.heading is not None and character.facing is not None:
        mirrored = path.heading != character.facing
    else:
        mirrored = rng.random() < 0.5
    if mirrored:
        sprite = sprite[:, ::-1]
    return Image.fromarray((sprite * 255 + 0.5).astype(np.uint8))


def _vary_colours(sprite: np.ndarray, rng: np.random.Generator, jitter: float) -> np.ndarray:
    """Turn the hue, scale saturation and brightness, by up to ``jitter`` times a full, visible change."""
    angle = rng.uniform(-1, 1) * jitter * 0.8  # radians
    saturation, brightness = 1 + rng.uniform(-0.5, 0.5, size=2) * jitter
    rgb = sprite[..., :3]
    grey = rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    colour = rgb - grey[..., None]
    # Rodrigues' rotation about the grey axis (1, 1, 1) / sqrt(3)
    axis = np.full(3, 3**-0.5, dtype=np.float32)
    turned = colour * np.cos(angle) + np.cross(axis, colour) * np.sin(angle)
    varied = np.clip((grey[..., None] + turned * saturation) * brightness, 0, 1)
    return np.concatenate([varied, sprite[..., 3:]], axis=-1).astype(np.float32)


def _place(sprite: Image.Image, path: Path, frame: int, canvas: int) -> Image.Image:
    """A transparent canvas with the sprite at its place in this frame."""
    side = max(2, round(float(path.size[frame]) * canvas))
    small = sprite.resize((side, side), Image.Resampling.BOX if side < sprite.width else Image.Resampling.BICUBIC)
    if path.turn[frame]:
        small = small.rotate(float(path.turn[frame]), Image.Resampling.BICUBIC)
    layer = Image.new("RGBA", (canvas, canvas))
    layer.paste(small, (round(path.x[frame] * canvas - side / 2), round(path.y[frame] * canvas - side / 2)))
    return layer


def random_scene(seed: int, still: bool = False) -> Scene:
    """Draw a scene of the training distribution.

    Args:
        seed: decides everything.
        still: only scenes whose caption one frame can show (no named movement).
    """
    rng = np.random.default_rng([seed, 11])
    background = str(rng.choice(list(BACKGROUNDS)))
    known = training_characters()
    concepts = sorted({c.concept for c in known})
    jitter = 0.35 if rng.random() < 0.5 else 0.0
    kind = rng.random()
    if kind < 0.03:
        return Scene((), "", background, seed)

    def pick() -> Character:
        options = characters(tuple(sorted({c.artist for c in known})), (str(rng.choice(concepts)),))
        return options[int(rng.integers(len(options)))]

    if kind < 0.42:
        motion = "standing still" if still else str(rng.choice(list(TRAINED_SINGLE)))
        return Scene((pick(),), motion, background, seed, jitter)
    interactions = ["next to", "on top of"] if still else list(TRAINED_PAIR)
    return Scene((pick(), pick()), str(rng.choice(interactions)), background, seed, jitter)
