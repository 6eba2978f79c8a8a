"""What a folder's files are taken for: in order, in any case, through links, and nothing without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from videomage_core.data.media_files import IMAGE_FORMATS, IMAGE_SUFFIXES, Captions, passed_over
from videomage_core.folders import below, entries, files_in


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    for name in names:
        (folder / name).write_bytes(b"x")


def test_files_come_as_a_person_counts_without_hidden_ones(tmp_path):
    touch(tmp_path, "10.png", "2.PNG", "1.png", ".3.png", "._1.png", "Thumbs.db", "desktop.ini")
    (tmp_path / "4.png").symlink_to(tmp_path / "10.png")
    (tmp_path / "5.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "6.png").mkdir()
    assert [p.name for p in entries(tmp_path)] == ["1.png", "2.PNG", "4.png", "5.png", "6.png", "10.png"]
    assert [p.name for p in files_in(tmp_path, (".png",))] == ["1.png", "2.PNG", "4.png", "10.png"]


def test_levels_below_with_linked_folders(tmp_path):
    touch(tmp_path / "a" / "b" / "c", "x")
    touch(tmp_path / "a" / ".git", "x")
    (tmp_path / "linked").symlink_to(tmp_path / "a" / "b")
    names = [p.relative_to(tmp_path).as_posix() for p in below(tmp_path, 3)]
    assert names == ["a", "a/b", "a/b/c", "linked", "linked/c", "linked/c/x"]
    assert list(below(tmp_path / "missing", 3)) == []


def test_captions_in_any_case(tmp_path):
    touch(tmp_path, "1.TXT", "1.caption", "2.Caption", "Img.txt", "IMG.txt", "b.txt")
    captions = Captions(tmp_path)
    name = {
        m: getattr(captions.of(tmp_path / m), "name", None) for m in ("1.png", "2.jpg", "img.png", "B.png", "c.png")
    }
    assert name == {"1.png": "1.TXT", "2.jpg": "2.Caption", "img.png": None, "B.png": "b.txt", "c.png": None}
    assert captions.of(tmp_path / "Img.png") == tmp_path / "Img.txt"


def test_what_is_passed_over_is_said_with_its_reason(tmp_path):
    touch(tmp_path, "1.png", "1.txt", "1.caption", "2.png", "IMG_1.HEIC", "3.txt", "notes.md", ".hidden")
    (tmp_path / "10_dog").mkdir()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    heic = "" if ".heic" in IMAGE_SUFFIXES else ": pip install pillow-heif, or save it as JPEG"
    assert passed_over(tmp_path, [tmp_path / "1.png", tmp_path / "2.png"]) == (
        f"; passed over: gone.png (a link that leads nowhere), IMG_1.HEIC (format{heic}), notes.md (format), 1.caption "
        "(caption of no image, or of one that has another), 3.txt (caption of no image, or of one that has "
        "another), 10_dog (a folder)"
    )
    touch(tmp_path / "many", *(f"{n}.md" for n in range(14)))
    assert passed_over(tmp_path / "many", []).endswith("9.md (format), 4 more")
    touch(tmp_path / "clean", "1.png", "1.txt")
    assert passed_over(tmp_path / "clean", [tmp_path / "clean" / "1.png"]) == ""


@pytest.mark.parametrize("suffix", sorted({*IMAGE_SUFFIXES} - {".heic", ".heif", ".hif"}))
def test_every_ending_that_is_allowed_can_be_read(tmp_path, suffix):
    from videomage_core.data.images import load_image

    image = Image.new("RGB", (16, 8), (255, 0, 0))
    path = tmp_path / f"a{suffix.upper()}"
    image.save(path, Image.registered_extensions()[suffix])
    pixels = load_image(path)
    assert pixels.shape == (3, 8, 16) and float(pixels[0].mean()) > 0.9 and float(pixels[1:].mean()) < -0.9


def test_formats_that_run_programs_are_not_among_them():
    assert "EPS" not in IMAGE_FORMATS and "PNG" in IMAGE_FORMATS and {".png", ".jfif", ".webp"} <= {*IMAGE_SUFFIXES}
