"""Maps of video transformers against brute force, in float64."""

from __future__ import annotations

import pytest
import torch

from videomage_core.model.dit_maps import (
    cross_maps,
    head_errors,
    head_masks,
    sampled_rows,
    tangent,
    temporal_heads,
    temporal_maps,
    token_grid,
)
from videomage_core.stages.algorithm1 import map_distance

GENERATOR = torch.Generator().manual_seed(0)
FRAMES, HEIGHT, WIDTH, TEXT = 3, 2, 4, 10
PLACES = FRAMES * HEIGHT * WIDTH
SPANS = [[(1, 3)], [(4, 5), (6, 8)]]


def random(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64).to(dtype)


def attention(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """The whole map, [B, H, N, T]."""
    return torch.einsum("bhnd,bhtd->bhnt", query, key).div(query.shape[-1] ** 0.5).softmax(-1)


def test_a_span_s_columns_are_summed_and_heads_averaged():
    query, key = random(2, 5, PLACES, 6), random(2, 5, TEXT, 6)
    whole = attention(query, key)
    got = cross_maps(query, key, SPANS)
    assert got.shape == (2, 2, PLACES) and got.dtype == torch.float64
    torch.testing.assert_close(got[:, 0], whole[..., [1, 2]].sum(-1).mean(1))
    torch.testing.assert_close(got[:, 1], whole[..., [4, 6, 7]].sum(-1).mean(1))
    torch.testing.assert_close(cross_maps(query, key, [[(0, TEXT)]]), torch.ones_like(got[:, :1]))


def test_real_tokens_alone_is_the_softmax_over_those():
    query, key = random(1, 3, PLACES, 8), random(1, 3, TEXT, 8)
    torch.testing.assert_close(cross_maps(query, key, SPANS, real=8), cross_maps(query, key[:, :, :8], SPANS))
    assert not torch.allclose(cross_maps(query, key, SPANS), cross_maps(query, key, SPANS, real=8))


def test_gradients_are_those_of_the_whole_map():
    query, key = random(1, 2, PLACES, 8).requires_grad_(), random(1, 2, TEXT, 8).requires_grad_()
    weights = random(1, 2, PLACES)
    got = torch.autograd.grad((cross_maps(query, key, SPANS) * weights).sum(), [query, key])
    whole = attention(query, key).mean(1)
    columns = torch.stack([whole[..., [1, 2]].sum(-1), whole[..., [4, 6, 7]].sum(-1)], 1)
    for one, two in zip(got, torch.autograd.grad((columns * weights).sum(), [query, key]), strict=True):
        torch.testing.assert_close(one, two)


def test_maps_are_float32_of_half_precision_and_nearly_those_of_full():
    query, key = random(1, 2, PLACES, 16, dtype=torch.bfloat16), random(1, 2, TEXT, 16, dtype=torch.bfloat16)
    got = cross_maps(query, key, SPANS)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, cross_maps(query.double(), key.double(), SPANS).float())
    assert temporal_maps(query, query, FRAMES).dtype == torch.float32


@pytest.mark.parametrize("spans", [[], [[(3, 3)]], [[(0, 11)]], [[(-1, 2)]]])
def test_spans_outside_the_text_are_refused(spans):
    with pytest.raises(ValueError, match=r"spans: got .*, each must be within the text's 10 tokens"):
        cross_maps(random(1, 1, PLACES, 4), random(1, 1, TEXT, 4), spans)


def brute_temporal(query: torch.Tensor, key: torch.Tensor, heads: list[int]) -> torch.Tensor:
    """A place, a pair of frames at a time."""
    in_frame = HEIGHT * WIDTH
    maps = torch.zeros(1, in_frame, FRAMES, FRAMES, dtype=torch.float64)
    for place in range(in_frame):
        for head in heads:
            for one in range(FRAMES):
                q = query[0, head, one * in_frame + place]
                scores = torch.stack([q @ key[0, head, two * in_frame + place] for two in range(FRAMES)])
                maps[0, place, one] += (scores / query.shape[-1] ** 0.5).softmax(0) / len(heads)
    return maps


@pytest.mark.parametrize("heads", [[0, 1, 2], [1]])
def test_temporal_maps_are_attention_at_one_place_through_the_frames(heads):
    query, key = random(1, 3, PLACES, 6), random(1, 3, PLACES, 6)
    chosen = torch.tensor([head in heads for head in range(3)])
    got = temporal_maps(query, key, FRAMES, chosen)
    torch.testing.assert_close(got, brute_temporal(query, key, heads))
    torch.testing.assert_close(got.sum(-1), torch.ones_like(got[..., 0]))
    if len(heads) == 3:
        torch.testing.assert_close(got, temporal_maps(query, key, FRAMES))


def test_each_video_has_temporal_heads_of_its_own():
    query, key = random(2, 3, PLACES, 6), random(2, 3, PLACES, 6)
    heads = torch.tensor([[True, False, True], [False, True, False]])
    got = temporal_maps(query, key, FRAMES, heads)
    torch.testing.assert_close(got[:1], brute_temporal(query[:1], key[:1], [0, 2]))
    torch.testing.assert_close(got[1:], brute_temporal(query[1:], key[1:], [1]))


@pytest.mark.parametrize("frames", [1, 5])
def test_frames_that_cannot_be_are_refused(frames):
    query = random(1, 1, PLACES, 4)
    with pytest.raises(ValueError, match=f"frames: got {frames} for 24 places, must be at least 2 and divide them"):
        temporal_maps(query, query, frames)


# which heads are temporal


def test_masks_are_the_own_frame_and_the_own_place_through_all_frames():
    rows = torch.arange(PLACES)
    spatial, temporal = head_masks(PLACES, FRAMES, rows)
    in_frame = HEIGHT * WIDTH
    width = 3  # ceil(8 / 3)
    for row in range(PLACES):
        for key in range(PLACES):
            assert bool(spatial[row, key]) == (row // in_frame == key // in_frame)
        seen = temporal[row].view(FRAMES, in_frame)
        assert bool(seen[:, row % in_frame].all()) and bool((seen.sum(1) == width).all())
    assert spatial.sum() == PLACES * in_frame and temporal.sum() == PLACES * width * FRAMES


def test_errors_are_those_of_masked_attention_on_the_rows():
    query, key, value = (random(2, 3, PLACES, 6) for _ in range(3))
    rows = sampled_rows(PLACES, 7)
    got = head_errors(query, key, value, FRAMES, rows)
    for kind, mask in enumerate(head_masks(PLACES, FRAMES, torch.arange(PLACES))):
        masked = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        whole = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        torch.testing.assert_close(got[:, kind], (masked - whole)[:, :, rows].square().mean((2, 3)))
    assert torch.equal(rows, sampled_rows(PLACES, 7)) and len(set(rows.tolist())) == 7
    assert len(sampled_rows(5, 64)) == 5


def test_heads_made_to_look_along_time_and_within_frames_are_told_apart():
    in_frame = HEIGHT * WIDTH
    place = torch.eye(in_frame, dtype=torch.float64).repeat(FRAMES, 1)  # which place
    frame = torch.eye(FRAMES, dtype=torch.float64).repeat_interleave(in_frame, 0)  # which frame
    width = max(in_frame, FRAMES)
    along_time, within = (torch.nn.functional.pad(of, (0, width - of.shape[1])) * 30 for of in (place, frame))
    query = torch.stack([along_time, within, along_time])[None]
    errors = head_errors(query, query, random(1, 3, PLACES, width), FRAMES, sampled_rows(PLACES))
    assert temporal_heads(errors).tolist() == [[True, False, True]]
    assert temporal_heads(errors[..., 1:2]).tolist() == [[True]]  # none is: all
    two = torch.cat([errors, errors[..., [1, 1, 0]]])
    assert temporal_heads(two).tolist() == [[True, False, True], [False, False, True]]


# grids


def test_a_tangent_has_the_loss_s_gradient_and_no_curvature():
    shapes = {"a": (1, 2, 3), "b": (1, 4)}
    moved = {name: random(*shape).requires_grad_() for name, shape in shapes.items()}
    constant = {name: random(*shape) for name, shape in shapes.items()}
    wanted = torch.autograd.grad(map_distance(moved, constant), list(moved.values()))
    got = torch.autograd.grad(tangent(moved, moved, constant), list(moved.values()))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other)
    step = {name: random(*shape) for name, shape in shapes.items()}
    ends = [tangent({n: m.detach() + t * step[n] for n, m in moved.items()}, moved, constant) for t in (-9.0, 0.0, 9.0)]
    torch.testing.assert_close(ends[0] + ends[2], 2 * ends[1])


def test_the_grid_of_tokens_rounds_sides_up():
    assert token_grid((1, 16, 5, 60, 104)) == (5, 30, 52) and token_grid((16, 3, 7, 8)) == (3, 4, 4)
