"""MotionDirector, the baseline (Zhao et al. 2023): a spatial LoRA takes in the looks, the temporal one the rest.

Two paths, each with a gradient of its own; eps and t are the same in both:

    spatial:   L_spatial = || eps_theta_s(x_t[f], c, t) - eps[f] ||^2           one random frame f, temporal LoRA off
    temporal:  L_mot + L_debiased, the spatial LoRA on, but a constant
               L_mot      = || eps_theta_s,t(x_t, c, t) - eps ||^2
               L_debiased = || phi(eps_theta_s,t(x_t, c, t)) - phi(eps) ||^2    phi against a random anchor frame

In a fifth of the steps the spatial LoRA is off and its path is left out.  Only the temporal LoRA is kept.  All
this is as in the authors' code.  Ours: rank, learning rates and steps are those of every motion LoRA here, one
spatial LoRA serves all clips (theirs can have one for each), no frame is mirrored, both gradients are clipped
together, and both LoRAs take their steps at once (theirs: the spatial one first).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from ..config import MotionConfig
from ..model import lora
from ..model.backbone import Backbone
from ..sampling import add_noise, training_target
from ..training.grad_scaling import scaled_gradients, with_gradients

MOTION, APPEARANCE = "motion", "appearance"
SKIPPED = 0.2  # of the steps, in which the spatial LoRA is off


@contextmanager
def appearance_lora(backbone: Backbone, config: MotionConfig) -> Iterator[dict[str, torch.nn.Parameter]]:
    """Inside, a new LoRA on the spatial layers stands ready beside the motion's, which acts; afterwards it is gone.

    Yields:
        Its parameters by names that are the same in every run.
    """
    targets = backbone.targets("spatial", config.target_modules == "attention")
    with (
        lora.trainable_adapter(backbone, APPEARANCE, targets, config) as parameters,
        lora.use_adapters(backbone, {MOTION: 1.0}),
    ):
        yield parameters


def dual_path_loss(
    backbone: Backbone,
    x0: torch.Tensor,
    text: torch.Tensor,
    appearance: Sequence[torch.Tensor],
    motion: Sequence[torch.Tensor],
    generator: torch.Generator,
    scale: float = 1.0,
) -> dict[str, torch.Tensor]:
    """The terms of both paths, of freshly noised clips; each carries a gradient to its own LoRA alone.

    Blocks that are recomputed in the backward pass run with the adapters that act then; so each path's gradient is
    taken while its own do.

    Args:
        backbone: the base, with the adapters ``MOTION`` and ``APPEARANCE`` on it.
        x0: clean latents [B, C, F, h, w].
        text: their prompts, encoded [B, T, D].
        appearance: the spatial LoRA's parameters.
        motion: the temporal LoRA's.
        generator: of all randomness.
        scale: as ``fit``'s loss scale; halved where half precision overflows.

    Returns:
        L_spatial (0 where it is left out), L_mot and L_debiased.
    """
    level = backbone.random_level(len(x0), generator)
    eps = torch.randn(x0.shape, generator=generator).to(x0.device)
    x_t, target = add_noise(x0, eps, level), training_target(x0, eps, level, backbone.prediction)
    skipped = bool(torch.rand((), generator=generator) < SKIPPED)
    frame, anchor = torch.randint(x0.shape[2], (2,), generator=generator).tolist()
    one = slice(frame, frame + 1)

    def spatial() -> dict[str, torch.Tensor]:
        output = backbone.predict(x_t[:, :, one], level, text)
        return {"L_spatial": (output - target[:, :, one]).square().mean()}

    def temporal() -> dict[str, torch.Tensor]:
        output = backbone.predict(x_t, level, text)
        apart = debiased(output, anchor) - debiased(target, anchor)
        return {"L_mot": (output - target).square().mean(), "L_debiased": apart.square().mean()}

    terms = {"L_spatial": torch.zeros((), device=x0.device)}
    if not skipped:
        with lora.use_adapters(backbone, {APPEARANCE: 1.0}):
            terms.update(_own_gradient(spatial, appearance, scale))
    with lora.use_adapters(backbone, {MOTION: 1.0} if skipped else {MOTION: 1.0, APPEARANCE: 1.0}):
        terms.update(_own_gradient(temporal, motion, scale))
    return terms


def debiased(output: torch.Tensor, anchor: int, beta: float = 1.0) -> torch.Tensor:
    """phi of MotionDirector, Eq. 4: each frame of [B, C, F, h, w] against an anchor frame of the same clip."""
    return (beta**2 + 1) ** 0.5 * output - beta * output[:, :, anchor : anchor + 1]


def _own_gradient(
    path: Callable[[], dict[str, torch.Tensor]], parameters: Sequence[torch.Tensor], scale: float
) -> dict[str, torch.Tensor]:
    """A path's terms, whose sum's gradient to ``parameters`` is taken now and carried by the last of them."""
    terms = path()
    gradients = scaled_gradients(torch.stack(list(terms.values())).sum(), parameters, scale)
    *others, last = terms
    carried = with_gradients(terms[last], parameters, gradients)
    return {**{name: terms[name].detach() for name in others}, last: carried}
