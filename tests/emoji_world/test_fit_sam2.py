"""The tiny SAM 2: what it is shown is true, and it learns from it."""

from __future__ import annotations

import pytest
import torch

from emoji_world import fit_sam2
from emoji_world.fit_sam2 import FRAMES, SIDE, box_of, example


def test_examples_show_the_subject_first_and_are_the_same_again():
    for index in range(6):
        pixels, mask = example(3, index)
        assert pixels.shape == (FRAMES, 3, SIDE, SIDE) and mask.shape == (FRAMES, SIDE, SIDE)
        assert float((mask[0] > 0.5).float().mean()) > 0.01
        assert torch.equal(example(3, index)[0], pixels)
    away = [i for i in range(30) if (example(4, i)[1].amax((1, 2)) == 0).any()]
    assert 3 <= len(away) <= 18, "at times the subject is away"


def test_the_box_goes_round_the_mask():
    mask = torch.zeros(20, 30)
    mask[4:9, 10:25] = 1
    assert box_of(mask).tolist() == [10, 4, 25, 9]


def test_a_few_steps_lower_the_loss_and_it_is_saved_to_be_loaded(tmp_path):
    pytest.importorskip("sam2", reason="sam2 is not installed: pip install -r requirements.txt")
    from videomage_core.segmentation.tracker import load_tracker

    model = fit_sam2.build()
    losses = fit_sam2.fit(model, steps=16, batch=4)
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    fit_sam2.save(model, tmp_path / "tiny.safetensors")
    loaded = load_tracker(tmp_path / "tiny.safetensors", torch.device("cpu")).model
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.half().float()), name
