"""A base is recognised in any precision, and other weights are not taken for it."""

from __future__ import annotations

import copy

import pytest
import torch

from videomage_core.model.base_folder import EMOJI_BASE
from videomage_core.model.fingerprint import fingerprint, fingerprint_of_file


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_precision_does_not_matter(emoji_base, dtype):
    rounded = copy.deepcopy(emoji_base.unet).to(dtype)
    assert fingerprint(emoji_base.unet).matches(fingerprint(rounded))


def test_other_weights_are_another_base(emoji_base):
    tuned, generator = copy.deepcopy(emoji_base.unet), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in tuned.parameters():
            weight += 0.1 * weight.std() * torch.randn(weight.shape, generator=generator) if weight.numel() > 1 else 0
    assert not fingerprint(emoji_base.unet).matches(fingerprint(tuned))


def test_another_architecture_is_another_base(emoji_base):
    assert not fingerprint(emoji_base.unet).matches(fingerprint(emoji_base.vae))


def test_a_file_has_the_mark_of_the_network_it_holds(emoji_base):
    assert fingerprint_of_file(EMOJI_BASE / "unet") == fingerprint(emoji_base.unet)


def test_a_network_in_no_file_or_in_several_has_no_fingerprint(tmp_path):
    assert fingerprint_of_file(tmp_path) is None
    (tmp_path / "a.safetensors").touch()
    (tmp_path / "model.safetensors.index.json").touch()
    assert fingerprint_of_file(tmp_path) is None
