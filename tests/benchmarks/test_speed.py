"""The report: written from parts that were found so far, with a verdict for each target."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from benchmarks.counting import Counted
from benchmarks.measured import PLAIN, SCS, STEP
from benchmarks.speed import on_device, random_weights, write
from benchmarks.stage_steps import of_size, stage_steps, whole_stages
from benchmarks.timing import Ratio
from videomage_core.model.memory import MODES
from videomage_core.presets import EMOJI, PAPER

STEPS = {step for steps in whole_stages(PAPER).values() for step in steps}


def test_a_stage_is_made_of_steps_that_there_are(emoji_base):
    assert set(stage_steps(emoji_base, EMOJI)) == STEPS


def test_without_any_part_it_says_what_is_missing(tmp_path):
    text = write({}, tmp_path)
    assert "not measured" in text and "Not counted yet" in text


def test_every_part_is_in_it_and_every_target_judged(tmp_path):
    (tmp_path / "images").mkdir()
    modes = {mode: Counted(3 * 10**9, 10**9, 7 * 10**9, 2 * 10**13) for mode in MODES}
    grown = {"values": [8, 32], "steps": {"fuse": {"GB": [1.0, 4.0], "Tflop": [1.0, 5.0]}}}
    gpu = {mode: {"seconds": [0.1, 0.1, 0.1, 0.1, 0.2], "GB": 7.5} for mode in MODES} | {"low": {"out of memory": True}}
    results = {
        "machine": {"counted": "a machine"},
        "counted": dict.fromkeys(STEPS, modes),
        "growth": {"frames": grown},
        "growth_in_seconds": {"frames": {"values": [8, 32], "steps": {"fuse": {"seconds": [0.5, 1.0]}}}},
        "eight_bit": {"fuse": {"trained": 1000, "fp32": 8000, "8 bit": 2032}},
        "seconds": dict.fromkeys(STEPS, 0.5),
        "sampling": {SCS: Ratio(1.04, 1, 1.1, 3), PLAIN: Ratio(2.7, 2, 3, 3)},
        "outside": {"adapters switched": 0.031},
        "training": {STEP: Ratio(0.9, 0.8, 1, 3)},
        "savings": {"a saving": Ratio(0.5, 0.4, 0.6, 3)},
        "channels_last": {"ratio": Ratio(1, 1, 1, 3), "difference": 1e-6, "convolutions": 9, "given": 2},
        "compiled": {"graphs": [1, 2, 2, 2, 2], "broken": 0, "error": "RuntimeError: no compiler"},
        "gpu": {"device": "NVIDIA H200", "steps": dict.fromkeys(STEPS, gpu)},
    }
    text = write(results, tmp_path)
    assert (tmp_path / "images" / "speed.png").stat().st_size > 1000
    assert re.search(r"SCS over its counted work.*\| 1.05 \| 1.04 \(1.00 to 1.10\) \| yes \|", text)
    assert re.search(r"SCS over plain guided sampling.*\| 2.6 \| 2.70.*\| \*\*no\*\* \|", text)
    assert "One takes 1.00 guided predictions' time here, in 8 of 25 steps, and 1.00 of their" in text
    assert re.search(r"train subject, peak.*\| 8 \| counted: high 11.0.*met in no mode \| \*\*no\*\* \|", text)
    assert re.search(r"train motion, peak.*met in high, medium, low \| yes \|", text)
    assert re.search(r"train subject, seconds on an H200 \| 60 \| 70, steps timed in high \| \*\*no\*\* \|", text)
    assert "| fuse | GB | 1.00 | 4.00 | 4.00 | yes |" in text and "| 5.00 | **no** |" in text
    assert "| fuse | seconds | 0.50 | 1.00 | 2.00 | yes |" in text
    assert "| fuse | high | 0.100 (0.100 to 0.200) | 7.50 |" in text and "| out of memory |" in text
    assert "`RuntimeError: no compiler`" in text


def test_each_step_is_timed_in_each_mode(emoji_base):
    tiny = of_size(EMOJI, 2, 24, 24)
    tiny = replace(
        tiny,
        subject=replace(tiny.subject, batch_size=1, auxiliary_frames=2),
        motion=replace(tiny.motion, batch_size=1),
        fusion=replace(tiny.fusion, frames=2),
    )
    try:
        results = on_device(emoji_base, tiny, torch.device("cpu"), runs=1)
    finally:
        emoji_base.use_memory(MODES["high"])
    assert set(results) == STEPS
    assert all(len(one["seconds"]) == 1 for modes in results.values() for one in modes.values())


def test_random_weights_fill_all_of_a_base_without_values():
    from diffusers import AutoencoderKL, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        parts = [
            UNet3DConditionModel(block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8,
                                 down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
                                 up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"), cross_attention_dim=16,
                                 attention_head_dim=8),
            AutoencoderKL(block_out_channels=(8,), norm_num_groups=4),
            CLIPTextModel(CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                         num_attention_heads=2)),
        ]  # fmt: skip
    unet, vae, text = parts
    unet.conv_in.to = lambda *_, **__: unet.conv_in

    class Base:
        prompts = type("Prompts", (), {"text_encoder": text})

    Base.unet, Base.vae = unet, vae
    random_weights(Base, torch.device("cpu"))
    places = [buffer for name, buffer in text.named_buffers() if name.endswith("position_ids")]
    assert places[0].tolist() == [list(range(77))]
    assert all(p.isfinite().all() and p.abs().max() <= 1 for part in parts for p in part.parameters())
    assert "to" not in vars(unet.conv_in)
    with pytest.raises(ValueError, match="buffer: odd is not known"):
        vae.register_buffer("odd", torch.zeros(1))
        random_weights(Base, torch.device("cpu"))
