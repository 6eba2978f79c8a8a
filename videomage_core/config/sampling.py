"""Settings of sampling: a plain video, and SCS (Sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import Settings, branch_weight_problems, setting


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
        problems = [*super().contradictions(), *branch_weight_problems(self.beta_subject, self.beta_motion)]
        if self.frames == 1 and self.tau and self.alpha:
            problems.append("frames: got 1, guidance by temporal attention needs at least 2; or set tau to 0")
        return problems


# The built-in base was trained on 8 frames of 48x48 pixels; its steps and guidance are ours.
EMOJI_SAMPLING = SamplingConfig(frames=8, height=48, width=48, steps=25, guidance_scale=5.0)
