"""From noise to video and back: the step, guidance, plain sampling, inversion.

Conversions between a network's native output o and (x0, eps), with x = a * x0 + s * eps:

| prediction | o is         | x0          | eps         |
|------------|--------------|-------------|-------------|
| epsilon    | eps          | (x - s*o)/a | o           |
| v          | a*eps - s*x0 | a*x - s*o   | s*x + a*o   |
| flow       | eps - x0     | x - s*o     | x + a*o     |

One step formula serves all: x' = a' * x0 + s' * eps.  It is DDIM (Song et al. 2021, Eq. 12 with
sigma = 0) for eps and v, and Euler's for flow.  Inversion solves the same formula for x.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .config import SamplingConfig
from .model.backbone import Backbone, Level, Prediction
from .model.text import SpecialToken
from .run import Run


def split_output(
    output: torch.Tensor, x: torch.Tensor, level: Level, prediction: Prediction
) -> tuple[torch.Tensor, torch.Tensor]:
    """(x0, eps) from the native output.  All [B, C, F, H, W]."""
    a, s = level.shares(x)
    if prediction == "epsilon":
        return (x - s * output) / a, output
    if prediction == "v":
        return a * x - s * output, s * x + a * output
    return x - s * output, x + a * output


def training_target(x0: torch.Tensor, eps: torch.Tensor, level: Level, prediction: Prediction) -> torch.Tensor:
    """What the network should put out for x = a * x0 + s * eps.  All [B, C, F, H, W]."""
    a, s = level.shares(x0)
    if prediction == "epsilon":
        return eps
    return a * eps - s * x0 if prediction == "v" else eps - x0


def add_noise(x0: torch.Tensor, eps: torch.Tensor, level: Level) -> torch.Tensor:
    """x = a * x0 + s * eps.  All [B, C, F, H, W]."""
    a, s = level.shares(x0)
    return a * x0 + s * eps


def step(output: torch.Tensor, x: torch.Tensor, level: Level, following: Level, prediction: Prediction) -> torch.Tensor:
    """One deterministic step from ``level`` to ``following``, either way.  [B, C, F, H, W]."""
    return add_noise(*split_output(output, x, level, prediction), following)


def step_back(
    output: torch.Tensor, x: torch.Tensor, level: Level, following: Level, prediction: Prediction
) -> torch.Tensor:
    """The point at ``level`` from which ``step`` with this output lands on x at ``following``.

    ``step`` is linear, x = P * x' + Q * o, so x' = (x - Q * o) / P.  [B, C, F, H, W].
    """
    one, zero = torch.ones((1,) * x.ndim, device=x.device), torch.zeros((1,) * x.ndim, device=x.device)
    of_point = step(zero, one, level, following, prediction)
    of_output = step(one, zero, level, following, prediction)
    return (x - of_output * output) / of_point


def guide(unconditional: torch.Tensor, conditional: torch.Tensor, scale: float) -> torch.Tensor:
    """Classifier-free guidance; acts on the native output, its coefficients sum to 1."""
    return unconditional + scale * (conditional - unconditional)


def predict_guided(
    backbone: Backbone, x: torch.Tensor, level: Level, text: torch.Tensor, negative: torch.Tensor, scale: float
) -> torch.Tensor:
    """The guided native output; both halves in one batch, the unconditional one first.

    Args:
        backbone: the base.
        x: noisy latents [B, C, F, H, W].
        level: one level for all of x.
        text: prompt embeddings [B, T, D].
        negative: embeddings [B, T, D] of what guidance leads away from.
        scale: 1 predicts the conditional half alone.
    """
    if scale == 1:
        return backbone.predict(x, level, text)
    output = backbone.predict(torch.cat([x, x]), level, torch.cat([negative, text]))
    unconditional, conditional = output.chunk(2)
    return guide(unconditional, conditional, scale)


@torch.no_grad()
def sample(
    backbone: Backbone,
    noise: torch.Tensor,
    text: torch.Tensor,
    negative: torch.Tensor,
    config: SamplingConfig,
    run: Run | None = None,
) -> torch.Tensor:
    """Plain guided sampling.

    Args:
        backbone: the base, with whatever LoRAs are active on it.
        noise: start [B, C, F, H, W].
        text: prompt embeddings [B, T, D].
        negative: embeddings [B, T, D] of what guidance leads away from.
        config: steps and guidance scale.
        run: progress, previews and cancel.

    Returns:
        Clean latents [B, C, F, H, W].
    """
    run = run or Run()
    levels = backbone.levels(config.steps)
    x = noise.to(backbone.device).float()
    for index in range(config.steps):
        run.check()
        output = predict_guided(backbone, x, levels[index], text, negative, config.guidance_scale)
        preview(backbone, split_output(output, x, levels[index], backbone.prediction)[0], index, config.steps, run)
        x = step(output, x, levels[index], levels[index + 1], backbone.prediction)
        run.progress(index + 1, config.steps, "sampling")
    return x


def preview(backbone: Backbone, x0: torch.Tensor, index: int, steps: int, run: Run) -> None:
    """Show the middle frame of a first video's estimate x0 [B, C, F, H, W], five times in all, if anybody looks."""
    if run.previews and (index + 1) % max(1, steps // 5) == 0:
        middle = x0.shape[2] // 2
        run.preview(backbone.decode_video(x0[:1, :, middle : middle + 1])[0].cpu())


@torch.no_grad()
def invert(
    backbone: Backbone,
    latents: torch.Tensor,
    text: torch.Tensor,
    steps: int = 50,
    refinements: int = 0,
    run: Run | None = None,
) -> torch.Tensor:
    """DDIM inversion: the noise from which plain sampling with guidance 1 comes back to ``latents``.

    Args:
        backbone: the base.
        latents: clean [B, C, F, H, W].
        text: embeddings [B, T, D]; MotionDirector, and we, use those of the empty prompt.
        steps: inversion steps; 50 as MotionDirector.
        refinements: plain inversion (0) takes the network's output at the point it leaves for that
            at the point it goes to; each refinement predicts again at the point reached, which
            makes the way back more exact and costs as much as the plain inversion.
        run: progress and cancel.

    Returns:
        Noise [B, C, F, H, W].
    """
    run = run or Run()
    levels = backbone.levels(steps)[::-1]
    x = latents.to(backbone.device).float()
    for index in range(steps):
        run.check()
        level, noisier = levels[index], levels[index + 1]
        reached = x
        for _ in range(1 + refinements):
            output = backbone.predict(reached, noisier, text)
            reached = step_back(output, x, noisier, level, backbone.prediction)
        x = reached
        run.progress(index + 1, steps, "inverting the clip")
    return x


def mixed_start(inverted: torch.Tensor, noise: torch.Tensor, share: float) -> torch.Tensor:
    """x_T = sqrt(beta) * eps_m + sqrt(1 - beta) * eps (Sec. 7.1).  All [B, C, F, H, W].

    Args:
        inverted: eps_m, the clip's inverted noise.
        noise: eps, Gaussian.
        share: beta; 0 is plain noise.
    """
    return share**0.5 * inverted.to(noise) + (1 - share) ** 0.5 * noise


def start_noise(shape: Sequence[int], seed: int) -> torch.Tensor:
    """Gaussian noise [1, *shape] that depends on the seed alone, the same on every device."""
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))


def sample_prompt(
    backbone: Backbone,
    prompt: str,
    seed: int,
    config: SamplingConfig,
    run: Run | None = None,
    tokens: Sequence[SpecialToken] = (),
) -> torch.Tensor:
    """One prompt to clean latents [1, C, F, H, W] with the base as it stands."""
    with torch.no_grad():
        text = backbone.encode_prompt([prompt], tokens)
        negative = backbone.encode_prompt([config.negative_prompt])
    return sample(backbone, start_for(backbone, seed, config), text, negative, config, run)


def generate_videos(
    backbone: Backbone,
    prompts: Sequence[str],
    seeds: Sequence[int],
    config: SamplingConfig,
    run: Run | None = None,
    tokens: Sequence[SpecialToken] = (),
    inverted: torch.Tensor | None = None,
) -> torch.Tensor:
    """Prompts to videos with the base as it stands, all in one batch.

    Args:
        backbone: the base, with whatever LoRAs are active on it.
        prompts: N prompts.
        seeds: N seeds; a video depends on its prompt and seed, not on its neighbours.
        config: size, steps, guidance.
        run: progress and cancel.
        tokens: the special tokens the prompts may name.
        inverted: a motion clip's inverted noise [1, C, F, H, W]; each start gets ``clip_share`` of it.

    Returns:
        Pixels [N, 3, F, H, W] in -1..1.
    """
    if len(prompts) != len(seeds) or not prompts:
        raise ValueError(f"seeds: got {len(seeds)} for {len(prompts)} prompts, give one for each, and at least one")
    with torch.no_grad():
        text = backbone.encode_prompt(prompts, tokens)
        negative = backbone.encode_prompt([config.negative_prompt]).expand_as(text)
    noise = torch.cat([start_for(backbone, seed, config, inverted) for seed in seeds])
    return backbone.decode_video(sample(backbone, noise, text, negative, config, run))


def start_for(
    backbone: Backbone, seed: int, config: SamplingConfig, inverted: torch.Tensor | None = None
) -> torch.Tensor:
    """Where sampling starts, [1, C, F, H, W]: the same for every method that is given the same."""
    shape = backbone.latent_shape(config.frames, config.height, config.width)
    noise = start_noise(shape, seed)
    if inverted is None or config.clip_share == 0:
        return noise
    if inverted.shape[1:] != noise.shape[1:]:
        raise ValueError(
            f"inverted: got noise of shape {tuple(inverted.shape[1:])}, a video of this size needs {tuple(shape)}; "
            "invert the clip at the video's size and length"
        )
    return mixed_start(inverted, noise, config.clip_share)
