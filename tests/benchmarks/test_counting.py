"""Bytes and operations, counted on tensors without values."""

from __future__ import annotations

import pytest
import torch

from benchmarks.counting import count, operations, peak_bytes, zeroscope
from benchmarks.stage_steps import of_size, stage_steps
from videomage_core.presets import PAPER


def test_weights_and_their_views_are_not_counted_and_what_is_alive_at_once_is():
    with torch.device("meta"):
        layer, x = torch.nn.Linear(8, 4), torch.empty(2, 8)

    def job() -> None:
        for _ in range(3):  # one result is gone before the next but one is made
            output = layer(x)
            del output

    assert peak_bytes(job, [layer]) == 2 * 4 * 4
    assert operations(job) == 3 * 2 * 2 * 8 * 4
    assert peak_bytes(job, []) > 2 * 4 * 4, "a view of a weight that nobody named"


def test_attention_keeps_what_its_way_back_needs_and_never_the_map():
    with torch.device("meta"):
        q = torch.empty(1, 1, 1000, 4, requires_grad=True)
        k, v = (torch.empty(1, 1, 77, 4, requires_grad=True) for _ in range(2))

    def job() -> None:
        doubled = [2 * tensor for tensor in (q, k, v)]
        out = torch.nn.functional.scaled_dot_product_attention(*doubled)
        del doubled  # still alive, for the backward pass
        torch.autograd.grad(out.sum(), (q, k, v))

    held = 2 * q.nbytes + k.nbytes + v.nbytes  # and the output
    assert held + q.nbytes + k.nbytes + v.nbytes <= peak_bytes(job, []) < 2 * held


def test_a_question_about_values_is_answered_with_yes():
    with torch.device("meta"):
        x = torch.empty(3)
    assert operations(lambda: None if x.isfinite().all() else 1 / 0) == 0


@pytest.mark.parametrize(
    "step, mode, videos, gradients",
    [
        ("SCS, a prediction", "high", 2, "none"),  # both halves of guidance
        ("train motion", "medium", 1, "checkpointed"),
        ("train motion", "high", 1, "stored"),
    ],
)
def test_the_memory_of_a_pass_is_about_what_the_base_says(step, mode, videos, gradients):
    """On ZeroScope's own U-Net, in the stage that holds most of all with such gradients."""
    base, frames, side = zeroscope(), 4, 256
    counted = count(base, stage_steps(base, of_size(PAPER, frames, side, side))[step], mode, with_operations=False)
    said = base.activation_memory([frames] * videos, side, side, gradients)
    assert counted.activations == pytest.approx(said, rel=0.15)
