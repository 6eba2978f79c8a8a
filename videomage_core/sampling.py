"""Sampling: the step formula, classifier-free guidance, plain sampling and DDIM inversion.

Conversions between a network's native output o and (x0, eps), with x = a * x0 + s * eps:

| prediction | o is         | x0          | eps         |
|------------|--------------|-------------|-------------|
| epsilon    | eps          | (x - s*o)/a | o           |
| v          | a*eps - s*x0 | a*x - s*o   | s*x + a*o   |
| flow       | eps - x0     | x - s*o     | x + a*o     |

One step formula serves all: x' = a' * x0 + s' * eps.  It is DDIM (Song et al. 2021, Eq. 12 with
sigma = 0) for eps and v, and Euler's for flow.  Inversion solves the same formula for x.

The paper's equations are of noise.  What they become of the native output o, which under flow is v = eps - x0, so that
eps = x + a * o:

| equation | with o | under flow, against the noise's |
|---|---|---|
| 1, 2, 3 losses | mean (o - target)^2 | the same over a^2, which is flow matching's own weight |
| 5 target | (1 + omega) * target - omega * o_ap | the same target: the coefficients sum to 1; its loss over a^2 |
| 6 distillation | mean (o_fused - o_n)^2 | the same over a^2 |
| 7, 10 maps; 11 update of latents | hold no prediction | the same |
| 9 guidance | o_neg + scale * (o_c - o_neg) | the same: the coefficients sum to 1 |
| line 13 mix | of (x0, eps), each branch's at its own latents | the same; nothing is divided by a, which begins at 0 |
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .callbacks import Callbacks
from .config import SamplingConfig
from .model.backbone import Backbone, NoiseLevel, Prediction
from .model.encoded_text import EncodedText, concat_texts, repeat_text
from .model.text import SpecialToken


def to_x0_eps(
    output: torch.Tensor, x: torch.Tensor, level: NoiseLevel, prediction: Prediction
) -> tuple[torch.Tensor, torch.Tensor]:
    """(x0, eps) from the native output.  All [B, C, F, H, W]."""
    a, s = level.coefficients(x)
    if prediction == "epsilon":
        return (x - s * output) / a, output
    if prediction == "v":
        return a * x - s * output, s * x + a * output
    return x - s * output, x + a * output


def training_target(x0: torch.Tensor, eps: torch.Tensor, level: NoiseLevel, prediction: Prediction) -> torch.Tensor:
    """The network's target output for x = a * x0 + s * eps.  All [B, C, F, H, W]."""
    a, s = level.coefficients(x0)
    if prediction == "epsilon":
        return eps
    return a * eps - s * x0 if prediction == "v" else eps - x0


def add_noise(x0: torch.Tensor, eps: torch.Tensor, level: NoiseLevel) -> torch.Tensor:
    """x = a * x0 + s * eps.  All [B, C, F, H, W]."""
    a, s = level.coefficients(x0)
    return a * x0 + s * eps


def step(
    output: torch.Tensor, x: torch.Tensor, level: NoiseLevel, following: NoiseLevel, prediction: Prediction
) -> torch.Tensor:
    """One deterministic step from ``level`` to ``following``, in either direction.  [B, C, F, H, W]."""
    return add_noise(*to_x0_eps(output, x, level, prediction), following)


def inverse_step(
    output: torch.Tensor, x: torch.Tensor, level: NoiseLevel, following: NoiseLevel, prediction: Prediction
) -> torch.Tensor:
    """The latents at ``level`` that ``step`` with this output maps to x at ``following``.

    ``step`` is linear, x = P * x' + Q * o, so x' = (x - Q * o) / P.  [B, C, F, H, W].
    """
    one, zero = torch.ones((1,) * x.ndim, device=x.device), torch.zeros((1,) * x.ndim, device=x.device)
    of_point = step(zero, one, level, following, prediction)
    of_output = step(one, zero, level, following, prediction)
    return (x - of_output * output) / of_point


def classifier_free_guidance(unconditional: torch.Tensor, conditional: torch.Tensor, scale: float) -> torch.Tensor:
    """Classifier-free guidance on the native output; the coefficients sum to 1."""
    return unconditional + scale * (conditional - unconditional)


def predict_with_guidance(
    backbone: Backbone, x: torch.Tensor, level: NoiseLevel, text: EncodedText, negative: EncodedText, scale: float
) -> torch.Tensor:
    """The native output under classifier-free guidance; both halves in one batch, the unconditional one first.

    Args:
        backbone: the base.
        x: noisy latents [B, C, F, H, W].
        level: one level for all of x.
        text: B encoded prompts.
        negative: the negative prompt, encoded B times.
        scale: guidance scale; 1 predicts only the conditional half.
    """
    return predict_guided_and_plain(backbone, x, level, text, negative, scale)[0]


def predict_guided_and_plain(
    backbone: Backbone, x: torch.Tensor, level: NoiseLevel, text: EncodedText, negative: EncodedText, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The output under guidance, and the conditional one that it is made of; arguments as ``predict_with_guidance``."""
    if scale == 1:
        output = backbone.predict(x, level, text)
        return output, output
    output = backbone.predict(torch.cat([x, x]), level, concat_texts([negative, text]))
    unconditional, conditional = output.chunk(2)
    return classifier_free_guidance(unconditional, conditional, scale), conditional


@torch.no_grad()
def sample(
    backbone: Backbone,
    noise: torch.Tensor,
    text: EncodedText,
    negative: EncodedText,
    config: SamplingConfig,
    callbacks: Callbacks | None = None,
) -> torch.Tensor:
    """Plain sampling with classifier-free guidance.

    Args:
        backbone: the base, with its active LoRAs.
        noise: initial noise [B, C, F, H, W].
        text: B encoded prompts.
        negative: the negative prompt, encoded B times.
        config: steps and guidance scale.
        callbacks: progress, previews and cancellation.

    Returns:
        Clean latents [B, C, F, H, W].
    """
    callbacks = callbacks or Callbacks()
    levels = backbone.levels(config.steps)
    x = noise.to(backbone.device).float()
    for index in range(config.steps):
        callbacks.check()
        output = predict_with_guidance(backbone, x, levels[index], text, negative, config.guidance_scale)
        preview(backbone, to_x0_eps(output, x, levels[index], backbone.prediction)[0], index, config.steps, callbacks)
        x = step(output, x, levels[index], levels[index + 1], backbone.prediction)
        callbacks.progress(index + 1, config.steps, "sampling")
    return x


def preview(backbone: Backbone, x0: torch.Tensor, index: int, steps: int, callbacks: Callbacks) -> None:
    """Preview the middle frame of the first video's estimate x0 [B, C, F, H, W], five times per sampling."""
    if callbacks.previews and (index + 1) % max(1, steps // 5) == 0:
        middle = x0.shape[2] // 2
        callbacks.preview(backbone.decode_video(x0[:1, :, middle : middle + 1])[0].cpu())


@torch.no_grad()
def invert(
    backbone: Backbone,
    latents: torch.Tensor,
    text: EncodedText,
    steps: int = 50,
    refinements: int = 0,
    callbacks: Callbacks | None = None,
) -> torch.Tensor:
    """DDIM inversion: the noise from which plain sampling with guidance scale 1 reproduces ``latents``.

    Args:
        backbone: the base.
        latents: clean [B, C, F, H, W].
        text: B encoded prompts; MotionDirector, and we, use the empty one.
        steps: inversion steps; 50 as MotionDirector.
        refinements: plain inversion (0) steps with the prediction at the current latents; each refinement predicts
            again at the latents it reached, which is more accurate and costs as much again.
        callbacks: progress and cancellation.

    Returns:
        Noise [B, C, F, H, W].
    """
    callbacks = callbacks or Callbacks()
    levels = backbone.levels(steps)[::-1]
    x = latents.to(backbone.device).float()
    for index in range(steps):
        callbacks.check()
        level, noisier = levels[index], levels[index + 1]
        reached = x
        for _ in range(1 + refinements):
            output = backbone.predict(reached, noisier, text)
            reached = inverse_step(output, x, noisier, level, backbone.prediction)
        x = reached
        callbacks.progress(index + 1, steps, "inverting the clip")
    return x


def mix_noise_prior(inverted: torch.Tensor, noise: torch.Tensor, beta: float) -> torch.Tensor:
    """x_T = sqrt(beta) * eps_m + sqrt(1 - beta) * eps (Sec. 7.1).  All [B, C, F, H, W].

    Args:
        inverted: eps_m, the clip's inverted noise.
        noise: eps, Gaussian.
        beta: weight of ``inverted``; 0 is Gaussian noise.
    """
    return beta**0.5 * inverted.to(noise) + (1 - beta) ** 0.5 * noise


def gaussian_noise(shape: Sequence[int], seed: int) -> torch.Tensor:
    """Gaussian noise [1, *shape] that depends only on the seed, not on the device."""
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))


def sample_prompt(
    backbone: Backbone,
    prompt: str,
    seed: int,
    config: SamplingConfig,
    callbacks: Callbacks | None = None,
    tokens: Sequence[SpecialToken] = (),
) -> torch.Tensor:
    """Sample one prompt with the active LoRAs: clean latents [1, C, F, H, W]."""
    with torch.no_grad():
        text = backbone.encode_prompt([prompt], tokens)
        negative = backbone.encode_prompt([config.negative_prompt])
    return sample(backbone, initial_noise(backbone, seed, config), text, negative, config, callbacks)


def generate_videos(
    backbone: Backbone,
    prompts: Sequence[str],
    seeds: Sequence[int],
    config: SamplingConfig,
    callbacks: Callbacks | None = None,
    tokens: Sequence[SpecialToken] = (),
    inverted: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sample videos of prompts with the active LoRAs, in one batch.

    Args:
        backbone: the base, with its active LoRAs.
        prompts: N prompts.
        seeds: N seeds; a video depends only on its own prompt and seed.
        config: size, steps, guidance.
        callbacks: progress and cancellation.
        tokens: the special tokens the prompts may use.
        inverted: a motion clip's inverted noise [1, C, F, H, W], mixed in with weight ``noise_prior``.

    Returns:
        Pixels [N, 3, F, H, W] in -1..1.
    """
    if len(prompts) != len(seeds) or not prompts:
        raise ValueError(f"seeds: got {len(seeds)} for {len(prompts)} prompts, give one for each, and at least one")
    with torch.no_grad():
        text = backbone.encode_prompt(prompts, tokens)
        negative = repeat_text(backbone.encode_prompt([config.negative_prompt]), len(text))
    noise = torch.cat([initial_noise(backbone, seed, config, inverted) for seed in seeds])
    return backbone.decode_video(sample(backbone, noise, text, negative, config, callbacks))


def initial_noise(
    backbone: Backbone, seed: int, config: SamplingConfig, inverted: torch.Tensor | None = None
) -> torch.Tensor:
    """Initial noise [1, C, F, H, W], the same for every sampling method given the same arguments."""
    shape = backbone.latent_shape(config.frames, config.height, config.width)
    noise = gaussian_noise(shape, seed)
    if inverted is None or config.noise_prior == 0:
        return noise
    if inverted.shape[1:] != noise.shape[1:]:
        raise ValueError(
            f"inverted: got noise of shape {tuple(inverted.shape[1:])}, a video of this size needs {tuple(shape)}; "
            "invert the clip at the video's size and length"
        )
    return mix_noise_prior(inverted, noise, config.noise_prior)
