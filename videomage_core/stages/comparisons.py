"""What SCS is compared with, each from the same start noise: plain functions with one contract.

* ``sample_base``: the base alone, superclass words in the tokens' places.
* ``sample_merged``: all LoRAs in one model, plain sampling; the paper's "w/o SCS" (Sec. 4.3).
* ``sample_averaged``: each subject's LoRA joins the motion's in turn, and the outputs are averaged;
  how the paper runs its baselines (Sec. 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..config import SamplingConfig
from ..data.lora_file import Concept, applied, require_fit, tokens_of
from ..model import lora
from ..model.backbone import Backbone
from ..model.fingerprint import fingerprint
from ..model.text import superclass_prompt
from ..run import Run
from ..sampling import generate_videos, predict_guided, preview, split_output, start_for, step


def sample_base(
    backbone: Backbone,
    concepts: Sequence[Concept],
    prompt: str,
    seed: int,
    config: SamplingConfig,
    inverted: torch.Tensor | None = None,
    run: Run | None = None,
) -> torch.Tensor:
    """The base alone, [3, F, H, W] in -1..1.

    Args:
        backbone: the base.
        concepts: whose tokens the prompt names; nothing else of them is used.
        prompt: with tokens; their superclass words are sampled.
        seed: of the start noise.
        config: size, steps, guidance.
        inverted: a motion clip's inverted noise, or None.
        run: progress and cancel.
    """
    text = superclass_prompt(prompt, tokens_of(concepts))
    with lora.active(backbone, {}):
        return generate_videos(backbone, [text], [seed], config, run, inverted=inverted)[0].cpu()


def sample_merged(
    backbone: Backbone,
    concepts: Sequence[tuple[Concept, float]],
    prompt: str,
    seed: int,
    config: SamplingConfig,
    inverted: torch.Tensor | None = None,
    run: Run | None = None,
) -> torch.Tensor:
    """All LoRAs, each with its strength, in one model; arguments and result as ``sample_base``."""
    with applied(backbone, concepts) as tokens, lora.baked(backbone):
        return generate_videos(backbone, [prompt], [seed], config, run, tokens, inverted)[0].cpu()


@torch.no_grad()
def sample_averaged(
    backbone: Backbone,
    subjects: Sequence[Concept],
    motion: Concept | None,
    prompt: str,
    seed: int,
    config: SamplingConfig,
    inverted: torch.Tensor | None = None,
    run: Run | None = None,
) -> torch.Tensor:
    """The mean of what the model predicts with each subject's LoRA, the motion's always on.

    Arguments and result as ``sample_base``; ``motion`` None leaves it out.

    Raises:
        ValueError: see ``check_averaged``; LoRAs of another base, or two with one token.
    """
    check_averaged(subjects, motion)
    run = run or Run()
    tokens = tokens_of(subjects)
    levels = backbone.levels(config.steps)
    with lora.leaving_no_trace(backbone):
        mark = fingerprint(backbone.network)
        for concept in (*subjects, *([] if motion is None else [motion])):
            require_fit(concept, backbone.name, mark)
        names = [f"averaged_{n}" for n in range(len(subjects))]
        for name, concept in zip(names, subjects, strict=True):
            lora.load(backbone, name, concept.weights)
        always = {} if motion is None else {"motion": 1.0}
        if motion is not None:
            lora.load(backbone, "motion", motion.weights)
        text = backbone.encode_prompt([prompt], tokens)
        negative = backbone.encode_prompt([config.negative_prompt])
        x = start_for(backbone, seed, config, inverted).to(backbone.device)
        with lora.baked(backbone):
            for index in range(config.steps):
                run.check()
                level, eps = levels[index], torch.zeros_like(x)
                for name in names:
                    with lora.active(backbone, {name: 1.0, **always}):
                        output = predict_guided(backbone, x, level, text, negative, config.guidance_scale)
                    eps = eps + split_output(output, x, level, backbone.prediction)[1] / len(names)
                preview(backbone, split_output(eps, x, level, "epsilon")[0], index, config.steps, run)
                x = step(eps, x, level, levels[index + 1], "epsilon")
                run.progress(index + 1, config.steps, "sampling averaged outputs")
        return backbone.decode_video(x)[0].cpu()


def check_averaged(subjects: Sequence[Concept], motion: Concept | None) -> None:
    """ValueError unless these are subjects, at least one, and a motion or none."""
    if not subjects:
        raise ValueError("subjects: got none, give at least one subject LoRA")
    for index, concept in enumerate(subjects):
        if concept.kind == "motion":
            raise ValueError(
                f"subjects: the LoRA {index + 1} of {len(subjects)} is a motion; give it as the motion, which joins "
                "each subject in turn"
            )
    if motion is not None and motion.kind != "motion":
        raise ValueError(f"motion: got a {motion.kind} LoRA, wanted is a motion's")
