"""Fuse Subject LoRAs (Eq. 6-8)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..videomage_core.callbacks import Callbacks
from ..videomage_core.config import FusionConfig
from ..videomage_core.data.frames import side_by_side
from ..videomage_core.data.overlay import overlay
from ..videomage_core.stages.fusion import check_subjects, fuse_subjects, fusion_key
from ..videomage_core.stages.fusion_data import FusionPrompts
from ..videomage_core.training.store import StoredResult
from .comfy_memory import HostedBase
from .conversions import image, lines_of
from .schema import (
    Base,
    Lora,
    Node,
    advanced,
    growing_inputs,
    read_settings,
    schema,
    settings_inputs,
    validate_inputs,
    wired_inputs,
)
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

MOST = 8


class FuseSubjects(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_FuseSubjects",
            display_name="Fuse Subject LoRAs",
            description=(
                "Fuses the LoRAs of 2 to 8 subjects into one, so that each keeps its own appearance in the same video."
            ),
            search_aliases=["merge lora", "gradient fusion", "multi subject"],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            inputs=[
                Base.Input("base", tooltip="The base model that all the LoRAs were trained on."),
                segmenter_input(
                    "Segments each subject, by its superclass, in the videos its LoRA generates. From Load "
                    "Segmenter. Without it, their background must be plain."
                ),
                *growing_inputs(Lora, "lora", MOST, 2, "The LoRA of subject {i}. Each LoRA needs its own token."),
                file_name_input("my_subjects"),
                *settings_inputs(FusionConfig()),
                advanced(
                    io.String.Input(
                        "teacher_prompts",
                        default="",
                        multiline=True,
                        tooltip=(
                            "Prompts of the teacher videos, one per line, with {subject} for the token. "
                            "Empty: the base's "
                            "defaults."
                        ),
                    )
                ),
                advanced(
                    io.String.Input(
                        "cutmix_prompt",
                        default="",
                        tooltip=(
                            "Prompt of the videos that are cut out for CutMix, with {subject}: the subject alone on a "
                            "plain background. Empty: the base's default."
                        ),
                    )
                ),
            ],
            outputs=[
                *training_outputs(),
                io.Image.Output(
                    "cutmix_pair",
                    display_name="CutMix pair",
                    tooltip=(
                        "A CutMix pair and the cross-attention map of each of its subjects under the fused LoRA. With "
                        "lambda2 0, the samples again."
                    ),
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        file_name: str | None = None,
        steps: int | None = None,
        lr_warmup_steps: int | None = None,
        height: int | None = None,
        width: int | None = None,
        teacher_prompts: str | None = None,
        cutmix_prompt: str | None = None,
    ) -> Any:
        settings = {"steps": steps, "lr_warmup_steps": lr_warmup_steps, "height": height, "width": width}
        return validate_inputs(
            FusionConfig(),
            settings,
            lambda: check_file_name(file_name),
            lambda: fusion_prompts(FusionPrompts(), teacher_prompts or "", cutmix_prompt or ""),
        )

    @classmethod
    def execute(cls, base: HostedBase, file_name: str, teacher_prompts: str, cutmix_prompt: str, **inputs: Any) -> Any:
        config = read_settings(FusionConfig(), inputs)
        subjects = wired_inputs("lora", MOST, inputs)
        check_subjects(subjects)
        prompts = fusion_prompts(base.preset.prompts, teacher_prompts, cutmix_prompt)
        segmenter = inputs.get("segmenter") if config.lambda2 else None
        training = NodeTraining(base, "fusion", file_name, cls.hidden.unique_id, config, segmenter, len(subjects))
        with training.on_device() as backbone:
            key = fusion_key(subjects, config, prompts, segmenter)

            def train(folder: Path, callbacks: Callbacks) -> StoredResult:
                callbacks.log(f"{len(subjects)} subjects ({', '.join(s.tokens[0].name for s in subjects if s.tokens)})")
                trained = fuse_subjects(
                    backbone, subjects, config, folder, prompts, training.segmenter_with(callbacks),
                    sampling=training.sampling, callbacks=callbacks,
                )  # fmt: skip
                if trained.pair is None or trained.maps is None:
                    return stored_result(trained)
                pair = side_by_side([trained.pair.pixels, *overlay(trained.pair.pixels, trained.maps)])
                return stored_result(trained, pair=pair)

            trained = training.train_or_load(key, train)
        sample = samples_of(trained)
        return training_result(trained, sample, image(trained.videos["pair"]) if "pair" in trained.videos else sample)


def fusion_prompts(usual: FusionPrompts, teacher: str, cutmix: str) -> FusionPrompts:
    """The typed prompts, otherwise the base's defaults; ValueError for one without {subject}."""
    return replace(usual, teacher=tuple(lines_of(teacher)) or usual.teacher, cutmix=cutmix.strip() or usual.cutmix)
