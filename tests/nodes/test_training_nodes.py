from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import comfy_stub
import pytest
import torch

from tests.nodes.small_trainings import FUSION, MOTION, load_base, train_subject, weights_of, with_quick_samples
from videomage_core.data.lora_file import load_lora
from videomage_core.presets import EMOJI


def test_a_subject_is_trained_shared_and_not_trained_again(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    base = load_base(nodes)
    before = weights_of(base)
    lora, plot, sample = train_subject(nodes, base).result
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(base), strict=True))
    assert plot.shape[0] == 1 and plot.shape[-1] == 3
    assert sample.shape == (8, 48, 48, 3) and sample.min() >= 0 and sample.max() <= 1
    file = host.home / "models" / "loras" / "videomage" / "dog.safetensors"
    assert [token.name for token in load_lora(file).tokens] == ["<dog>"]
    assert len(host.loaded) == 3  # ComfyUI was asked for each part

    host.progress.clear()
    again = train_subject(nodes, base).result
    assert host.progress == []  # nothing was computed
    for name, factors in lora.weights.layers.items():
        assert all(torch.equal(a, b) for a, b in zip(factors, again[0].weights.layers[name], strict=True))
    assert list(file.parent.iterdir()) == [file]

    train_subject(nodes, base, learning_rate=5e-4)  # another training of that name leaves the file as it is
    assert sorted(path.name for path in file.parent.iterdir()) == ["dog.safetensors", "dog_2.safetensors"]


def test_fewer_steps_and_the_earlier_ones_again_train_once_each(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    base, loras = with_quick_samples(load_base(nodes)), host.home / "models" / "loras" / "videomage"

    def train(steps: int) -> Any:
        return train_subject(nodes, base, lr_scheduler="constant", steps=steps).result[0]

    two, one = train(2), train(1)
    assert (two.details["settings"]["steps"], one.details["settings"]["steps"]) == (2, 1)
    host.progress.clear()
    again = [train(2), train(1)]
    assert host.progress == []  # nothing was computed
    for before, after in zip([two, one], again, strict=True):
        assert all(torch.equal(before.weights.layers[n][1], after.weights.layers[n][1]) for n in before.weights.layers)
    assert sorted(path.name for path in loras.iterdir()) == ["dog.safetensors", "dog_2.safetensors"]


def test_the_page_is_told_and_a_reloaded_page_can_ask(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    train_subject(nodes, load_base(nodes))
    told = [state for event, state in host.events if event == "videomage.training"]
    assert any(state["live"] for state in told) and not told[-1]["live"]
    assert told[-1]["what"] == "finished" and told[-1]["file"] == "videomage/dog.safetensors"
    assert told[-1]["sample"] > 0 and {state["node"] for state in told} == {"7"}
    kept = json.loads((host.home / "output" / "videomage" / "dog.subject.7.json").read_text())
    assert kept["steps"] == 2 and len(kept["losses"]["loss"]) == 2
    assert (host.home / "output" / "videomage" / "dog.subject.7.jpg").is_file()


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "..\\..\\escaped"])
def test_a_wired_name_that_leads_out_is_refused_before_anything_is_written(
    nodes: dict[str, Any], host: comfy_stub.Host, name: str
) -> None:
    base, before = load_base(nodes), sorted(host.home.rglob("*"))
    with pytest.raises(ValueError, match="file name: got"):
        train_subject(nodes, base, file_name=name)
    assert sorted(host.home.rglob("*")) == before and not list(host.home.parent.glob("*escaped*"))
    progress = sys.modules[nodes["VideoMage_TrainSubject"].__module__.rpartition(".")[0] + ".progress"]
    with pytest.raises(ValueError, match="file name: got"):
        progress.Training("subject", name, "7")


def test_trainings_of_one_name_on_two_nodes_are_kept_apart(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    progress = sys.modules[nodes["VideoMage_TrainSubject"].__module__.rpartition(".")[0] + ".progress"]
    one, other = (progress.Training("subject", "dog", node) for node in ("7", "2:7"))
    progress.tell_training(one, "training", 1, 4, None, None)
    progress.tell_training(other, "training", 3, 4, None, None)
    assert [progress.training_state(training)["done"] for training in (one, other)] == [1, 3]
    assert progress.training_state(progress.Training("subject", "dog", "8")) is None


def test_a_new_sample_has_another_time(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    progress = sys.modules[nodes["VideoMage_TrainSubject"].__module__.rpartition(".")[0] + ".progress"]
    training = progress.Training("subject", "dog", "7")
    times = []
    for _ in range(2):
        progress.save_sample(training, torch.zeros(3, 8, 48, 48))
        progress.tell_training(training, "training", 1, 4, None, None)
        times.append(progress.training_state(training)["sample"])
        progress.tell_training(training, "training", 2, 4, None, None)
        assert progress.training_state(training)["sample"] == times[-1]
        time.sleep(0.02)
    assert 0 < times[0] < times[1]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"images": None}, "images: got none"),
        ({"prompt": "A <dog>\nA <dog> on grass"}, "2 lines for 4 images"),
        ({"masks": torch.ones(1, 64, 64)}, "masks: got 1 of 64x64 for 4 images of 48x48"),
        ({"images_folder": "nowhere"}, "images_folder: nowhere is not a folder"),
        ({"file_name": "a/b"}, "no folder"),
    ],
)
def test_bad_inputs_are_said(nodes: dict[str, Any], values: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        train_subject(nodes, load_base(nodes), **values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"token": "dog"}, "angle brackets"),
        ({"prompt": "a dog"}, "does not hold <dog>"),
        ({"file_name": ""}, "file name"),
        ({"superclass": ""}, "kind of thing"),
        ({"images_folder": "nowhere"}, "images_folder: nowhere is not a folder"),
        ({"images_folder": str(Path(__file__).parent)}, "holds no image"),
        ({"auxiliary_folder": "~no_such_user/clips"}, "auxiliary_folder: ~no_such_user/clips is not a folder"),
        ({"auxiliary_folder": "x" * 5000}, "is not a folder"),
    ],
)
def test_the_page_hears_of_bad_inputs_before_anything_runs(
    nodes: dict[str, Any], values: dict[str, Any], said: str
) -> None:
    good = {"token": "<dog>", "superclass": "dog", "prompt": "", "file_name": "dog"}
    good |= {"images_folder": "", "auxiliary_folder": f'"{Path(__file__).parent}"'}
    check = nodes["VideoMage_TrainSubject"].validate_inputs
    assert check(**good) is True
    assert check(**dict.fromkeys(good)) is True  # linked inputs come as None
    assert said in check(**{**good, **values})


def test_a_folder_of_photos_of_many_sizes(nodes: dict[str, Any], host: comfy_stub.Host, tmp_path: Path) -> None:
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()

    for number, size in enumerate([(60, 40), (48, 90)]):
        Image.new("RGB", size, (200, 40 * number, 90)).save(photos / f"{number}.png")
    (photos / "1.TXT").write_bytes("it’s a <dog>".encode("cp1252"))
    (photos / "notes.md").write_text("mine", encoding="utf-8")
    made = train_subject(nodes, load_base(nodes), images=None, prompt="", images_folder=str(photos))
    assert made.result[2].shape == (8, 48, 48, 3)
    (said,) = host.texts.values()
    assert "2 images, 1 caption, 0 masks; passed over: notes.md (format)" in said


def test_motion_fusion_and_collaborative_sampling(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    base = load_base(nodes)
    dog, panda = (train_subject(nodes, base, name).result[0] for name in ("dog", "panda"))
    frames, pig, cat, prompt, subjects = nodes["VideoMage_ExampleMotion"].execute().result
    motion, _, sample = (
        nodes["VideoMage_TrainMotion"]
        .execute(base, frames, prompt, subjects, "riding", mask_1=pig, mask_2=cat, **MOTION)
        .result
    )
    assert sample.shape == (8, 48, 48, 3)
    fused, _, _, pair = (
        nodes["VideoMage_FuseSubjects"].execute(base, "both", "", "", lora_1=dog, lora_2=panda, **FUSION).result
    )
    assert [token.name for token in fused.tokens] == ["<dog>", "<panda>"]
    assert pair.shape == (8, 48, 3 * 48, 3)

    settings = dataclasses.asdict(dataclasses.replace(EMOJI.collaborative, steps=3, tau=1, ddim_inversion_steps=2))
    words = "a <dog> is riding a <panda>"
    scs = nodes["VideoMage_SCSSampler"]
    made, seen, video = scs.execute(base, fused, motion, words, 3, clip=frames, **settings).result
    assert made.shape == (8, 48, 48, 3) and seen.shape == (8, 48, 2 * 48, 3)
    assert torch.equal(video.get_components().images, made)
    assert torch.equal(scs.execute(base, fused, motion, words, 3, clip=video_of(frames), **settings).result[0], made)
    with pytest.raises(ValueError, match="does not name <panda>"):
        scs.execute(base, fused, motion, "a <dog>", 3, **settings)

    plain = dataclasses.asdict(dataclasses.replace(EMOJI.sampling, steps=3, ddim_inversion_steps=2))
    loras = {"lora_1": dog, "lora_2": panda, "lora_3": motion, **{f"strength_{i}": 1.0 for i in range(1, 5)}}
    sampled = {
        method: nodes["VideoMage_SampleVideo"].execute(base, words, method, 3, **plain, **loras).result[0]
        for method in sys.modules[nodes["VideoMage_SampleVideo"].__module__].METHODS
    }
    assert len({video.numpy().tobytes() for video in sampled.values()}) == 4
    off = {**loras, "strength_1": 0.0, "strength_2": 0.0, "strength_3": 0.0}
    assert torch.equal(
        nodes["VideoMage_SampleVideo"].execute(base, "a frog", "all LoRAs in one model", 3, **plain, **off).result[0],
        nodes["VideoMage_SampleVideo"].execute(base, "a frog", "the base alone", 3, **plain, **off).result[0],
    )


def video_of(frames: torch.Tensor) -> comfy_stub.Video:
    return comfy_stub.Video(comfy_stub.VideoComponents(frames, 8))
