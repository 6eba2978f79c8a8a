"""SCS Sampler (Eq. 9-11, Algorithm 1)."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..videomage_core.config import CollaborativeConfig
from ..videomage_core.data.augmentation import needed_size
from ..videomage_core.data.examples import make_motion_clip
from ..videomage_core.data.frames import side_by_side
from ..videomage_core.data.lora_file import LoraModel
from ..videomage_core.data.overlay import overlay
from ..videomage_core.model.memory import workloads_for
from ..videomage_core.model.text import prompt_warnings
from ..videomage_core.stages.collaborative_sampling import check_pair, require_named, sample_collaboratively
from ..videomage_core.stages.ddim_inversion import invert_clip
from . import comfy_host as host
from .comfy_memory import HostedBase, on_device
from .conversions import CLIP_TYPES, clip_images, image, video
from .progress import callbacks_for
from .schema import Base, Lora, Node, read_settings, schema, settings_inputs, validate_inputs

OOM_HINT = "frames, width and height"


def seed_input() -> io.Input:
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=2**63 - 1,
        control_after_generate=True,
        tooltip="Random seed: the same seed and settings give the same video.",
    )


def prompt_input(example: str) -> io.Input:
    return io.String.Input(
        "prompt", default=example, multiline=True, tooltip="The prompt. Name every subject by its token."
    )


def clip_input() -> io.Input:
    return io.MultiType.Input(
        "clip",
        types=CLIP_TYPES,
        optional=True,
        tooltip=("A clip of the motion; its inverted noise is mixed into the initial noise with weight noise_prior."),
    )


def video_outputs() -> list[io.Output]:
    return [
        io.Image.Output("frames_out", display_name="frames", tooltip="The video's frames."),
        io.Video.Output("video", display_name="video", tooltip="The video, at fps frames per second."),
    ]


class SCSSampler(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        frames, result = video_outputs()
        return schema(
            node_id="VideoMage_SCSSampler",
            display_name="SCS Sampler",
            description=(
                "Generates a video of your subjects performing your motion by spatial-temporal collaborative "
                "sampling: two branches of one model, one with the subject LoRA and one with the motion LoRA, "
                "guide each other."
            ),
            search_aliases=["videomage", "collaborative sampling"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                Base.Input("base", tooltip="The base model that both LoRAs were trained on."),
                Lora.Input("subject", tooltip="The LoRA of one subject, or the fused LoRA of several."),
                Lora.Input("motion", tooltip="A motion LoRA."),
                clip_input(),
                prompt_input("A <my_dog> is riding a <my_cat>"),
                seed_input(),
                *settings_inputs(CollaborativeConfig()),
            ],
            outputs=[
                frames,
                io.Image.Output(
                    "overlays",
                    display_name="attention overlays",
                    tooltip=(
                        "Cross-attention maps of each subject's token in the guided steps, side by side. With tau or "
                        "alpha 0, the plain video."
                    ),
                ),
                result,
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        tau: int | None = None,
        alpha: float | None = None,
        beta_subject: float | None = None,
        beta_motion: float | None = None,
    ) -> Any:
        settings = {
            "frames": frames, "height": height, "width": width, "tau": tau, "alpha": alpha,
            "beta_subject": beta_subject, "beta_motion": beta_motion,
        }  # fmt: skip
        return validate_inputs(CollaborativeConfig(), settings)

    @classmethod
    def execute(
        cls,
        base: HostedBase,
        subject: LoraModel,
        motion: LoraModel,
        prompt: str,
        seed: int,
        clip: Any = None,
        **widgets: Any,
    ) -> Any:
        config = read_settings(CollaborativeConfig(), widgets)
        check_pair(subject, motion)
        require_named(prompt, subject.tokens)
        pixels = motion_pixels(clip, config)
        with on_device(base, OOM_HINT, workloads_for(config)) as backbone:
            callbacks = callbacks_for(cls.hidden.unique_id)
            for warning in prompt_warnings(prompt, subject.tokens):
                callbacks.log(warning)
            inverted = inverted_noise(backbone, pixels, config, callbacks)
            result = sample_collaboratively(backbone, subject, motion, prompt, seed, config, inverted, True, callbacks)
        overlays = result.video if result.maps is None else side_by_side(list(overlay(result.video, result.maps)))
        return io.NodeOutput(image(result.video), image(overlays), video(result.video, config.fps))


def motion_pixels(clip: Any, config: Any) -> Any:
    """The frames of a wired clip that join the initial noise, [3, F, H, W] in -1..1, or None; no others are copied.

    Raises:
        ValueError: a clip of one frame.
    """
    if clip is None or config.noise_prior == 0:
        return None
    return make_motion_clip(clip_images(clip), [], None, config.frames, needed_size(config)).pixels


def inverted_noise(backbone: Any, pixels: Any, config: Any, callbacks: Any) -> Any:
    """The inverted noise of ``motion_pixels``, kept in the output folder, or None."""
    if pixels is None:
        return None
    return invert_clip(backbone, pixels, config, host.training_folder() / "inverted", callbacks)
