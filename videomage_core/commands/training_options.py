"""What the training commands share: their flags, where they work, what they write."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..callbacks import Callbacks
from ..output_paths import require_output_file, require_output_folder
from .common import add_base, preset_of, terminal_callbacks
from .settings import add_settings, read_settings


def add_training(parser: argparse.ArgumentParser, config: type, output: str) -> None:
    """Flags of every training: the base, the output, and a flag for each field of its config."""
    add_base(parser)
    parser.add_argument("--output", type=Path, default=Path(output), help="the LoRA file (%(default)s)")
    parser.add_argument("--settings", type=Path, help="TOML file of settings, named as the flags below; flags win")
    add_settings(parser, config)


def training_settings(options: argparse.Namespace, stage: str) -> tuple[Any, Any]:
    """The preset, and the config of ``stage`` ("subject", "motion", "fusion") with the settings that were given.

    Raises:
        ValueError: a setting out of range; an output that is no safetensors file, or whose folder cannot be written.
    """
    preset = preset_of(options)
    config = read_settings(options, getattr(preset, stage))
    if options.output.suffix != ".safetensors":
        raise ValueError(f"--output: got {options.output}, must end in .safetensors")
    require_output_file(options.output, "--output")
    require_output_folder(work_folder(options), "--output")
    return preset, config


def stage_arguments(options: argparse.Namespace, preset: Any, config: Any) -> dict[str, Any]:
    """What every stage is given alike: where it works, how it samples, and whom it tells."""
    return {
        "folder": work_folder(options),
        # As the preset samples, at the training's size.  The last sample is the file's thumbnail.
        "sampling": dataclasses.replace(preset.sampling, height=config.height, width=config.width),
        "callbacks": training_callbacks(options),
    }


def say(line: str) -> None:
    """What a training learns from; of several processes one speaks."""
    from ..distributed import process_group

    if process_group().first:
        print(line)


def warn(prompts: Sequence[str]) -> None:
    """Print each warning on the prompts once."""
    from ..model.text import prompt_warnings

    for warning in dict.fromkeys(line for prompt in prompts for line in prompt_warnings(prompt)):
        say(f"warning: {warning}")


def work_folder(options: argparse.Namespace) -> Path:
    """Checkpoints lie beside the LoRA file, in a folder of its name."""
    return options.output.with_suffix(".training")


def _samples(folder: Path) -> list[Path]:
    from ..folders import files_in

    files = files_in(folder, (".mp4",)) if folder.is_dir() else []
    return [path for path in files if path.name.startswith("sample_")]


def training_callbacks(options: argparse.Namespace) -> Callbacks:
    """Progress in the terminal; previews go to the training's folder."""
    from ..distributed import process_group

    if not process_group().first:  # of several processes one speaks
        return Callbacks(log=lambda _: None)
    folder = work_folder(options)
    count = itertools.count(1 + len(_samples(folder)))  # a resumed training goes on counting

    def preview(video: Any) -> None:
        from ..data.media import save_video

        save_video(video, folder / f"sample_{next(count):03}.mp4", 8.0)

    return dataclasses.replace(terminal_callbacks(), preview=preview)


def save_result(options: argparse.Namespace, trained: Any) -> None:
    """Write the LoRA file and the sample video, and print the last losses."""
    from ..data.lora_file import save_lora
    from ..data.media import save_video
    from ..distributed import process_group

    if not process_group().first:
        return
    save_lora(options.output, trained.lora_model)
    losses = trained.history.losses.get("loss", [])
    if trained.sample is not None:
        save_video(trained.sample, work_folder(options) / "sample.mp4", 8.0)
    last = f", mean loss of the last tenth {mean_of_last_tenth(losses):.4f}" if losses else ""
    print(f"wrote {options.output}: {len(losses)} steps{last}")


def mean_of_last_tenth(values: Sequence[float]) -> float:
    """A single step's loss says little: its noise level was drawn at random."""
    last = values[-max(1, len(values) // 10) :]
    return sum(last) / len(last)
