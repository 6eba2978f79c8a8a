"""Nodes that several workflows have."""

from __future__ import annotations

from typing import Any

from .nodes import Node, needed

EMOJI = "emoji base (built in)"
ZEROSCOPE = "zeroscope_v2_576w"
SEGMENTER = {
    "detector": "grounding-dino-tiny",
    "sam2": "sam2.1_hiera_tiny.pt",
    "bert": "none: the detector is a folder",
}
QUICK_SUBJECT = {"steps": 120, "auxiliary_clips": 4, "sample_every_n_steps": 60}
QUICK_MOTION = {"steps": 90, "textual_inversion_steps": 70, "sample_every_n_steps": 45}
QUICK_FUSION = {"steps": 40, "teacher_videos": 2, "cutmix_videos": 1}
PROMPT = "a <dog> is riding a <panda> on grass"
CLIP_PROMPT = "a pig is riding a cat on a plain background"


def base(name: str) -> Node:
    return Node("base", "VideoMage_LoadBase", values={"base": name})


BASE = {"base": ("base", "base")}


def train_subject(name: str, more: dict[str, Any]) -> Node:
    values = {"token": f"<{name}>", "superclass": name, "file_name": name, **more}
    wires = {**BASE, "images": (f"{name} images", "images"), "prompt": (f"{name} images", "prompts")}
    return Node(f"train {name}", "VideoMage_TrainSubject", wires, values, "subject", f"Train Subject LoRA: {name}")


def images(name: str) -> Node:
    return Node(
        f"{name} images", "VideoMage_ExampleSubject", values={"subject": name}, title=f"Example Subject: {name}"
    )


def train_motion(more: dict[str, Any], by_words: bool = False) -> Node:
    wires = {**BASE, "clip": ("clip", "frames"), "prompt": ("clip", "prompt")}
    wires |= (
        {"mask_1": ("found", "mask 1"), "mask_2": ("found", "mask 2"), "subjects": ("found", "subjects")}
        if by_words
        else {"mask_1": ("clip", "pig"), "mask_2": ("clip", "cat"), "subjects": ("clip", "subjects")}
    )
    return Node("train riding", "VideoMage_TrainMotion", wires, {"file_name": "riding", **more}, "motion")


def found(**thresholds: float) -> list[Node]:
    """The clip's performers, cut out by words."""
    wires = {"segmenter": ("models", "segmenter"), "clip": ("clip", "frames"), "words": ("clip", "subjects")}
    return [
        Node("found", "VideoMage_SegmentByWords", wires, thresholds),
        preview("seen", ("found", "overlay"), "What was found"),
    ]


CLIP = Node("clip", "VideoMage_ExampleMotion")
# The detector is a folder, for which the page can't look.
SAM2 = needed(SEGMENTER["sam2"], "sam2", "js/docs/VideoMage_LoadSegmenter.md")
SEGMENTER_MODELS = Node("models", "VideoMage_LoadSegmenter", values=SEGMENTER, models=[SAM2])


def load(name: str) -> Node:
    file = f"videomage/{name}.safetensors"
    return Node(name, "VideoMage_LoadLora", values={"lora_name": file}, title=f"Load VideoMage LoRA: {name}")


def fuse(
    dog: tuple[str, str],
    panda: tuple[str, str],
    more: dict[str, Any],
    wires: dict[str, tuple[str, str]] | None = None,
) -> Node:
    wires = {**BASE, "lora_1": dog, "lora_2": panda, **(wires or {})}
    return Node("fused", "VideoMage_FuseSubjects", wires, {"file_name": "dog_and_panda", **more}, "fusion")


def scs(subject: tuple[str, str], motion: tuple[str, str], name: str = "made", title: str = "", **more: Any) -> Node:
    wires = {**BASE, "subject": subject, "motion": motion, "clip": ("clip", "frames")}
    values = {"prompt": PROMPT, "control_after_generate": "fixed", **more}
    return Node(name, "VideoMage_SCSSampler", wires, values, "collaborative", title)


def sample(name: str, loras: list[tuple[str, str]], prompt: str, title: str = "", **more: Any) -> Node:
    wires = {**BASE, **{f"lora_{i + 1}": lora for i, lora in enumerate(loras)}}
    wires |= {"clip": ("clip", "frames")} if more.pop("add_cutout", False) else {}
    values = {"prompt": prompt, "control_after_generate": "fixed", **more}
    return Node(name, "VideoMage_SampleVideo", wires, values, "sampling", title)


def enlarged(source: tuple[str, str], prefix: str) -> list[Node]:
    """Save the built-in base's 48 pixels large enough to see."""
    return [
        Node("large", "ImageScaleBy", {"image": source}, {"upscale_method": "nearest-exact", "scale_by": 8.0}),
        Node("video", "CreateVideo", {"images": ("large", "IMAGE")}, {"fps": 8.0}),
        Node("save", "SaveVideo", {"video": ("video", "VIDEO")}, {"filename_prefix": f"videomage/{prefix}"}),
    ]


def sheet(rows: list[tuple[str, str]], labels: list[str]) -> Node:
    wires = {f"row_{i + 1}": row for i, row in enumerate(rows)}
    return Node("sheet", "VideoMage_ContactSheet", wires, {"labels": "\n".join(labels), "scale": 3})


def preview(name: str, source: tuple[str, str], title: str) -> Node:
    return Node(name, "PreviewImage", {"images": source}, title=title, height=220)
