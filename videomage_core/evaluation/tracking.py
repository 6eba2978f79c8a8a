"""Find the characters in a clip without knowing its masks.

Every background of this world has one colour along a row, apart from small decoration.  So the
colours at the frame's left and right border say what each row's background is; what differs from
it is a character, once specks the size of a star or a blade of grass are dropped and holes are
filled.  Several characters are told apart by position, frame after frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

BORDER = 3  # columns at either side that show background
THRESHOLD = 24.0  # distance in RGB, 0..255, from which a pixel is no background
SPECK = 12  # pixels; components below are decoration
COLOUR_WEIGHT = 0.05  # pixels of distance one step of colour (0..255) is worth, when identities are kept
CROP_MARGIN = 1.15  # side of a crop by the longer side of its box
GREY = 127.5


@dataclass(frozen=True)
class Track:
    """One character, followed through a clip.

    Attributes:
        centres: [F, 2] x and y of the mean of its pixels, in pixels; steadier than the box's middle.
        boxes: [F, 4] left, top, right, bottom in pixels, right and bottom exclusive.
        sizes: [F] longer side of the box in pixels.
        masks: [F, H, W] bool, the pixels that show the character.
        found: [F] bool, False where nothing was seen; the other fields then repeat a neighbour.
    """

    centres: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray
    masks: np.ndarray
    found: np.ndarray


BANDS = 8  # rows of a background are averaged to so many


def row_bands(video: np.ndarray) -> np.ndarray:
    """Mean colours 0..255 of BANDS bands of the background's rows, [3 * BANDS], of uint8 [F, H, W, 3]."""
    return np.concatenate([band.mean(0) for band in np.array_split(row_colours(video), BANDS)])


def row_colours(video: np.ndarray) -> np.ndarray:
    """The background's colour in each row: the most common one near the border.

    A median would fail where characters stand at the border for half of the clip.

    Args:
        video: uint8 [F, H, W, 3].

    Returns:
        [H, 3] float32 in 0..255.
    """
    border = np.concatenate([video[:, :, :BORDER], video[:, :, -BORDER:]], axis=2).astype(np.float32)
    samples = border.transpose(1, 0, 2, 3).reshape(video.shape[1], -1, 3)  # [F, H, 2b, 3] -> [H, S, 3]
    near = np.linalg.norm(samples[:, :, None] - samples[:, None], axis=-1) < THRESHOLD / 2  # [H, S, S]
    best = near.sum(2).argmax(1)
    members = near[np.arange(len(near)), best].astype(np.float32)  # [H, S]
    return (samples * members[..., None]).sum(1) / members.sum(1, keepdims=True)


def foreground(video: np.ndarray) -> np.ndarray:
    """Where a clip shows characters.

    Args:
        video: uint8 [F, H, W, 3].

    Returns:
        bool [F, H, W].
    """
    if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8:
        raise ValueError(f"video: got {video.dtype} {video.shape}, allowed: uint8 [F, H, W, 3]")
    distance = np.linalg.norm(video.astype(np.float32) - row_colours(video)[None, :, None], axis=-1)
    return _without_specks(np.stack([ndimage.binary_fill_holes(mask) for mask in distance > THRESHOLD]))


def _without_specks(masks: np.ndarray) -> np.ndarray:
    """Without components (8-connected) smaller than SPECK or a twelfth of the frame's largest.  [F, H, W] bool."""
    cleaned = np.zeros_like(masks)
    for frame, mask in enumerate(masks):
        labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
        areas = np.bincount(labels.ravel())
        areas[0] = 0  # the background
        cleaned[frame] = (areas >= max(SPECK, int(areas.max()) / 12))[labels]
    return cleaned


def track(video: np.ndarray, count: int) -> list[Track]:
    """Follow the characters through a clip.

    Args:
        video: uint8 [F, H, W, 3].
        count: how many characters are expected, 0 to 3.

    Returns:
        ``count`` tracks; the order of several is that of their place in the first frame, left to right.
    """
    if count not in (0, 1, 2, 3):
        raise ValueError(f"count: got {count}, allowed: 0, 1, 2, 3")
    mask = foreground(video)
    if count > 1:
        return [track_from_masks(part) for part in _split(video, mask, count)]
    return [track_from_masks(mask)][:count]


def track_from_masks(masks: np.ndarray) -> Track:
    """The track of masks that are known, bool [F, H, W]."""
    frames, height, width = masks.shape
    middle = np.array((width / 2 - 1, height / 2 - 1, width / 2 + 1, height / 2 + 1), dtype=np.float32)
    boxes = np.tile(middle, (frames, 1))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    found = np.asarray(masks.any((1, 2)))
    seen = np.flatnonzero(found)
    for f in seen:
        rows, columns = np.nonzero(masks[f])
        boxes[f] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        centres[f] = columns.mean() + 0.5, rows.mean() + 0.5
    for f in np.flatnonzero(~found) if len(seen) else ():
        nearest = seen[np.abs(seen - f).argmin()]
        boxes[f], centres[f] = boxes[nearest], centres[nearest]
    return Track(centres, boxes, (boxes[:, 2:] - boxes[:, :2]).max(1), masks, found)


def _split(video: np.ndarray, mask: np.ndarray, count: int) -> list[np.ndarray]:
    """The foreground in ``count`` parts, identities kept.  Returns bool [F, H, W] for each."""
    parts = [np.zeros_like(mask) for _ in range(count)]
    previous: np.ndarray | None = None  # [count, 5] x, y, colour of each in the last frame
    for f in range(len(mask)):
        places = np.argwhere(mask[f])[:, ::-1].astype(np.float32)  # x, y
        if len(places) < count:
            continue
        nearest = _clusters(places, count, None if previous is None else previous[:, :2])
        colours = video[f][mask[f]].astype(np.float32) * COLOUR_WEIGHT
        known = np.concatenate([places, colours], axis=1)
        means = np.stack([known[nearest == k].mean(0) for k in range(count)])
        if previous is None:
            order = tuple(np.argsort(means[:, 0], kind="stable"))
        else:
            order = min(permutations(range(count)), key=partial(_distance, means, previous))
        previous = means[list(order)]
        for k, cluster in enumerate(order):
            parts[k][f][mask[f]] = nearest == cluster
    return parts


def _distance(means: np.ndarray, others: np.ndarray, order: Sequence[int]) -> float:
    return float(np.linalg.norm(means[list(order)] - others, axis=1).sum())


def _clusters(places: np.ndarray, count: int, previous: np.ndarray | None) -> np.ndarray:
    """A number below ``count`` for each of the places [P, 2]: the tightest of several runs of k-means, none empty."""
    middle, spread = places.mean(0), places.std(0) + 1e-3
    directions = np.array([(1, 0), (0, 1), (1, 1), (1, -1)])
    starts = [
        np.stack([middle + spread * direction * share for share in np.linspace(-1, 1, count)])
        for direction in directions
    ]
    if count == 3:  # in a row, or in a triangle
        corners = [((-1, 1), (1, 1), (0, -1)), ((-1, -1), (1, -1), (0, 1))]
        starts += [middle + spread * np.array(triangle) for triangle in corners]
    if previous is not None:
        starts.append(previous)
    best, least = np.arange(len(places)) % count, np.inf
    for start in starts:
        centres = start
        for _ in range(12):
            squared = ((places[:, None] - centres[None]) ** 2).sum(-1)  # [P, count]
            nearest = squared.argmin(1)
            if len(np.unique(nearest)) < count:
                break
            centres = np.stack([places[nearest == k].mean(0) for k in range(count)])
        else:
            if squared.min(1).sum() < least:
                best, least = nearest, squared.min(1).sum()
    return best


def crops(
    video: np.ndarray, tracked: Track, size: int, margin: float = CROP_MARGIN, frames: np.ndarray | None = None
) -> torch.Tensor:
    """Square images of one character on grey, so that neither place nor company shows.

    Args:
        video: uint8 [F, H, W, 3].
        tracked: the character.
        size: side of the images in pixels.
        margin: side of what is cut out, by the longer side of the character's box.
        frames: indices of frames; all in which the character was found unless given.

    Returns:
        [n, 3, size, size] in 0..1, one for each of the frames.
    """
    images = []
    for f in np.flatnonzero(tracked.found) if frames is None else frames:
        on_grey = np.where(tracked.masks[f][..., None], video[f], GREY).astype(np.float32) / 255
        side = max(4, round(float(tracked.sizes[f]) * margin))
        left, top = np.round((tracked.boxes[f, :2] + tracked.boxes[f, 2:] - side) / 2).astype(int)
        square = _cut(torch.from_numpy(on_grey).permute(2, 0, 1), int(left), int(top), side)
        images.append(functional.interpolate(square[None], (size, size), mode="bicubic", antialias=True)[0])
    return torch.stack(images).clamp(0, 1) if images else torch.zeros(0, 3, size, size)


def _cut(image: torch.Tensor, left: int, top: int, side: int) -> torch.Tensor:
    """[3, H, W] -> [3, side, side], grey beyond the frame."""
    _, height, width = image.shape
    square = torch.full((3, side, side), GREY / 255)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 < x1 and y0 < y1:
        square[:, y0 - top : y1 - top, x0 - left : x1 - left] = image[:, y0:y1, x0:x1]
    return square


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    area, second = ((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    width, height = (max(0.0, min(box[i + 2], other[i + 2]) - max(box[i], other[i])) for i in (0, 1))
    return float(width * height / max(1e-6, area + second - width * height))


def match(tracks: list[Track], centres: list[np.ndarray]) -> list[Track]:
    """The tracks in the order in which they fit the given paths [F, 2] best."""
    if len(tracks) < 2:
        return tracks
    orders = (tracks, tracks[::-1])
    costs = [sum(np.abs(t.centres - c).sum() for t, c in zip(order, centres, strict=True)) for order in orders]
    return list(orders[int(np.argmin(costs))])
