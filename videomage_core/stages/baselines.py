"""What SCS is compared with, each from the same initial noise: plain functions with one contract.

* ``sample_base``: the base alone, superclass words in the tokens' places.
* ``sample_merged``: all LoRAs in one model, plain sampling; the paper's "w/o SCS" (Sec. 4.3).
* ``sample_averaged``: each subject's LoRA joins the motion's in turn, and the outputs are averaged;
  how the paper runs its baselines (Sec. 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..callbacks import Callbacks
from ..config import SamplingConfig
from ..data.lora_file import LoraModel, apply_loras, collect_tokens, require_base
from ..model import lora
from ..model.backbone import Backbone
from ..model.fingerprint import fingerprint
from ..model.text import superclass_prompt
from ..sampling import generate_videos, initial_noise, predict_with_guidance, preview, step, to_x0_eps

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
        ValueError: see ``check_averaged``; LoRAs of another base, or two with one token.
    """
    check_averaged(subjects, motion)
    callbacks = callbacks or Callbacks()
    tokens = collect_tokens(subjects)
    levels = backbone.levels(config.steps)
    with lora.restore_adapters(backbone):
        base_fingerprint = fingerprint(backbone.network)
        for lora_model in (*subjects, *([] if motion is None else [motion])):
            require_base(lora_model, backbone.name, base_fingerprint)
        names = [f"averaged_{n}" for n in range(len(subjects))]
        for name, lora_model in zip(names, subjects, strict=True):
            lora.load(backbone, name, lora_model.weights)
        always = {} if motion is None else {"motion": 1.0}
        if motion is not None:
            lora.load(backbone, "motion", motion.weights)
        text = backbone.encode_prompt([prompt], tokens)
        negative = backbone.encode_prompt([config.negative_prompt])
        x = initial_noise(backbone, seed, config, inverted).to(backbone.device)
        with lora.merged(backbone):
            for index in range(config.steps):
                callbacks.check()
                level, mean = levels[index], torch.zeros_like(x)
                for name in names:
                    with lora.use_adapters(backbone, {name: 1.0, **always}):
                        output = predict_with_guidance(backbone, x, level, text, negative, config.guidance_scale)
                    mean = mean + output / len(names)  # all at one x: their eps and x0 are averaged with it
                x0 = to_x0_eps(mean, x, level, backbone.prediction)[0]
                preview(backbone, x0, index, config.steps, callbacks)
                x = step(mean, x, level, levels[index + 1], backbone.prediction)
                callbacks.progress(index + 1, config.steps, "sampling averaged outputs")
        return backbone.decode_video(x)[0].cpu()


def check_averaged(subjects: Sequence[LoraModel], motion: LoraModel | None) -> None:
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
