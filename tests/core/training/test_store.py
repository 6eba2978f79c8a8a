"""Trainings that are kept, found again and shared."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from videomage_core.cache_key import training_key
from videomage_core.config import SubjectConfig
from videomage_core.data.examples import SubjectImage
from videomage_core.data.lora_file import load_lora
from videomage_core.history import History
from videomage_core.stages import subject_lora
from videomage_core.stages.subject_lora import subject_key
from videomage_core.training.store import (
    StoredResult,
    export_lora,
    load_result,
    require_file_name,
    run_dir,
    save_result,
    write_atomically,
)


@pytest.fixture
def made(shared_emoji_base, make_lora_model) -> StoredResult:
    history = History({"loss": [0.3, 0.2]}, [0.1, 0.1])
    return StoredResult(make_lora_model(shared_emoji_base, 0), history, {"sample": torch.rand(3, 2, 4, 4)})


def test_the_folder_is_named_after_all_that_the_result_depends_on(tmp_path):
    image, config = torch.zeros(3, 4, 4), SubjectConfig()

    def folder(config: SubjectConfig = config, shown: torch.Tensor = image, token: str = "<dog>", base: str = "zero"):
        return run_dir(tmp_path, "dog", subject_key([SubjectImage(shown)], token, "dog", config), base)

    assert folder().parent == tmp_path and folder().name.startswith("dog-")
    assert folder() == folder(shown=image.clone()) == folder(token="<DOG>")
    changed = [folder(shown=image + 1), folder(token="<cat>"), folder(dataclasses.replace(config, rank=8))]
    assert len({folder(), folder(base="wan"), *changed}) == 5


def test_a_raised_version_makes_everything_of_its_stage_anew(tmp_path, monkeypatch):
    images, config = [SubjectImage(torch.zeros(3, 4, 4))], SubjectConfig()
    before = subject_key(images, "<dog>", "dog", config)
    assert subject_key(images, "<dog>", "dog", config) == before
    monkeypatch.setattr(subject_lora, "VERSION", subject_lora.VERSION + 1)
    assert subject_key(images, "<dog>", "dog", config) != before


def test_more_steps_go_on_in_the_same_folder_but_not_under_a_schedule():
    def key(**changes):
        return training_key("subject", 1, SubjectConfig(**changes))

    assert key(steps=10) == key(steps=20) == key(steps=10, save_every_n_steps=7, sample_every_n_steps=3)
    assert key(steps=10, lr_scheduler="cosine") != key(steps=20, lr_scheduler="cosine")


def test_what_is_kept_is_found_again(tmp_path, made):
    folder = tmp_path / "dog-1a2b"
    assert load_result(folder, 2) is None
    save_result(folder, made)
    found = load_result(folder, 2)
    assert found.history == made.history and torch.equal(found.videos["sample"], made.videos["sample"])
    assert found.lora_model.key_parts()[:3] == made.lora_model.key_parts()[:3]
    assert load_result(folder, 3) is None  # to be trained on


def test_what_was_made_with_other_steps_stays(tmp_path, made):
    folder = tmp_path / "dog-1a2b"
    longer = dataclasses.replace(made, history=History({"loss": [0.3, 0.2, 0.1]}, [0.1] * 3))
    for one in (made, longer, made):
        save_result(folder, one)
    assert load_result(folder, 2).history == made.history
    assert load_result(folder, 3).history == longer.history
    assert load_result(folder, 1) is None


@pytest.mark.parametrize("name", ["lora.safetensors", "videos.safetensors", "history.json"])
def test_what_is_damaged_or_half_written_does_not_count(tmp_path, made, name):
    save_result(tmp_path / "dog-1", made)
    (file,) = (tmp_path / "dog-1").rglob(name)
    file.write_bytes(b"x" * 5)
    assert load_result(tmp_path / "dog-1", 2) is None
    file.unlink()
    assert load_result(tmp_path / "dog-1", 2) is None


def test_sharing_never_overwrites_another_lora(tmp_path, shared_emoji_base, make_lora_model):
    first, second = (make_lora_model(shared_emoji_base, seed) for seed in (0, 1))
    assert export_lora(first, tmp_path, "dog").name == "dog.safetensors"
    assert export_lora(first, tmp_path, "dog").name == "dog.safetensors"
    assert export_lora(second, tmp_path, "dog").name == "dog_2.safetensors"
    (tmp_path / "dog_2.safetensors").write_bytes(b"damaged")
    assert export_lora(second, tmp_path, "dog").name == "dog_3.safetensors"
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
