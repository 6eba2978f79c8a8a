"""An answer counts once, is on the disk at once, and outlives a crash."""

from __future__ import annotations

import pytest

from tests.core.study.small_study import make_study
from videomage_core.study.answers import COLUMNS, QUESTIONS, AnsweredAlready, Answers, read_answers
from videomage_core.study.trials import load_study

LEFT = dict.fromkeys(QUESTIONS, "left")


@pytest.fixture
def study(tmp_path):
    return load_study(make_study(tmp_path / "study"), "VideoMage")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.csv"


def test_what_is_chosen_is_written_as_methods(study, path):
    answers, (trial, *_) = Answers(path), study.order_for("ann")
    answers.add(study, "ann", trial, {**LEFT, "video_quality": "right"})
    (row,) = read_answers(path)
    left, right = study.sides("ann", trial)
    assert tuple(row) == COLUMNS and row["left"] == left and row["position"] == "1"
    assert [row[question] for question in QUESTIONS] == [left, left, left, right]
    assert (row["participant"], row["cell"], row["comparison"]) == ("ann", trial.cell, trial.comparison)


def test_a_second_answer_is_refused_also_after_a_restart(study, path):
    trial = study.order_for("ann")[0]
    Answers(path).add(study, "ann", trial, LEFT)
    again = Answers(path)
    assert again.answered(study, "ann", trial) and not again.answered(study, "bob", trial)
    with pytest.raises(AnsweredAlready, match="ann has answered"):
        again.add(study, "ann", trial, LEFT)
    again.add(study, "bob", trial, LEFT)
    assert [row["participant"] for row in read_answers(path)] == ["ann", "bob"]


@pytest.mark.parametrize("lost", [1, 5, 60])
def test_a_line_cut_off_by_a_crash_is_asked_anew(study, path, lost):
    first, second, *_ = study.order_for("ann")
    answers = Answers(path)
    answers.add(study, "ann", first, LEFT)
    whole = path.read_bytes()
    answers.add(study, "ann", second, LEFT)
    path.write_bytes(path.read_bytes()[:-lost])
    assert [row["cell"] for row in read_answers(path)] == [first.cell]
    again = Answers(path)
    assert path.read_bytes() == whole
    assert again.answered(study, "ann", first) and not again.answered(study, "ann", second)
    again.add(study, "ann", second, LEFT)
    assert len(read_answers(path)) == 2


def test_a_crash_in_the_first_line(study, path):
    path.write_text("time,partic")
    Answers(path).add(study, "ann", study.order_for("ann")[0], LEFT)
    assert len(read_answers(path)) == 1


@pytest.mark.parametrize("chosen", [{}, {**LEFT, "more": "left"}, {**LEFT, "video_quality": "both"}, list(QUESTIONS)])
def test_half_an_answer_is_refused(study, path, chosen):
    with pytest.raises(ValueError, match="expected left or right for each of motion_fidelity"):
        Answers(path).add(study, "ann", study.order_for("ann")[0], chosen)
    assert not path.exists()


def test_other_files_are_refused_and_left_alone(path):
    path.write_text("a,b\n1,2\n3")
    with pytest.raises(ValueError, match="does not begin with the columns"):
        Answers(path)
    assert path.read_text() == "a,b\n1,2\n3"
    path.write_text(",".join(COLUMNS) + "\n2026,ann,1,c,VideoMage,Merged,Merged,Merged,Merged,Merged,Fox\n")
    with pytest.raises(ValueError, match=r"line 2 of .* is damaged"):
        read_answers(path)


def test_a_table_saved_by_a_spreadsheet_is_read_and_never_mixed_with_another_encoding(study, path):
    first, second, *_ = study.order_for("ann")
    Answers(path).add(study, "ann", first, LEFT)
    plain = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"))
    again = Answers(path)
    again.add(study, "ann", second, LEFT)
    assert [row["cell"] for row in read_answers(path)] == [first.cell, second.cell]
    path.write_bytes(plain.decode().encode("utf-16"))
    with pytest.raises(ValueError, match=r"answers\.csv is not UTF-8 any more .*; save it as CSV UTF-8"):
        Answers(path)
