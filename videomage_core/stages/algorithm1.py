"""Algorithm 1 of the paper, a function a line: what every sampler of collaborative videos is made of.

In a step from noise level t to t-1, x_t is copied into x_sub and x_mot.

    betas_at            beta_s, beta_m of the step
    branch_output       eps_sub = eps_theta_hat_s(x_sub, c_tgt, t), eps_mot = eps_theta_m(x_mot, c~_tgt, t)    (Eq. 9)
    guidance_losses     L_s->m = || M_SCA,s - M_SCA,m ||^2,  L_m->s = || M_TSA,s - M_TSA,m ||^2               (Eq. 10)
    guided_update       x_mot := x_mot - alpha_t * grad L_s->m,  x_sub := x_sub - alpha_t * grad L_m->s        (Eq. 11)
    mix                 eps_t = beta_s * eps_sub + beta_m * eps_mot                                         (line 13)

Lines of x_sub and x_mot come in pairs, the subject branch's first.  ``guidance`` has both gradients of Eq. 10.

Where the paper is silent (ours):

* Norms are means, over a layer's map and then over the layers: 1e3 to 1e5 all work in Table 3e, which suggests means.
* The mix is one of (x0, eps) pairs, each of a branch at its own latents.  Every conversion of ``sampling.py`` is
  linear in output and latents together, so outputs and latents are mixed alike, and nothing is divided by a: under
  flow matching the first step has a = 0 and s = 1.
* "linear" shares: beta_m falls from 1 to 0 and beta_s rises from 0 to 1 over all steps.  The first steps decide a
  video's layout, and the subject branch does not know the motion's word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..model import lora
from ..model.attention_maps import AttentionLayer, AttentionMaps
from ..model.encoded_text import EncodedText
from ..sampling import predict_with_guidance, step, to_x0_eps
from ..training.grad_scaling import scaled_gradients

if TYPE_CHECKING:
    from ..config import CollaborativeConfig, GuiderConfig
    from ..model.backbone import Backbone, NoiseLevel, Prediction
    from ..model.text import SpecialToken, TokenSpan

PAPER_VALUES = 4 * 24 * 40 * 72  # latent values of the paper's videos: 24 frames of 320x576 pixels
SUBJECT, MOTION = "subject", "motion"  # names of the two adapters


@dataclass(frozen=True)
class Branch:
    """One of the two: its LoRA on the base, its prompt, and where the subjects' words stand in it."""

    adapter: str
    strength: float
    text: EncodedText  # one
    spans: list[TokenSpan]


Pair = tuple[torch.Tensor, torch.Tensor]  # of x_sub and x_mot, or of the two branches


def branches_of(
    backbone: Backbone,
    prompt: str,
    tokens: Sequence[SpecialToken],
    config: CollaborativeConfig,
) -> tuple[Branch, Branch]:
    """The subject branch, which reads c_tgt, and the motion branch, which reads c~_tgt with superclass words."""

    def branch(adapter: str, strength: float, plain: bool) -> Branch:
        text = backbone.encode_prompt([prompt], tokens, as_superclass=plain)
        return Branch(adapter, strength, text, backbone.token_spans(prompt, tokens, as_superclass=plain))

    return branch(SUBJECT, config.subject_strength, False), branch(MOTION, config.motion_strength, True)


# --- the shares of the branches and the size of the update


def betas_at(progress: float, config: CollaborativeConfig | GuiderConfig) -> tuple[float, float]:
    """(beta_s, beta_m) at ``progress`` through all steps: 0 in the first, 1 in the last.  They sum to 1."""
    if config.beta_schedule == "linear":
        return progress, 1 - progress
    return config.beta_subject, config.beta_motion


def decay_at(progress: float, kind: str) -> float:
    """alpha_t / alpha at ``progress`` through all steps, by ``CollaborativeConfig.alpha_decay``."""
    if kind == "none":
        return 1.0
    return 1 - 0.5 * progress if kind == "linear" else (1 - 0.5 * progress) ** 0.5


def progress_at(index: int, steps: int) -> float:
    """Of step ``index`` of ``steps``, counted from 0: 0 in the first, 1 in the last."""
    return index / max(1, steps - 1)


def alpha_at(index: int, config: CollaborativeConfig) -> float:
    """alpha_t of step ``index``, counted from 0."""
    return config.alpha * decay_at(progress_at(index, config.steps), config.alpha_decay)


# --- Eq. 9: what each branch predicts


def branch_output(
    backbone: Backbone, branch: Branch, x: torch.Tensor, level: NoiseLevel, negative: EncodedText, scale: float
) -> torch.Tensor:
    """Eq. 9: one branch's native output at its latents x [B, C, F, h, w], under classifier-free guidance."""
    with lora.use_adapters(backbone, {branch.adapter: branch.strength}):
        return predict_with_guidance(backbone, x, level, branch.text, negative, scale)


# --- Eq. 10: what each branch tells the other


def map_distance(moved: Mapping[str, torch.Tensor], constant: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """|| moved - constant ||^2: the mean over each layer's map, then over the layers.

    Args:
        moved: maps by layer, with a graph.
        constant: the other branch's, of the same layers and shapes; no gradient flows there.
    """
    errors = [(moved[name] - constant[name].detach()).square().mean() for name in moved]
    return torch.stack(errors).mean()


def guidance_losses(subject: AttentionMaps, motion: AttentionMaps) -> Pair:
    """Eq. 10: L_m->s, whose gradient moves x_sub, and L_s->m, whose gradient moves x_mot.  Both []."""
    return map_distance(subject.temporal, motion.temporal), map_distance(motion.cross, subject.cross)


def guidance(
    backbone: Backbone,
    x: torch.Tensor,
    level: NoiseLevel,
    branches: tuple[Branch, Branch],
    cross: Sequence[AttentionLayer],
    temporal: Sequence[AttentionLayer],
) -> tuple[AttentionMaps, Pair]:
    """The gradients of Eq. 10 at x [1, C, F, h, w]: two forwards to the last attention layer, two backward passes.

    Where the base recomputes activations, only one branch's are there at a time: a fraction of the memory, for one more
    forward and each layer run twice; the same result.

    Args:
        backbone: the base, with both LoRAs on it.
        x: noisy latents.
        level: theirs.
        branches: subject's and motion's.
        cross: whose M_SCA are compared.
        temporal: whose M_TSA are compared.

    Returns:
        The subject branch's maps, and the gradients of L_m->s to x_sub and of L_s->m to x_mot, both like x.
    """
    subject, motion = branches
    # Half precision would round these gradients, of means over whole maps, to zero in the backward pass.
    scale = 2.0**20 if backbone.dtype == torch.float16 else 1.0

    def gradient(loss: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
        (result,) = scaled_gradients(loss, [of], scale)
        assert result is not None
        return result

    def record_forward(
        branch: Branch, moving: Sequence[AttentionLayer], constant: Sequence[AttentionLayer] = ()
    ) -> AbstractContextManager[tuple[torch.Tensor, AttentionMaps]]:
        return attended(backbone, x, level, branch, moving, constant)

    with torch.enable_grad():
        if not backbone.memory.gradient_checkpointing:
            with record_forward(subject, temporal, constant=cross) as (x_sub, subject_maps):
                pass
            with record_forward(motion, cross, constant=temporal) as (x_mot, motion_maps):
                pass
            to_sub, to_mot = guidance_losses(subject_maps, motion_maps)
            return subject_maps, (gradient(to_sub, x_sub), gradient(to_mot, x_mot))
        with torch.no_grad(), record_forward(motion, temporal) as (_, motion_maps):
            pass
        # Recorded again in the backward pass.
        with record_forward(subject, temporal, constant=cross) as (x_sub, subject_maps):
            to_sub = gradient(map_distance(subject_maps.temporal, motion_maps.temporal), x_sub)
        subject_maps.temporal.clear()  # and with it the graph
        with record_forward(motion, cross) as (x_mot, motion_maps):
            to_mot = gradient(map_distance(motion_maps.cross, subject_maps.cross), x_mot)
        return subject_maps, (to_sub, to_mot)


@contextmanager
def attended(
    backbone: Backbone,
    x: torch.Tensor,
    level: NoiseLevel,
    branch: Branch,
    moving: Sequence[AttentionLayer],
    constant: Sequence[AttentionLayer] = (),
) -> Iterator[tuple[torch.Tensor, AttentionMaps]]:
    """One branch run as far as the last attention layer; its LoRA acts inside.

    Yields a copy of x, and the maps: gradients flow from those of ``moving`` to it.
    """
    copy = x.detach().requires_grad_(torch.is_grad_enabled())
    with (
        lora.use_adapters(backbone, {branch.adapter: branch.strength}),
        backbone.record([*moving, *constant], branch.spans, stop=True, constant=constant) as maps,
    ):
        backbone.record_forward(copy, level, branch.text)
        yield copy, maps


# --- Eq. 11: the update


def guided_update(x: torch.Tensor, gradient: torch.Tensor, alpha: float | torch.Tensor) -> torch.Tensor:
    """Eq. 11: x - alpha_t * gradient, both [B, C, F, h, w]; x where alpha_t is 0, even if the gradient is NaN."""
    return torch.where(torch.as_tensor(alpha, device=x.device) == 0, x, x - alpha * gradient)


def alpha_for_step_size(x: torch.Tensor, gradient: torch.Tensor, step_size: float) -> torch.Tensor:
    """The alpha_t of each video, [B, 1, 1, 1, 1], of an update with RMS(update) / RMS(x) = ``step_size``.

    0 where the gradient is 0 or not finite: such a video is left alone.
    """
    size, of_x = (of.square().mean((1, 2, 3, 4), keepdim=True).sqrt() for of in (gradient, x))
    known = size.isfinite() & (size > 0)
    return torch.where(known, step_size * of_x / size, torch.zeros_like(size))


def rms(values: torch.Tensor) -> float:
    """Root of the mean square."""
    return float(values.square().mean().sqrt())


# --- line 13: the mix, and the step


def mix(outputs: Sequence[torch.Tensor | None], latents: Pair, betas: tuple[float, float]) -> Pair:
    """Line 13: the two branches' predictions as one (output, latents), of which the step is made.

    ``to_x0_eps`` of the result is beta_s * (x0, eps) of the subject branch + beta_m * (x0, eps) of the motion
    branch, each at its own latents, for every kind of prediction; under flow matching also where a = 0.

    Args:
        outputs: native outputs [B, C, F, h, w]; None where beta is 0.
        latents: x_sub and x_mot, of the same noise level.
        betas: beta_s and beta_m, which sum to 1.
    """
    output = torch.zeros_like(latents[0])
    for one, beta in zip(outputs, betas, strict=True):
        if beta != 0:
            assert one is not None
            output = output + beta * one
    if latents[0] is latents[1]:
        return output, latents[0]
    return output, betas[0] * latents[0] + betas[1] * latents[1]


def collaborative_step(
    backbone: Backbone,
    x: torch.Tensor,
    levels: tuple[NoiseLevel, NoiseLevel],
    branches: tuple[Branch, Branch],
    negative: EncodedText,
    latents: Pair,
    betas: tuple[float, float],
    config: CollaborativeConfig,
) -> Pair:
    """Lines 12 to 14: both branches' outputs at x_sub and x_mot, their mix, and one step.

    Args:
        backbone: the base, with both LoRAs on it.
        x: x_t [1, C, F, h, w], where an "original" step starts.
        levels: x's, and that of the step's end.
        branches: subject's and motion's; one with beta 0 is not run.
        negative: what guidance leads away from, encoded.
        latents: x_sub and x_mot after Eq. 11, or x twice.
        betas: beta_s and beta_m.
        config: guidance scale, and where a guided step starts.

    Returns:
        The estimate of the clean latents, and x_t-1.
    """
    outputs = [
        branch_output(backbone, branch, at, levels[0], negative, config.guidance_scale) if beta else None
        for branch, at, beta in zip(branches, latents, betas, strict=True)
    ]
    kind: Prediction = backbone.prediction
    if latents[0] is not latents[1] and config.guided_step_from == "original":
        if float(levels[0].a.min()) == 0:
            raise ValueError(
                "guided_step_from: got 'original', which has no first step under flow matching; choose 'updated'"
            )
        noises = [
            None if output is None else to_x0_eps(output, at, levels[0], kind)[1]
            for output, at in zip(outputs, latents, strict=True)
        ]
        output, start, kind = mix(noises, (x, x), betas)[0], x, "epsilon"
    else:
        output, start = mix(outputs, latents, betas)
    return to_x0_eps(output, start, levels[0], kind)[0], step(output, start, levels[0], levels[1], kind)
