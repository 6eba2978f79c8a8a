"""What the benchmark compares: the method, its ablations (Table 2), the baselines (Table 1), sweeps (Table 3).

A method combines LoRAs in one of five modes, with settings that differ from the preset's.  LoRAs are trained once
for each set of settings, so methods that differ in sampling alone share them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..presets import Preset

FULL = "VideoMage"


@dataclass(frozen=True)
class Method:
    """One method of making a cell's video.

    Attributes:
        name: in tables and folders.
        combine: scs: collaborative sampling of the fused LoRA and the motion's (Algorithm 1); merged: both in
            one model; averaged: each subject's LoRA joins the motion's in turn, outputs averaged (Sec. 4.1);
            composed: each subject's effect is added to the prediction with the motion's LoRA; base: no LoRA, superclass
            words.
        changes: settings that differ from the preset's, by the preset's parts: {"motion": {"omega": 0}}.
        in_paper: its row in Tables 1, 2 or 4; "" if it has none.
        about: what it is, for the report.
    """

    name: str
    combine: Literal["scs", "merged", "averaged", "composed", "base"]
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    in_paper: str = ""
    about: str = ""

    def settings(self, preset: Preset) -> Preset:
        """The preset with this method's changes."""
        changed = {part: dataclasses.replace(getattr(preset, part), **values) for part, values in self.changes.items()}
        return dataclasses.replace(preset, **changed)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            FULL,
            "scs",
            in_paper="VideoMage",
            about="subjects fused (Eq. 6-8), the motion by L_mot (Eq. 5), collaborative sampling (Eq. 9-11)",
        ),
        Method(
            "without L_mot",
            "scs",
            {"motion": {"omega": 0.0}},
            "w/o L_mot",
            "omega 0: the motion LoRA learns plain noise prediction",
        ),
        Method(
            "without L_attn",
            "scs",
            {"fusion": {"lambda2": 0.0}},
            "w/o L_attn",
            "lambda2 0: fused without attention regularisation",
        ),
        Method("without SCS", "merged", {}, "w/o SCS", "the fused and the motion LoRA in one model, plain sampling"),
        Method(
            "without guidance",
            "scs",
            {"collaborative": {"tau": 0}},
            about="tau 0: two branches whose noises are mixed (Algorithm 1, line 13), without the guidance "
            "of Eq. 10 and 11",
        ),
        Method(
            "averaged outputs",
            "averaged",
            about="each subject's own LoRA with the motion's in turn, outputs averaged, as the paper runs baselines",
        ),
        Method(
            "composed effects",
            "composed",
            about="each subject's effect on the prediction, added to that of the base with the motion's LoRA",
        ),
        Method(
            "MotionDirector",
            "averaged",
            {"motion": {"objective": "motion_director"}},
            "MotionDirector",
            "the same, with a motion LoRA trained by its dual path and debiased loss; subjects' LoRAs, rank, learning "
            "rate and steps are VideoMage's",
        ),
        Method("the base alone", "base", about="superclass words in the tokens' places"),
    )
}


def _points(part: str, setting: str, values: tuple[Any, ...], labels: tuple[str, ...] = ()) -> tuple[Method, ...]:
    names = labels or tuple(f"{setting} {value:g}" for value in values)
    return tuple(Method(name, "scs", {part: {setting: value}}) for value, name in zip(values, names, strict=True))


def sweeps(preset: Preset) -> dict[str, tuple[Method, ...]]:
    """Table 3: a setting at the paper's other values, the preset's own between them.

    alpha and tau are relative to the preset's: a tenth and ten times, a third and twice.
    """
    alpha, tau = preset.collaborative.alpha, preset.collaborative.tau
    return {
        "lambda1": _points("subject", "lambda1", (0.1, 0.25, 1.0)),
        "lambda2": _points("fusion", "lambda2", (0.1, 0.6, 1.0)),
        "omega": _points("motion", "omega", (0.1, 0.5, 1.0)),
        "template": _points(
            "motion",
            "appearance_prompt",
            ("A video of {subjects}", "A video of {subjects} being still", "A static video of {subjects}"),
            ("template 'A video'", "template '..., being still'", "template 'A static video'"),
        ),
        "alpha": _points("collaborative", "alpha", (alpha / 10, alpha, alpha * 10)),
        "tau": _points("collaborative", "tau", (round(tau / 3), tau, min(2 * tau, preset.collaborative.steps))),
    }


SWEEPS = ("lambda1", "lambda2", "omega", "template", "alpha", "tau")
