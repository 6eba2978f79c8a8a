"""What the SCS nodes for Wan say before a core is asked; with one: ``tests/comfyui/native``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

GOOD = {"prompt": "a sks rides", "subjects": "sks = dog", "learned_tokens": "none"}


@pytest.fixture
def node(nodes: dict[str, Any]) -> Any:
    return nodes["VideoMage_EncodePromptSCS"]


def test_the_page_begins_with_a_prompt_that_is_right(node: Any) -> None:
    begins = {given.id: given.about.get("default") for given in node.define_schema().inputs}
    assert node.validate_inputs(**{name: begins[name] for name in GOOD}) is True


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prompt": "a cat"}, "the prompt lacks 'sks'"),
        ({"subjects": ""}, "subjects: got none; write a line for each subject"),
        ({"subjects": "sks"}, "subjects: got 'sks'; write a line"),
        ({"prompt": "sks <lora:x:1>"}, "ComfyUI loads no LoRA from a prompt"),
        ({"learned_tokens": "gone.safetensors"}, "'gone.safetensors' is not in models/loras"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(node: Any, values: dict[str, str], said: str) -> None:
    assert said in node.validate_inputs(**{**GOOD, **values})


def test_what_is_wired_or_in_a_file_is_left_to_the_run(node: Any, host: Any) -> None:
    assert node.validate_inputs() is True
    assert node.validate_inputs(prompt=None, subjects="sks = dog", learned_tokens="none") is True
    assert node.validate_inputs(prompt="a <toy>", subjects=None, learned_tokens="none") is True
    Path(host.home / "models" / "loras" / "toy.safetensors").touch()
    assert node.validate_inputs(prompt="a <toy>", subjects="", learned_tokens="toy.safetensors") is True


def test_no_clip_is_said(node: Any) -> None:
    with pytest.raises(ValueError, match="clip: got nothing; wire a 'Load CLIP' of type wan"):
        node.execute(clip=None, negative="", **GOOD)


def test_attention_is_laid_over_the_frames(nodes: dict[str, Any]) -> None:
    show = nodes["VideoMage_ShowAttention"]
    frames, seen = torch.zeros(5, 16, 24, 3), torch.zeros(2, 2, 3)
    seen[:, 0, 0] = 1
    guider = SimpleNamespace(attention_maps=[("sks", seen), ("cat", seen)])
    (shown,) = show.execute(images=frames, guider=guider, strength=1.0).result
    assert shown.shape == (5, 16, 48, 3) and shown[0, 0, 0].tolist() == [1, 0, 0]
    guider.attention_maps = []
    assert torch.allclose(show.execute(images=frames, guider=guider, strength=1.0).result[0], frames)


def test_another_guider_and_another_video_are_refused(nodes: dict[str, Any]) -> None:
    show = nodes["VideoMage_ShowAttention"]
    with pytest.raises(ValueError, match="guider: got SimpleNamespace, which records no maps; wire the SCS Guider"):
        show.execute(images=torch.zeros(5, 16, 24, 3), guider=SimpleNamespace(), strength=1.0)
    guider = SimpleNamespace(attention_maps=[("sks", torch.zeros(2, 2, 3))])
    with pytest.raises(ValueError, match="images: got 8 frames, the guider sampled 2 latent frames, which are 5"):
        show.execute(images=torch.zeros(8, 16, 24, 3), guider=guider, strength=1.0)
