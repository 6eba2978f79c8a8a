"""The card asks for everything the base was taught, resumes, and writes down what it measured."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emoji_world.judge.judge import Judge
from emoji_world.reports.base_report import MEASURES as MEASURED
from emoji_world.reports.base_report import ROOT, Report, measure, sampled, save_sheet, true_renders
from emoji_world.reports.base_report_prompts import SECTIONS, card_prompts
from emoji_world.reports.base_report_text import ARTISTS, MEASURES, model_card, world_facts
from emoji_world.reports.emoji_base_report import BASE, CARD
from emoji_world.world.backgrounds import BACKGROUNDS
from emoji_world.world.characters import CONCEPTS, HELD_OUT_ARTIST, TRAINING_ARTISTS
from emoji_world.world.small_motions import TRAINED_PAIR, TRAINED_SINGLE
from emoji_world.world.worlds import RICH, SMALL
from videomage_core.evaluation import mobilenet

PROMPTS = card_prompts()


def test_the_list_is_fixed_and_covers_what_was_taught() -> None:
    assert card_prompts() == PROMPTS
    sections = Counter(p.section for p in PROMPTS)
    assert tuple(sections) == SECTIONS and sections["singles"] >= 24 and sections["pairs"] >= 24
    singles = [p.scene for p in PROMPTS if p.section == "singles"]
    assert {s.characters[0].concept for s in singles[:12]} == set(CONCEPTS)
    assert {s.motion for s in singles} == set(TRAINED_SINGLE) and {s.background for s in singles} == set(BACKGROUNDS)
    assert {p.scene.motion for p in PROMPTS if p.section == "motions"} == {*TRAINED_SINGLE, *TRAINED_PAIR}
    assert all(p.scene.colour_jitter == 0 for p in PROMPTS)
    assert all(c.artist != HELD_OUT_ARTIST for p in PROMPTS for turn in range(3) for c in p.rendered(turn).characters)


def test_a_list_for_the_rich_world_covers_it() -> None:
    prompts = card_prompts(RICH)
    singles = [p.scene for p in prompts if p.section == "singles"]
    assert {s.characters[0].concept for s in singles[:54]} == set(RICH.concepts)
    assert {p.scene.motion for p in prompts if p.section == "pairs"} == set(RICH.interactions)
    assert {c.artist for p in prompts for c in p.rendered(1).characters} <= set(RICH.training_artists)
    assert true_renders(prompts[:1], 1).shape == (1, 9, 48, 48, 3)


def test_a_rendered_prompt_keeps_its_caption_and_changes_with_the_seed() -> None:
    for prompt in PROMPTS:
        one, two = prompt.rendered(0), prompt.rendered(1)
        assert one.caption == two.caption == prompt.scene.caption and one.seed != two.seed


def test_finished_chunks_are_not_sampled_again(tmp_path: Path) -> None:
    requests: list[tuple[str, int]] = []

    def generate(captions: list[str], seeds: list[int]) -> np.ndarray:
        if len(requests) >= 16:
            raise KeyboardInterrupt
        requests.extend(zip(captions, seeds, strict=True))
        return np.stack([np.full((2, 4, 4, 3), len(c) + s, np.uint8) for c, s in zip(captions, seeds, strict=True)])

    with pytest.raises(KeyboardInterrupt):
        sampled(tmp_path, PROMPTS[:10], 2, generate)
    done, requests = requests, []
    videos = sampled(tmp_path, PROMPTS[:10], 2, generate)
    assert not set(done) & set(requests) and len(done) + len(requests) == 20
    expected = [len(p.scene.caption) + seed for seed in range(2) for p in PROMPTS[:10]]
    assert videos[:, 0, 0, 0, 0].tolist() == expected


def test_wrong_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"generate: got float64 .* allowed: uint8"):
        sampled(tmp_path, PROMPTS[:1], 1, lambda captions, seeds: np.zeros((1, 8, 48, 48, 3)))


def test_perfect_samples_reach_the_ceiling_and_the_card_says_so() -> None:
    try:
        mobilenet.weights_path()
    except ImportError as error:
        pytest.skip(str(error))
    chosen = [next(p for p in PROMPTS if p.section == section) for section in SECTIONS]
    chosen.append(next(p for p in PROMPTS if p.section == "motions" and len(p.scene.characters) == 2))
    figures = measure(chosen, true_renders(chosen, 1), 1, Judge(clips=1, motion_renders=3))
    assert tuple(figures["quality"]) == tuple(MEASURED) == tuple(MEASURES)
    assert all(row["samples"] == row["ceiling"] for row in figures["quality"].values())
    sampling = {"steps": 25, "guidance_scale": 5.0}
    text = model_card(CARD, figures | {"sampling": sampling}, 300, world_facts(SMALL))
    assert "300 minutes on two CPU cores" in text and "| motion | 100 % (" in text and "{" not in text
    assert set(ARTISTS) == {*TRAINING_ARTISTS, HELD_OUT_ARTIST}
    assert all(home in text for _, _, home, _ in ARTISTS.values())


def test_the_shipped_card_is_that_of_the_shipped_figures() -> None:
    figures = json.loads((ROOT / "docs" / "emoji_base.json").read_text(encoding="utf-8"))
    text = (BASE / "README.md").read_text(encoding="utf-8")
    assert text == model_card(CARD, figures, 210, world_facts(SMALL))


def test_a_report_writes_figures_card_and_sheets_in_the_bases_name(tmp_path: Path) -> None:
    try:
        mobilenet.weights_path()
    except ImportError as error:
        pytest.skip(str(error))
    prompts = [next(p for p in PROMPTS if p.section == section) for section in SECTIONS]
    judge, facts = Judge(clips=1, motion_renders=3), world_facts(SMALL)
    report = Report(CARD, tmp_path, tmp_path / "docs", prompts, judge, MEASURED, facts)
    true = true_renders(prompts, 1)
    sampling = {"steps": 25, "guidance_scale": 5.0, "fingerprint": "f"}
    (tmp_path / "docs").mkdir()
    report.write(tmp_path / "cache", 1, lambda captions, seeds: true, sampling, None)
    figures = json.loads((tmp_path / "docs" / "emoji_base.json").read_text(encoding="utf-8"))
    assert figures["videos"] == 3 and figures["sampling"] == sampling
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == model_card(CARD, figures, None, facts)
    images = tmp_path / "docs" / "images"
    assert sorted(path.name for path in images.iterdir()) == ["emoji_base_pairs.png", "emoji_base_singles.png"]


def test_a_sheet_is_written(tmp_path: Path) -> None:
    save_sheet(true_renders(PROMPTS[:2], 1), ["a dog", "a cat"], tmp_path / "images" / "sheet.png")
    with Image.open(tmp_path / "images" / "sheet.png") as sheet:
        assert sheet.width >= 8 * 2 * 48 and sheet.height >= 2 * 2 * 48
