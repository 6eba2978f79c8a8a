"""The noise levels of flow matching: x_s = (1 - s) x0 + s eps, with a shift that gives high noise more of the steps.

u in 0..1, spread evenly, stands at s = k u / (1 + (k - 1) u) (Esser et al. 2024, Eq. 23); k is 3 for Wan at low
resolutions and 5 at high ones.  The network reads t = 1000 s.  The first level is pure noise, s = 1 and a = 0.
"""

from __future__ import annotations

import torch

from .backbone import NoiseLevel


class FlowSchedule:
    """Noise levels by their share of noise.

    Args:
        shift: k.
        timesteps: what the network reads at s = 1.
        noise: the least and the most s of random levels: those that one of several experts is for.
    """

    def __init__(self, shift: float, timesteps: int = 1000, noise: tuple[float, float] = (0.0, 1.0)) -> None:
        if not 0 <= noise[0] < noise[1] <= 1:
            raise ValueError(f"noise: got {noise[0]} to {noise[1]}, must rise within 0 to 1")
        self.shift, self.timesteps, self.noise = shift, timesteps, noise

    def level(self, s: torch.Tensor) -> NoiseLevel:
        """The level with a share of noise s, [] or [B]."""
        s = s.float()
        return NoiseLevel(s * self.timesteps, 1 - s, s)

    def shifted(self, u: torch.Tensor) -> torch.Tensor:
        """s for each u in 0..1."""
        return self.shift * u / (1 + (self.shift - 1) * u)

    def levels(self, steps: int) -> list[NoiseLevel]:
        """``steps`` + 1 levels from s = 1 to s = 0, as Wan's own sampling by Euler."""
        if not 1 <= steps <= self.timesteps:
            raise ValueError(f"steps: got {steps}, allowed: 1 to {self.timesteps}")
        shares = self.shifted(torch.linspace(1, 0, steps + 1, dtype=torch.float64))
        return [self.level(s) for s in shares]

    def level_at(self, share: float) -> NoiseLevel:
        """The level with that share of noise."""
        return self.level(torch.tensor(share))

    def random_level(self, batch: int, generator: torch.Generator) -> NoiseLevel:
        """Random levels [B]: u drawn evenly from (0, 1], and shifted as in the base's own training; of one expert,
        from the part of it whose s it is for."""
        low, high = (self._unshifted(s) for s in self.noise)
        return self.level(self.shifted(high - (high - low) * torch.rand(batch, generator=generator)))

    def _unshifted(self, s: float) -> float:
        """u of an s."""
        return min(1.0, s / (self.shift - (self.shift - 1) * s))
