"""The demonstration writes what it says."""

from __future__ import annotations

import dataclasses
import json

from PIL import Image

from videomage_core import demo
from videomage_core.data.lora_file import load_lora
from videomage_core.presets import EMOJI
from videomage_core.run import Run


def test_the_demo_writes_videos_loras_a_sheet_and_a_report(tmp_path):
    short = dataclasses.replace(
        EMOJI,
        sampling=dataclasses.replace(EMOJI.sampling, steps=2),
        subject=dataclasses.replace(EMOJI.subject, steps=2, auxiliary_clips=1, auxiliary_steps=2),
        motion=dataclasses.replace(EMOJI.motion, steps=2, inversion_steps=2),
    )
    said: list[str] = []
    demo.run_demo(tmp_path, 3, Run(log=said.append), short)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["seed"] == 3 and report["settings"]["subject"]["steps"] == 2
    assert set(report["seconds"]) == {"load", "sample", "subject LoRA", "motion LoRA"}
    assert len(list(tmp_path.glob("*.mp4"))) == len(report["rows"]) == len(demo.PROMPTS) + 6
    assert load_lora(tmp_path / "dog.safetensors").tokens[0].name == "<dog>"
    assert load_lora(tmp_path / "riding.safetensors").kind == "motion"
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.width > 8 * 96 and sheet.height > len(report["rows"]) * 96
    assert "contact_sheet.png" in said[-1]
