"""Every setting of the engine: frozen dataclasses with the paper's defaults.

A setting is declared once, with its default, its help and its range; the command line's flags
and a node's widgets are read from here.  A config refuses values out of range and
contradictions when it is built, all of them in one message, long before a model is loaded.
"""

from __future__ import annotations

import dataclasses
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
    if (low is None or value >= low) and (high is None or value <= high):
        return []
    limits = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
    return [f"{field.name}: got {value}, allowed is {' and '.join(limits)}"]


@dataclass(frozen=True)
class SamplingConfig(Settings):
    """Plain guided sampling."""

    frames: int = setting(24, "length of the video in frames (paper, Sec. 4.1)", 1, 1024)
    height: int = setting(320, "height in pixels (paper, Sec. 4.1)", 8, 4096)
    width: int = setting(576, "width in pixels (paper, Sec. 4.1)", 8, 4096)
    fps: float = setting(8.0, "frames per second of the written video (paper, Sec. 4.1)", 0.1, 240)
    steps: int = setting(50, "denoising steps; more is slower and finer (paper, Sec. 4.1)", 1, 1000)
    guidance_scale: float = setting(
        9.0, "how strongly the prompt leads; 1 is off and halves the time (paper, Sec. 4.1)", 0, 100
    )
    negative_prompt: str = setting("", "what guidance leads away from (ours: empty; the paper does not say)")
    noise_prior: float = setting(
        0.3,
        "where a motion clip is given: share beta of its inverted noise in the start noise; 0 is off (paper, Sec. 7.1)",
        0,
        1,
    )
    ddim_inversion_steps: int = setting(
        50, "where a motion clip is given: DDIM inversion steps (ours, as MotionDirector)", 1, 1000
    )


@dataclass(frozen=True)
class CollaborativeConfig(SamplingConfig):
    """Spatial-temporal collaborative sampling, SCS (Sec. 3.3, Eq. 9-11, Algorithm 1)."""

    tau: int = setting(
        15,
        "first steps, in which the branches guide each other; 0 is off, steps or more is all (paper, Sec. 4.1)",
        0,
        1000,
    )
    alpha: float = setting(
        1e4, "how far guidance moves the latents, alike at every height and width; 0 is off (paper, Sec. 4.1)", 0, 1e9
    )
    alpha_decay: str = setting(
        "linear",
        "of alpha over all steps; linear: to a half; attend-and-excite: to 0.707, as its code; none (ours)",
        choices=("linear", "attend-and-excite", "none"),
    )
    guided_step_from: str = setting(
        "updated",
        "where a guided step starts: updated: at the mix of the two updated copies, as in Attend-and-Excite, "
        "which on the "
        "built-in base brings the branches' maps nearer to each other; original: at x_t itself, which there "
        "hardly does "
        "(ours: Algorithm 1 does not say)",
        choices=("updated", "original"),
    )
    beta_subject: float = setting(
        0.5, "share of the subject branch's noise in a step (paper, Algorithm 1, line 13)", 0, 1
    )
    beta_motion: float = setting(
        0.5, "share of the motion branch's noise in a step (paper, Algorithm 1, line 13)", 0, 1
    )
    subject_strength: float = setting(1.0, "strength of the subject LoRA in its branch (ours)", 0, 4)
    motion_strength: float = setting(1.0, "strength of the motion LoRA in its branch (ours)", 0, 4)
    cross_attention_layers: str = setting(
        "all", "layers whose M_SCA are compared: all, or beginnings of names, with commas (ours)"
    )
    temporal_attention_layers: str = setting(
        "all", "layers whose M_TSA are compared: all, or beginnings of names, with commas (ours)"
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
    """The one training loop; every stage has one of these."""

    steps: int = setting(300, "optimiser steps (paper, Sec. 4.1)", 1, 1_000_000)
    gradient_accumulation_steps: int = setting(1, "forwards summed up in one optimiser step; 1 is off (ours)", 1, 1024)
    optimizer: str = setting(
        "adamw", "adamw, or adamw8bit where bitsandbytes is installed (ours)", choices=("adamw", "adamw8bit")
    )
    lr_scheduler: str = setting(
        "constant", "of the learning rates after warm-up (ours)", choices=("constant", "cosine")
    )
    lr_warmup_steps: int = setting(0, "steps in which the learning rates rise from 0; 0 is off (ours)", 0, 1_000_000)
    max_grad_norm: float = setting(1.0, "gradients are scaled down to this norm; 0 is off (ours)", 0, 1e6)
    save_every_n_steps: int = setting(50, "steps between two checkpoints (ours)", 1, 1_000_000)
    sample_every_n_steps: int = setting(0, "steps between two samples; 0 is off (ours)", 0, 1_000_000)
    seed: int = setting(0, "decides everything random in the training (ours)", 0, 2**31)

    def contradictions(self) -> list[str]:
        if self.lr_warmup_steps >= self.steps > 0:
            return [f"lr_warmup_steps: got {self.lr_warmup_steps}, must be fewer than steps ({self.steps})"]
        return []


@dataclass(frozen=True)
class LoraTrainingConfig(TrainingConfig):
    """What the LoRA trainings share."""

    rank: int = setting(4, "rank R of the LoRA (paper, Sec. 4.1)", 1, 1024)
    learning_rate: float = setting(1e-4, "peak learning rate of the LoRA (paper, Sec. 4.1)", 0, 1)
    batch_size: int = setting(
        1, "pictures or clips that one forward takes; more is steadier and needs more memory (ours)", 1, 256
    )
    height: int = setting(320, "height in pixels (paper, Sec. 4.1)", 8, 4096)
    width: int = setting(576, "width in pixels (paper, Sec. 4.1)", 8, 4096)


@dataclass(frozen=True)
class NewLoraConfig(LoraTrainingConfig):
    """What the trainings share that begin with a new LoRA."""

    target_modules: str = setting(
        "all",
        "all: every linear layer of the transformers, as MotionDirector; attention: q, k, v and out alone (ours)",
        choices=("all", "attention"),
    )
    dropout: float = setting(0.0, "share of the LoRA's inputs dropped in training; 0 is off (ours)", 0, 0.9)


@dataclass(frozen=True)
class SubjectConfig(NewLoraConfig):
    """Subject LoRA (Sec. 3.2, Eq. 2-4)."""

    token_learning_rate: float = setting(1e-3, "peak learning rate of the token's vectors (paper, Sec. 4.1)", 0, 1)
    num_vectors_per_token: int = setting(1, "vectors the special token stands for (ours)", 1, 16)
    lambda1: float = setting(0.25, "weight of L_reg, which keeps the base's motion; 0 is off (paper, Eq. 4)", 0, 100)
    auxiliary_clips: int = setting(16, "clips the base makes for L_reg where none are given (ours)", 1, 10_000)
    auxiliary_frames: int = setting(8, "frames of the auxiliary clips (ours)", 2, 256)
    auxiliary_guidance_scale: float = setting(5.0, "guidance scale of the clips that the base makes (ours)", 1, 100)
    auxiliary_steps: int = setting(25, "denoising steps of the clips that the base makes (ours)", 1, 1000)
    random_flip: bool = setting(False, "show pictures mirrored too; wrong for what has a left and a right (ours)")
    min_crop_scale: float = setting(1.0, "cuts keep at least this share of a picture's sides; 1 is off (ours)", 0.2, 1)
    num_augmentations: int = setting(
        8, "ways each picture is cut or mirrored, drawn once; without either, 1 (ours)", 1, 256
    )
    resize_mode: str = setting(
        "crop", "crop: cut pictures to the video's shape; pad: show all of them (ours)", choices=("crop", "pad")
    )


@dataclass(frozen=True)
class MotionConfig(NewLoraConfig):
    """Appearance-agnostic motion LoRA (Sec. 3.2, Eq. 5)."""

    frames: int = setting(24, "frames taken of each clip (paper, Sec. 4.1)", 2, 1024)
    objective: str = setting(
        "appearance-agnostic",
        "appearance-agnostic: Eq. 5; motion_director: MotionDirector, by its spatial and temporal LoRAs",
        choices=("appearance-agnostic", "motion_director"),
    )
    omega: float = setting(0.5, "how far the clip's appearance is taken out; 0 is the plain loss (paper, Eq. 5)", 0, 10)
    train_transformer_in: bool = setting(True, "train the temporal transformer at the network's input too (ours)")
    textual_inversion_steps: int = setting(
        300, "steps of textual inversion for each subject of a clip (ours)", 1, 100_000
    )
    textual_inversion_learning_rate: float = setting(
        1e-3, "peak, of the inverted tokens' vectors (paper, Sec. 4.1)", 0, 1
    )
    textual_inversion_num_vectors: int = setting(1, "vectors each inverted token stands for (ours)", 1, 16)
    textual_inversion_frame: float = setting(
        0.0, "the frame whose subjects are inverted, as a share of the clip: 0 the first, 1 the last (ours)", 0, 1
    )
    textual_inversion_background: float = setting(
        0.8, "brightness of the plain background behind a cut-out subject, 0 black to 1 white (ours)", 0, 1
    )
    appearance_prompt: str = setting(
        "A static video of {subjects}", "c_ap, the static appearance, with {subjects} for the tokens (paper, Sec. 7.1)"
    )

    def contradictions(self) -> list[str]:
        problems = super().contradictions()
        if "{subjects}" not in self.appearance_prompt:
            problems.append(f"appearance_prompt: got {self.appearance_prompt!r}, must hold {{subjects}}")
        return problems


@dataclass(frozen=True)
class FusionConfig(LoraTrainingConfig):
    """Fusing subject LoRAs (Sec. 3.3, Eq. 6-8)."""

    steps: int = setting(350, "optimiser steps (paper, Sec. 7.1: 250 to 450)", 1, 1_000_000)
    learning_rate: float = setting(1e-4, "peak learning rate (ours: the paper does not say)", 0, 1)
    rank: int = setting(
        0,
        "rank of the fused LoRA; 0: the sum of the subjects' ranks, which begins as their exact average (ours)",
        0,
        1024,
    )
    batch_size: int = setting(0, "subjects in one step of L_fusion; 0: all of them, as Eq. 6 (ours)", 0, 64)
    lambda2: float = setting(0.6, "weight of L_attn, which keeps subjects apart; 0 is off (paper, Eq. 8)", 0, 100)
    frames: int = setting(8, "frames of the teacher videos (ours)", 2, 1024)
    teacher_videos: int = setting(4, "videos that each subject's LoRA makes of itself (ours)", 1, 1000)
    teacher_steps: int = setting(25, "denoising steps of the teacher videos (ours)", 1, 1000)
    teacher_guidance_scale: float = setting(9.0, "guidance scale of the teacher videos (paper, Sec. 4.1)", 0, 100)
    cutmix_videos: int = setting(2, "videos of each subject that are cut out for L_attn (ours)", 1, 1000)
    cutmix_overlap: float = setting(0.3, "largest share of a subject that the other may cover (ours)", 0, 0.9)
    cross_attention_layers: str = setting(
        "all", "layers whose M_SCA are compared with masks: all, or beginnings of names, with commas (ours)"
    )


@dataclass(frozen=True)
class SegmentationConfig(Settings):
    """Masks from words (Sec. 3.3 and 7.1 name Grounded-SAM and Grounded-SAM2, and no settings)."""

    box_threshold: float = setting(
        0.35, "how sure the detector must be of a box, 0 to 1 (ours, GroundingDINO's own)", 0, 1
    )
    text_threshold: float = setting(
        0.25, "how well all of a subject's words must fit a box, 0 to 1 (ours, GroundingDINO's own)", 0, 1
    )
    boxes: str = setting("best", "of each word: the best box, or all, as one mask (ours)", choices=("best", "all"))
    detection_interval: int = setting(
        8,
        "frames from one look for words to the next, for those who come later; 0: the first frame only (ours)",
        0,
        1024,
    )
    detector_image_size: int = setting(
        800, "shorter side of the detector's picture in pixels; less is faster (ours, GroundingDINO's own)", 64, 2048
    )
    dtype: str = setting(
        "auto", "auto: half precision on a GPU; fp32, fp16 or bf16 (ours)", choices=("auto", "fp32", "fp16", "bf16")
    )
