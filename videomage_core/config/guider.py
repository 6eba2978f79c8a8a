"""Settings of collaborative sampling on a base that a host loads and samples: what SCS Guider asks for."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import Settings, branch_weight_problems, setting


@dataclass(frozen=True)
class GuiderConfig(Settings):
    """Collaborative sampling within a host's sampler (Sec. 3.3, Algorithm 1)."""

    cfg: float = setting(
        6.0, "classifier-free guidance of each branch; 1 is off and halves the time (Wan's own)", 0, 100
    )
    tau: int = setting(
        15,
        "first steps, in which the branches guide each other, made with Euler; 0 is off; with 4-step LoRAs at most 2 "
        "(paper, Sec. 4.1)",
        0,
        1000,
    )
    step_size: float = setting(
        0.01,
        "how far a guided step moves each branch's latents: RMS(update) / RMS(latents) in the first step; 0 is off "
        "(ours: means the same on every base)",
        0,
        1,
    )
    beta_schedule: str = setting(
        "constant",
        "shares of the branches over the steps; constant: beta_subject and beta_motion (paper); linear: the motion "
        "branch's falls from 1 to 0, the subject branch's rises from 0 to 1, and the two settings do not count (ours)",
        choices=("constant", "linear"),
    )
    beta_subject: float = setting(0.5, "share of the subject branch in a step (paper, Algorithm 1)", 0, 1)
    beta_motion: float = setting(0.5, "share of the motion branch in a step (paper, Algorithm 1)", 0, 1)
    recorded_blocks: str = setting(
        "auto",
        "transformer blocks whose attention is compared: auto (from a sixth to a third of the depth), all, or numbers "
        "and ranges: 3, 5-9; the last one sets the cost of a guided step (ours)",
    )
    alpha_decay: str = setting(
        "linear",
        "of the step size over all steps; linear: to a half; attend-and-excite: to 0.707, as its code; none (ours)",
        choices=("linear", "attend-and-excite", "none"),
    )
    real_tokens_only: bool = setting(
        False, "compare attention over the prompt's own tokens, without padding, which takes a part of it (ours: off)"
    )
    effect_weight: float = setting(1.0, "where several subject models are wired: how strongly each acts (ours)", 0, 4)
    start_percent: float = setting(
        0.0,
        "where the sigmas are a part of all steps, as in Wan 2.2: at which share of them this part starts (ours)",
        0,
        1,
    )
    end_percent: float = setting(1.0, "at which share of all steps this part ends (ours)", 0, 1)

    @property
    def guided(self) -> bool:
        """Whether any step is guided."""
        return self.tau > 0 and self.step_size > 0

    def contradictions(self) -> list[str]:
        problems = [*super().contradictions(), *branch_weight_problems(self.beta_subject, self.beta_motion)]
        if self.start_percent >= self.end_percent:
            problems.append(
                f"start_percent, end_percent: got {self.start_percent} and {self.end_percent}, the first must be less"
            )
        return problems
