"""Node inputs from the engine's configs, which declare each setting's default, range and help."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from comfy_api.latest import io

from ..videomage_core.config import out_of_range

CATEGORY = "VideoMage"
Base = io.Custom("VIDEOMAGE_BASE")
Lora = io.Custom("VIDEOMAGE_LORA")
SIDE = 8  # pixels: a multiple of it suits the autoencoder of every base
Segmenter = io.Custom("VIDEOMAGE_SEGMENTER")
# Settings that most users never touch; shown folded away where ComfyUI can.
ADVANCED = (
    "gradient_accumulation_steps",
    "optimizer",
    "lr_scheduler",
    "lr_warmup_steps",
    "max_grad_norm",
    "save_every_n_steps",
    "target_modules",
    "dropout",
    "num_vectors_per_token",
    "auxiliary_clips",
    "auxiliary_frames",
    "auxiliary_guidance_scale",
    "auxiliary_steps",
    "random_flip",
    "min_crop_scale",
    "num_augmentations",
    "resize_mode",
    "train_transformer_in",
    "textual_inversion_learning_rate",
    "textual_inversion_num_vectors",
    "textual_inversion_frame",
    "textual_inversion_background",
    "textual_inversion_steps",
    "ddim_inversion_steps",
    "appearance_prompt",
    "objective",
    "teacher_videos",
    "teacher_steps",
    "teacher_guidance_scale",
    "cutmix_videos",
    "cutmix_overlap",
    "cross_attention_layers",
    "temporal_attention_layers",
    "alpha_decay",
    "guided_step_from",
    "beta_subject",
    "beta_motion",
    "beta_schedule",
    "boxes",
    "detector_image_size",
    "dtype",
    "recorded_blocks",
    "real_tokens_only",
    "effect_weight",
    "start_percent",
    "end_percent",
)

C = TypeVar("C")


class Node(io.ComfyNode):
    """A node of this pack: it refuses a value in place of a link, which ComfyUI would pass on."""

    def __init_subclass__(cls, **about: Any) -> None:
        super().__init_subclass__(**about)
        own = vars(cls).get("execute")
        if own is not None and not hasattr(own.__func__, "__wrapped__"):  # ComfyUI copies nodes for each run
            cls.execute = classmethod(_refusing_values_for_wires(own.__func__))


def _refusing_values_for_wires(execute: Callable[..., Any]) -> Callable[..., Any]:
    """``execute`` that raises ValueError for an input without a widget whose value was written into the prompt."""
    widgets = (io.Int.Input, io.Float.Input, io.String.Input, io.Boolean.Input, io.Combo.Input)
    wires: list[str] = []  # found at the first run, and the same in all others

    @functools.wraps(execute)
    def checked(cls: type[Node], *given: Any, **inputs: Any) -> Any:
        if not wires:
            wires.extend(one.id for one in cls.define_schema().inputs or () if not isinstance(one, widgets))
        for wire in wires:
            if _written(inputs.get(wire)):
                raise ValueError(f"{wire}: got {_shown(inputs[wire])}, wire a node's output to it")
        return execute(cls, *given, **inputs)

    return checked


def _written(value: Any) -> bool:
    """Whether a prompt can hold it; a CONDITIONING is a list, but of tensors."""
    if isinstance(value, list):
        return all(_written(part) for part in value)
    return isinstance(value, str | int | float | dict)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def schema(**about: Any) -> io.Schema:
    """A schema without keywords that this ComfyUI does not know."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(**{name: value for name, value in about.items() if name in known}, category=CATEGORY)


def settings_inputs(config: Any, leave_out: Collection[str] = ()) -> list[io.Input]:
    """A widget for each field of a config: common ones first, others marked as advanced.

    Args:
        config: an instance; its values are the defaults.
        leave_out: fields that the node sets itself.
    """
    fields = [f for f in dataclasses.fields(config) if f.name not in leave_out]
    widgets = {field.name: _widget(field, getattr(config, field.name)) for field in fields}
    for name in set(ADVANCED) & set(widgets):
        advanced(widgets[name])
    return sorted(widgets.values(), key=lambda widget: widget.id in ADVANCED)


def advanced(widget: io.Input) -> io.Input:
    """The same widget, marked as advanced."""
    widget.extra_dict["advanced"] = True
    return widget


def _widget(field: dataclasses.Field, default: Any) -> io.Input:
    low, high = field.metadata["minimum"], field.metadata["maximum"]
    about = {"tooltip": _sentence(field), "default": default}
    if isinstance(default, bool):
        return io.Boolean.Input(field.name, **about)
    if field.metadata["choices"] is not None:
        return io.Combo.Input(field.name, list(field.metadata["choices"]), **about)
    if isinstance(default, int):
        step = SIDE if field.name in ("height", "width") else 1
        # False, or the page draws a new "seed" after every run, and everything would be trained again.
        return io.Int.Input(field.name, min=int(low), max=int(high), step=step, control_after_generate=False, **about)
    if isinstance(default, float):
        return io.Float.Input(field.name, min=float(low), max=float(high), step=_step(default), round=False, **about)
    return io.String.Input(field.name, **about)


def _step(default: float) -> float:
    """A tenth of the default's leading digit: 0.0001 moves in 0.00001."""
    return 10.0 ** (math.floor(math.log10(default)) - 1) if default > 0 else 0.05


def _sentence(field: dataclasses.Field) -> str:
    """The field's help with a capital, unless it begins with a value or a symbol."""
    text: str = field.metadata["help"]
    first = re.split(r"[ ,:]", text)[0]
    return text if first in (field.metadata["choices"] or ()) or "_" in first else text[0].upper() + text[1:]


def read_settings(config: C, widgets: Mapping[str, Any]) -> C:
    """``config`` with the widgets' values; ValueError with all that is out of range or contradicts."""
    names = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    return dataclasses.replace(config, **{name: value for name, value in widgets.items() if name in names})


def validate_inputs(config: Any, inputs: Mapping[str, Any], *checks: Callable[[], Any]) -> bool | str:
    """Validate settings before a prompt is queued: True, or all problems.

    ComfyUI hands over the inputs that a node's own ``validate_inputs`` names, leaves their ranges to it, and
    repeats what it says for each of them.  So a node names those alone that can contradict each other; all others keep
    ComfyUI's own checks.  A linked input comes as None, or not at all: any value may come of it, so
    contradictions are then left to the run, and only what is typed is checked, each value for itself.

    Args:
        config: the node's, with its defaults.
        inputs: those that are named, the node's other ones too.
        checks: the node's own, each raising ValueError or OSError.
    """
    fields = {field.name: field for field in dataclasses.fields(config)}
    settings = {name: value for name, value in inputs.items() if name in fields}
    typed = {name: value for name, value in settings.items() if value is not None}
    problems = [problem for name, value in typed.items() for problem in out_of_range(fields[name], value)]
    problems += [_not_whole(name, typed[name]) for name in ("height", "width") if typed.get(name, 0) % SIDE]
    if not problems and len(typed) == len(settings):
        checks = (lambda: read_settings(config, typed), *checks)
    said = accepted(*checks)
    problems += [] if said is True else [str(said)]
    return "; ".join(dict.fromkeys(problems)) or True


def accepted(*checks: Callable[[], Any]) -> bool | str:
    """True, or the messages of checks that raised OSError or ValueError, which ComfyUI shows before a run."""
    problems = []
    for check in checks:
        try:
            check()
        except (OSError, ValueError) as error:
            problems.append(str(error))
    return "; ".join(dict.fromkeys(problems)) or True


def _not_whole(name: str, side: int) -> str:
    nearest = max(SIDE, round(side / SIDE) * SIDE)
    return f"{name}: got {side}, allowed are multiples of {SIDE}; nearest: {nearest}"


def growing_inputs(kind: Any, prefix: str, count: int, needed: int, tooltip: str) -> list[io.Input]:
    """``prefix_1`` to ``prefix_<count>``, the first ones required; the page shows the connected ones and one more."""
    return [
        kind.Input(f"{prefix}_{i}", optional=i > needed, tooltip=tooltip.replace("{i}", str(i)))
        for i in range(1, count + 1)
    ]


def wired_inputs(prefix: str, count: int, inputs: Mapping[str, Any]) -> list[Any]:
    """The values connected to ``prefix_1`` ..., in order."""
    return [inputs[f"{prefix}_{i}"] for i in range(1, count + 1) if inputs.get(f"{prefix}_{i}") is not None]
