"""Train Motion LoRA (Eq. 5)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io

from ..videomage_core.callbacks import Callbacks
from ..videomage_core.config import MotionConfig
from ..videomage_core.data.augmentation import needed_size
from ..videomage_core.data.examples import MotionClip, make_motion_clip
from ..videomage_core.data.training_inputs import motion_inputs
from ..videomage_core.model.text import prompt_warnings, require_plain_words
from ..videomage_core.stages.motion_lora import motion_key, require_subjects, train_motion
from ..videomage_core.training.store import StoredResult
from .comfy_memory import HostedBase
from .conversions import CLIP_TYPES, clip_images, masks
from .schema import Base, Node, growing_inputs, read_settings, schema, settings_inputs, validate_inputs, wired_inputs
from .segmentation import segmenter_input
from .training import (
    NodeTraining,
    check_file_name,
    file_name_input,
    samples_of,
    stored_result,
    training_outputs,
    training_result,
)

SUBJECTS = 4


class TrainMotion(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_TrainMotion",
            display_name="Train Motion LoRA",
            description=("Trains a LoRA for a motion from one clip, without the appearance of the subjects that "
"perform it."),
            search_aliases=["motion director", "motion lora"],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            inputs=[
                Base.Input("base", tooltip="The base model to train on."),
                io.MultiType.Input(
                    "clip", types=CLIP_TYPES, tooltip="The clip: frames (IMAGE) or a VIDEO of any length."
                ),
                segmenter_input(
                    "Segments the subjects in one frame by their names, if no masks are connected. From Load "
"Segmenter."
                ),
                *growing_inputs(
                    io.Mask, "mask", SUBJECTS, 0,
                    "Masks of subject {i}, white on the subject: one per frame of the clip, or a single one for the "
                    "frame that is cut out. Without masks, a single subject on a plain background is segmented "
                    "automatically.",
                ),
                io.String.Input(
                    "prompt",
                    default="A person is riding a horse",
                    tooltip="The motion in plain words: who is in the clip and what they do.",
                ),
                io.String.Input(
                    "subjects",
                    default="person, horse",
                    tooltip=("The subjects of the clip in plain words, separated by commas, in the order of the masks. "
"Their appearance is removed from what is learned. May be empty if omega is 0."),
                ),
                file_name_input("my_motion"),
                *settings_inputs(MotionConfig()),
            ],
            outputs=training_outputs(),
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls,
        prompt: str | None = None,
        subjects: str | None = None,
        file_name: str | None = None,
        steps: int | None = None,
        lr_warmup_steps: int | None = None,
        height: int | None = None,
        width: int | None = None,
        objective: str | None = None,
        omega: float | None = None,
        appearance_prompt: str | None = None,
    ) -> Any:
        settings = {
            "steps": steps,
            "lr_warmup_steps": lr_warmup_steps,
            "height": height,
            "width": width,
            "objective": objective,
            "omega": omega,
            "appearance_prompt": appearance_prompt,
        }

        def check_subjects() -> None:
            if subjects is not None and objective is not None and omega is not None:
                clip = MotionClip(torch.empty(0), words_of(subjects))
                require_subjects([clip], replace(MotionConfig(), objective=objective, omega=omega))

        def check_prompt() -> None:
            require_plain_words(prompt or "")

        checks = (lambda: check_file_name(file_name), check_prompt, check_subjects)
        return validate_inputs(MotionConfig(), settings, *checks)

    @classmethod
    def execute(cls, base: HostedBase, clip: Any, prompt: str, subjects: str, file_name: str, **inputs: Any) -> Any:
        config = read_settings(MotionConfig(), inputs)
        wired_masks = wired_inputs("mask", SUBJECTS, inputs)
        segmenter = None if wired_masks else inputs.get("segmenter")
        training = NodeTraining(base, "motion", file_name, cls.hidden.unique_id, config, segmenter)
        with training.on_device() as backbone:
            motion_clip = make_motion_clip(
                clip_images(clip), words_of(subjects), masks(wired_masks), config.frames,
                needed_size(config, segmenter is not None),
            )  # fmt: skip
            key = motion_key([replace(motion_clip, segmenter=segmenter)], prompt, config)

            def train(folder: Path, callbacks: Callbacks) -> StoredResult:
                clips = [replace(motion_clip, segmenter=training.segmenter_with(callbacks))]
                for line in (motion_inputs(clips), *prompt_warnings(prompt)):
                    callbacks.log(line)
                return stored_result(
                    train_motion(backbone, clips, prompt, config, folder, training.sampling, callbacks=callbacks)
                )

            trained = training.train_or_load(key, train)
        return training_result(trained, samples_of(trained))


def words_of(subjects: str) -> tuple[str, ...]:
    """ "person, horse" -> ("person", "horse")."""
    return tuple(word.strip() for word in subjects.split(",") if word.strip())
