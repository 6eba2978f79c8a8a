"""The human study's page in Chromium: our mp4 plays, the keyboard is enough, both languages are whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from tests.core.study.small_study import CELLS, METHODS, make_study
from videomage_core.data.media import save_video
from videomage_core.study.answers import QUESTIONS, Answers, read_answers
from videomage_core.study.server import StudyServer
from videomage_core.study.trials import load_study


@pytest.fixture
def study(tmp_path) -> Iterator[StudyServer]:
    folder = make_study(tmp_path / "study")
    moving = torch.zeros(3, 8, 48, 48)
    for f in range(8):
        moving[0, f, 10:20, 4 * f : 4 * f + 12] = 1
    for method in METHODS:
        for cell in CELLS:
            save_video(moving, folder / method / f"{cell}.mp4", 8.0)
    for cell in CELLS:
        (folder / "references" / cell / "motion.gif").unlink()
        save_video(moving, folder / "references" / cell / "motion.mp4", 8.0)
    shown = load_study(folder, "VideoMage")
    with StudyServer(shown, Answers(folder / "answers.csv")) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def tab(page, study) -> Iterator[Any]:
    opened = page.page.context.new_page()
    opened.problems = []
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    opened.goto(study.address)
    yield opened
    opened.close()


def until(holds: Callable[[], bool]) -> None:
    """Wait for it; the page's policy forbids playwright's own way, which evaluates text there."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_participant_by_keyboard_alone(tab, study):
    until(lambda: tab.evaluate("document.activeElement?.tagName === 'INPUT'"))  # the name has the focus
    tab.keyboard.type("ann")
    tab.keyboard.press("Enter")
    videos = "[...document.querySelectorAll('video')]"
    until(
        lambda: tab.evaluate(f"{videos}.length === 3 && {videos}.every(v => v.currentTime > 0 && v.videoWidth === 48)")
    )
    tab.keyboard.press("Space")  # the first question has the focus
    tab.keyboard.press("Enter")
    assert tab.inner_text("#problem") == "Please answer all four questions."
    tab.keyboard.press("Space")
    for _ in range(2):
        tab.keyboard.press("Tab")
        tab.keyboard.press("Space")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    until(lambda: tab.inner_text("#count") == "1 / 4")
    (row,) = read_answers(study.answers.path)
    sides = [row["left"] == row[question] for question in QUESTIONS]
    assert sides == [True, True, True, False] and row["participant"] == "ann"
    assert not tab.problems


def test_both_languages_say_the_same_things(tab):
    """No text is missing in either, and the choice holds for the trials to come."""
    english, chinese = tab.evaluate("[TEXTS.en, TEXTS.zh].map(texts => Object.keys(texts))")
    assert english == chinese
    tab.select_option("#language", "zh")
    tab.fill("#participant", "bob")
    tab.keyboard.press("Enter")
    until(lambda: tab.is_visible("#next"))
    assert tab.inner_text("#next") == "保存并继续"
    assert tab.get_attribute("html", "lang") == "zh"
    assert not tab.problems
