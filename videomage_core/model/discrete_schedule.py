"""The noise levels of a base with a table of timesteps, as DDPM's.

x_t = sqrt(alpha_bar_t) * x0 + sqrt(1 - alpha_bar_t) * eps.
"""

from __future__ import annotations

import torch

from .backbone import NoiseLevel


class DiscreteSchedule:
    """Noise levels by timestep.

    Args:
        alphas_cumprod: alpha_bar of each timestep, float32 [N].
        set_alpha_to_one: the clean end holds no noise at all; else it is that of timestep 0.
        steps_offset: added to the timesteps of sampling, as diffusers' DDIMScheduler does.
    """

    def __init__(self, alphas_cumprod: torch.Tensor, set_alpha_to_one: bool = False, steps_offset: int = 0) -> None:
        self.alphas_cumprod = alphas_cumprod
        self.set_alpha_to_one, self.steps_offset = set_alpha_to_one, steps_offset

    def _level(self, t: torch.Tensor) -> NoiseLevel:
        alpha_bar = self.alphas_cumprod[t]
        return NoiseLevel(t, alpha_bar.sqrt(), (1 - alpha_bar).sqrt())

    def levels(self, steps: int) -> list[NoiseLevel]:
        """``steps`` + 1 levels from noisy to clean.

        Evenly spaced as DDIM's "leading" spacing, the last at the schedule's clean end.
        """
        length = len(self.alphas_cumprod)
        if not 1 <= steps <= length:
            raise ValueError(f"steps: got {steps}, allowed: 1 to {length}")
        offset = self.steps_offset if steps < length else 0  # with every step there is no room for one
        times = torch.arange(steps).flip(0) * (length // steps) + offset
        noisy = [self._level(t) for t in times.clamp(max=length - 1)]
        zero = torch.tensor(0)
        clean = NoiseLevel(zero, torch.tensor(1.0), torch.tensor(0.0)) if self.set_alpha_to_one else self._level(zero)
        return [*noisy, clean]

    def level_at(self, share: float) -> NoiseLevel:
        """The level at a share of all timesteps, as ``levels`` counts them."""
        last = len(self.alphas_cumprod) - 1
        return self._level(torch.tensor(int(share * (last + 1)) + self.steps_offset).clamp(max=last))

    def random_level(self, batch: int, generator: torch.Generator) -> NoiseLevel:
        """Random levels [B], timesteps drawn evenly."""
        return self._level(torch.randint(len(self.alphas_cumprod), (batch,), generator=generator))
