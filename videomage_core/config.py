"""Every setting of the engine: frozen dataclasses with the paper's defaults.

A setting is declared once, with its default, its help and its range; the command line's flags
and a node's widgets are read from here.  A config refuses values out of range and
contradictions when it is built, all of them in one message, long before a model is loaded.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any


def setting(
    default: Any,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with its help and the range it may take, both ends allowed, or its choices.

    The help says what the setting does, its unit, at which value it is off, and where the default is from.
    """
    limits = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata=limits)


class Settings:
    """Base of all configs: checks ranges, then what a config has to say of its own."""

    def __post_init__(self) -> None:
        problems = [*self._out_of_range(), *self.contradictions()]
        if problems:
            raise ValueError("; ".join(problems))

    def contradictions(self) -> list[str]:
        """What is wrong with the settings taken together, a sentence each."""
        return []

    def _out_of_range(self) -> list[str]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return [problem for field in fields for problem in out_of_range(field, getattr(self, field.name))]


def out_of_range(field: Any, value: Any) -> list[str]:
    """What is wrong with the value of one field of a config by itself: no sentence, or one."""
    low, high, choices = (field.metadata[name] for name in ("minimum", "maximum", "choices"))
    if choices is not None and value not in choices:
        return [f"{field.name}: got {value!r}, allowed: {', '.join(map(repr, choices))}"]
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{field.name}: got {value}, must be a finite number"]
    if (low is None or value >= low) and (high is None or value <= high):
        return []
    limits = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
    return [f"{field.name}: got {value}, allowed is {' and '.join(limits)}"]


@dataclass(frozen=True)
class SamplingConfig(Settings):
    """Plain guided sampling."""

    frames: int = setting(24, "number of frames (paper, Sec. 4.1)", 1, 1024)
    height: int = setting(320, "height in pixels (paper, Sec. 4.1)", 8, 4096)
    width: int = setting(576, "width in pixels (paper, Sec. 4.1)", 8, 4096)
    fps: float = setting(8.0, "frames per second of the saved video (paper, Sec. 4.1)", 0.1, 240)
    steps: int = setting(
        50, "number of denoising steps; more steps take longer and give finer detail (paper, Sec. 4.1)", 1, 1000
    )
    guidance_scale: float = setting(
        9.0,
        "classifier-free guidance scale, how closely the video follows the prompt; 1 turns guidance "
        "off and halves the time (paper, Sec. 4.1)",
        0,
        100,
    )
    negative_prompt: str = setting(
        "", "negative prompt: what the video should not show (ours: empty; the paper does not say)"
    )
    noise_prior: float = setting(
        0.3,
        (
            "weight beta of the clip's inverted noise in the initial noise, if a motion clip is "
            "given; 0 is off (paper, Sec. 7.1)"
        ),
        0,
        1,
    )
    ddim_inversion_steps: int = setting(
        50, "DDIM inversion steps, if a motion clip is given (ours, as in MotionDirector)", 1, 1000
    )


@dataclass(frozen=True)
class CollaborativeConfig(SamplingConfig):
    """Spatial-temporal collaborative sampling, SCS (Sec. 3.3, Eq. 9-11, Algorithm 1)."""

    tau: int = setting(
        15,
        "number of first steps in which the branches guide each other; 0 is off (paper, Sec. 4.1)",
        0,
        1000,
    )
    alpha: float = setting(
        1e4, "step size of collaborative guidance, normalised by resolution; 0 is off (paper, Sec. 4.1)", 0, 1e9
    )
    alpha_decay: str = setting(
        "linear",
        "schedule of alpha over all steps; linear: falls to a half; attend-and-excite: falls to "
        "0.707, as in its code; none: constant (ours)",
        choices=("linear", "attend-and-excite", "none"),
    )
    guided_step_from: str = setting(
        "updated",
        "latents that a guided step starts from; updated: the mix of both branches' updated latents, "
        "as in Attend-and-Excite; original: x_t, for which guidance hardly lowers its losses on the "
        "built-in base (ours: Algorithm 1 does not say)",
        choices=("updated", "original"),
    )
    beta_subject: float = setting(0.5, "weight of the subject branch's noise (paper, Algorithm 1, line 13)", 0, 1)
    beta_motion: float = setting(0.5, "weight of the motion branch's noise (paper, Algorithm 1, line 13)", 0, 1)
    subject_strength: float = setting(1.0, "strength of the subject LoRA in its branch; 0 is off (ours)", 0, 4)
    motion_strength: float = setting(1.0, "strength of the motion LoRA in its branch; 0 is off (ours)", 0, 4)
    cross_attention_layers: str = setting(
        "all", "cross-attention layers whose maps M_SCA are compared: all, or name prefixes separated by commas (ours)"
    )
    temporal_attention_layers: str = setting(
        "all",
        "temporal attention layers whose maps M_TSA are compared: all, or name prefixes separated by commas (ours)",
    )
    beta_schedule: str = setting(
        "constant",
        (
            "weights of the branches over the steps; constant: beta_subject and beta_motion (paper); "
            "linear: the motion branch falls from 1 to 0, the subject branch rises from 0 to 1, and "
            "beta_subject and beta_motion are ignored (ours)"
        ),
        choices=("constant", "linear"),
    )

    def contradictions(self) -> list[str]:
        problems = super().contradictions()
        if abs(self.beta_subject + self.beta_motion - 1) > 1e-6:
            problems.append(
                f"beta_subject, beta_motion: got {self.beta_subject} and {self.beta_motion}, must add up to 1"
            )
        if self.frames == 1 and self.tau and self.alpha:
            problems.append("frames: got 1, guidance by temporal attention needs at least 2; or set tau to 0")
        return problems


# The embedded base was trained on 8 frames of 48x48 pixels; its steps and guidance are ours.
EMOJI_SAMPLING = SamplingConfig(frames=8, height=48, width=48, steps=25, guidance_scale=5.0)


@dataclass(frozen=True)
class TrainingConfig(Settings):
    """Settings of the training loop, common to all stages."""

    steps: int = setting(300, "number of optimizer steps (paper, Sec. 4.1)", 1, 1_000_000)
    gradient_accumulation_steps: int = setting(
        1, "forward passes whose gradients are summed in one optimizer step; 1 is off (ours)", 1, 1024
    )
    optimizer: str = setting(
        "adamw", "adamw, or adamw8bit, which needs bitsandbytes (ours)", choices=("adamw", "adamw8bit")
    )
    lr_scheduler: str = setting(
        "constant", "learning-rate schedule after warm-up (ours)", choices=("constant", "cosine")
    )
    lr_warmup_steps: int = setting(
        0, "steps over which the learning rates rise linearly from 0; 0 is off (ours)", 0, 1_000_000
    )
    max_grad_norm: float = setting(1.0, "gradients are clipped to this norm; 0 is off (ours)", 0, 1e6)
    save_every_n_steps: int = setting(50, "save a checkpoint every N steps (ours)", 1, 1_000_000)
    sample_every_n_steps: int = setting(0, "sample a video every N steps; 0 is off (ours)", 0, 1_000_000)
    seed: int = setting(0, "random seed of the training (ours)", 0, 2**31)

    def contradictions(self) -> list[str]:
        if self.lr_warmup_steps >= self.steps > 0:
            return [f"lr_warmup_steps: got {self.lr_warmup_steps}, must be fewer than steps ({self.steps})"]
        return []


@dataclass(frozen=True)
class LoraTrainingConfig(TrainingConfig):
    """Settings common to the LoRA trainings."""

    rank: int = setting(4, "rank R of the LoRA (paper, Sec. 4.1)", 1, 1024)
    learning_rate: float = setting(1e-4, "peak learning rate of the LoRA (paper, Sec. 4.1)", 0, 1)
    batch_size: int = setting(
        1, "images or clips in one forward pass; larger batches train more steadily and need more memory (ours)", 1, 256
    )
    height: int = setting(320, "height in pixels (paper, Sec. 4.1)", 8, 4096)
    width: int = setting(576, "width in pixels (paper, Sec. 4.1)", 8, 4096)


@dataclass(frozen=True)
class NewLoraConfig(LoraTrainingConfig):
    """Settings common to the trainings of a new LoRA."""

    target_modules: str = setting(
        "all",
        ("all: every linear layer of the transformers; attention: only q, k, v and out (ours: the paper does not say)"),
        choices=("all", "attention"),
    )
    dropout: float = setting(0.0, "dropout probability of the LoRA's inputs in training; 0 is off (ours)", 0, 0.9)


@dataclass(frozen=True)
class SubjectConfig(NewLoraConfig):
    """Subject LoRA (Sec. 3.2, Eq. 2-4)."""

    token_learning_rate: float = setting(
        1e-3, "peak learning rate of the special token's embeddings (paper, Sec. 4.1)", 0, 1
    )
    num_vectors_per_token: int = setting(1, "number of embedding vectors of the special token (ours)", 1, 16)
    lambda1: float = setting(0.25, "weight of L_reg, which keeps the base's motion; 0 is off (paper, Eq. 4)", 0, 100)
    auxiliary_clips: int = setting(
        16, "number of clips that the base generates for L_reg if none are given (ours)", 1, 10_000
    )
    auxiliary_frames: int = setting(8, "number of frames of the auxiliary clips (ours)", 2, 256)
    auxiliary_guidance_scale: float = setting(
        5.0, "guidance scale of the auxiliary clips that the base generates (ours)", 1, 100
    )
    auxiliary_steps: int = setting(25, "denoising steps of the auxiliary clips that the base generates (ours)", 1, 1000)
    random_flip: bool = setting(
        False, "flip images horizontally at random; leave it off if left and right differ (ours)"
    )
    min_crop_scale: float = setting(
        1.0, "smallest random crop, as a fraction of the image's sides; 1 is off (ours)", 0.2, 1
    )
    num_augmentations: int = setting(
        8, ("number of precomputed augmentations per image; ignored if random crops and flips are off (ours)"), 1, 256
    )
    resize_mode: str = setting(
        "crop",
        (
            "how images are fitted to the video's aspect ratio; crop: centre crop; pad: keep the "
            "whole image and pad it (ours)"
        ),
        choices=("crop", "pad"),
    )


@dataclass(frozen=True)
class MotionConfig(NewLoraConfig):
    """Appearance-agnostic motion LoRA (Sec. 3.2, Eq. 5)."""

    target_modules: str = setting(
        "auto",
        (
            "all: every linear layer of the temporal transformers; attention: only q, k, v and out; "
            "motion_director: the layers, initialisation and dropout (0.1) of MotionDirector's code; "
            "auto: motion_director for the objective of that name, else all (ours)"
        ),
        choices=("auto", "all", "attention", "motion_director"),
    )
    frames: int = setting(24, "number of frames taken from each clip (paper, Sec. 4.1)", 2, 1024)
    objective: str = setting(
        "appearance-agnostic",
        "training objective; appearance-agnostic: Eq. 5 (paper); motion_director: MotionDirector's "
        "dual path with its debiased loss, as a baseline",
        choices=("appearance-agnostic", "motion_director"),
    )
    omega: float = setting(
        0.5,
        "how much of the clip's appearance is removed from the target; 0 is the plain diffusion loss (paper, Eq. 5)",
        0,
        10,
    )
    train_transformer_in: bool = setting(
        True, "also train the temporal transformer at the network's input, transformer_in (ours)"
    )
    textual_inversion_steps: int = setting(300, "textual-inversion steps for each subject of a clip (ours)", 1, 100_000)
    textual_inversion_learning_rate: float = setting(
        1e-3, "peak learning rate of textual inversion (paper, Sec. 4.1)", 0, 1
    )
    textual_inversion_num_vectors: int = setting(1, "number of embedding vectors of each inverted token (ours)", 1, 16)
    textual_inversion_frame: float = setting(
        0.0, "frame whose subjects are inverted, as a position in the clip: 0 is the first, 1 the last (ours)", 0, 1
    )
    textual_inversion_background: float = setting(
        0.8, "brightness of the plain background behind a cut-out subject, from 0 (black) to 1 (white) (ours)", 0, 1
    )
    appearance_prompt: str = setting(
        "A static video of {subjects}",
        "prompt c_ap of the static appearance; {subjects} stands for the inverted tokens (paper, Sec. 7.1)",
    )

    def contradictions(self) -> list[str]:
        problems = super().contradictions()
        if "{subjects}" not in self.appearance_prompt:
            problems.append(f"appearance_prompt: got {self.appearance_prompt!r}, must hold {{subjects}}")
        return problems


@dataclass(frozen=True)
class FusionConfig(LoraTrainingConfig):
    """Fusing subject LoRAs (Sec. 3.3, Eq. 6-8)."""

    steps: int = setting(350, "number of optimizer steps (paper, Sec. 7.1: 250 to 450)", 1, 1_000_000)
    learning_rate: float = setting(1e-4, "peak learning rate (ours: the paper does not say)", 0, 1)
    rank: int = setting(
        0,
        "rank of the fused LoRA; 0: the sum of the subjects' ranks, so that training starts from "
        "their exact average (ours)",
        0,
        1024,
    )
    batch_size: int = setting(0, "subjects in one step of L_fusion; 0: all, as in Eq. 6 (ours)", 0, 64)
    lambda2: float = setting(
        0.6, "weight of L_attn, which keeps each token's attention on its own subject; 0 is off (paper, Eq. 8)", 0, 100
    )
    frames: int = setting(8, "number of frames of the teacher videos (ours)", 2, 1024)
    teacher_videos: int = setting(4, "videos that each subject's LoRA generates as training data (ours)", 1, 1000)
    teacher_steps: int = setting(25, "denoising steps of the teacher videos (ours)", 1, 1000)
    teacher_guidance_scale: float = setting(9.0, "guidance scale of the teacher videos (paper, Sec. 4.1)", 0, 100)
    cutmix_videos: int = setting(
        2, "videos of each subject that are cut out for the CutMix pairs of L_attn (ours)", 1, 1000
    )
    cutmix_overlap: float = setting(
        0.3, "largest fraction of a subject that the other may cover in a CutMix pair (ours)", 0, 0.9
    )
    cross_attention_layers: str = setting(
        "all",
        "cross-attention layers whose maps M_SCA are compared with the masks: all, or name prefixes "
        "separated by commas (ours)",
    )


@dataclass(frozen=True)
class SegmentationConfig(Settings):
    """Masks from words (Grounded-SAM and Grounded-SAM2 in Sec. 3.3 and 7.1, which give no settings)."""

    box_threshold: float = setting(0.35, "lowest score of a detected box, 0 to 1 (GroundingDINO's default)", 0, 1)
    text_threshold: float = setting(
        0.25, "lowest mean score of a query's words for a box, 0 to 1 (GroundingDINO's default)", 0, 1
    )
    boxes: str = setting(
        "best",
        "boxes per query; best: the one with the highest score; all: all of them, as one mask (ours)",
        choices=("best", "all"),
    )
    detection_interval: int = setting(
        8,
        ("run detection every N frames, to find subjects that appear later; 0: in the first frame only (ours)"),
        0,
        1024,
    )
    detector_image_size: int = setting(
        800, "shorter side of the detector's input in pixels; smaller is faster (GroundingDINO's default)", 64, 2048
    )
    dtype: str = setting(
        "auto",
        "precision of the segmentation models; auto: half precision on a GPU (ours)",
        choices=("auto", "fp32", "fp16", "bf16"),
    )
