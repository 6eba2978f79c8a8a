"""Evaluate Video."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import comfy_stub
import pytest
import torch


def test_evaluate_scores_one_video_or_two(nodes: dict[str, Any]) -> None:
    frames, *_ = nodes["VideoMage_ExampleMotion"].execute().result
    images, _ = nodes["VideoMage_ExampleSubject"].execute("panda").result
    given = {"prompt": "", "labels": "one", "clip_folder": "", "dino_folder": ""}
    evaluate = nodes["VideoMage_Evaluate"].execute
    whole = evaluate(video=frames, images_1=images, plain_background=False, **given)
    assert "one" in whole.result[0] and len(whole.result[0].splitlines()) == 3
    assert whole.result[1].shape[0] == 1 and whole.result[1].shape[2] == 640
    both = evaluate(video=frames, other=frames, images_1=images, plain_background=True, **given)
    _, identity, consistency = both.result[0].splitlines()
    assert identity.split()[-1] == identity.split()[-2] and consistency.split()[-1] == consistency.split()[-2]
    assert identity.split()[-1] not in whole.result[0], "cut out, another likeness"


def test_evaluate_refuses_a_folder_that_is_no_model(nodes: dict[str, Any], tmp_path: Path) -> None:
    images = torch.rand(1, 8, 8, 3)
    with pytest.raises(FileNotFoundError, match=r"CLIP: .* lacks config\.json"):
        nodes["VideoMage_Evaluate"].execute(images, "", "", False, str(tmp_path), "", images_1=images)


def test_evaluate_shows_progress_and_stops_when_asked(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    frames = torch.rand(2, 16, 16, 3)
    given = {"prompt": "", "labels": "", "plain_background": False, "clip_folder": "", "dino_folder": ""}
    evaluate = nodes["VideoMage_Evaluate"].execute
    evaluate(video=frames, other=frames, images_1=frames, **given)
    assert [(done, total) for done, total, _ in host.progress] == [(0, 2), (1, 2), (2, 2)]
    host.progress.clear()
    host.interrupt_at = 1
    with pytest.raises(comfy_stub.Interrupted):
        evaluate(video=frames, other=frames, images_1=frames, **given)
    assert len(host.progress) == 1


def test_evaluates_folders_are_looked_at_when_queued(nodes: dict[str, Any], tmp_path: Path) -> None:
    check = nodes["VideoMage_Evaluate"].validate_inputs
    assert check("", " ") is True and check(None, None) is True
    said = check(str(tmp_path), "nowhere")
    assert "lacks config.json" in said and "dino_folder: nowhere is not a folder" in said


def test_a_large_clip_is_shrunk_before_it_is_scored(nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []

    class Shape:
        def score(self, video: Any, prompt: str | None, references: Any) -> dict[str, float]:
            shapes.extend([video.shape, *(image.shape for those in references.values() for image in those)])
            return {"size": 1.0}

    module = sys.modules[nodes["VideoMage_Evaluate"].__module__]
    monkeypatch.setattr(module, "scorers", lambda *_: [Shape()])
    large = torch.rand(2, 2048, 3072, 3)
    nodes["VideoMage_Evaluate"].execute(large, "", "", False, "", "", images_1=large[:1])
    assert shapes == [(2, 1024, 1536, 3), (1024, 1536, 3)]
