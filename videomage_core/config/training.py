"""Settings of the trainings: a subject, a motion (Sec. 3.2) and a fusion (Sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import Settings, setting


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
