"""Trainings that are kept, found again and shared."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from videomage_core.config import SubjectConfig
from videomage_core.data.lora_file import load_lora
from videomage_core.finished import Finished, finished, folder_of, keep, publish, require_file_name, write_atomically
from videomage_core.history import History


@pytest.fixture
def made(shared_emoji_base, make_concept) -> Finished:
    history = History({"loss": [0.3, 0.2]}, [0.1, 0.1])
    return Finished(make_concept(shared_emoji_base, 0), history, {"sample": torch.rand(3, 2, 4, 4)})


def test_the_folder_is_named_after_all_that_the_result_depends_on(tmp_path):
    config, picture = SubjectConfig(), torch.zeros(3, 4, 4)
    folder = folder_of(tmp_path, "dog", config, picture, "a <dog>")
    assert folder.parent == tmp_path and folder.name.startswith("dog-")
    assert folder == folder_of(tmp_path, "dog", config, picture.clone(), "a <dog>")
    others = [
        folder_of(tmp_path, "dog", config, picture + 1, "a <dog>"),
        folder_of(tmp_path, "dog", config, picture, "a <cat>"),
        folder_of(tmp_path, "dog", dataclasses.replace(config, rank=8), picture, "a <dog>"),
    ]
    assert len({folder, *others}) == 4


def test_more_steps_go_on_in_the_same_folder_but_not_under_a_schedule(tmp_path):
    def folder(**changes):
        return folder_of(tmp_path, "dog", SubjectConfig(**changes))

    assert folder(steps=10) == folder(steps=20) == folder(steps=10, save_every=7, sample_every=3)
    assert folder(steps=10, schedule="cosine") != folder(steps=20, schedule="cosine")


def test_what_is_kept_is_found_again(tmp_path, made):
    folder = tmp_path / "dog-1a2b"
    assert finished(folder, 2) is None
    keep(folder, made)
    found = finished(folder, 2)
    assert found.history == made.history and torch.equal(found.videos["sample"], made.videos["sample"])
    assert found.concept.parts()[:3] == made.concept.parts()[:3]
    assert finished(folder, 3) is None  # to be trained on


def test_what_was_made_with_other_steps_stays(tmp_path, made):
    folder = tmp_path / "dog-1a2b"
    longer = dataclasses.replace(made, history=History({"loss": [0.3, 0.2, 0.1]}, [0.1] * 3))
    for one in (made, longer, made):
        keep(folder, one)
    assert finished(folder, 2).history == made.history
    assert finished(folder, 3).history == longer.history
    assert finished(folder, 1) is None


@pytest.mark.parametrize("name", ["lora.safetensors", "videos.safetensors", "history.json"])
def test_what_is_damaged_or_half_written_does_not_count(tmp_path, made, name):
    keep(tmp_path / "dog-1", made)
    (file,) = (tmp_path / "dog-1").rglob(name)
    file.write_bytes(b"x" * 5)
    assert finished(tmp_path / "dog-1", 2) is None
    file.unlink()
    assert finished(tmp_path / "dog-1", 2) is None


def test_sharing_never_overwrites_another_lora(tmp_path, shared_emoji_base, make_concept):
    first, second = (make_concept(shared_emoji_base, seed) for seed in (0, 1))
    assert publish(first, tmp_path, "dog").name == "dog.safetensors"
    assert publish(first, tmp_path, "dog").name == "dog.safetensors"
    assert publish(second, tmp_path, "dog").name == "dog_2.safetensors"
    (tmp_path / "dog_2.safetensors").write_bytes(b"damaged")
    assert publish(second, tmp_path, "dog").name == "dog_3.safetensors"
    assert [t.name for t in load_lora(tmp_path / "dog.safetensors").tokens] == [t.name for t in first.tokens]


@pytest.mark.parametrize("name", ["dog", "my dog", "dog-2.1", "Hündchen", "狗"])
def test_names_that_files_may_have(name):
    require_file_name(name)


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "..", ".dog", "dog.", "dog ", "a:b", "a\n"])
def test_names_that_leave_the_folder_or_upset_a_file_system(name):
    with pytest.raises(ValueError, match="file name: got"):
        require_file_name(name)


def test_readers_never_see_half_a_file(tmp_path):
    path = tmp_path / "state.json"
    write_atomically(path, json.dumps({"a": 1}))
    write_atomically(path, json.dumps({"a": 2}))
    assert json.loads(path.read_text()) == {"a": 2}
    assert list(tmp_path.iterdir()) == [path]
