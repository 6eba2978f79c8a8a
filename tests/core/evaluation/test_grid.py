"""A benchmark's folder is read whole or refused with a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.core.evaluation.small_grid import TOML, write_small_grid
from videomage_core.evaluation.grid import Cell, load_grid
from videomage_core.evaluation.methods import METHODS, SWEEPS, sweeps
from videomage_core.presets import EMOJI


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_small_grid(tmp_path_factory.mktemp("grid"))


def test_cells_are_every_pair_motion_place_and_seed(folder):
    grid = load_grid(folder)
    subset = grid.subset("quick")
    assert grid.with_motion(subset) == [Cell(("rex", "po"), "riding", "grass", 3)]
    assert grid.no_motion(subset) == [Cell(("rex", "po"), None, "grass", 3)]
    assert grid.three_subjects(subset) == []
    assert grid.prompt(grid.with_motion(subset)[0]) == "a <rex> is riding a <po> on grass"
    assert grid.prompt(grid.no_motion(subset)[0]) == "a <rex> is next to a <po> on grass"
    assert [word for word, masks in grid.motions["riding"].performers if masks] == ["pig", "cat"]


def test_a_class_that_begins_with_a_vowel_has_its_article(tmp_path):
    (write_small_grid(tmp_path) / "grid.toml").write_text(TOML.replace('rex = "dog"', 'rex = "octopus"'))
    grid = load_grid(tmp_path)
    (cell,) = grid.with_motion(grid.subset("quick"))
    assert grid.prompt(cell) == "an <rex> is riding a <po> on grass"
    assert grid.plain_prompt(cell) == "an octopus is riding a panda on grass"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('pairs = [["rex", "po"]]', 'pairs = [["rex", "bo"]]', "names the subject 'bo', known are rex, po"),
        ('methods = ["VideoMage"', 'methods = ["Magic"', "names the method 'Magic', known are VideoMage"),
        ('sweeps = ["alpha"]', 'sweeps = ["beta"]', "names the sweep 'beta'"),
        ('motions = ["riding"]', 'motions = ["flying"]', "names the motion 'flying'"),
        ("seeds = [3]", "seedz = [3]", "unknown seedz and lacks seeds"),
        ('rex = "dog"', 'max = "dog"', "max is not there"),
        ("no_motion = ", "calm = ", "needs the template 'no_motion'"),
        ('prompt = "a pig', 'words = "a pig', "lacks its prompt"),
        ("[places]", "[places", "is no TOML"),
    ],
)
def test_a_wrong_grid_is_refused(folder, old, new, said):
    path = folder / "grid.toml"
    assert old in TOML
    try:
        path.write_text(TOML.replace(old, new))
        with pytest.raises((ValueError, FileNotFoundError), match=said.replace("[", r"\[")):
            load_grid(folder)
    finally:
        path.write_text(TOML)


def test_an_unknown_size_or_folder_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=r"subset: got 'huge', .* has quick"):
        load_grid(folder).subset("huge")
    with pytest.raises(FileNotFoundError, match=r"grid\.toml is not there"):
        load_grid(tmp_path)


def test_a_method_changes_its_own_settings_alone():
    changed = METHODS["without L_mot"].settings(EMOJI)
    assert changed.motion.omega == 0 and EMOJI.motion.omega == 0.5
    assert changed.fusion == EMOJI.fusion and changed.subject == EMOJI.subject
    assert METHODS["without L_attn"].settings(EMOJI).fusion.lambda2 == 0
    assert METHODS["MotionDirector"].settings(EMOJI).motion.objective == "motion_director"


def test_every_sweep_holds_the_presets_own_value():
    points = sweeps(EMOJI)
    assert tuple(points) == SWEEPS
    for name, methods in points.items():
        settings = [method.settings(EMOJI) for method in methods]
        assert EMOJI in settings, name
        assert len({str(s) for s in settings}) == len(settings) == 3


def test_the_grid_of_the_docs_can_be_read(tmp_path):
    docs = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"```toml\n(.*?)```", docs, re.DOTALL)
    (tmp_path / "grid.toml").write_text(written, encoding="utf-8")
    for name in ("subjects/rex", "subjects/tom", "motions/jumping over/horse", "motions/jumping over/fence"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "motions" / "jumping over" / "clip.mp4").touch()
    subset = load_grid(tmp_path).subset("standard")
    assert subset.pairs == (("rex", "tom"),) and "MotionDirector" in subset.methods
