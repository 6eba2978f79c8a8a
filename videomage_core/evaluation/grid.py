"""What a benchmark asks for: a folder with images, clips and ``grid.toml``.

    subjects/NAME/        images to learn the subject from, each with its prompt beside it if wanted
    motions/NAME/clip     (or clip.mp4) the reference, motions/NAME/PERFORMER its masks
    kinds/CLASS/NAME/     others of each class: to name what is seen, and to tell subjects from (optional)
    places/NAME/          images of each place without anybody (optional)
    trajectories.json             tracked trajectories of each motion's true renders (optional)

``grid.toml`` names them, the prompts' templates, and the sizes a benchmark comes in:

    with_motion = "a {first} is {motion} a {second} {place}"
    no_motion = "a {first} is next to a {second} {place}"
    three_subjects = "a {first} is {motion} a {second} next to a {third} {place}"    # "an" where a class wants it

    [subjects]
    rex = "dog"                         # its class, in plain words; the token is <rex>

    [motions."jumping over"]
    performers = ["horse", "fence"]
    prompt = "a horse is jumping over a fence"

    [places]
    grass = "on grass"

    [subsets.quick]
    pairs = [["rex", "tom"]]
    triples = []
    motions = ["jumping over"]
    places = ["grass"]
    seeds = [1, 2]
    methods = ["VideoMage", "without SCS"]
    no_motion_methods = ["VideoMage"]
    sweeps = ["alpha"]
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.media_files import CLIP_SUFFIXES
from ..text_files import read_toml

GRID = "grid.toml"


@dataclass(frozen=True)
class Subject:
    """Somebody to learn: a name, its class in plain words, a folder of images."""

    name: str
    superclass: str
    folder: Path

    @property
    def token(self) -> str:
        """The special token: its name in angle brackets."""
        return f"<{self.name}>"


@dataclass(frozen=True)
class Motion:
    """A motion to learn: its clip, who performs it there with their masks, and the clip's prompt."""

    name: str
    clip: Path
    performers: tuple[tuple[str, Path | None], ...]
    prompt: str


@dataclass(frozen=True)
class Subset:
    """How much is run: a line of this for each name under ``subsets``.

    Attributes:
        pairs: subjects that appear together.
        triples: three that do; "a few cells".
        motions: names; every pair does each.
        places: names; every pair is in each.
        seeds: of the initial noise; every cell is made with each.
        methods: names of ``methods.METHODS``, run on the pairs that do a motion (Tables 1 and 2).
        no_motion_methods: those run on every pair without motion (Table 4).
        sweeps: names of ``methods.SWEEPS`` (Table 3).
    """

    pairs: tuple[tuple[str, ...], ...]
    motions: tuple[str, ...]
    places: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    triples: tuple[tuple[str, ...], ...] = ()
    no_motion_methods: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One video that every method has to make."""

    subjects: tuple[str, ...]
    motion: str | None
    place: str
    seed: int

    @property
    def name(self) -> str:
        """For files and folders, without blanks."""
        doing = self.motion or "no_motion"
        return f"{'+'.join(self.subjects)} {doing} {self.place} {self.seed}".replace(" ", "_")


@dataclass(frozen=True)
class Grid:
    """A benchmark's folder, read and checked."""

    folder: Path
    subjects: Mapping[str, Subject]
    motions: Mapping[str, Motion]
    places: Mapping[str, str]
    templates: Mapping[str, str]
    subsets: Mapping[str, Subset]

    def subset(self, name: str) -> Subset:
        """A subset by its name.

        Raises:
            ValueError: the grid has none of that name.
        """
        if name not in self.subsets:
            raise ValueError(f"subset: got {name!r}, {self.folder / GRID} has {', '.join(self.subsets) or 'none'}")
        return self.subsets[name]

    def with_motion(self, subset: Subset) -> list[Cell]:
        """Every pair doing every motion: Tables 1 and 2."""
        return [
            Cell(pair, motion, place, seed)
            for pair in subset.pairs
            for motion in subset.motions
            for place in subset.places
            for seed in subset.seeds
        ]

    def no_motion(self, subset: Subset) -> list[Cell]:
        """Every pair without a motion: Table 4."""
        return [
            Cell(pair, None, place, seed) for pair in subset.pairs for place in subset.places for seed in subset.seeds
        ]

    def three_subjects(self, subset: Subset) -> list[Cell]:
        """Three subjects: the first place and seeds alone."""
        return [
            Cell(triple, motion, subset.places[0], seed)
            for triple in subset.triples
            for motion in subset.motions
            for seed in subset.seeds
        ]

    def prompt(self, cell: Cell) -> str:
        """c_tgt of a cell, with tokens."""
        return self._filled_in(cell, [self.subjects[name].token for name in cell.subjects])

    def plain_prompt(self, cell: Cell) -> str:
        """The same with superclass words."""
        return self._filled_in(cell, [self.subjects[name].superclass for name in cell.subjects])

    def _filled_in(self, cell: Cell, names: Sequence[str]) -> str:
        template = self.templates[
            "three_subjects" if len(cell.subjects) == 3 else "with_motion" if cell.motion else "no_motion"
        ]
        named = dict(zip(("first", "second", "third"), names, strict=False))
        for slot, subject in zip(named, cell.subjects, strict=True):
            if self.subjects[subject].superclass[:1].lower() in "aeiou":
                template = re.sub(rf"\b([aA]) (?={{{slot}}})", r"\1n ", template)
        return template.format(**named, motion=cell.motion, place=self.places[cell.place])


def load_grid(folder: Path) -> Grid:
    """Read a benchmark's folder.

    Raises:
        FileNotFoundError: the folder, its grid.toml, or images and clips it names are not there.
        ValueError: it is no TOML, lacks an entry, or a subset names something unknown.
    """
    path = folder / GRID
    if not path.is_file():
        raise FileNotFoundError(f"grid: {path} is not there; give a folder that holds {GRID}")
    read = read_toml(path, "grid")
    subjects = {
        name: Subject(name, superclass, _present(folder / "subjects" / name))
        for name, superclass in _table(read, "subjects", path).items()
    }
    motions = {name: _motion(name, entry, folder) for name, entry in read.get("motions", {}).items()}
    places = dict(_table(read, "places", path))
    templates = {str(name): str(read[name]) for name in ("with_motion", "no_motion", "three_subjects") if name in read}
    subsets = {name: _subset(name, entry, path) for name, entry in _table(read, "subsets", path).items()}
    grid = Grid(folder, subjects, motions, places, templates, subsets)
    problems = [problem for name, subset in subsets.items() for problem in _unknown(grid, name, subset)]
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}")
    return grid


def _table(read: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    if not isinstance(read.get(name), dict) or not read[name]:
        raise ValueError(f"{path}: lacks the table [{name}]; see videomage_core/evaluation/grid.py for what it holds")
    return read[name]


def _present(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"grid: {path} is not there, which {GRID} names")
    return path


def _motion(name: str, entry: Mapping[str, Any], folder: Path) -> Motion:
    home = folder / "motions" / name
    clips = [home / "clip", *(home / f"clip{suffix}" for suffix in CLIP_SUFFIXES)]
    clip = next((path for path in clips if path.exists()), clips[0])
    performers = tuple((word, home / word if (home / word).exists() else None) for word in entry.get("performers", []))
    if "prompt" not in entry:
        raise ValueError(f"grid: the motion {name!r} lacks its prompt, the clip in plain words")
    return Motion(name, _present(clip), performers, str(entry["prompt"]))


def _subset(name: str, entry: Mapping[str, Any], path: Path) -> Subset:
    known = set(Subset.__dataclass_fields__)
    unknown, missing = set(entry) - known, {"pairs", "motions", "places", "seeds", "methods"} - set(entry)
    if unknown or missing:
        raise ValueError(
            f"{path}: [subsets.{name}] has unknown {', '.join(sorted(unknown)) or 'nothing'} and lacks "
            f"{', '.join(sorted(missing)) or 'nothing'}; known are {', '.join(Subset.__dataclass_fields__)}"
        )
    groups = ("pairs", "triples")
    read: dict[str, Any] = {
        key: tuple(tuple(value) for value in values) if key in groups else tuple(values)
        for key, values in entry.items()
    }
    return Subset(**read)


def _unknown(grid: Grid, name: str, subset: Subset) -> list[str]:
    """What a subset names that the grid lacks, a sentence each."""
    from .methods import METHODS, SWEEPS

    named: list[tuple[str, Sequence[str], Collection[str]]] = [
        ("subject", [s for group in (*subset.pairs, *subset.triples) for s in group], grid.subjects),
        ("motion", subset.motions, grid.motions),
        ("place", subset.places, grid.places),
        ("method", (*subset.methods, *subset.no_motion_methods), METHODS),
        ("sweep", subset.sweeps, SWEEPS),
    ]
    problems = [
        f"subsets.{name} names the {what} {value!r}, known are {', '.join(known)}"
        for what, values, known in named
        for value in dict.fromkeys(values)
        if value not in known
    ]
    needed = ["with_motion"] * bool(subset.methods or subset.sweeps) + ["no_motion"] * bool(subset.no_motion_methods)
    needed += ["three_subjects"] * bool(subset.triples)
    return problems + [f"subsets.{name} needs the template {t!r}" for t in needed if t not in grid.templates]
