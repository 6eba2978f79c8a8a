"""What needs no core; a core runs the rest: tests/comfyui/native/checks/check_diffusers.py."""

import pytest
import torch

from emoji_world.comfyui_core import conditioning, use_core


def test_a_folder_without_comfyui_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no ComfyUI; give the folder that its main\.py is in"):
        use_core(tmp_path)


def test_a_prompt_s_width_is_padded_with_zeros_and_its_spans_ride_along():
    text, spans = torch.randn(1, 5, 128), [{"word": "dog", "start": 1, "end": 2}]
    ((wide, options),) = conditioning(text, spans)
    assert wide.shape == (1, 5, 4096) and torch.equal(wide[..., :128], text) and not bool(wide[..., 128:].any())
    assert options["videomage_spans"] == spans
    assert "videomage_spans" not in conditioning(text)[0][1]
