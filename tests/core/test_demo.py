"""The demonstration writes what it says."""

from __future__ import annotations

import dataclasses
import json

from PIL import Image

from videomage_core import demo
from videomage_core.callbacks import Callbacks
from videomage_core.data.lora_file import load_lora
from videomage_core.presets import EMOJI

SHORT = dataclasses.replace(
    EMOJI,
    sampling=dataclasses.replace(EMOJI.sampling, steps=2, ddim_inversion_steps=2),
    subject=dataclasses.replace(EMOJI.subject, steps=2, auxiliary_clips=1, auxiliary_steps=2),
    motion=dataclasses.replace(EMOJI.motion, steps=2, textual_inversion_steps=2),
    fusion=dataclasses.replace(EMOJI.fusion, steps=2, teacher_videos=1, cutmix_videos=1, teacher_steps=8),
    collaborative=dataclasses.replace(EMOJI.collaborative, steps=2, tau=1),
)


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


def test_quick_is_the_same_with_fewer_steps():
    fewer = demo.quick(EMOJI)
    assert fewer.subject.steps < EMOJI.subject.steps and fewer.fusion.steps < EMOJI.fusion.steps
    assert fewer.collaborative == EMOJI.collaborative
