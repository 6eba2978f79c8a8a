"""The demonstration writes what it says."""

from __future__ import annotations

import dataclasses
import json

from PIL import Image

from emoji_world.base_training.text_to_video import TextToVideo
from emoji_world.base_training.wan_folder import write_base
from emoji_world.base_training.wan_models import new_autoencoder
from emoji_world.base_training.wan_tokenizer import build_tokenizer
from emoji_world.world.captions import vocabulary
from videomage_core import demo
from videomage_core.callbacks import Callbacks
from videomage_core.cli import main
from videomage_core.data.lora_file import load_lora
from videomage_core.presets import EMOJI, EMOJI_WAN, Preset


def shortened(preset: Preset) -> Preset:
    """The same with hardly a step."""
    return dataclasses.replace(
        preset,
        sampling=dataclasses.replace(preset.sampling, steps=2, ddim_inversion_steps=2),
        subject=dataclasses.replace(preset.subject, steps=2, auxiliary_clips=1, auxiliary_steps=2),
        motion=dataclasses.replace(preset.motion, steps=2, textual_inversion_steps=2),
        fusion=dataclasses.replace(preset.fusion, steps=2, teacher_videos=1, cutmix_videos=1, teacher_steps=8),
        collaborative=dataclasses.replace(preset.collaborative, steps=2, tau=1),
    )


SHORT = shortened(EMOJI)


def test_the_demo_makes_the_whole_method_and_says_how_it_went(tmp_path):
    said: list[str] = []
    demo.run_demo(tmp_path, 3, Callbacks(log=said.append), SHORT)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["seed"] == 3 and report["settings"]["fusion"]["steps"] == 2
    stages = ["subject LoRA dog", "subject LoRA panda", "motion LoRA", "fusion", "inversion", "VideoMage"]
    assert [s for s in report["seconds"] if s in stages] == stages
    parts = [value for name, value in report["seconds"].items() if name != "total"]
    assert abs(report["seconds"]["total"] - sum(parts)) < 0.2
    assert report["peak_memory_mb"] is None or report["peak_memory_mb"] > 100
    if report["identity"] is not None:
        assert set(report["identity"]) == {"VideoMage", "the base alone", "all LoRAs in one model"}
        assert all(set(of) == {"dog", "panda"} for of in report["identity"].values())
        agreements = [value for of in report["motion_agreement"].values() for value in of.values()]
        assert len(agreements) == 3 * 2 and all(-1 <= value <= 1.0001 for value in agreements)
    assert all((tmp_path / f"{name}.mp4").stat().st_size > 500 for name in ("video", "base", "merged"))
    assert [t.name for t in load_lora(tmp_path / "dog_and_panda.safetensors").tokens] == ["<dog>", "<panda>"]
    assert load_lora(tmp_path / "riding.safetensors").kind == "motion"
    for name, rows in (("contact_sheet", 6), ("attention", 5)):
        with Image.open(tmp_path / f"{name}.png") as sheet:
            assert sheet.width > 8 * 96 and sheet.height > rows * 96
    assert "contact_sheet.png" in said[-1]

    said.clear()
    demo.run_demo(tmp_path, 3, Callbacks(log=said.append), SHORT)
    assert not [line for line in said if "making" in line], "a second run makes nothing anew"


def test_the_demo_runs_on_a_base_of_emoji_wan_s_recipe(tmp_path):
    base, words = tmp_path / "base", tmp_path / "words"
    words.mkdir()
    tokenizer = build_tokenizer(vocabulary(), words)
    write_base(base, new_autoencoder(), TextToVideo(len(tokenizer)), words)
    assert demo.demo_preset(base) is EMOJI_WAN
    short = shortened(EMOJI_WAN)  # untrained, it makes nothing that could be cut out for L_attn
    short = dataclasses.replace(short, fusion=dataclasses.replace(short.fusion, lambda2=0.0))
    demo.run_demo(tmp_path, 0, Callbacks(), short, base)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["settings"]["collaborative"]["frames"] == 9 and len(report["update ratios"]["x_sub"]) == 1
    assert (tmp_path / "contact_sheet.png").is_file() and (tmp_path / "attention.png").is_file()
    assert load_lora(tmp_path / "riding.safetensors").kind == "motion"


def test_a_base_of_other_sizes_is_refused_before_it_is_loaded(tmp_path, capsys):
    assert main(["demo", "--base", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "only the built-in bases know; allowed are emoji_base, emoji_wan" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_quick_is_the_same_with_fewer_steps():
    fewer = demo.quick(EMOJI)
    assert fewer.subject.steps < EMOJI.subject.steps and fewer.fusion.steps < EMOJI.fusion.steps
    assert fewer.collaborative == EMOJI.collaborative
