"""What SCS is compared with, each from the same initial noise: plain functions with one contract.

* ``sample_base``: the base alone, superclass words in the tokens' places.
* ``sample_merged``: all LoRAs in one model, plain sampling; the paper's "w/o SCS" (Sec. 4.3).
* ``sample_averaged``: each subject's LoRA joins the motion's in turn, and the outputs are averaged;
  how the paper runs its baselines (Sec. 4.1).
* ``sample_composed``: each subject's effect on the prediction is added to the base's (``effects.py``; ours).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from ..callbacks import Callbacks
from ..config import SamplingConfig
from ..data.lora_file import LoraModel, apply_loras, collect_tokens, require_base
from ..model import lora
from ..model.backbone import Backbone, NoiseLevel
from ..model.fingerprint import fingerprint
from ..model.text import superclass_prompt
from ..sampling import (
    generate_videos,
    initial_noise,
    predict_guided_and_plain,
    predict_with_guidance,
    preview,
    step,
    to_x0_eps,
)
from .effects import composed

VERSION = 1  # raised when the same inputs give other videos


def sample_base(
    backbone: Backbone,
    lora_models: Sequence[LoraModel],
    prompt: str,
    seed: int,
    config: SamplingConfig,
    inverted: torch.Tensor | None = None,
    callbacks: Callbacks | None = None,
) -> torch.Tensor:
    """Sample a video of the base alone, [3, F, H, W] in -1..1.

    Args:
        backbone: the base.
        lora_models: the LoRAs whose tokens the prompt may use; their weights are not used.
        prompt: with tokens, which are replaced by their superclasses.
        seed: of the initial noise.
        config: size, steps, guidance.
        inverted: a motion clip's inverted noise, or None.
        callbacks: progress and cancel.
    """
    text = superclass_prompt(prompt, collect_tokens(lora_models))
    with lora.use_adapters(backbone, {}):
        return generate_videos(backbone, [text], [seed], config, callbacks, inverted=inverted)[0].cpu()


def sample_merged(
    backbone: Backbone,
    lora_models: Sequence[tuple[LoraModel, float]],
    prompt: str,
    seed: int,
    config: SamplingConfig,
    inverted: torch.Tensor | None = None,
    callbacks: Callbacks | None = None,
) -> torch.Tensor:
    """Sample with all LoRAs, each with its strength, in one model; arguments and result as ``sample_base``."""
    with apply_loras(backbone, lora_models) as tokens, lora.merged(backbone):
        return generate_videos(backbone, [prompt], [seed], config, callbacks, tokens, inverted)[0].cpu()


@torch.no_grad()
def sample_averaged(
    backbone: Backbone,
    subjects: Sequence[LoraModel],
    motion: LoraModel | None,
    prompt: str,
    seed: int,
    config: SamplingConfig,
    inverted: torch.Tensor | None = None,
    callbacks: Callbacks | None = None,
) -> torch.Tensor:
    """Sample with the mean of the predictions with each subject's LoRA, the motion's always active.

    Arguments and result as ``sample_base``; ``motion`` None leaves it out.

    Raises:
        ValueError: see ``check_separate``; LoRAs of another base, or two with one token.
    """
    with _separate(backbone, subjects, motion) as (with_subject, _):
        text = backbone.encode_prompt([prompt], collect_tokens(subjects))
        negative = backbone.encode_prompt([config.negative_prompt])

        def predict(x: torch.Tensor, level: NoiseLevel) -> torch.Tensor:
            mean = torch.zeros_like(x)
            for acting in with_subject:
                with lora.use_adapters(backbone, acting):
                    output = predict_with_guidance(backbone, x, level, text, negative, config.guidance_scale)
                mean = mean + output / len(with_subject)  # all at one x: their eps and x0 are averaged with it
            return mean

        return _sampled(backbone, predict, seed, config, inverted, callbacks, "sampling averaged outputs")


@torch.no_grad()
def sample_composed(
    backbone: Backbone,
    subjects: Sequence[LoraModel],
    motion: LoraModel | None,
    prompt: str,
    seed: int,
    config: SamplingConfig,
    inverted: torch.Tensor | None = None,
    callbacks: Callbacks | None = None,
    weight: float = 1.0,
) -> torch.Tensor:
    """Sample the composition of the subjects' effects (``effects.composed``), the motion's LoRA always active.

    Arguments, result and errors as ``sample_averaged``; ``weight`` is that of each effect.
    """
    with _separate(backbone, subjects, motion) as (with_subject, always):
        tokens = collect_tokens(subjects)
        text, plain_text = (backbone.encode_prompt([prompt], tokens, as_superclass=plain) for plain in (False, True))
        negative = backbone.encode_prompt([config.negative_prompt])

        def predict(x: torch.Tensor, level: NoiseLevel) -> torch.Tensor:
            with lora.use_adapters(backbone, always):
                guided, plain = predict_guided_and_plain(
                    backbone, x, level, plain_text, negative, config.guidance_scale
                )
            outputs = []
            for acting in with_subject:
                with lora.use_adapters(backbone, acting):
                    outputs.append(backbone.predict(x, level, text))
            return composed(guided, plain, outputs, weight)

        return _sampled(backbone, predict, seed, config, inverted, callbacks, "sampling composed effects")


@contextmanager
def _separate(
    backbone: Backbone, subjects: Sequence[LoraModel], motion: LoraModel | None
) -> Iterator[tuple[list[dict[str, float]], dict[str, float]]]:
    """All LoRAs on the base, none acting: what acts with each subject (the motion too), and what acts without any."""
    check_separate(subjects, motion)
    collect_tokens(subjects)
    with lora.restore_adapters(backbone):
        base_fingerprint = fingerprint(backbone.network)
        for lora_model in (*subjects, *([] if motion is None else [motion])):
            require_base(lora_model, backbone.name, base_fingerprint)
        names = [f"separate_{n}" for n in range(len(subjects))]
        for name, lora_model in zip(names, subjects, strict=True):
            lora.load(backbone, name, lora_model.weights)
        always = {} if motion is None else {"motion": 1.0}
        if motion is not None:
            lora.load(backbone, "motion", motion.weights)
        with lora.merged(backbone):
            yield [{name: 1.0, **always} for name in names], always


def _sampled(
    backbone: Backbone,
    predict: Callable[[torch.Tensor, NoiseLevel], torch.Tensor],
    seed: int,
    config: SamplingConfig,
    inverted: torch.Tensor | None,
    callbacks: Callbacks | None,
    what: str,
) -> torch.Tensor:
    """The video [3, F, H, W] of native outputs ``predict`` of x [1, C, F, h, w]."""
    callbacks, levels = callbacks or Callbacks(), backbone.levels(config.steps)
    x = initial_noise(backbone, seed, config, inverted).to(backbone.device)
    for index in range(config.steps):
        callbacks.check()
        level = levels[index]
        output = predict(x, level)
        x0 = to_x0_eps(output, x, level, backbone.prediction)[0]
        preview(backbone, x0, index, config.steps, callbacks)
        x = step(output, x, level, levels[index + 1], backbone.prediction)
        callbacks.progress(index + 1, config.steps, what)
    return backbone.decode_video(x)[0].cpu()


def check_separate(subjects: Sequence[LoraModel], motion: LoraModel | None) -> None:
    """ValueError unless these are subjects, at least one, and a motion or none."""
    if not subjects:
        raise ValueError("subjects: got none, give at least one subject LoRA")
    for index, lora_model in enumerate(subjects):
        if lora_model.kind == "motion":
            raise ValueError(
                f"subjects: the LoRA {index + 1} of {len(subjects)} is a motion; give it as the motion, which joins "
                "each subject in turn"
            )
    if motion is not None and motion.kind != "motion":
        raise ValueError(f"motion: got a {motion.kind} LoRA, expected a motion LoRA")
