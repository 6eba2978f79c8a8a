"""Trainings of two steps through the nodes."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from videomage_core.presets import EMOJI

SUBJECT = dataclasses.asdict(
    dataclasses.replace(
        EMOJI.subject, steps=2, batch_size=1, auxiliary_clips=1, auxiliary_steps=2, save_every_n_steps=1
    )
)
MOTION = dataclasses.asdict(dataclasses.replace(EMOJI.motion, steps=2, batch_size=1, textual_inversion_steps=2))
FUSION = dataclasses.asdict(
    dataclasses.replace(EMOJI.fusion, steps=2, teacher_videos=1, teacher_steps=10, cutmix_videos=1)
)


def load_base(nodes: dict[str, Any]) -> Any:
    return nodes["VideoMage_LoadBase"].execute("emoji base (built in)", "fp32", "auto").result[0]


def with_quick_samples(base: Any) -> Any:
    sampling = dataclasses.replace(base.preset.sampling, steps=1)
    return dataclasses.replace(base, preset=dataclasses.replace(base.preset, sampling=sampling))


def train_subject(nodes: dict[str, Any], base: Any, name: str = "dog", **more: Any) -> Any:
    images, prompts = nodes["VideoMage_ExampleSubject"].execute(name).result
    given = {
        "token": f"<{name}>", "superclass": name, "file_name": name, "prompt": prompts, "images_folder": "",
        "auxiliary_folder": "", "images": images, **SUBJECT, **more,
    }  # fmt: skip
    return nodes["VideoMage_TrainSubject"].execute(base, **given)


def weights_of(base: Any) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in base.backbone.unet.state_dict().values()]
