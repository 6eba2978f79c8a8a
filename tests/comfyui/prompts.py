"""Changes to prompts: few steps, other seeds."""

from __future__ import annotations

import copy
from typing import Any

FEW: dict[str, dict[str, Any]] = {
    "VideoMage_TrainSubject": {"steps": 2, "auxiliary_clips": 1, "auxiliary_steps": 2, "sample_every": 0},
    "VideoMage_TrainMotion": {"steps": 2, "inversion_steps": 2, "sample_every": 0},
    "VideoMage_FuseSubjects": {"steps": 2, "teacher_videos": 1, "teacher_steps": 10, "cutmix_videos": 1},
    "VideoMage_SCSSampler": {"steps": 10, "inversion_steps": 10, "tau": 2},
    "VideoMage_SampleVideo": {"steps": 10, "inversion_steps": 10},
    # The detector there has random weights: it finds boxes, but does not know one word from another.
    "VideoMage_SegmentByWords": {"words": "pig, pig", "box_threshold": 0.0, "text_threshold": 0.0},
}
BASE = {"base": "emoji base (built in)", "dtype": "auto", "memory": "auto"}
SMALL = {"height": 48, "width": 48, "frames": 8, "auxiliary_frames": 8}

Prompt = dict[str, Any]


def of_class(prompt: Prompt, kind: str) -> list[dict[str, Any]]:
    """The inputs of all nodes of a class."""
    return [node["inputs"] for node in prompt.values() if node["class_type"] == kind]


def with_few_steps(prompt: Prompt) -> Prompt:
    """The same prompt, small and with few steps, so that it ends within a minute on a CPU."""
    changed = copy.deepcopy(prompt)
    for kind, values in FEW.items():
        for inputs in of_class(changed, kind):
            inputs.update(values)
            inputs.update({name: value for name, value in SMALL.items() if name in inputs})
    return changed


def subject_prompt(steps: int, file_name: str = "dog", **more: Any) -> Prompt:
    """Train one subject on the built-in base."""
    settings = {
        "token": "<dog>", "superclass": "dog", "file_name": file_name, "prompt": "", "images_folder": "",
        "auxiliary_folder": "", "height": 48, "width": 48, "batch_size": 1, "auxiliary_clips": 1,
        "auxiliary_steps": 2, "steps": steps, "learning_rate": 1e-3, "token_learning_rate": 1e-2, "save_every": 5,
    }  # fmt: skip
    defaults = {
        "accumulation": 1, "optimizer": "adamw", "schedule": "constant", "warmup_steps": 0, "max_gradient_norm": 1.0,
        "sample_every": 0, "seed": 0, "rank": 4, "layers": "all", "dropout": 0.0, "token_vectors": 1,
        "lambda1": 0.25, "auxiliary_frames": 8, "auxiliary_guidance": 5.0, "flip": False, "smallest_crop": 1.0,
        "views": 8, "fit": "crop",
    }  # fmt: skip
    return {
        "1": {"class_type": "VideoMage_LoadBase", "inputs": BASE},
        "2": {"class_type": "VideoMage_ExampleSubject", "inputs": {"subject": "dog"}},
        "3": {
            "class_type": "VideoMage_TrainSubject",
            "inputs": {"base": ["1", 0], "images": ["2", 0], **defaults, **settings, **more},
        },
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 2]}},
    }
