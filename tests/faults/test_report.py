"""docs/faults.md: what failed is said, and every proof that is named exists."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.faults import others_files, report

ROOT = Path(__file__).parents[2]
XML = """<testsuites><testsuite>
<testcase classname="x" name="test_killed[subject]" time="60"><failure message="AssertionError: torn&#10;more">long</failure></testcase>
<testcase classname="x" name="test_killed[motion]" time="60"/>
<testcase classname="x" name="test_out_of_memory[sampling-step]" time="1"><skipped message="no"/></testcase>
</testsuite></testsuites>"""  # noqa: E501


def defined(test: str) -> bool:
    file, _, name = test.rpartition("::")
    return re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE) is not None


def test_every_fault_and_every_proof_is_a_test_that_there_is():
    assert not [test for *_, tests in report.DETERMINISM for test in tests if not defined(test)]
    files = [*(ROOT / "tests" / "faults").glob("test_*.py"), ROOT / "tests" / "comfyui" / "test_hostile.py"]
    there = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)}
    assert there >= report.FAULTS.keys() and there >= report.CAUSES.keys()


def test_the_table_of_others_files_names_tests_that_there_are_and_is_in_the_document():
    assert not [test for *_, test in others_files.TRIED if not defined(test)]
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert "\n".join(others_files.table()) in text


def test_a_failure_is_told_with_its_cause_and_ends_with_1(tmp_path, monkeypatch, capsys):
    (tmp_path / "core.xml").write_text(XML, encoding="utf-8")
    monkeypatch.setattr(report, "DOCS", tmp_path)
    monkeypatch.setattr(report, "CAUSES", {"test_killed": "Cause: x. Next: y."})
    monkeypatch.setattr(sys, "argv", ["report.py", "50", "200", str(tmp_path / "core.xml"), str(tmp_path / "no.xml")])
    assert report.main() == 1
    said = capsys.readouterr().out
    assert said.strip() == (tmp_path / "faults.md").read_text(encoding="utf-8").strip()
    assert "| kill -9 at a random moment | 2 | 50 |" in said and "| 1 of 2 | 2.0 |" in said and "not run" in said
    assert "* `test_killed[subject]`: AssertionError: torn\n  Cause: x. Next: y." in said
    assert "`no.xml` was not written" in said


def test_without_a_failure_it_ends_with_0(tmp_path, monkeypatch):
    (tmp_path / "core.xml").write_text(re.sub("<failure.*</failure>", "", XML), encoding="utf-8")
    monkeypatch.setattr(report, "DOCS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["report.py", "1", "1", str(tmp_path / "core.xml")])
    assert report.main() == 0
    assert "What failed" not in (tmp_path / "faults.md").read_text(encoding="utf-8")


def test_sections_written_by_hand_stay():
    text = report.report({}, 1, 1)
    page = text + "\n## Inputs\n\n| a |\n\n## More\n\nb\n"
    assert text + report.by_hand(page) == page
    assert report.by_hand(text) == ""
