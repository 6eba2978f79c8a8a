"""What a file really is, and what to do: each kind by its own words, and none for a whole file."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from videomage_core.file_problem import file_problem

PAGE = b"\n<!DOCTYPE html><html><body>Login</body></html>"
KINDS = [
    (b"", "is empty; download or copy it again"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "is a Git LFS pointer.*git lfs pull"),
    (PAGE, "is a web page saved under this name; download the file itself"),
    (b'{"error":"Repository not found"}', "holds a server's answer, not the file"),
    (b"Entry not found", "holds a server's answer"),
]


@pytest.mark.parametrize(("content", "why"), KINDS)
@pytest.mark.parametrize("name", ["a.safetensors", "a.bin", "a.png"])
def test_what_was_saved_instead(tmp_path, content, why, name):
    (tmp_path / name).write_bytes(content)
    import re

    assert re.match(why, file_problem(tmp_path / name) or "")


def test_files_that_end_too_early(tmp_path):
    whole = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(100)}, whole)
    assert file_problem(whole) is None
    content = whole.read_bytes()
    whole.write_bytes(content[:-40])
    assert file_problem(whole) == (
        f"ends too early ({len(content) - 40} of {len(content)} bytes); download or copy it again"
    )
    whole.write_bytes(content[:20])
    assert "in its header, after 20 bytes" in (file_problem(whole) or "")
    torch.save({"w": torch.ones(100)}, tmp_path / "a.bin")
    assert file_problem(tmp_path / "a.bin") is None
    (tmp_path / "a.bin").write_bytes((tmp_path / "a.bin").read_bytes()[:-100])
    assert "ends too early" in (file_problem(tmp_path / "a.bin") or "")
    torch.save({"w": torch.ones(3)}, tmp_path / "b.safetensors")
    assert (file_problem(tmp_path / "b.safetensors") or "").startswith("is a PyTorch pickle under this name")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b'<?xml version="1.0"?>\n<svg/>', "an SVG drawing"),
        (b"8BPS\x00\x01", "a Photoshop file"),
        (b"%PDF-1.7", "a PDF"),
    ],
)
def test_other_programs_files_are_named(tmp_path, content, what):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    assert file_problem(path) == f"is {what} under this name; export it from the program that made it"
