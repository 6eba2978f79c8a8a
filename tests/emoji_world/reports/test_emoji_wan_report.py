"""The report: diffusers' pipeline on a folder gives clips of the world's length, and figures stand in the card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from emoji_world.judge.judge import Judge
from emoji_world.reports.base_report import measure, true_renders
from emoji_world.reports.base_report_prompts import SECTIONS, card_prompts
from emoji_world.reports.base_report_text import model_card, world_facts
from emoji_world.reports.emoji_wan_report import AIMS, CARD, RICH_MEASURES, judge_alone, wan_sampler
from emoji_world.world.worlds import RICH, part_of
from videomage_core.evaluation import mobilenet

FEW = part_of(RICH, ("dog", "car", "octopus"), first_drawings=True)


def save_tiny_base(folder: Path, temporal_factor: int) -> None:
    torch.manual_seed(0)
    words = {"[PAD]": 0, "[END]": 1, "[UNK]": 2, "dog": 3}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    WanPipeline(
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[END]", unk_token="[UNK]"
        ),
        text_encoder=UMT5EncoderModel(
            UMT5Config(vocab_size=4, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, pad_token_id=0)
        ),
        transformer=WanTransformer3DModel(
            num_attention_heads=1,
            attention_head_dim=12,
            in_channels=4,
            out_channels=4,
            text_dim=16,
            freq_dim=8,
            ffn_dim=16,
            num_layers=1,
        ),
        vae=AutoencoderKLWan(
            base_dim=4,
            z_dim=4,
            dim_mult=[1, 1],
            num_res_blocks=1,
            temperal_downsample=[temporal_factor > 1],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
            scale_factor_temporal=temporal_factor,
            scale_factor_spatial=2,
        ),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    ).save_pretrained(folder)


@pytest.mark.parametrize("temporal_factor", [1, 2])
def test_clips_are_as_long_as_the_worlds_and_follow_their_seeds(tmp_path: Path, temporal_factor: int) -> None:
    save_tiny_base(tmp_path, temporal_factor)
    generate, settings = wan_sampler(tmp_path, RICH, steps=2, guidance=3.0)
    videos = generate(["a dog", "a dog"], [1, 2])
    assert videos.shape == (2, 9, 48, 48, 3) and videos.dtype == np.uint8
    assert not np.array_equal(videos[0], videos[1])
    assert np.abs(generate(["a dog"], [2])[0].astype(int) - videos[1]).max() <= 1
    assert settings["steps"] == 2 and len(settings["fingerprint"]) == 12
    assert wan_sampler(tmp_path, RICH, steps=3, guidance=3.0)[1]["fingerprint"] != settings["fingerprint"]


def test_perfect_samples_reach_the_ceiling_and_the_card_says_so() -> None:
    try:
        mobilenet.weights_path()
    except ImportError as error:
        pytest.skip(str(error))
    prompts = card_prompts(FEW)
    chosen = [next(p for p in prompts if p.section == section) for section in SECTIONS]
    chosen.append(next(p for p in prompts if p.section == "motions" and len(p.scene.characters) == 2))
    judge = Judge(clips=1, motion_renders=3, world=FEW)
    figures = measure(chosen, true_renders(chosen, 1), 1, judge, RICH_MEASURES)
    assert all(row["samples"] == row["ceiling"] for row in figures["quality"].values())
    assert {name: row["aim"] for name, row in figures["quality"].items() if row["aim"]} == AIMS
    text = model_card(CARD, figures | {"sampling": {"steps": 20, "guidance_scale": 5.0}}, 300, world_facts(FEW))
    assert "Characters: dog, car, octopus." in text and "20 steps at guidance 5." in text
    assert "300 minutes on one CPU core" in text and "| 90 % |" in text and "{" not in text


def test_the_judge_alone_is_measured_on_true_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        mobilenet.weights_path()
    except ImportError as error:
        pytest.skip(str(error))
    few = part_of(FEW, ("dog", "car"))
    prompts = [p for p in card_prompts(few) if len(p.scene.characters) == 1][:4]
    monkeypatch.setattr("emoji_world.reports.emoji_wan_report.card_prompts", lambda world: prompts)
    monkeypatch.setattr("emoji_world.reports.emoji_wan_report.Judge", lambda clips, world: Judge(clips, 3, world))
    figures = judge_alone(few, seeds=1)
    assert figures["videos"] == 4 and figures["ceiling"]["single concept"]["of"] == 4
    assert set(figures) >= {"taken_for_another", "judge_on_unseen_artists", "details"}
