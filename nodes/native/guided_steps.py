"""The first tau steps, then the user's sampler.

In guided steps the branches stand at latents of their own, which no core sampler knows: a shifted estimate is right for
Euler alone, and a change of x is lost in samplers that keep their own.  So these steps are our own Euler's, and the
user's sampler gets the remaining sigmas by the core's split-sampling convention: no noise, and the latents divided as
``inverse_noise_scaling`` does.  Right for any sampler, multistep ones start afresh.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import comfy.model_management
import comfy.samplers
import torch
from tqdm.auto import trange

from ...videomage_core.config import GuiderConfig
from ...videomage_core.stages.algorithm1 import alpha_for_step_size, guided_update, mix

Predict = Callable[[torch.Tensor, torch.Tensor, dict[str, Any], int | None], torch.Tensor]


class TwoBranches(Protocol):
    """What a guided step asks of the guider; x is [B, C, f, H, W]."""

    config: GuiderConfig

    def guidance(
        self, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]: ...

    def predict_subject(
        self, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any], seed: int | None
    ) -> torch.Tensor: ...

    def predict_motion(
        self, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any], seed: int | None
    ) -> torch.Tensor: ...

    def betas(self, sigma: float) -> tuple[float, float]: ...

    def step_size(self, sigma: float) -> float: ...


class CollaborativeSampler(comfy.samplers.Sampler):
    """A SAMPLER around the user's."""

    def __init__(self, guider: TwoBranches, rest: Any) -> None:
        self.guider, self.rest = guider, rest

    def sample(
        self, model_wrap: Any, sigmas: torch.Tensor, extra_args: dict[str, Any], callback: Any, noise: torch.Tensor,
        latent_image: torch.Tensor | None = None, denoise_mask: torch.Tensor | None = None, disable_pbar: bool = False,
    ) -> torch.Tensor:  # fmt: skip
        config, steps = self.guider.config, len(sigmas) - 1
        count = min(config.tau, steps) if config.guided else 0
        if count == 0:
            result: torch.Tensor = self.rest.sample(
                model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar
            )
            return result
        scaling = model_wrap.inner_model.model_sampling
        masked = _Masked(model_wrap, sigmas, noise, latent_image, denoise_mask)
        x = scaling.noise_scaling(sigmas[0], noise, latent_image, self.max_denoise(model_wrap, sigmas))
        x = self._first_steps(x, sigmas, count, masked, extra_args, callback, disable_pbar)
        if count == steps:
            return scaling.inverse_noise_scaling(sigmas[-1], x)

        def shifted(step: int, denoised: torch.Tensor, x: torch.Tensor, _: int) -> None:
            callback(step + count, denoised, x, steps)

        start = scaling.inverse_noise_scaling(sigmas[count], x)
        return self.rest.sample(
            masked.around(model_wrap), sigmas[count:], extra_args, shifted if callback else None,
            torch.zeros_like(noise), start, None, disable_pbar,
        )  # fmt: skip

    def _first_steps(
        self, x: torch.Tensor, sigmas: torch.Tensor, count: int, masked: _Masked, extra_args: dict[str, Any],
        callback: Any, disable_pbar: bool,
    ) -> torch.Tensor:  # fmt: skip
        """x [B, C, f, H, W] after ``count`` guided steps of Euler."""
        moved: list[tuple[float, float]] = []
        for index in trange(count, disable=disable_pbar):
            comfy.model_management.throw_exception_if_processing_interrupted()
            denoised, start = self._guided(masked, x, sigmas[index], extra_args, moved)
            if callback is not None:
                callback(index, denoised, start, len(sigmas) - 1)
            x = start + (start - denoised) / sigmas[index] * (sigmas[index + 1] - sigmas[index])
        means = [100 * sum(of) / count for of in zip(*moved, strict=True)]
        logging.info("SCS Guider: %d guided steps moved x_sub by %.2f%% and x_mot by %.2f%% (RMS)", count, *means)
        return x

    def _guided(
        self, masked: _Masked, x: torch.Tensor, sigma: torch.Tensor, extra_args: dict[str, Any],
        moved: list[tuple[float, float]],
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Lines 3 to 13 of Algorithm 1 at x: the mix of the branches' denoised estimates, and of their latents."""
        guider, options, seed = self.guider, extra_args["model_options"], extra_args.get("seed")
        each, step_size = sigma * x.new_ones(x.shape[0]), guider.step_size(float(sigma))
        gradients = guider.guidance(masked.latents(x, each, options), each, options)
        sampled = x
        if masked.mask is not None:  # the rest of x is written over, whatever the update
            sampled, gradients = x * masked.mask, (gradients[0] * masked.mask, gradients[1] * masked.mask)
        alphas = [alpha_for_step_size(sampled, gradient, step_size) for gradient in gradients]
        x_sub, x_mot = (guided_update(x, g, alpha) for g, alpha in zip(gradients, alphas, strict=True))
        for name, gradient in zip(("subject", "motion"), gradients, strict=True):
            if not bool(gradient.isfinite().all()):
                logging.warning(
                    "SCS Guider: the %s branch is not guided in this step: its gradient is not finite", name
                )
        sizes = [step_size * float((alpha > 0).float().mean()) for alpha in alphas]
        moved.append((sizes[0], sizes[1]))
        betas = guider.betas(float(sigma))
        predictions = [
            masked.around(predict)(latents, each, options, seed) if beta else None
            for predict, latents, beta in zip(
                (guider.predict_subject, guider.predict_motion), (x_sub, x_mot), betas, strict=True
            )
        ]
        return mix(predictions, (x_sub, x_mot), betas)


class _Masked:
    """Core's handling of a denoise mask, with the noise and the latents that sampling began from."""

    def __init__(
        self, guider: Any, sigmas: torch.Tensor, noise: torch.Tensor, latents: Any, mask: torch.Tensor | None
    ) -> None:
        self.guider, self.sigmas, self.noise, self.image, self.mask = guider, sigmas, noise, latents, mask

    def around(self, predict: Predict) -> Any:
        """A model, for a sampler that knows of no mask, of a prediction with the mask applied."""
        if self.mask is None:
            return _Callable(self.guider, predict)

        def call(x: torch.Tensor, sigma: torch.Tensor, model_options: dict[str, Any], seed: int | None) -> Any:
            return self._inpaint(predict)(x, sigma, self.mask, model_options=model_options, seed=seed)

        return _Callable(self.guider, call)

    def latents(self, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """x as a model sees it under the mask."""
        seen: list[torch.Tensor] = []

        def note(x: torch.Tensor, *_: Any) -> torch.Tensor:
            seen.append(x)
            return x

        self._inpaint(note)(x, sigma, self.mask, model_options=options)
        return seen[0]

    def _inpaint(self, predict: Predict) -> Any:
        model = comfy.samplers.KSamplerX0Inpaint(_Callable(self.guider, predict), self.sigmas)
        model.noise, model.latent_image = self.noise, self.image
        return model


class _Callable:
    """What a sampler expects of a model: a call, and all else as the guider that it stands for has it."""

    def __init__(self, guider: Any, call: Callable[..., Any]) -> None:
        self._guider, self._call = guider, call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guider, name)

    def __call__(
        self, x: torch.Tensor, sigma: torch.Tensor, model_options: dict[str, Any] | None = None, seed: int | None = None
    ) -> Any:
        return self._call(x, sigma, model_options or {}, seed)
