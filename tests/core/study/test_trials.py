"""A study's folder is read whole or refused with a reason; order and sides are random, and each person's own."""

from __future__ import annotations

import shutil

import pytest

from tests.core.study.small_study import CELLS, make_study
from videomage_core.study.trials import load_study


@pytest.fixture
def folder(tmp_path):
    return make_study(tmp_path / "study")


def test_every_cell_with_every_comparison(folder):
    study = load_study(folder, "VideoMage")
    assert study.comparisons == ["Averaged", "Merged"]
    assert study.cells["dog_riding"].prompt == "a <dog_riding>"
    assert [path.name for path in study.cells["dog_riding"].images] == ["1.png", "2.jpg"]
    order = study.order_for("ann")
    assert {(t.cell, t.comparison) for t in order} == {(c, m) for c in CELLS for m in study.comparisons}
    assert len(order) == 4


def test_order_and_sides_are_random_and_each_persons_own(folder):
    study = load_study(folder, "VideoMage")
    people = [f"person{n}" for n in range(400)]
    firsts = [study.order_for(person)[0] for person in people]
    for trial in study.order_for(""):
        assert 60 < firsts.count(trial) < 140  # of 100 expected
        left = [study.sides(person, trial)[0] for person in people]
        assert 150 < left.count("VideoMage") < 250  # of 200 expected
        assert {study.sides(person, trial) for person in people} == {
            ("VideoMage", trial.comparison), (trial.comparison, "VideoMage"),
        }  # fmt: skip


def test_a_cell_that_is_added_changes_nothing_for_the_others(folder):
    before = load_study(folder, "VideoMage")
    shutil.copytree(folder / "references" / "dog_riding", folder / "references" / "new")
    for method in ("VideoMage", "Merged", "Averaged"):
        (folder / method / "new.webm").write_bytes(b"new")
    after = load_study(folder, "VideoMage")
    assert [t for t in after.order_for("ann") if t.cell != "new"] == before.order_for("ann")
    assert all(before.sides("ann", t) == after.sides("ann", t) for t in before.order_for("ann"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: shutil.rmtree(f / "references"), r"holds the folders Averaged, Merged, VideoMage; expected"),
        (lambda f: [shutil.rmtree(f / m) for m in ("Merged", "Averaged")], r"for two or more methods"),
        (lambda f: shutil.rmtree(f / "VideoMage"), "--method: got 'VideoMage', .* has Averaged, Merged"),
        (lambda f: (f / "Merged" / "dog_riding.mp4").unlink(), "Merged/dog_riding.mp4 is missing"),
        (lambda f: (f / "Merged" / "dog_riding.gif").touch(), "Merged/dog_riding is there twice"),
        (lambda f: (f / "Merged" / "fox.mp4").touch(), "Merged/fox has no references/fox/"),
        (lambda f: (f / "references" / "dog_riding" / "prompt.txt").write_text(" "), "prompt.txt is missing or empty"),
        (lambda f: (f / "references" / "dog_riding" / "motion.gif").unlink(), "has 0 clips .* expected one"),
        (lambda f: [p.unlink() for p in (f / "references" / "cat_jumping").glob("[12].*")], "has no image"),
        (lambda f: [shutil.rmtree(p) for p in (f / "references").iterdir()], "and 2 more|holds no cell"),
    ],
)
def test_a_folder_that_will_not_do(folder, change, message):
    change(folder)
    with pytest.raises(ValueError, match=message):
        load_study(folder, "VideoMage")


def test_links_that_lead_out_are_refused(folder, tmp_path):
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    video = folder / "Merged" / "dog_riding.mp4"
    video.unlink()
    video.symlink_to(secret)
    with pytest.raises(ValueError, match="leads out of"):
        load_study(folder, "VideoMage")


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a folder; expected FOLDER/METHOD/CELL\.mp4"):
        load_study(tmp_path / "nowhere", "VideoMage")
