"""What is written beside its place never leads elsewhere."""

from __future__ import annotations

from videomage_core.atomic_write import partial_file
from videomage_core.training.checkpoint import save_checkpoint
from videomage_core.training.store import write_atomically


def test_a_link_where_is_written_first_is_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("kept", encoding="utf-8")
    for target in (kept, tmp_path / "nothing"):
        for number, write in enumerate(
            (lambda path: write_atomically(path, "{}"), lambda path: save_checkpoint(path, {}))
        ):
            path = tmp_path / f"{target.name}_{number}.pt"
            path.with_suffix(".partial").symlink_to(target)
            write(path)
            assert path.is_file() and not path.is_symlink()
    assert kept.read_text(encoding="utf-8") == "kept" and not (tmp_path / "nothing").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "lora.partial").write_bytes(b"half")
    assert partial_file(tmp_path / "lora.safetensors") == tmp_path / "lora.partial"
    assert not list(tmp_path.iterdir())
