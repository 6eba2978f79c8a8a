"""Evaluate: one video, or two to compare, scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io, ui

from ..videomage_core.data.frames import frames_to_pixels, image_to_frames
from ..videomage_core.data.images import MODELS_SEE
from ..videomage_core.data.media import to_uint8
from ..videomage_core.data.score_chart import score_chart, score_table
from ..videomage_core.evaluation.learned_metrics import check_folder
from ..videomage_core.evaluation.scores import scorers
from .comfy_memory import SCORERS_NEED, reserve_memory
from .conversions import CLIP_TYPES, clip_pixels, folder
from .progress import callbacks_for
from .schema import Node, accepted, growing_inputs, schema, wired_inputs

SUBJECTS = 4
ADVICE = "Take smaller models in clip_folder and dino_folder, or fewer frames"


class Evaluate(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_Evaluate",
            display_name="Evaluate",
            search_aliases=["clip score", "dino", "metrics", "compare videos"],
            description=(
                "Scores one video or compares two: similarity to the subjects' images, agreement with the "
                "prompt, temporal consistency."
            ),
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            inputs=[
                io.MultiType.Input("video", types=CLIP_TYPES, tooltip="Frames or a VIDEO to score."),
                io.MultiType.Input("other", types=CLIP_TYPES, optional=True, tooltip="A second video to compare with."),
                *growing_inputs(
                    io.Image,
                    "images",
                    SUBJECTS,
                    1,
                    "Images of subject {i}, e.g. those it was trained on; one input per subject.",
                ),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    tooltip=(
                        "The prompt in plain words, without special tokens, for CLIP-T. Empty: CLIP-T is not measured."
                    ),
                ),
                io.String.Input(
                    "labels", default="video\nother", multiline=True, tooltip="Names for the chart, one per line."
                ),
                io.Boolean.Input(
                    "plain_background",
                    default=True,
                    tooltip=(
                        "On for the built-in base: subjects are cut out from their plain background before they "
                        "are compared. Off: whole frames are compared, as CLIP-I does."
                    ),
                ),
                io.String.Input(
                    "clip_folder",
                    default="",
                    tooltip="Folder of a CLIP model in Hugging Face's layout, for CLIP-T, CLIP-I and T. Cons. (paper, "
                    "Sec. 4.1). Empty: not measured. Nothing is downloaded.",
                ),
                io.String.Input(
                    "dino_folder",
                    default="",
                    tooltip="Folder of a DINO or DINOv2 model, for DINO-I (paper, Sec. 4.1). Empty: not measured.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "scores",
                    display_name="scores",
                    tooltip="The scores as text: one row per metric, one column per video.",
                ),
                io.Image.Output("chart", display_name="chart", tooltip="The scores as a bar chart."),
            ],
        )

    @classmethod
    def validate_inputs(cls, clip_folder: str | None = None, dino_folder: str | None = None) -> bool | str:
        return accepted(
            lambda: model_folder(clip_folder, "clip_folder", "CLIP"),
            lambda: model_folder(dino_folder, "dino_folder", "DINO"),
        )

    @classmethod
    def execute(
        cls,
        video: Any,
        prompt: str,
        labels: str,
        plain_background: bool,
        clip_folder: str,
        dino_folder: str,
        other: Any = None,
        **inputs: Any,
    ) -> Any:
        names = [line.strip() for line in labels.splitlines() if line.strip()] + ["video", "other"]
        clips = (to_uint8(clip_pixels(given, MODELS_SEE)) for given in (video, other) if given is not None)
        videos = dict(zip(dict.fromkeys(names), clips, strict=False))
        references = {
            f"subject {i}": list(to_uint8(frames_to_pixels(images, MODELS_SEE)))
            for i, images in enumerate(wired_inputs("images", SUBJECTS, inputs), start=1)
        }
        scores: dict[str, dict[str, float]] = {label: {} for label in videos}
        clip = model_folder(clip_folder, "clip_folder", "CLIP")
        dino = model_folder(dino_folder, "dino_folder", "DINO")
        callbacks = callbacks_for(cls.hidden.unique_id)
        with reserve_memory(SCORERS_NEED if clip or dino else 0, ADVICE) as device:
            metrics = scorers(clip, dino, plain_background, device)
            jobs = [(label, metric) for label in videos for metric in metrics]
            for done, (label, metric) in enumerate(jobs):
                callbacks.progress(done, len(jobs), "scoring")
                scores[label].update(metric.score(videos[label], prompt.strip() or None, references))
            callbacks.progress(len(jobs), len(jobs), "scoring")
        chart = image_to_frames(score_chart(scores))
        return io.NodeOutput(score_table(scores), chart, ui=ui.PreviewImage(chart))


def model_folder(text: str | None, name: str, what: str) -> Path | None:
    """A typed model folder, or None if empty; FileNotFoundError or ValueError if it is not a model's."""
    path = folder(text, name)
    if path is not None:
        check_folder(path, what)
    return path
