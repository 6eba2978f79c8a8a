"""Train Subject LoRA (Eq. 2-4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io

from ..videomage_core.callbacks import Callbacks
from ..videomage_core.config import SubjectConfig
from ..videomage_core.data.augmentation import needed_size
from ..videomage_core.data.examples import CaptionedClip, SubjectImage, load_captioned_clips, load_subject_images
from ..videomage_core.data.frames import frames_to_pixels, shrunk_pixels
from ..videomage_core.data.grounded_sam2 import GroundedSam2
from ..videomage_core.data.images import list_images
from ..videomage_core.data.training_inputs import clip_inputs, subject_inputs
from ..videomage_core.folders import entries
from ..videomage_core.model.text import check_token, prompt_warnings
from ..videomage_core.stages.subject_lora import require_token, subject_key, train_subject
from ..videomage_core.training.store import StoredResult
from .comfy_memory import HostedBase
from .conversions import folder, lines_of, typed_path
from .schema import Base, Node, advanced, read_settings, schema, settings_inputs, validate_inputs
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


class TrainSubject(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_TrainSubject",
            display_name="Train Subject LoRA",
            description=(
                "Trains a LoRA and a special token for one subject, a character or an object, from 3 to 5 images."
            ),
            search_aliases=["dreambooth", "textual inversion", "character"],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            inputs=[
                Base.Input("base", tooltip="The base model to train on."),
                io.Image.Input("images", optional=True, tooltip="Images of the subject, as a batch of one size."),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip=(
                        "One mask per image, white on the subject and of the image's size: the loss ignores "
                        "everything else. Load Image's mask is white where an image is transparent: put Invert Mask "
                        "between."
                    ),
                ),
                segmenter_input(
                    "Segments the subject, by its superclass, in each image without a mask, so that the loss "
                    "covers the subject only. From Load Segmenter."
                ),
                io.String.Input(
                    "token",
                    default="<my_dog>",
                    tooltip="The special token for your subject, in angle brackets; use it in prompts.",
                ),
                io.String.Input(
                    "superclass",
                    default="dog",
                    tooltip="The subject's class in plain words, e.g. 'stuffed animal'.",
                ),
                file_name_input("my_dog"),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    tooltip=(
                        "What the images show, with the token: one line for all, or one line per image. "
                        "Describing the backgrounds keeps them out of the subject. Empty: 'A <token>'."
                    ),
                ),
                io.String.Input(
                    "images_folder",
                    default="",
                    tooltip=(
                        "A folder of images of any size on the machine that runs ComfyUI, instead of images or "
                        "in addition. A .txt or .caption of the same name is an image's prompt; its alpha "
                        "channel is its mask."
                    ),
                ),
                *settings_inputs(SubjectConfig()),
                advanced(
                    io.String.Input(
                        "auxiliary_folder",
                        default="",
                        tooltip=(
                            "A folder of clips with captions (clip.mp4 and clip.txt) for L_reg, which preserves the "
                            "base's motion. Empty: the base generates clips."
                        ),
                    )
                ),
            ],
            outputs=training_outputs(),
        )

    @classmethod
    def validate_inputs(
        cls,
        token: str | None = None,
        superclass: str | None = None,
        prompt: str | None = None,
        file_name: str | None = None,
        images_folder: str | None = None,
        auxiliary_folder: str | None = None,
        steps: int | None = None,
        lr_warmup_steps: int | None = None,
        height: int | None = None,
        width: int | None = None,
    ) -> Any:
        def check_words() -> None:
            if token is not None and superclass is not None:
                check_token(token, superclass)
                for line in lines_of(prompt or ""):
                    require_token(line, token)

        def check_images() -> None:
            if (source := folder(images_folder, "images_folder")) is not None:
                list_images(source)

        settings = {"steps": steps, "lr_warmup_steps": lr_warmup_steps, "height": height, "width": width}
        return validate_inputs(
            SubjectConfig(),
            settings,
            lambda: check_file_name(file_name),
            check_words,
            check_images,
            lambda: folder(auxiliary_folder, "auxiliary_folder"),
        )

    @classmethod
    def fingerprint_inputs(cls, images_folder: str | None, auxiliary_folder: str | None, **_: Any) -> Any:
        """Run again when a file in the folders changed; training is repeated only if its contents changed."""
        folders = [typed_path(text) for text in (images_folder, auxiliary_folder)]
        files = [path for at in folders if at is not None and at.is_dir() for path in entries(at) if path.exists()]
        return [(str(path), path.stat().st_mtime_ns) for path in files]

    @classmethod
    def execute(
        cls,
        base: HostedBase,
        token: str,
        superclass: str,
        file_name: str,
        prompt: str,
        images_folder: str,
        auxiliary_folder: str,
        images: torch.Tensor | None = None,
        masks: torch.Tensor | None = None,
        segmenter: GroundedSam2 | None = None,
        **widgets: Any,
    ) -> Any:
        config = read_settings(SubjectConfig(), widgets)
        training = NodeTraining(base, "subject", file_name, cls.hidden.unique_id, config, segmenter)
        with training.on_device() as backbone:
            source, size = folder(images_folder, "images_folder"), needed_size(config, segmenter is not None)
            subject_images = _subject_images(images, masks, source, lines_of(prompt), size)
            auxiliary, auxiliary_line = _auxiliary_clips(folder(auxiliary_folder, "auxiliary_folder"), config)
            inputs = {"auxiliary": auxiliary, "captions": base.preset.captions}
            key = subject_key(subject_images, token, superclass, config, segmenter=segmenter, **inputs)

            def train(run_folder: Path, callbacks: Callbacks) -> StoredResult:
                callbacks.log(subject_inputs(subject_images, source, segmented=segmenter is not None))
                warnings = (line for image in subject_images for line in prompt_warnings(image.prompt or ""))
                for line in (*dict.fromkeys(warnings), *auxiliary_line):
                    callbacks.log(line)
                return stored_result(
                    train_subject(
                        backbone, subject_images, token, superclass, config, run_folder, sampling=training.sampling,
                        callbacks=callbacks, cache=run_folder.parent, segmenter=training.segmenter_with(callbacks),
                        **inputs,
                    )
                )  # fmt: skip

            trained = training.train_or_load(key, train)
        return training_result(trained, samples_of(trained))


def _auxiliary_clips(source: Path | None, config: SubjectConfig) -> tuple[list[CaptionedClip], list[str]]:
    """The captioned clips of a folder, and a line that says which they are; none without one."""
    if source is None:
        return [], []
    clips = load_captioned_clips(source, config.auxiliary_frames, config.height, config.width)
    return clips, [clip_inputs(clips, source)]


def _subject_images(
    images: torch.Tensor | None,
    masks: torch.Tensor | None,
    source: Path | None,
    prompts: list[str],
    size: tuple[int, int],
) -> list[SubjectImage]:
    """The images of the folder and those that are wired; one prompt is for all that have none, several for each."""
    subject_images = load_subject_images(source, min_size=size) if source is not None else []
    if images is not None:
        pixels = [frames_to_pixels(image[None], size)[:, 0] for image in images]
        if masks is not None and masks.shape != (len(pixels), *images.shape[1:3]):
            raise ValueError(
                f"masks: got {len(masks)} of {_size(masks)} for {len(pixels)} images of {_size(images)}; give one for "
                "each, of its size, or none. Load Image gives an empty 64x64 mask for an image without "
                "transparency: do not connect that"
            )
        given = [None] * len(pixels) if masks is None else list(shrunk_pixels(masks.clone().float()[None], size)[0])
        subject_images += [SubjectImage(image, mask) for image, mask in zip(pixels, given, strict=True)]
    if not subject_images:
        raise ValueError(
            "images: got none; connect images of the subject to 'images', or enter their folder in 'images_folder'"
        )
    if len(prompts) == 1:
        return [replace(image, prompt=image.prompt or prompts[0]) for image in subject_images]
    if not prompts:
        return subject_images
    if len(prompts) != len(subject_images):
        raise ValueError(
            f"prompt: got {len(prompts)} lines for {len(subject_images)} images; write one line, or one for each"
        )
    return [replace(image, prompt=line) for image, line in zip(subject_images, prompts, strict=True)]


def _size(batch: torch.Tensor) -> str:
    return f"{batch.shape[2]}x{batch.shape[1]}"
