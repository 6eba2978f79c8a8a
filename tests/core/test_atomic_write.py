"""What is written beside its place never leads elsewhere, and takes nobody's name."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from videomage_core.atomic_write import partial_file
from videomage_core.training.checkpoint import save_checkpoint
from videomage_core.training.store import write_atomically

WRITERS = (lambda path: write_atomically(path, "{}"), lambda path: save_checkpoint(path, {}))


def test_a_users_own_file_or_link_of_a_likely_name_is_left_alone(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("kept", encoding="utf-8")
    for number, write in enumerate(WRITERS):
        path = tmp_path / f"{number}.pt"
        own, link = path.with_suffix(".partial"), path.with_name(f"{path.name}.partial")
        own.write_text("mine", encoding="utf-8")
        link.symlink_to(kept)
        write(path)
        assert path.is_file() and not path.is_symlink()
        assert own.read_text(encoding="utf-8") == "mine" and link.is_symlink()
    assert kept.read_text(encoding="utf-8") == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.partial", "0.pt", "0.pt.partial", "1.partial", "1.pt",
                                                           "1.pt.partial", "kept"]  # fmt: skip


def test_two_writers_of_one_file_have_names_of_their_own(tmp_path):
    names = {partial_file(tmp_path / "lora.safetensors") for _ in range(5)}
    assert len(names) == 5 and {path.parent for path in names} == {tmp_path}
    assert all(path.name.startswith(".") for path in names), "hidden: no folder of images or LoRAs lists it"


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path):
    alive = partial_file(tmp_path / "a.pt")
    alive.write_bytes(b"half")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = tmp_path / alive.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-")
    dead.write_bytes(b"half")
    elsewhere = tmp_path / re.sub(r"videomage-[0-9a-f]{8}", "videomage-00000000", dead.name)
    elsewhere.write_bytes(b"half")
    users = tmp_path / ".videomage-notes.partial"
    users.write_text("mine", encoding="utf-8")
    partial_file(tmp_path / "b.pt")
    assert alive.exists() and elsewhere.exists() and users.exists() and not dead.exists()
    os.utime(elsewhere, (0, 0))
    os.utime(users, (0, 0))
    partial_file(tmp_path / "b.pt")
    assert not elsewhere.exists() and users.exists()
