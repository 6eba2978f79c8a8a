"""The GUIDER: core's CFGGuider with two branches of one base (Algorithm 1), for any core sampler.

A denoised estimate is linear in the network's output and its input, so the branches' estimates are mixed as they are.
The first tau steps, in which the branches stand at latents of their own, are made by ``guided_steps.py``.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import comfy.patcher_extension
import comfy.samplers
import torch
from comfy.samplers import calc_cond_batch, cfg_function, sampling_function

from ...videomage_core.config import GuiderConfig
from ...videomage_core.model.attention_maps import AttentionMaps, ForwardEnded, mean_map
from ...videomage_core.model.dit_maps import Span, tangent, token_grid
from ...videomage_core.stages.algorithm1 import betas_at, decay_at, guidance_losses, mix
from ...videomage_core.stages.effects import composed
from ...videomage_core.training.grad_scaling import scaled_gradients
from .branches import Branches
from .gradients import check_gradient, differentiable_rope, outside_inference_mode
from .guided_steps import CollaborativeSampler
from .recording import HeadSplit, Recorder

PLAIN, SUBJECT, MOTION = "positive_motion", "positive", "positive_motion"  # of the conditionings
KEY = "videomage"
MEMORY = 2  # a recorded pass with gradients keeps about as much again as the core counts for a plain one
_CHECKED: set[tuple[str, torch.dtype, str, tuple[str, ...]]] = (
    set()
)  # models whose gradient was compared with a finite difference


class CollaborativeGuider(comfy.samplers.CFGGuider):
    """Two branches that guide each other.

    Attributes:
        attention_maps: after sampling, where the subject branch saw each subject in the guided steps:
            (word, [f, h, w] in 0..1); empty without guidance.
    """

    def __init__(
        self,
        branches: Branches,
        conditionings: dict[str, Any],
        words: list[str],
        spans: dict[str, list[Span]],
        blocks: list[int],
        config: GuiderConfig,
    ) -> None:
        """A guider; nothing is loaded yet.

        Args:
            branches: of N subject models, and of the motion model behind them.
            conditionings: core's, "positive", "positive_motion" and "negative".
            words: of the K subjects.
            spans: of both positives, K each.
            blocks: whose maps are compared.
            config: all settings.
        """
        super().__init__(branches.shared)
        self.branches, self.words, self.spans, self.blocks, self.config = branches, words, spans, blocks, config
        self.inner_set_conds(conditionings)
        self.set_cfg(config.cfg)
        self.attention_maps: list[tuple[str, torch.Tensor]] = []
        self._sigmas: list[float] = []
        self._seen: list[torch.Tensor] = []
        self._heads = HeadSplit()

    # --- as the core calls it

    def outer_sample(self, noise: torch.Tensor, *given: Any, **named: Any) -> Any:
        if self.config.guided:
            if noise.ndim != 5 or noise.shape[2] < 2:
                raise ValueError(
                    f"latents: got the shape {tuple(noise.shape)}, guidance compares frames and needs a video of at "
                    "least 2 latent frames (5 frames); make it longer, or set tau to 0"
                )
            kind = comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING
            comfy.patcher_extension.add_wrapper_with_key(
                kind, KEY, _more_memory, self.model_options, is_model_options=True
            )
        return super().outer_sample(noise, *given, **named)

    def inner_sample(
        self, noise: torch.Tensor, latent_image: torch.Tensor, device: Any, sampler: Any, sigmas: torch.Tensor,
        *given: Any, **named: Any,
    ) -> Any:  # fmt: skip
        self._sigmas, self._seen, self._heads, self.attention_maps = sigmas.tolist(), [], HeadSplit(), []
        collaborative = CollaborativeSampler(self, sampler)
        try:
            with self.branches.installed(self.config.guided, self.compute_dtype, torch.device(device)):
                result = super().inner_sample(noise, latent_image, device, collaborative, sigmas, *given, **named)
            if self._seen:
                self.attention_maps = list(zip(self.words, torch.stack(self._seen).mean(0), strict=True))
        finally:
            self._seen = []
        return result

    def predict_noise(
        self,
        x: torch.Tensor,
        timestep: torch.Tensor,
        model_options: dict[str, Any] | None = None,
        seed: int | None = None,
    ) -> torch.Tensor:
        """The denoised estimate at x [B, C, f, H, W]: both branches', mixed (line 13)."""
        options, betas = model_options or {}, self.betas(float(timestep.max()))
        predictions = [
            predict(x, timestep, options, seed) if beta else None
            for predict, beta in zip((self.predict_subject, self.predict_motion), betas, strict=True)
        ]
        return mix(predictions, (x, x), betas)[0]

    @property
    def compute_dtype(self) -> torch.dtype:
        """In which the loaded model computes; its weights may be stored otherwise."""
        dtype: torch.dtype = self.inner_model.manual_cast_dtype or self.inner_model.get_dtype()
        return dtype

    # --- Eq. 9: what each branch predicts

    def predict_subject(
        self, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any], seed: int | None
    ) -> torch.Tensor:
        """The subject branch's denoised estimate; that of several subject models, composed by their effects."""
        count = len(self.branches.paths) - 1
        if count == 1:
            return self._guided(0, SUBJECT, x, sigma, options, seed)
        model, negative = self.inner_model, self.conds["negative"]
        if math.isclose(self.cfg, 1.0) and not options.get("disable_cfg1_optimization", False):
            negative = None
        plain, without = calc_cond_batch(model, [self.conds[PLAIN], negative], x, sigma, options)
        guided = cfg_function(
            model, plain, without, self.cfg, x, sigma, model_options=options, cond=self.conds[PLAIN], uncond=negative
        )
        subjects = []
        for branch in range(count):
            with self.branches.use(branch):
                subjects += calc_cond_batch(model, [self.conds[SUBJECT]], x, sigma, options)
        return composed(guided, plain, subjects, self.config.effect_weight)

    def predict_motion(
        self, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any], seed: int | None
    ) -> torch.Tensor:
        """The motion branch's denoised estimate."""
        return self._guided(len(self.branches.paths) - 1, MOTION, x, sigma, options, seed)

    def _guided(
        self,
        branch: int,
        positive: str,
        x: torch.Tensor,
        sigma: torch.Tensor,
        options: dict[str, Any],
        seed: int | None,
    ) -> torch.Tensor:
        with self.branches.use(branch):
            result: torch.Tensor = sampling_function(
                self.inner_model, x, sigma, self.conds["negative"], self.conds[positive], self.cfg,
                model_options=options, seed=seed,
            )  # fmt: skip
        return result

    # --- shares and step size

    def progress(self, sigma: float) -> float:
        """How far through all steps, 0..1; between two steps in proportion to sigma."""
        starts = self._sigmas[:-1]
        after = bisect.bisect_left([-value for value in starts], -sigma)  # the first step at or below sigma
        index = float(min(after, len(starts) - 1))
        if 0 < after < len(starts) and starts[after] != sigma:
            index -= (sigma - starts[after]) / (starts[after - 1] - starts[after])
        share = index / max(1, len(starts) - 1)
        return self.config.start_percent + share * (self.config.end_percent - self.config.start_percent)

    def betas(self, sigma: float) -> tuple[float, float]:
        """(beta_s, beta_m) at sigma."""
        return betas_at(self.progress(sigma), self.config)

    def step_size(self, sigma: float) -> float:
        """RMS(update) / RMS(x) at sigma."""
        return self.config.step_size * decay_at(self.progress(sigma), self.config.alpha_decay)

    # --- Eq. 10: what each branch tells the other

    def guidance(
        self, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradients of L_m->s to x_sub and of L_s->m to x_mot at x [B, C, f, H, W]."""
        model = self.inner_model.diffusion_model
        self._heads.next_step()
        with outside_inference_mode(), differentiable_rope(model):
            x, sigma = x.clone(), sigma.clone()
            x_sub, x_mot = x.clone().requires_grad_(), x.clone().requires_grad_()
            subject, motion = self.subject_maps(x_sub, sigma, options), self.motion_maps(x_mot, sigma, options)
            # Half precision would round the gradients of these means to zero.
            scale = 2.0**16 if self.compute_dtype == torch.float16 else 1.0
            to_sub, to_mot = (
                _gradient(loss, of, scale)
                for loss, of in zip(guidance_losses(subject, motion), (x_sub, x_mot), strict=True)
            )
            self._check(x, sigma, options, subject, motion, (to_sub, to_mot))
        height, width = token_grid(x.shape)[1:]
        self._seen.append(mean_map([m.detach() for m in subject.cross.values()], height, width))
        return to_sub, to_mot

    def subject_maps(self, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any]) -> AttentionMaps:
        """The subject branch's maps at x, the mean over its models."""
        every = [self._recorded(n, SUBJECT, x, sigma, options) for n in range(len(self.branches.paths) - 1)]
        if len(every) == 1:
            return every[0]
        return AttentionMaps(_mean([maps.cross for maps in every]), _mean([maps.temporal for maps in every]))

    def motion_maps(self, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any]) -> AttentionMaps:
        """The motion branch's maps at x."""
        return self._recorded(len(self.branches.paths) - 1, MOTION, x, sigma, options)

    def _recorded(
        self, branch: int, positive: str, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any]
    ) -> AttentionMaps:
        real = real_tokens(self.conds[positive]) if self.config.real_tokens_only else None
        acting, model = partial(self.branches.use, branch), self.inner_model
        recorder = Recorder(self.blocks, self.spans[positive], token_grid(x.shape), self._heads, real, acting)
        recorded = recorder.options(options, model.diffusion_model)
        with acting(), _ended_early():
            calc_cond_batch(model, [self.conds[positive]], x, sigma, recorded)
        return recorder.compared

    def _check(
        self, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any], subject: AttentionMaps,
        motion: AttentionMaps,
        gradients: tuple[torch.Tensor, torch.Tensor],
    ) -> None:  # fmt: skip
        """GradientMismatch unless both gradients are those of their losses; once for a kind of model."""
        kind = type(self.inner_model.diffusion_model)
        patches = tuple(sorted(options.get("transformer_options", {}).get("patches", {})))  # of other packs
        key = (f"{kind.__module__}.{kind.__qualname__}", self.inner_model.get_dtype(), str(x.device), patches)
        if key in _CHECKED:
            return

        def l_ms(at: torch.Tensor) -> torch.Tensor:
            return tangent(self.subject_maps(at, sigma, options).temporal, subject.temporal, motion.temporal)

        def l_sm(at: torch.Tensor) -> torch.Tensor:
            return tangent(self.motion_maps(at, sigma, options).cross, motion.cross, subject.cross)

        losses: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (l_ms, l_sm)
        for loss, gradient in zip(losses, gradients, strict=True):
            if bool(gradient.any()):  # branches that agree tell each other nothing
                check_gradient(loss, x, gradient, self.compute_dtype)
        if all(bool(gradient.any()) for gradient in gradients):
            _CHECKED.add(key)


def _gradient(loss: torch.Tensor, of: torch.Tensor, scale: float) -> torch.Tensor:
    (gradient,) = scaled_gradients(loss, [of], scale)
    assert gradient is not None
    return gradient


def real_tokens(conds: list[dict[str, Any]]) -> int | None:
    """How many tokens of a text are not padding, which is zeros; None where the core has another form."""
    text = getattr(conds[0].get("model_conds", {}).get("c_crossattn"), "cond", None)
    if text is None:
        return None
    used = text[0].ne(0).any(-1).nonzero()  # [T, D] -> [n, 1]
    return int(used[-1]) + 1 if len(used) else None


def _mean(maps: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([of[name] for of in maps]).mean(0) for name in maps[0]}


@contextmanager
def _ended_early() -> Iterator[None]:
    try:
        yield
    except ForwardEnded:
        return
    raise RuntimeError("recorded_blocks: the model never came to the last recorded block; this core is not known")


def _more_memory(executor: Any, model: Any, noise_shape: Any, *given: Any, **named: Any) -> Any:
    """Ask the core for the memory of a larger batch before it loads the model."""
    return executor(model, [noise_shape[0] * MEMORY, *noise_shape[1:]], *given, **named)
