"""Settings of collaborative sampling on a base that a host loads and samples: what SCS Guider asks for."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import Settings, branch_weight_problems, setting


@dataclass(frozen=True)
class GuiderConfig(Settings):
    """Collaborative sampling within a host's sampler (Sec. 3.3, Algorithm 1)."""

    cfg: float = setting(
        6.0, ("classifier-free guidance scale of each branch; 1 is off and halves the time (Wan's default)"), 0, 100
    )
    tau: int = setting(
        15,
        (
            "number of first steps in which the branches guide each other; these use Euler; 0 is "
            "off; at most 2 with 4-step LoRAs (paper, Sec. 4.1)"
        ),
        0,
        1000,
    )
    step_size: float = setting(
        0.01,
        (
            "step size of collaborative guidance, as RMS(update) / RMS(latents) in the first step; 0 "
            "is off (ours: it means the same on every base)"
        ),
        0,
        1,
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
    beta_subject: float = setting(0.5, "weight of the subject branch's prediction (paper, Algorithm 1, line 13)", 0, 1)
    beta_motion: float = setting(0.5, "weight of the motion branch's prediction (paper, Algorithm 1, line 13)", 0, 1)
    recorded_blocks: str = setting(
        "auto",
        (
            "transformer blocks whose attention maps are compared: auto (from a sixth to a third of "
            "the depth), all, or numbers and ranges such as 3, 5-9; the last one determines the cost "
            "of a guided step (ours)"
        ),
    )
    alpha_decay: str = setting(
        "linear",
        (
            "schedule of step_size over all steps; linear: falls to a half; attend-and-excite: falls "
            "to 0.707, as in its code; none: constant (ours)"
        ),
        choices=("linear", "attend-and-excite", "none"),
    )
    real_tokens_only: bool = setting(
        False,
        ("compare attention to the prompt's own tokens only, not to padding, which receives attention too (ours: off)"),
    )
    effect_weight: float = setting(
        1.0, "weight of each subject's effect, if several subject models are connected (ours)", 0, 4
    )
    start_percent: float = setting(
        0.0,
        ("fraction of all steps at which this guider starts, if two guiders split the sigmas, as for Wan 2.2 (ours)"),
        0,
        1,
    )
    end_percent: float = setting(1.0, "fraction of all steps at which this guider ends (ours)", 0, 1)

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
