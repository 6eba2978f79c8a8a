"""Metrics for a world of characters on plain backgrounds, where no CLIP or DINO can be had.

Characters are found by their difference from the background (``tracking``) and looked at, cropped, by
an ImageNet network that took no part in any training (``mobilenet``).  What each metric is worth on
true scenes, right and deliberately wrong, is measured by ``python -m emoji_world.reports.metric_report``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..data.examples import load_motion_clip
from ..data.images import MODELS_SEE, list_images, read_image
from ..data.media import to_uint8
from ..folders import folders_in
from ..text_files import read_json_object
from .grid import Cell, Grid
from .likeness import CROP, NEIGHBOURS, centred, direction, embedding, mean_of_nearest, similarity, who_is_who
from .mobilenet import features
from .tracking import Track, crops, row_bands, track, track_from_masks
from .trajectories import FRAMES, Agreement, agreement, trajectory, trajectory_agreement

VERSION = 1  # raised when the same videos get other scores

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
    "identity": "similarity of each tracked, cropped subject to its own images, -1 to 1; a subject that is not found "
    "scores as low as the least similar image of the grid",
    "nearest of its class": "how often no other character of its class is more similar to it",
    "text alignment": "share of the prompt that is seen: each subject's class, the place, the motion",
    "placement": "agreement of the mean offset from one subject to the other with the clip's, or with that of other "
    "true performances, -1 to 1",
    "motion fidelity": "agreement of the tracked movements, without their mean placement, with the clip's, or with "
    "those of other true performances; 1 is the same, 0 without movement",
    "temporal consistency": "similarity of consecutive frames, -1 to 1; a still or empty video has 1",
    "appearance leakage": "how often a subject is more similar to one of the clip's performers than to every subject "
    "of the video and to all other characters of the grid, those of the performers' classes aside; a subject that is "
    "not found is no leakage",
    "attribute mixing": "in how many videos a subject is more similar to another subject of the video than to its own "
    "images, or is not found; two unrelated characters score about 0.5",
}


@dataclass(frozen=True)
class _GridFeatures:
    """Features [n, D] of unit length, centred on the mean of all images of the grid."""

    own: Mapping[str, torch.Tensor]
    kinds: Mapping[str, Mapping[str, torch.Tensor]]  # class -> somebody of it -> images
    performers: Mapping[str, torch.Tensor]  # of each motion
    mean: torch.Tensor


class TrackedMetrics:
    """Scores videos of a grid's cells.

    Args:
        grid: with images of kinds and places, and trajectories; what it lacks is not measured.
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
        self._clip_tracks: dict[str, list[Track]] = {}
        cut: dict[str, torch.Tensor] = {}
        for name, clip in clips.items():
            assert clip.masks is not None
            tracks = [track_from_masks(mask.numpy() > 0.5) for mask in clip.masks]
            self._clip_tracks[name] = tracks
            cut[name] = torch.cat([crops(to_uint8(clip.pixels), t, CROP) for t in tracks])
        own = {name: _cut_out(subject.folder) for name, subject in grid.subjects.items()}
        kinds = {
            home.name: {someone.name: _cut_out(someone) for someone in folders_in(home)}
            for home in _folders(grid.folder / "kinds")
        }
        self._features = _features(own, kinds, cut)
        self._places = {home.name: _bands_of(home) for home in _folders(grid.folder / "places")}
        self._motions = _read_trajectories(grid.folder / "trajectories.json")

    def score(self, video: np.ndarray, cell: Cell) -> dict[str, float]:
        """All metrics that apply to a cell.

        Args:
            video: uint8 [F, H, W, 3].
            cell: what it was to show.

        Returns:
            By the names of ``METRICS``; a metric that does not apply is left out.
        """
        tracks = track(video, len(cell.subjects))
        seen = [embedding(crops(video, one, CROP), self._features.mean) for one in tracks]
        images = [self._features.own[name] for name in cell.subjects]
        order = who_is_who(len(seen), lambda subject, character: similarity(images[subject], seen[character]))
        seen, tracks = [seen[i] for i in order], [tracks[i] for i in order]
        result = {
            **self._identities(seen, cell),
            "text alignment": self._text_alignment(video, tracks, seen, cell),
            "temporal consistency": temporal_consistency(video),
        }
        if cell.motion is not None and cell.motion in self._clip_tracks:
            leaked = [bool(one.any()) and self._leaked(one, cell) for one in seen]
            result["appearance leakage"] = float(np.mean(leaked))
            agreed = self._agreement(tracks[:2], cell.motion)
            result["placement"], result["motion fidelity"] = agreed.placement, agreed.movement
        return {name: result[name] for name in METRICS if name in result}

    def _identities(self, seen: Sequence[torch.Tensor], cell: Cell) -> dict[str, float]:
        """The metrics of embeddings [D] alone, in the order of the cell's subjects."""
        own = [self._own_similarity(name, one) for name, one in zip(cell.subjects, seen, strict=True)]
        result = {"identity": float(np.mean(own))}
        there = [bool(one.any()) for one in seen]
        kinds = [self._features.kinds.get(self.grid.subjects[name].superclass) for name in cell.subjects]
        if all(kind is not None for kind in kinds):
            nearest = [
                present and kind is not None and all(similarity(other, one) <= best for other in kind.values())
                for kind, one, best, present in zip(kinds, seen, own, there, strict=True)
            ]
            result["nearest of its class"] = float(np.mean(nearest))
        if len(cell.subjects) > 1:
            mixed = [
                not present or any(similarity(self._features.own[b], one) > best for b in cell.subjects if b != a)
                for a, one, best, present in zip(cell.subjects, seen, own, there, strict=True)
            ]
            result["attribute mixing"] = float(any(mixed))
        return result

    def _own_similarity(self, name: str, seen: torch.Tensor) -> float:
        """An embedding's similarity to a subject; of nobody, that of the most unlike image of the grid."""
        if bool(seen.any()):
            return similarity(self._features.own[name], seen)
        everyone = [images for of in self._features.kinds.values() for images in of.values()]
        everyone += [images for other, images in self._features.own.items() if other != name]
        own = direction(self._features.own[name])
        return float((torch.cat(everyone) @ own).min()) if everyone else -1.0

    def _leaked(self, seen: torch.Tensor, cell: Cell) -> bool:
        """Whether a performer is nearer than all subjects and strangers."""
        assert cell.motion is not None
        counts = [int(t.found.sum()) for t in self._clip_tracks[cell.motion]]
        performers = self._features.performers[cell.motion].split(counts)
        classes = {name for name, _ in self.grid.motions[cell.motion].performers}
        others = [p for kind, of in self._features.kinds.items() if kind not in classes for p in of.values()]
        others += [self._features.own[name] for name in cell.subjects]
        nearest = max(similarity(images, seen) for images in others)
        return any(similarity(performer, seen) > nearest for performer in performers)

    def _agreement(self, tracks: Sequence[Track], motion: str) -> Agreement:
        """With the clip, or, where they are nearer, with the motion's true trajectories: phase and pace are free."""
        with_clip = agreement(tracks, self._clip_tracks[motion])
        if motion not in self._motions or len(tracks) != 2:
            return with_clip
        observed = trajectory(tracks)
        with_others = [trajectory_agreement(observed, true) for true in self._motions[motion]]
        nearest = sorted(with_others, key=lambda one: one.placement + one.movement, reverse=True)[:NEIGHBOURS]
        return Agreement(
            max(with_clip.placement, float(np.mean([one.placement for one in nearest]))),
            max(with_clip.movement, float(np.mean([one.movement for one in nearest]))),
        )

    def _text_alignment(
        self, video: np.ndarray, tracks: Sequence[Track], seen: Sequence[torch.Tensor], cell: Cell
    ) -> float:
        right: list[bool] = []
        if self._features.kinds:
            classes = [self.named(one) for one in seen]
            for name in cell.subjects:
                superclass = self.grid.subjects[name].superclass
                right.append(superclass in classes)
                if superclass in classes:
                    classes.remove(superclass)
        if cell.place in self._places:
            right.append(self.place(video) == cell.place)
        if cell.motion in self._motions and len(cell.subjects) == 2:
            right.append(self.motion(tracks) == cell.motion)
        return float(np.mean(right)) if right else float("nan")

    def named(self, seen: torch.Tensor) -> str:
        """The class an embedding [D] is nearest to; "nothing" where nobody was found."""
        if not bool(seen.any()):
            return "nothing"
        banks = {kind: torch.cat(list(of.values())) for kind, of in self._features.kinds.items()}
        return max(banks, key=lambda kind: mean_of_nearest(banks[kind] @ seen))

    def place(self, video: np.ndarray) -> str:
        """The place whose images' rows are nearest in colour."""
        bands = row_bands(video)
        return min(self._places, key=lambda name: float(np.linalg.norm(self._places[name] - bands, axis=1).min()))

    def motion(self, tracks: Sequence[Track]) -> str:
        """The motion whose true trajectories are nearest; the order of the two is free."""
        observed = [trajectory(order) for order in (list(tracks), list(tracks)[::-1])]
        distance = {
            name: min(float(np.sort(np.linalg.norm(bank - w, axis=1))[:NEIGHBOURS].mean()) for w in observed)
            for name, bank in self._motions.items()
        }
        return min(distance, key=distance.__getitem__)


def temporal_consistency(video: np.ndarray) -> float:
    """Mean cosine of consecutive frames' features; uint8 [F, H, W, 3], 1 for a single frame."""
    frames = torch.from_numpy(video).permute(0, 3, 1, 2).float() / 255  # [F,H,W,3] -> [F,3,H,W]
    of_frames = features(frames)
    return float((of_frames[1:] * of_frames[:-1]).sum(-1).mean()) if len(of_frames) > 1 else 1.0


def _features(
    own: Mapping[str, torch.Tensor],
    kinds: Mapping[str, Mapping[str, torch.Tensor]],
    performers: Mapping[str, torch.Tensor],
) -> _GridFeatures:
    everyone = [*own.values(), *(p for of in kinds.values() for p in of.values()), *performers.values()]
    raw = list(features(torch.cat(everyone)).split([len(images) for images in everyone]))
    mean = torch.cat(raw).mean(0)
    parts = iter([centred(part, mean) for part in raw])
    return _GridFeatures(
        {name: next(parts) for name in own},
        {kind: {name: next(parts) for name in of} for kind, of in kinds.items()},
        {name: next(parts) for name in performers},
        mean,
    )


def _cut_out(folder: Path) -> torch.Tensor:
    """Somebody's images, cropped, [n, 3, CROP, CROP] in 0..1."""
    cut = []
    for path in list_images(folder):
        video = to_uint8(read_image(path, min_size=MODELS_SEE).pixels[:, None])
        cut.append(crops(video, track(video, 1)[0], CROP))
    images = torch.cat(cut)
    if not len(images):
        raise ValueError(f"grid: in none of the images in {folder} anybody stands out from the background")
    return images


def _folders(home: Path) -> list[Path]:
    return folders_in(home) if home.is_dir() else []


def _bands_of(folder: Path) -> np.ndarray:
    return np.stack(
        [row_bands(to_uint8(read_image(path, min_size=MODELS_SEE).pixels[:, None])) for path in list_images(folder)]
    )


def _read_trajectories(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    return {name: np.array(lists) for name, lists in read_json_object(path, "grid").items()}
