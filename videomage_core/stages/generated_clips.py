"""Videos that a stage has the model make for its own training, made once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ..cache_key import cache_key
from ..callbacks import Callbacks
from ..config import SamplingConfig
from ..data.tensor_cache import cached_tensor
from ..model.backbone import Backbone
from ..model.text import SpecialToken
from ..sampling import sample_prompt

VERSION = 1  # raised when the same inputs give other clips


def generate_clips(
    backbone: Backbone,
    prompts: Sequence[str],
    seed: int,
    sampling: SamplingConfig,
    folder: Path,
    name: str,
    generated_by: object,
    callbacks: Callbacks,
    tokens: Sequence[SpecialToken] = (),
) -> torch.Tensor:
    """Videos of the base as it stands, one for each prompt.

    Args:
        backbone: the base, with whatever LoRAs are active on it.
        prompts: N of them; the i-th is made with seed + i.
        seed: of the first.
        sampling: size, steps, guidance.
        folder: keeps them, in a folder "generated", in a file whose name says what they were made of: not beside a
            checkpoint, for one process may be making clips where another waits to train.
        name: "auxiliary", "teacher", ...: for the file and the log.
        generated_by: marks the base and its LoRAs.
        callbacks: progress and cancel, both after each denoising step of each clip.
        tokens: the special tokens the prompts name.

    Returns:
        Clean latents [N, C, F, h, w], on the CPU.
    """
    learned = [(token.name, token.vectors) for token in tokens]
    key_parts = [key for pair in learned for key in pair]
    key = cache_key(VERSION, generated_by, list(prompts), sampling, seed, *key_parts)
    path = folder / "generated" / f"{name}-{key}.safetensors"

    def make() -> torch.Tensor:
        callbacks.log(f"making {len(prompts)} {name} clips, of which none were given or kept")
        total = len(prompts) * sampling.steps
        clips = []
        for index, prompt in enumerate(prompts):

            def progress(done: int, steps: int, _: str, before: int = index * sampling.steps) -> None:
                callbacks.progress(before + done, total, f"making {name} clips")

            its_run = Callbacks(progress=progress, cancelled=callbacks.cancelled)
            clips.append(sample_prompt(backbone, prompt, seed + index, sampling, its_run, tokens))
        return torch.cat(clips)

    return cached_tensor(path, make, callbacks)
