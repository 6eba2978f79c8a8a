"""Videos that a stage has the model make for its own training, made once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ..config import SamplingConfig
from ..data.kept import kept
from ..model.backbone import Backbone
from ..model.text import SpecialToken
from ..run import Run
from ..sampling import sample_prompt
from ..training import digest


def made_clips(
    backbone: Backbone,
    prompts: Sequence[str],
    seed: int,
    sampling: SamplingConfig,
    folder: Path,
    name: str,
    made_by: object,
    run: Run,
    tokens: Sequence[SpecialToken] = (),
) -> torch.Tensor:
    """Videos of the base as it stands, one for each prompt.

    Args:
        backbone: the base, with whatever LoRAs are active on it.
        prompts: N of them; the i-th is made with seed + i.
        seed: of the first.
        sampling: size, steps, guidance.
        folder: keeps them, in a folder "made", in a file whose name says what they were made of: not beside a
            checkpoint, for one process may be making clips where another waits to train.
        name: "auxiliary", "teacher", ...: for the file and the log.
        made_by: marks the base and its LoRAs.
        run: progress and cancel, both after each denoising step of each clip.
        tokens: the special tokens the prompts name.

    Returns:
        Clean latents [N, C, F, h, w], on the CPU.
    """
    learned = [(token.name, token.vectors) for token in tokens]
    marks = [mark for pair in learned for mark in pair]
    path = folder / "made" / f"{name}-{digest(made_by, list(prompts), sampling, seed, *marks)}.safetensors"

    def make() -> torch.Tensor:
        run.log(f"making {len(prompts)} {name} clips, of which none were given or kept")
        total = len(prompts) * sampling.steps
        clips = []
        for index, prompt in enumerate(prompts):

            def progress(done: int, steps: int, _: str, before: int = index * sampling.steps) -> None:
                run.progress(before + done, total, f"making {name} clips")

            its_run = Run(progress=progress, cancelled=run.cancelled)
            clips.append(sample_prompt(backbone, prompt, seed + index, sampling, its_run, tokens))
        return torch.cat(clips)

    return kept(path, make, run)
