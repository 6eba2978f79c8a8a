"""The demonstration writes what it says."""

from __future__ import annotations

import dataclasses
import json

from PIL import Image

from videomage_core import demo
from videomage_core.run import Run


def test_the_demo_writes_videos_a_sheet_and_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "EMOJI_SAMPLING", dataclasses.replace(demo.EMOJI_SAMPLING, steps=2))
    said: list[str] = []
    demo.run_demo(tmp_path, 3, Run(log=said.append))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["seeds"] == list(range(3, 3 + len(demo.PROMPTS)))
    assert report["settings"]["steps"] == 2 and report["seconds"]["total"] > 0
    assert len(list(tmp_path.glob("*.mp4"))) == len(demo.PROMPTS)
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.width > 8 * 96 and sheet.height > len(demo.PROMPTS) * 96
    assert "contact_sheet.png" in said[0]
