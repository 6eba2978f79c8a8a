"""Several subject LoRAs composed by their effects on the prediction, without training (ours; the paper fuses them).

    eps = eps_base guided on plain words + w * sum over n of (eps_n(c) - eps_base(c~))

c names the subjects by their tokens, c~ by plain words.  An average of N LoRAs divides each one's effect by N and lets
them mix in every layer; here each acts whole, and they meet in the prediction alone.  N + 1 forwards a step.  The
coefficients sum to 1, so it holds for eps, for x0 and for any native output alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def composed(
    guided: torch.Tensor, plain: torch.Tensor, subjects: Sequence[torch.Tensor], weight: float = 1.0
) -> torch.Tensor:
    """The composed prediction.  All [B, C, F, H, W].

    Args:
        guided: the base's, under classifier-free guidance on plain words.
        plain: the base's conditional one on plain words.
        subjects: each subject's conditional one on the tokens' prompt.
        weight: w; 0 is the base alone.
    """
    result = guided
    for subject in subjects:
        result = result + weight * (subject - plain)
    return result
