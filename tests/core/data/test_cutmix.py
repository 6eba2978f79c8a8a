"""CutMix: what is pasted is seen, what is covered leaves the masks, and the rest is the background."""

from __future__ import annotations

import pytest
import torch

from videomage_core.data import cutmix as module
from videomage_core.data.cutmix import CutMix, Cutout, cut_out, cutmix

COLOURS = ((1.0, -1.0, 0.5), (-1.0, 1.0, 0.25), (0.0, 0.25, -1.0))
SEEDS = range(25)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def solid(index: int, height: int = 10, width: int = 6, frames: int = 4) -> Cutout:
    """A subject of one colour that fills its box."""
    pixels = torch.tensor(COLOURS[index]).view(3, 1, 1, 1).expand(3, frames, height, width)
    return Cutout(pixels, torch.ones(frames, height, width))


def moving(index: int, frames: int = 4) -> Cutout:
    """One colour, and a soft mask that is another in each frame."""
    mask = torch.rand(frames, 9, 7, generator=seeded(index))
    return Cutout(torch.tensor(COLOURS[index]).view(3, 1, 1, 1).expand(3, frames, 9, 7), mask)


def background(frames: int = 4, height: int = 32, width: int = 40) -> torch.Tensor:
    return torch.rand(3, frames, height, width, generator=seeded(99)) * 2 - 1


def boxed(mask: torch.Tensor) -> tuple[int, int, int, int]:
    """top, left, bottom and right of what a mask [F, H, W] shows."""
    rows, columns = mask.amax((0, 2)).nonzero().flatten(), mask.amax((0, 1)).nonzero().flatten()
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def test_a_cut_out_is_the_box_of_all_frames_and_unchanged():
    pixels, mask = torch.rand(3, 3, 20, 30), torch.zeros(3, 20, 30)
    for f in range(3):
        mask[f, 4 + f : 9 + f, 10 - 2 * f : 15 - 2 * f] = 0.9
    mask[0, 0, 0] = 0.4  # faint: no part of the subject
    cut = cut_out(pixels, mask)
    assert torch.equal(cut.pixels, pixels[:, :, 4:11, 6:15])
    assert torch.equal(cut.mask, mask[:, 4:11, 6:15])


def test_a_faint_mask_has_nothing_to_cut_out():
    with pytest.raises(ValueError, match=r"mask: it is nowhere above 0\.5, so there is nothing to cut out"):
        cut_out(torch.zeros(3, 2, 8, 8), torch.full((2, 8, 8), 0.5))


@pytest.mark.parametrize("kind", [solid, moving])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_pixel_is_each_subject_by_its_mask_and_the_rest_background(kind, count):
    """So a covered pixel is in no covered subject's mask, and where no mask is all is as it was."""
    behind = background()
    for seed in SEEDS:
        mixed = cutmix([kind(i) for i in range(count)], behind, 0.9, seeded(seed))
        assert mixed.pixels.shape == behind.shape and mixed.masks.shape == (count, *behind.shape[1:])
        rest = 1 - mixed.masks.sum(0)
        assert float(rest.min()) > -1e-6 and float(mixed.masks.min()) >= 0
        wanted = rest * behind
        for colour, mask in zip(COLOURS, mixed.masks, strict=False):
            wanted = wanted + mask * torch.tensor(colour).view(3, 1, 1, 1)
        torch.testing.assert_close(mixed.pixels, wanted, atol=1e-5, rtol=0)
        untouched = (mixed.masks == 0).all(0)
        assert bool(untouched.any()) and torch.equal(mixed.pixels[:, untouched], behind[:, untouched])


def test_the_one_in_front_is_whole_and_the_one_behind_loses_what_is_covered():
    seen = set()
    for seed in SEEDS:
        masks = cutmix([solid(0), solid(1)], background(), 0.9, seeded(seed)).masks
        boxes = [boxed(mask) for mask in masks]
        whole = [float(m[:, t:b, left:r].min()) == 1 for m, (t, left, b, r) in zip(masks, boxes, strict=True)]
        assert any(whole)
        seen.add(tuple(whole))
    assert seen == {(True, True), (True, False), (False, True)}  # apart, and either in front


def test_the_overlap_is_kept():
    sizes = [(10, 6), (7, 9)]

    def covered(overlap: float) -> list[float]:
        drawn = [module._places(sizes, 32, 40, overlap, seeded(seed)) for seed in SEEDS]
        return [max(module._covered(a, b), module._covered(b, a)) for a, b in drawn]

    assert max(covered(0.0)) == 0
    assert 0.05 < max(covered(0.3)) <= 0.3 < max(covered(0.9)) <= 0.9


def test_where_no_draw_keeps_the_overlap_the_least_is_taken():
    sizes = [(8, 8)] * 7  # each at least 0.4 of the frame's side: seven cannot lie apart

    def worst(boxes) -> float:
        return max(module._covered(a, b) for a in boxes for b in boxes if a is not b)

    generator = seeded(0)
    draws = [[module._box(size, 32, 32, generator) for size in sizes] for _ in range(module._TRIES)]
    taken = module._places(sizes, 32, 32, 0.0, seeded(0))
    assert worst(taken) == min(worst(boxes) for boxes in draws) > 0


@pytest.mark.parametrize("size", [(10, 6), (3, 30), (64, 5), (1, 1)])
def test_a_subject_keeps_its_proportions_and_lies_in_the_frame(size):
    for seed in SEEDS:
        top, left, height, width = module._box(size, 32, 40, seeded(seed))
        assert 0 <= top <= 32 - height and 0 <= left <= 40 - width
        assert 0.4 <= max(height / 32, width / 40) <= 0.7 + 0.5 / 32
        if min(height, width) > 2:  # else the least a side may be
            assert abs(height - width * size[0] / size[1]) <= 0.5 * (1 + size[0] / size[1])


def test_the_generator_decides_all():
    def mixed(seed: int) -> CutMix:
        return cutmix([moving(0), moving(1)], background(), 0.3, seeded(seed))

    one, again, other = mixed(3), mixed(3), mixed(4)
    assert torch.equal(one.pixels, again.pixels) and torch.equal(one.masks, again.masks)
    assert not torch.equal(one.masks, other.masks)


def test_what_it_is_given_stays_as_it_was():
    behind, subjects = background(), [moving(0), moving(1)]
    kept = [behind.clone(), *(s.mask.clone() for s in subjects)]
    cutmix(subjects, behind, 0.5, seeded(0))
    assert all(torch.equal(a, b) for a, b in zip(kept, [behind, *(s.mask for s in subjects)], strict=True))


def test_subjects_and_background_must_have_as_many_frames():
    with pytest.raises(ValueError, match="subject 2: got 3 frames, the background has 4"):
        cutmix([solid(0), solid(1, frames=3)], background(), 0.3, seeded(0))
