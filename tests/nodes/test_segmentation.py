"""Load Segmenter and Segment by Words, and the training nodes that take a segmenter."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import comfy_stub
import pytest
import torch

from videomage_core.config import SegmentationConfig
from videomage_core.presets import EMOJI

SETTINGS = {
    **dataclasses.asdict(SegmentationConfig()),
    "detector_image_size": 128,
    "box_threshold": 0.0,
    "text_threshold": 0.0,
}


@pytest.fixture
def models(host: comfy_stub.Host, sam2_both_ways: tuple[Path, Path], detector_both_ways: Any) -> Path:
    """A ComfyUI's model folders with a detector and SAM 2 in the Hugging Face layout, of random weights."""
    root = host.home / "models"
    shutil.copytree(detector_both_ways[2], root / "grounding-dino" / "grounding-dino-small")
    shutil.copytree(sam2_both_ways[1], root / "sam2" / "sam2-tiny")
    return root


def options(nodes: dict[str, Any], name: str) -> list[str]:
    inputs = nodes["VideoMage_LoadSegmenter"].define_schema().inputs
    return next(list(given.positional[0]) for given in inputs if given.id == name)


def load(nodes: dict[str, Any]) -> Any:
    names = [options(nodes, name)[0] for name in ("detector", "sam2", "bert")]
    return nodes["VideoMage_LoadSegmenter"].execute(*names).result[0]


def test_where_nothing_is_the_lists_say_what_belongs_there(nodes: dict[str, Any]) -> None:
    assert options(nodes, "detector") == ["none found: put GroundingDINO in models/grounding-dino"]
    assert options(nodes, "sam2") == ["none found: put SAM 2 in models/sam2"]
    said = nodes["VideoMage_LoadSegmenter"].validate_inputs(
        options(nodes, "detector")[0], options(nodes, "sam2")[0], options(nodes, "bert")[0]
    )
    assert "GroundingDINO: 'none found" in said and "Expected groundingdino_swint_ogc.pth" in said


def test_the_lists_have_files_and_folders_not_what_is_inside(nodes: dict[str, Any], models: Path) -> None:
    (models / "sam2" / "sam2.1_hiera_tiny.pt").touch()
    (models / "sam2" / "readme.txt").touch()
    (models / "grounding-dino" / "GroundingDINO_SwinT_OGC.cfg.py").touch()
    (models / "grounding-dino" / "more").mkdir()
    (models / "grounding-dino" / "more" / "groundingdino_swint_ogc.pth").touch()
    (models / "bert-base-uncased").mkdir()
    (models / "bert-base-uncased" / "config.json").write_text('{"model_type": "bert"}')
    (models / "bert-base-uncased" / "vocab.txt").touch()
    assert options(nodes, "sam2") == ["sam2-tiny", "sam2.1_hiera_tiny.pt"]
    assert options(nodes, "detector") == ["grounding-dino-small", "more/groundingdino_swint_ogc.pth"]
    assert options(nodes, "bert") == ["bert-base-uncased", "none: the detector is a folder"]
    check = nodes["VideoMage_LoadSegmenter"].validate_inputs
    assert check("grounding-dino-small", "sam2-tiny", "bert-base-uncased") is True
    assert check(None, None, None) is True
    said = check("more/groundingdino_swint_ogc.pth", "sam2-tiny", "none: the detector is a folder")
    assert "reads its words with BERT" in said
    assert "SAM 2: 'gone.pt' is not in models/sam2; there are 'sam2-tiny'" in check(
        "grounding-dino-small", "gone.pt", "bert-base-uncased"
    )


def test_words_become_masks_an_overlay_and_the_words(nodes: dict[str, Any], models: Path, host: Any) -> None:
    frames = nodes["VideoMage_ExampleMotion"].execute().result[0]
    node = nodes["VideoMage_SegmentByWords"]
    *masks, overlay, subjects, tuned = node.execute(load(nodes), frames, "pig\npig,", **SETTINGS).result
    assert [None if mask is None else mask.shape for mask in masks] == [frames.shape[:3]] * 2 + [None] * 2
    assert overlay.shape == frames.shape and not torch.equal(overlay, frames)
    assert subjects == "pig, pig" and tuned.config.detector_image_size == 128
    assert host.room and {total for _, total, _ in host.progress} == {2, 8}  # two searched, all followed
    image = node.execute(load(nodes), frames[:1], "pig", **SETTINGS).result
    assert image[0].shape == (1, *frames.shape[1:3])


def test_too_many_and_no_words_are_told_before_anything_runs(nodes: dict[str, Any]) -> None:
    check = nodes["VideoMage_SegmentByWords"].validate_inputs
    assert check("dog, cat") is True and check(None) is True
    assert "words: got 5, give 1 to 4" in check("a, b, c, d, e")
    assert "words: got 0" in check(" , ")


@pytest.mark.parametrize(("words", "count"), [("a, b, c, d, e", 5), (" ,", 0)])
def test_wired_words_are_counted_when_they_come(nodes: dict[str, Any], words: str, count: int) -> None:
    middle = Middle()
    with pytest.raises(ValueError, match=f"words: got {count}, give 1 to 4, with commas or a line each"):
        nodes["VideoMage_SegmentByWords"].execute(middle, torch.zeros(1, 48, 48, 3), words, **SETTINGS)
    assert not middle.asked


def test_out_of_memory_frees_everything_and_says_what_to_lower(
    nodes: dict[str, Any], models: Path, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = load(nodes)

    def full(*_: Any) -> None:
        raise comfy_stub.OutOfMemory

    monkeypatch.setattr(type(segmenter), "segment", full)
    with pytest.raises(RuntimeError, match=r"out of memory; everything was freed\. Lower detector_image_size"):
        nodes["VideoMage_SegmentByWords"].execute(segmenter, torch.zeros(1, 48, 48, 3), "dog", **SETTINGS)
    assert host.freed


class Middle:
    """A segmenter whose masks are the middle of the image; it counts what it is asked."""

    def __init__(self, mark: str = "middle") -> None:
        self.mark, self.asked = mark, []

    def key_parts(self) -> tuple[object, ...]:
        return (self.mark,)

    def segment(self, pixels: torch.Tensor, words: Any) -> torch.Tensor:
        self.asked.append((tuple(pixels.shape[1:]), tuple(words)))
        mask = torch.zeros(len(words), *pixels.shape[1:])
        mask[..., 8:40, 10:38] = 1
        return mask


class Reporting(Middle):
    """The same, which tells of each image."""

    def __init__(self) -> None:
        super().__init__("reporting")
        self.callbacks: Any = None

    def with_callbacks(self, callbacks: Any) -> Reporting:
        self.callbacks = callbacks
        return self

    def segment(self, pixels: torch.Tensor, words: Any) -> torch.Tensor:
        masks = super().segment(pixels, words)
        self.callbacks.progress(1, 1, "finding words")
        return masks


def trained(nodes: dict[str, Any], node: str, config: Any, *given: Any, **more: Any) -> Any:
    base = nodes["VideoMage_LoadBase"].execute("emoji base (built in)", "fp32", "auto").result[0]
    settings = dataclasses.asdict(dataclasses.replace(config, steps=2))
    return nodes[node].execute(base, *given, **{**settings, **more}).result


FILES = {"file_name": "x", "images_folder": "", "auxiliary_folder": ""}


def subject(nodes: dict[str, Any], name: str = "dog", **more: Any) -> Any:
    images, prompts = nodes["VideoMage_ExampleSubject"].execute(name).result
    config = dataclasses.replace(EMOJI.subject, batch_size=1, auxiliary_clips=1, auxiliary_steps=2)
    words = {"token": f"<{name}>", "superclass": name, "prompt": prompts, "images": images}
    return trained(nodes, "VideoMage_TrainSubject", config, **{**FILES, **words, **more})


def test_a_subject_is_masked_by_its_superclass(nodes: dict[str, Any]) -> None:
    middle = Middle()
    with_masks = subject(nodes, segmenter=middle)[0]
    assert middle.asked == [((1, 48, 48), ("dog",))] * 4
    given = torch.zeros(4, 48, 48)
    given[:, 8:40, 10:38] = 1
    wired = subject(nodes, masks=given)[0]
    plain = subject(nodes)[0]
    layer = next(iter(plain.weights.layers))
    assert torch.equal(with_masks.weights.layers[layer][1], wired.weights.layers[layer][1])
    assert not torch.equal(with_masks.weights.layers[layer][1], plain.weights.layers[layer][1])
    subject(nodes, segmenter=middle)
    assert len(middle.asked) == 4, "what was trained is not segmented again"
    subject(nodes, segmenter=Middle("another"), masks=given)


def test_a_motions_performers_are_cut_out_by_their_words(nodes: dict[str, Any]) -> None:
    frames, pig, cat, prompt, subjects = nodes["VideoMage_ExampleMotion"].execute().result
    config = dataclasses.replace(EMOJI.motion, batch_size=1, textual_inversion_steps=2)
    middle = Middle()
    trained(nodes, "VideoMage_TrainMotion", config, frames, prompt, subjects, "x", segmenter=middle)
    assert middle.asked == [((1, 48, 48), ("pig", "cat"))]
    given = {"mask_1": pig, "mask_2": cat}
    trained(nodes, "VideoMage_TrainMotion", config, frames, prompt, subjects, "x", segmenter=middle, **given)
    assert len(middle.asked) == 1, "wired masks come first"


def test_a_fusion_cuts_out_each_subject_by_its_kind(nodes: dict[str, Any]) -> None:
    dog, panda = subject(nodes)[0], subject(nodes, "panda")[0]
    config = dataclasses.replace(EMOJI.fusion, teacher_videos=1, teacher_steps=4, cutmix_videos=1)
    middle = Middle()
    both = {"lora_1": dog, "lora_2": panda, "segmenter": middle}
    trained(nodes, "VideoMage_FuseSubjects", config, "x", "", "", **both)
    assert middle.asked == [((8, 48, 48), ("dog",)), ((8, 48, 48), ("panda",))]


@pytest.mark.parametrize("stage", ["subject", "motion", "fusion"])
def test_a_training_shows_what_its_segmenter_does_and_stops_with_it(
    nodes: dict[str, Any], host: comfy_stub.Host, stage: str
) -> None:
    watched = Reporting()

    def run() -> None:
        if stage == "subject":
            subject(nodes, segmenter=watched)
        elif stage == "motion":
            frames, _, _, prompt, subjects = nodes["VideoMage_ExampleMotion"].execute().result
            config = dataclasses.replace(EMOJI.motion, batch_size=1, textual_inversion_steps=2)
            trained(nodes, "VideoMage_TrainMotion", config, frames, prompt, subjects, "x", segmenter=watched)
        else:
            config = dataclasses.replace(EMOJI.fusion, teacher_videos=1, teacher_steps=4, cutmix_videos=1)
            loras = {"lora_1": dog, "lora_2": panda, "segmenter": watched}
            trained(nodes, "VideoMage_FuseSubjects", config, "x", "", "", **loras)

    dog, panda = (subject(nodes, name)[0] for name in ("dog", "panda")) if stage == "fusion" else (None, None)
    host.events.clear()
    real = host.check

    def check() -> None:
        if watched.asked:  # the user presses cancel while it is at work
            raise comfy_stub.Interrupted
        real()

    sys.modules["comfy.model_management"].throw_exception_if_processing_interrupted = check
    with pytest.raises(comfy_stub.Interrupted):
        run()
    assert len(watched.asked) == 1
    sys.modules["comfy.model_management"].throw_exception_if_processing_interrupted = real
    run()
    assert "finding words" in {state["what"] for event, state in host.events if event == "videomage.training"}


@pytest.mark.parametrize("stage", ["subject", "motion", "fusion"])
def test_comfyui_is_asked_for_the_memory_of_the_segmenter(
    nodes: dict[str, Any], host: comfy_stub.Host, make_lora_model: Any, stage: str
) -> None:
    base = nodes["VideoMage_LoadBase"].execute("emoji base (built in)", "fp32", "auto").result[0]
    comfy_memory, memory = (
        next(module for found, module in sys.modules.items() if found.endswith(f"-videomage.{name}"))
        for name in ("nodes.comfy_memory", "videomage_core.model.memory")
    )
    needed = comfy_memory.SEGMENTER_NEEDS
    least = memory.required_memory(base.backbone, comfy_memory.segmenter_workloads(Reporting()), memory.HIGH)
    assert least > needed
    frames, _, _, prompt, _ = nodes["VideoMage_ExampleMotion"].execute().result
    loras = {
        f"lora_{i}": make_lora_model(base.backbone, i, f"<{name}>", name) for i, name in enumerate(("dog", "cat"), 1)
    }

    def mode(segmenter: Any, room: int) -> str:
        host.free_memory, host.interrupt_at = room, 0  # as soon as anything is computed
        host.progress.clear()
        with pytest.raises(comfy_stub.Interrupted):
            if stage == "subject":
                images = nodes["VideoMage_ExampleSubject"].execute("dog").result[0]
                words = {"token": "<dog>", "superclass": "dog", "prompt": "", "images": images, "segmenter": segmenter}
                settings = dataclasses.asdict(EMOJI.subject)
                nodes["VideoMage_TrainSubject"].execute(base, **FILES, **words, **settings)
            elif stage == "motion":
                settings = {**dataclasses.asdict(EMOJI.motion), "segmenter": segmenter}
                nodes["VideoMage_TrainMotion"].execute(base, frames, prompt, "pig", "x", **settings)
            else:
                settings = {**dataclasses.asdict(EMOJI.fusion), "segmenter": segmenter}
                nodes["VideoMage_FuseSubjects"].execute(base, "x", "", "", **loras, **settings)
        return str(base.backbone.memory.name)

    assert mode(None, least) == "high" and host.memory_required[-1] < needed
    assert mode(Reporting(), least) == "high" and host.memory_required[-1] >= needed
    assert mode(Reporting(), least - 1) != "high" and mode(None, least - 1) == "high"
