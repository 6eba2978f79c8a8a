"""What cannot be written is refused before any work, with the cause."""

from __future__ import annotations

import sys

import pytest

from videomage_core import output_paths
from videomage_core.output_paths import illegal_on_windows, require_output_file, require_output_folder


def test_what_can_be_written_passes_and_leaves_nothing(tmp_path):
    require_output_file(tmp_path / "new" / "deep" / "a.mp4", "--output")
    require_output_folder(tmp_path / "new" / "deep", "--output")
    (tmp_path / "there.mp4").write_bytes(b"old")
    require_output_file(tmp_path / "there.mp4", "--output")
    assert [path.name for path in tmp_path.iterdir()] == ["there.mp4"]
    assert (tmp_path / "there.mp4").read_bytes() == b"old"


def test_a_relative_path_passes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    for name in ("a.mp4", "outputs/a.mp4", "./x/../a.mp4"):
        require_output_file(Path(name), "--output")


def test_a_folder_where_a_file_should_be(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(ValueError, match=r"--output: .*a\.mp4 is a folder; give a file in it, e\.g\. .*result\.mp4"):
        require_output_file(tmp_path / "a.mp4", "--output")


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for check, path in ((require_output_file, "file/a.mp4"), (require_output_file, "file/deep/a.mp4"),
                        (require_output_folder, "file")):  # fmt: skip
        with pytest.raises(ValueError, match=r"cannot be written: .*file is no folder"):
            check(tmp_path / path, "--output")


@pytest.mark.parametrize("place", ["", "missing/"])
def test_a_name_that_is_too_long_for_the_disk(tmp_path, place):
    with pytest.raises(ValueError, match=r"cannot be written \(File name too long\)"):
        require_output_file(tmp_path / f"{place}{'a' * 300}.mp4", "--output")
    with pytest.raises(ValueError, match=r"cannot be written \(File name too long\)"):
        require_output_folder(tmp_path / place / ("a" * 300), "--output")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_to():
    from pathlib import Path

    with pytest.raises(ValueError, match=r"--output: /proc/made/a\.mp4 cannot be written \("):
        require_output_file(Path("/proc/made/a.mp4"), "--output")


def test_a_folder_without_the_right_to_write(tmp_path, monkeypatch):
    def refused(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(output_paths.tempfile, "TemporaryFile", refused)
    with pytest.raises(ValueError, match=r"cannot be written \(Permission denied\); choose another place"):
        require_output_file(tmp_path / "a.mp4", "--output")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a:b.mp4", "the character ':'"), ("what?.mp4", r"the character '\?'"), ("con.mp4", "the name of a device"),
        ("a.mp4 ", "a dot or blank at its end"), ("dog.", "a dot or blank at its end"),
    ],
)  # fmt: skip
def test_names_that_windows_cannot_have(tmp_path, monkeypatch, name, why):
    require_output_file(tmp_path / name, "--output")
    monkeypatch.setattr(output_paths, "_WINDOWS", True)
    with pytest.raises(ValueError, match=f"has {why}, which Windows does not allow"):
        require_output_file(tmp_path / name, "--output")
    assert illegal_on_windows("my dog.mp4") is None and illegal_on_windows("console") is None
