"""What the subject, motion and fusion trainings share: from a LoRA that is ready and a loss, to the finished result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..callbacks import Callbacks
from ..config import SamplingConfig, TrainingConfig
from ..data.lora_file import LoraModel
from ..data.lora_metadata import Kind
from ..model import lora
from ..model.backbone import Backbone
from ..model.fingerprint import Fingerprint
from ..model.text import SpecialToken
from ..training.grad_scaling import loss_scale_for
from ..training.loop import LossFn, ParameterGroup, fit
from .training_result import TrainingResult, metadata, sample_video, thumbnail


@dataclass(frozen=True)
class LoraTraining:
    """One training of a LoRA.

    Attributes:
        kind: of LoRA that comes of it.
        adapter: the LoRA on the base, active and trainable (``lora.trainable_adapter``).
        config: of the stage.
        folder: keeps the checkpoint.
        cache_key: of what is trained on what.
        base: the base's fingerprint.
        prompt: of the samples.
        sampling: size and steps of the samples; None makes none.
        tokens: the special tokens, with the vectors that are trained along.
    """

    kind: Kind
    adapter: str
    config: TrainingConfig
    folder: Path
    cache_key: str
    base: Fingerprint
    prompt: str
    sampling: SamplingConfig | None
    tokens: Sequence[SpecialToken] = ()

    def run(
        self, backbone: Backbone, groups: Sequence[ParameterGroup], loss_fn: LossFn, callbacks: Callbacks, **about: Any
    ) -> TrainingResult:
        """Train the groups, or resume from a checkpoint, with samples on the way and one at the end.

        Args:
            backbone: the base, with the adapter on it.
            groups: what is trained.
            loss_fn: as ``fit``'s.
            callbacks: progress, previews and cancel.
            about: what the LoRA file tells beside its settings.
        """

        def sample_fn(_: int) -> torch.Tensor:
            assert self.sampling is not None
            with lora.dropout(backbone, self.adapter, on=False):
                return sample_video(backbone, self.prompt, self.config.seed, self.sampling, callbacks, self.tokens)

        sampled = sample_fn if self.sampling is not None else None
        scale = loss_scale_for(backbone.dtype)
        history = fit(groups, loss_fn, self.config, self.folder, self.cache_key, callbacks, sampled, scale, self.base)
        sample = sampled(self.config.steps) if sampled is not None else None
        weights = lora.weights(backbone, self.adapter)
        tokens = tuple(replace(token, vectors=token.vectors.detach().float().cpu()) for token in self.tokens)
        header = metadata(self.config, **about)
        lora_model = LoraModel(self.kind, weights, tokens, backbone.name, self.base, header, thumbnail(sample))
        return TrainingResult(lora_model, history, sample)
