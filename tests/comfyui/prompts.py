"""Changes to prompts: few steps, other seeds."""

from __future__ import annotations

import copy
from typing import Any

from server import Server

FEW: dict[str, dict[str, Any]] = {
    "VideoMage_TrainSubject": {"steps": 2, "auxiliary_clips": 1, "auxiliary_steps": 2, "sample_every_n_steps": 0},
    "VideoMage_TrainMotion": {"steps": 2, "textual_inversion_steps": 2, "sample_every_n_steps": 0},
    "VideoMage_FuseSubjects": {"steps": 2, "teacher_videos": 1, "teacher_steps": 10, "cutmix_videos": 1},
    "VideoMage_SCSSampler": {"steps": 10, "ddim_inversion_steps": 10, "tau": 2},
    "VideoMage_SampleVideo": {"steps": 10, "ddim_inversion_steps": 10},
    # The detector there has random weights: it finds boxes, but does not know one word from another.
    "VideoMage_SegmentByWords": {
        "words": "pig, pig",
        "box_threshold": 0.0,
        "text_threshold": 0.0,
        "detector_image_size": 128,
    },
    "EmptyHunyuanLatentVideo": {"width": 64, "height": 48, "length": 9},
    "BasicScheduler": {"steps": 4},
    "SplitSigmas": {"step": 2},
}
BASE = {"base": "emoji base (built in)", "dtype": "auto", "memory": "auto"}
SUBJECT_SETTINGS: dict[str, Any] = {
    "token": "<dog>",
    "superclass": "dog",
    "prompt": "",
    "images_folder": "",
    "auxiliary_folder": "",
    "height": 48,
    "width": 48,
    "batch_size": 1,
    "auxiliary_clips": 1,
    "auxiliary_steps": 2,
    "learning_rate": 1e-3,
    "token_learning_rate": 1e-2,
    "save_every_n_steps": 5,
    "gradient_accumulation_steps": 1,
    "optimizer": "adamw",
    "lr_scheduler": "constant",
    "lr_warmup_steps": 0,
    "max_grad_norm": 1.0,
    "sample_every_n_steps": 0,
    "seed": 0,
    "rank": 4,
    "target_modules": "all",
    "dropout": 0.0,
    "num_vectors_per_token": 1,
    "lambda1": 0.25,
    "auxiliary_frames": 8,
    "auxiliary_guidance_scale": 5.0,
    "random_flip": False,
    "min_crop_scale": 1.0,
    "num_augmentations": 8,
    "resize_mode": "crop",
}
SMALL = {"height": 48, "width": 48, "frames": 8, "auxiliary_frames": 8}
SMALL_WAN = {**SMALL, "frames": 9, "auxiliary_frames": 9}

Prompt = dict[str, Any]


def of_class(prompt: Prompt, kind: str) -> list[dict[str, Any]]:
    """The inputs of all nodes of a class."""
    return [node["inputs"] for node in prompt.values() if node["class_type"] == kind]


def with_few_steps(prompt: Prompt) -> Prompt:
    """The same prompt, small and with few steps, so that it ends within a minute on a CPU."""
    changed = copy.deepcopy(prompt)
    small = SMALL_WAN if of_class(changed, "VideoMage_BaseFromModel") else SMALL
    for kind, values in FEW.items():
        for inputs in of_class(changed, kind):
            inputs.update(values)
            inputs.update({name: value for name, value in small.items() if name in inputs})
    for inputs in of_class(changed, "VideoMage_SCSGuider"):
        inputs["tau"] = min(inputs["tau"], 2)
    return changed


def subject_prompt(steps: int, file_name: str = "dog", **more: Any) -> Prompt:
    """Train one subject on the built-in base."""
    inputs = {"base": ["1", 0], "images": ["2", 0], "steps": steps, "file_name": file_name}
    return {
        "1": {"class_type": "VideoMage_LoadBase", "inputs": BASE},
        "2": {"class_type": "VideoMage_ExampleSubject", "inputs": {"subject": "dog"}},
        "3": {
            "class_type": "VideoMage_TrainSubject",
            "inputs": {**inputs, **SUBJECT_SETTINGS, **more},
        },
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 2]}},
    }


def node(server: Server, kind: str, **given: Any) -> dict[str, Any]:
    """A node of a prompt: what is given, and for all other widgets what the page begins with."""
    inputs: dict[str, Any] = {}
    for name, spec in server.get(f"/object_info/{kind}")[kind]["input"]["required"].items():
        about = spec[1] if len(spec) > 1 else {}
        choices = spec[0] if isinstance(spec[0], list) else about.get("options", [None])
        if "default" in about or choices != [None]:
            inputs[name] = about.get("default", choices[0])
    return {"class_type": kind, "inputs": {**inputs, **given}}


def motion_prompt(server: Server, file_name: str) -> Prompt:
    """Train a motion on the built-in base, in two steps."""
    clip = {"clip": ["2", 0], "mask_1": ["2", 1], "mask_2": ["2", 2], "prompt": ["2", 3], "subjects": ["2", 4]}
    few = {**FEW["VideoMage_TrainMotion"], "height": 48, "width": 48, "frames": 8, "learning_rate": 4e-3}
    return {
        "1": {"class_type": "VideoMage_LoadBase", "inputs": BASE},
        "2": {"class_type": "VideoMage_ExampleMotion", "inputs": {}},
        "3": node(server, "VideoMage_TrainMotion", base=["1", 0], file_name=file_name, **clip, **few),
    }


def collaborative_prompt(server: Server, subject: str, motion: str) -> Prompt:
    """Sample a subject and a motion of two files together."""
    few = {"frames": 8, "height": 48, "width": 48, "steps": 4, "tau": 2, "alpha": 1e6, "seed": 5}
    loras = {"subject": ["2", 0], "motion": ["3", 0]}
    words = {"prompt": "a <dog> is riding on grass"}
    return {
        "1": {"class_type": "VideoMage_LoadBase", "inputs": BASE},
        "2": {"class_type": "VideoMage_LoadLora", "inputs": {"lora_name": subject, "rename": ""}},
        "3": {"class_type": "VideoMage_LoadLora", "inputs": {"lora_name": motion, "rename": ""}},
        "5": node(server, "VideoMage_SCSSampler", base=["1", 0], **loras, **words, **few),
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
    }
