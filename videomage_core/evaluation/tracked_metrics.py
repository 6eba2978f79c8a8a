"""Metrics for a world of characters on plain backgrounds, where no CLIP or DINO can be had.

Characters are found by their difference from the background (``tracking``) and looked at, cropped, by
an ImageNet network that took no part in any training (``mobilenet``).  What each metric is worth on
true scenes, right and deliberately wrong, is measured by ``python -m emoji_world.reports.metric_report``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from ..data.examples import load_motion_clip
from ..data.images import MODELS_SEE, list_images, load_picture
from ..data.media import to_uint8
from ..data.media_files import folders_in
from ..text_files import read_json_object
from .grid import Cell, Grid
from .likeness import CROP
from .mobilenet import features
from .tracking import Track, crops, row_colours, track, track_from_masks
from .trajectories import FRAMES, Agreement, agreement, trajectory, trajectory_agreement

VERSION = 1  # raised when the same videos get other scores
NEIGHBOURS = 3  # pictures of a class, or ways of a motion, whose mean nearness counts
BANDS = 8  # rows of a background are averaged to so many

# name -> whether more is better; the order of tables
METRICS: dict[str, bool] = {
    "identity": True,
    "nearest of its class": True,
    "text alignment": True,
    "placement": True,
    "motion fidelity": True,
    "temporal consistency": True,
    "appearance leakage": False,
    "attribute mixing": False,
}
RATES = frozenset({"nearest of its class", "text alignment", "appearance leakage", "attribute mixing"})  # in 0..1
MEANINGS = {
    "identity": "similarity of each tracked, cropped subject to its own pictures, -1 to 1; one that is not found at "
    "all is as unlike as the most unlike picture of all",
    "nearest of its class": "how often nobody else of its class looks more like it",
    "text alignment": "share of what was asked that is seen: each subject's class, the place, the motion",
    "placement": "whether the two stand to each other as in the clip, or as in other true performances: agreement "
    "of the mean way from one to the other, -1 to 1",
    "motion fidelity": "agreement of the tracked movements, without their mean placement, with the clip's, or with "
    "those of other true performances; 1 is the same, 0 nobody moves",
    "temporal consistency": "similarity of consecutive frames, -1 to 1; a still or empty video has 1",
    "appearance leakage": "how often a subject looks more like one of the clip's performers than like the pictures of "
    "any subject of the video, and than like anybody else of the grid but others of the performers' classes; nobody is "
    "no leakage",
    "attribute mixing": "in how many videos a subject looks more like another subject of it than like its own "
    "pictures, or nobody is found at all; two characters who have nothing to do with the subjects score about 0.5",
}


@dataclass(frozen=True)
class _GridFeatures:
    """Features [n, D] of unit length, centred on the mean of all pictures of the grid."""

    own: Mapping[str, torch.Tensor]
    kinds: Mapping[str, Mapping[str, torch.Tensor]]  # class -> somebody of it -> pictures
    performers: Mapping[str, torch.Tensor]  # of each motion
    mean: torch.Tensor


class TrackedMetrics:
    """Scores videos of a grid's cells.

    Args:
        grid: with pictures of kinds and places, and ways; what it lacks is not measured.
        frames: of the reference clips.

    Raises:
        ImportError: the network's weights are not installed; the message says how.
    """

    def __init__(self, grid: Grid, frames: int = FRAMES) -> None:
        self.grid = grid
        clips = {
            name: load_motion_clip(motion.clip, list(motion.performers), frames, min_size=MODELS_SEE)
            for name, motion in grid.motions.items()
            if motion.performers and all(masks is not None for _, masks in motion.performers)
        }
        self._clip_trajectories: dict[str, list[Track]] = {}
        cut: dict[str, torch.Tensor] = {}
        for name, clip in clips.items():
            assert clip.masks is not None
            tracks = [track_from_masks(mask.numpy() > 0.5) for mask in clip.masks]
            self._clip_trajectories[name] = tracks
            cut[name] = torch.cat([crops(to_uint8(clip.pixels), t, CROP) for t in tracks])
        own = {name: _cut_out(subject.folder) for name, subject in grid.subjects.items()}
        kinds = {
            home.name: {someone.name: _cut_out(someone) for someone in folders_in(home)}
            for home in _folders(grid.folder / "kinds")
        }
        self._looks = _features(own, kinds, cut)
        self._places = {home.name: _bands_of(home) for home in _folders(grid.folder / "places")}
        self._motions = _read_ways(grid.folder / "trajectories.json")

    def score(self, video: np.ndarray, cell: Cell) -> dict[str, float]:
        """All metrics that apply to a cell.

        Args:
            video: uint8 [F, H, W, 3].
            cell: what it was to show.

        Returns:
            By the names of ``METRICS``; a metric that does not apply is left out.
        """
        tracks = track(video, len(cell.subjects))
        seen = [self._look(video, t) for t in tracks]
        order = self._who_is_who(seen, cell.subjects)
        looks, tracks = [seen[i] for i in order], [tracks[i] for i in order]
        own = [self._own_similarity(name, look) for name, look in zip(cell.subjects, looks, strict=True)]
        there = [bool(look.any()) for look in looks]
        result = {
            "identity": float(np.mean(own)),
            "text alignment": self._text_alignment(video, tracks, looks, cell),
            "temporal consistency": temporal_consistency(video),
        }
        superclasses = [self.grid.subjects[name].superclass for name in cell.subjects]
        if all(superclass in self._looks.kinds for superclass in superclasses):
            nearest = [
                found and all(_similarity(other, look) <= own_ for other in self._looks.kinds[superclass].values())
                for superclass, look, own_, found in zip(superclasses, looks, own, there, strict=True)
            ]
            result["nearest of its class"] = float(np.mean(nearest))
        if len(cell.subjects) > 1:
            mixed = [
                not found or any(_similarity(self._looks.own[b], look) > own_ for b in cell.subjects if b != a)
                for a, look, own_, found in zip(cell.subjects, looks, own, there, strict=True)
            ]
            result["attribute mixing"] = float(any(mixed))
        if cell.motion is not None and cell.motion in self._clip_trajectories:
            result["appearance leakage"] = float(
                np.mean([found and self._leaked(look, cell) for look, found in zip(looks, there, strict=True)])
            )
            agreed = self._agreement(tracks[:2], cell.motion)
            result["placement"], result["motion fidelity"] = agreed.placement, agreed.movement
        return {name: result[name] for name in METRICS if name in result}

    def _own_similarity(self, name: str, look: torch.Tensor) -> float:
        """A look's likeness to a subject's pictures; of nobody, that of the most unlike picture of the grid."""
        if bool(look.any()):
            return _similarity(self._looks.own[name], look)
        everyone = [pictures for of in self._looks.kinds.values() for pictures in of.values()]
        everyone += [pictures for other, pictures in self._looks.own.items() if other != name]
        direction = functional.normalize(self._looks.own[name].mean(0), dim=0)
        return float((torch.cat(everyone) @ direction).min()) if everyone else -1.0

    def _leaked(self, look: torch.Tensor, cell: Cell) -> bool:
        """Whether a performer is nearer than all subjects and strangers."""
        assert cell.motion is not None
        counts = [int(t.found.sum()) for t in self._clip_trajectories[cell.motion]]
        performers = self._looks.performers[cell.motion].split(counts)
        classes = {name for name, _ in self.grid.motions[cell.motion].performers}
        others = [p for kind, of in self._looks.kinds.items() if kind not in classes for p in of.values()]
        others += [self._looks.own[name] for name in cell.subjects]
        nearest = max(_similarity(pictures, look) for pictures in others)
        return any(_similarity(performer, look) > nearest for performer in performers)

    def _agreement(self, tracks: Sequence[Track], motion: str) -> Agreement:
        """With the clip, or, where they are nearer, with the motion's true ways: phase and pace are free."""
        add_cutout = agreement(tracks, self._clip_trajectories[motion])
        if motion not in self._motions or len(tracks) != 2:
            return add_cutout
        shown = trajectory(tracks)
        found = [trajectory_agreement(shown, wanted) for wanted in self._motions[motion]]
        nearest = sorted(found, key=lambda one: one.placement + one.movement, reverse=True)[:NEIGHBOURS]
        return Agreement(
            max(add_cutout.placement, float(np.mean([one.placement for one in nearest]))),
            max(add_cutout.movement, float(np.mean([one.movement for one in nearest]))),
        )

    def _look(self, video: np.ndarray, tracked: Track) -> torch.Tensor:
        """The mean look of one tracked character, [D]; zero where it was never found."""
        pictures = crops(video, tracked, CROP)
        if not len(pictures):
            return torch.zeros_like(self._looks.mean)
        return functional.normalize(_centred(features(pictures), self._looks.mean).mean(0), dim=0)

    def _who_is_who(self, seen: Sequence[torch.Tensor], names: Sequence[str]) -> tuple[int, ...]:
        """Which of the characters seen is each subject: the pairing that looks most alike in all."""
        alike = [[_similarity(self._looks.own[name], look) for look in seen] for name in names]
        return max(permutations(range(len(names))), key=lambda who: sum(alike[n][i] for n, i in enumerate(who)))

    def _text_alignment(
        self, video: np.ndarray, tracks: Sequence[Track], looks: Sequence[torch.Tensor], cell: Cell
    ) -> float:
        found: list[bool] = []
        if self._looks.kinds:
            missing = [self.named(look) for look in looks]
            for name in cell.subjects:
                asked = self.grid.subjects[name].superclass
                found.append(asked in missing)
                if asked in missing:
                    missing.remove(asked)
        if cell.place in self._places:
            found.append(self.place(video) == cell.place)
        if cell.motion in self._motions and len(cell.subjects) == 2:
            found.append(self.motion(tracks) == cell.motion)
        return float(np.mean(found)) if found else float("nan")

    def named(self, look: torch.Tensor) -> str:
        """The class a look [D] is nearest to; "nothing" where nobody was found."""
        if not bool(look.any()):
            return "nothing"
        nearness = {kind: _nearest(torch.cat(list(of.values())) @ look) for kind, of in self._looks.kinds.items()}
        return max(nearness, key=nearness.__getitem__)

    def place(self, video: np.ndarray) -> str:
        """The place whose pictures' rows are nearest in colour."""
        shown = _bands(video)
        return min(self._places, key=lambda name: float(np.linalg.norm(self._places[name] - shown, axis=1).min()))

    def motion(self, tracks: Sequence[Track]) -> str:
        """The motion whose true ways are nearest; the order of the two is free."""
        ways = [trajectory(order) for order in (list(tracks), list(tracks)[::-1])]
        distance = {
            name: min(float(np.sort(np.linalg.norm(bank - w, axis=1))[:NEIGHBOURS].mean()) for w in ways)
            for name, bank in self._motions.items()
        }
        return min(distance, key=distance.__getitem__)


def temporal_consistency(video: np.ndarray) -> float:
    """Mean cosine of consecutive frames' features; uint8 [F, H, W, 3], 1 for a single frame."""
    frames = torch.from_numpy(video).permute(0, 3, 1, 2).float() / 255  # [F,H,W,3] -> [F,3,H,W]
    looks = features(frames)
    return float((looks[1:] * looks[:-1]).sum(-1).mean()) if len(looks) > 1 else 1.0


def _nearest(similarities: torch.Tensor) -> float:
    """The mean of the NEIGHBOURS largest."""
    return float(similarities.topk(min(NEIGHBOURS, len(similarities))).values.mean())


def _similarity(pictures: torch.Tensor, look: torch.Tensor) -> float:
    """Cosine of a look [D] with somebody's pictures [n, D]: their mean's direction."""
    return float(functional.normalize(pictures.mean(0), dim=0) @ look)


def _features(
    own: Mapping[str, torch.Tensor],
    kinds: Mapping[str, Mapping[str, torch.Tensor]],
    performers: Mapping[str, torch.Tensor],
) -> _GridFeatures:
    everyone = [*own.values(), *(p for of in kinds.values() for p in of.values()), *performers.values()]
    raw = list(features(torch.cat(everyone)).split([len(pictures) for pictures in everyone]))
    mean = torch.cat(raw).mean(0)
    centred = iter([_centred(part, mean) for part in raw])
    return _GridFeatures(
        {name: next(centred) for name in own},
        {kind: {name: next(centred) for name in of} for kind, of in kinds.items()},
        {name: next(centred) for name in performers},
        mean,
    )


def _centred(raw: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    return functional.normalize(raw - mean, dim=-1)


def _cut_out(folder: Path) -> torch.Tensor:
    """Somebody's pictures, cropped, [n, 3, CROP, CROP] in 0..1."""
    cut = []
    for path in list_images(folder):
        video = to_uint8(load_picture(path, min_size=MODELS_SEE).pixels[:, None])
        cut.append(crops(video, track(video, 1)[0], CROP))
    found = torch.cat(cut)
    if not len(found):
        raise ValueError(f"grid: in none of the pictures in {folder} anybody stands out from the background")
    return found


def _folders(home: Path) -> list[Path]:
    return folders_in(home) if home.is_dir() else []


def _bands_of(folder: Path) -> np.ndarray:
    return np.stack(
        [_bands(to_uint8(load_picture(path, min_size=MODELS_SEE).pixels[:, None])) for path in list_images(folder)]
    )


def _bands(video: np.ndarray) -> np.ndarray:
    """Mean colours 0..255 of BANDS bands of rows, [3 * BANDS]."""
    return np.concatenate([band.mean(0) for band in np.array_split(row_colours(video), BANDS)])


def _read_ways(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    return {name: np.array(ways) for name, ways in read_json_object(path, "grid").items()}
