"""M_SCA and M_TSA of video transformers (DiT), whose attention is over all places and frames at once.

M_SCA (spatial cross-attention, Eq. 7 and 10): softmax over the text tokens of q k^T / sqrt(d), the columns of a span
summed, mean over heads.  The sum over a span's columns is attention itself, with a value of 1 at the span's tokens and
0 elsewhere: fused attention gives it exactly, with a gradient and without the map, in O(tokens) memory.

M_TSA (temporal self-attention, Eq. 10): q and k after rotary embedding at one place through all frames, softmax over
the frames, mean over the temporal heads.  A DiT has no temporal layers; some of its heads look along time and others
within a frame (Xi et al. 2025, Sparse VideoGen).  Which ones is tested as there, on a few query rows: a head is
temporal if its output changes less when it may see its own place of all frames than when it may see its own frame.

Where the papers are silent (ours):

* Transformers for video pad their text: most of Wan's 512 keys are zeros and take a part of the softmax.  ``real``
  divides by what the real tokens take, which is the softmax over those alone.
* Both masks of the test leave a head about as many keys: around its place, the temporal one has as many neighbours in
  each frame, by raster order, as make up a frame.

Shapes: B batch, H heads, N = f * h * w places of all frames, frame by frame, P = h * w, T text tokens, d head width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

Span = tuple[int, int]  # first token, and one past the last
SAMPLED_ROWS = 64  # query rows of the heads' test (as Sparse VideoGen)
SPATIAL_PATCH = 2  # latent places to a side of a token's patch, in Wan and its kin


def cross_maps(
    query: torch.Tensor,
    key: torch.Tensor,
    spans: Sequence[Sequence[Span]],
    real: int | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """M_SCA of each subject, float32, with a graph.

    Args:
        query: [B, H, N, d], normed as in the layer.
        key: [B, H, T, d], the same.
        spans: for each of K subjects the token spans of its words.
        real: number of tokens that are not padding, to renormalise over them; None: over all T, as in the layer.
        bias: added to the scores, [B, 1, 1, T]; minus infinity leaves a token out.

    Returns:
        [B, K, N], each value in 0..1.
    """
    tokens = key.shape[2]
    bad = [span for subject in spans for span in subject if not 0 <= span[0] < span[1] <= (real or tokens)]
    if bad or not spans:
        raise ValueError(f"spans: got {bad or 'none'}, each must be within the text's {real or tokens} tokens")
    value = query.new_zeros(tokens, _padded(len(spans) + 1), dtype=torch.float32)  # [T, K + 1 and padding]
    for column, subject in enumerate(spans):
        for start, end in subject:
            value[start:end, column] = 1
    value[:real, len(spans)] = 1
    value = value.expand(*key.shape[:2], -1, -1)  # [T,K'] -> [B,H,T,K']
    with torch.autocast(query.device.type, enabled=False):  # half precision would round the losses away
        query, key = _exact(query), _exact(key)
        mask = None if bias is None else bias.to(query)
        sums = F.scaled_dot_product_attention(query, key, value.to(query.dtype), mask)  # [B,H,N,K']
    columns, whole = sums[..., : len(spans)], sums[..., len(spans), None]
    maps = columns if real is None else columns / whole.clamp(min=1e-12)
    return maps.mean(1).transpose(1, 2)  # [B,H,N,K] -> [B,K,N]


def _padded(columns: int) -> int:
    """To a multiple of 8: fused kernels want aligned rows."""
    return -(-columns // 8) * 8


def _exact(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()


def temporal_maps(
    query: torch.Tensor, key: torch.Tensor, frames: int, heads: torch.Tensor | None = None
) -> torch.Tensor:
    """M_TSA, float32, with a graph.

    Args:
        query: [B, H, N, d] of self-attention, after rotary embedding.
        key: the same.
        frames: f, latent frames.
        heads: bool [H], the temporal ones, at least one; or [B, H], those of each video; None: all.

    Returns:
        [B, P, f, f]; each row sums to 1.
    """
    if query.shape[2] % frames or frames < 2:
        raise ValueError(f"frames: got {frames} for {query.shape[2]} places, must be at least 2 and divide them")
    if heads is not None and heads.ndim == 2:
        videos = zip(query.split(1), key.split(1), heads, strict=True)
        return torch.cat([temporal_maps(*video[:2], frames, video[2]) for video in videos])
    if heads is not None:
        query, key = query[:, heads], key[:, heads]
    query, key = (_exact(of).unflatten(2, (frames, -1)).transpose(2, 3) for of in (query, key))  # -> [B,H,P,f,d]
    with torch.autocast(query.device.type, enabled=False):
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        return scores.softmax(-1).mean(1)  # [B,H,P,f,f] -> [B,P,f,f]


def sampled_rows(places: int, count: int = SAMPLED_ROWS, seed: int = 0) -> torch.Tensor:
    """Query rows for the heads' test: some of N places, without repetition, the same for the same seed."""
    return torch.randperm(places, generator=torch.Generator().manual_seed(seed))[:count].sort().values


@torch.no_grad()
def head_errors(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, frames: int, rows: torch.Tensor
) -> torch.Tensor:
    """How much each head's output changes under a spatial and under a temporal mask, on sampled rows.

    Args:
        query: [B, H, N, d], after rotary embedding.
        key: the same.
        value: the same.
        frames: f.
        rows: [R], query rows.

    Returns:
        [B, 2, H] mean squared errors, spatial and temporal.
    """
    places = query.shape[2]
    rows = rows.to(query.device)
    masks = head_masks(places, frames, rows)
    scores = _exact(query[:, :, rows]) @ _exact(key).transpose(-1, -2) * query.shape[-1] ** -0.5  # [B,H,R,N]
    value = _exact(value)
    whole = scores.softmax(-1) @ value  # [B,H,R,d]
    errors = []
    for mask in masks:
        masked = scores.masked_fill(~mask, -math.inf).softmax(-1) @ value
        errors.append((masked - whole).square().mean((2, 3)))
    return torch.stack(errors, 1)


def head_masks(places: int, frames: int, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which keys each row may see, bool [R, N]: its own frame; its place and neighbours of it in every frame."""
    in_frame = places // frames
    every = torch.arange(places, device=rows.device)
    frame, place = every // in_frame, every % in_frame
    spatial = frame[rows, None] == frame
    width = -(-in_frame // frames)  # so that width * f is about P
    first = (place[rows, None] - width // 2).clamp(0, in_frame - width)
    temporal = (place >= first) & (place < first + width)
    return spatial, temporal


def temporal_heads(errors: torch.Tensor) -> torch.Tensor:
    """The temporal heads, bool [..., H], of errors [..., 2, H] summed over noise levels; all where none is temporal."""
    chosen = errors[..., 1, :] < errors[..., 0, :]
    return chosen | ~chosen.any(-1, keepdim=True)


def tangent(
    maps: Mapping[str, torch.Tensor], moved: Mapping[str, torch.Tensor], constant: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """Eq. 10's || moved - constant ||^2, made linear in the maps: the same gradient where they are ``moved``.

    A finite difference of this is the gradient's to far larger moves: where two branches nearly agree, the square's
    own curvature outweighs its slope.

    Args:
        maps: by layer, at some latents.
        moved: at the latents of the gradient.
        constant: the other branch's.

    Returns:
        [], the mean over each layer's map, then over the layers, as the loss has it.
    """
    slopes = {name: 2 * (moved[name] - constant[name]).detach() for name in moved}
    return torch.stack([(slopes[name] * maps[name]).mean() for name in moved]).mean()


def token_grid(latents: Sequence[int], patch: int = SPATIAL_PATCH) -> tuple[int, int, int]:
    """(f, h, w) of a transformer's tokens for latents [..., f, H, W]; sides are padded to whole patches."""
    frames, height, width = latents[-3:]
    return int(frames), -(-int(height) // patch), -(-int(width) // patch)
