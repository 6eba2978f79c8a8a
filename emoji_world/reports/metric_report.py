"""What the benchmark's metrics are worth: on true scenes, right and deliberately wrong.

    python -m emoji_world.reports.metric_report

Scenes of the development half are drawn as they should be, and with one thing wrong each; every metric
must tell the two apart.  Right scenes are also passed through the base's autoencoder: the ceiling of
anything sampled with this base.  Figures go to docs/metrics.json, the table to docs/metrics.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from videomage_core.data.media import to_uint8
from videomage_core.evaluation.grid import Cell, load_grid
from videomage_core.evaluation.tracked_metrics import METRICS, TrackedMetrics
from videomage_core.model.loading import load_unet3d

from ..fixtures.write_grid import PAIRS, PERFORMERS
from ..world.characters import Character, training_characters
from ..world.examples import to_pixels
from ..world.scene import Scene, draw
from ..world.small_dataset import write_json
from ..world.small_splits import DEVELOPMENT
from .lora_report import through_autoencoder

ROOT = Path(__file__).parents[2]
SEED = 1_005_000  # of the development half
PLACES = ("grass", "night")
METHOD = """\
# What the benchmark's metrics are worth

Written by `python -m emoji_world.reports.metric_report`, on the development half of the emoji world: {scenes} true
scenes of each kind.  A metric is shown scenes as they should be and scenes with one thing wrong.  "Told apart" is the
share of all pairs of a right and a wrong scene in which the right one scores better (0.5 is chance; ties count
half).  The ceiling is what right scenes score after the base's autoencoder, through which every sampled video goes;
"softened": both scenes after it.

| metric | what is wrong | right | wrong | told apart | ceiling | wrong, softened | told apart, softened |
|---|---|---|---|---|---|---|---|
{rows}

Other drawings of the subjects' own classes are no leakage: there 0.5 would be best.

Costs of the autoencoder's softness, right scene less ceiling: {costs}.
"""


@dataclass(frozen=True)
class Fault:
    """One thing wrong: how a scene's frames are drawn so, which metric should see it, and in which motion (all)."""

    metric: str
    what: str
    drawn: Callable[[Scene], np.ndarray]
    motion: str = ""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=Path, default=Path("outputs/benchmark/development"))
    parser.add_argument("--seeds", type=int, default=4, help="scenes of each pair, motion and place (4)")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args(arguments)
    metrics, backbone = TrackedMetrics(load_grid(options.grid)), load_unet3d()
    cases = scenes(options.seeds)

    def softened(frames: np.ndarray) -> np.ndarray:
        return to_uint8(through_autoencoder(backbone, to_pixels(frames)))

    right = [metrics.score(draw(scene).frames, cell) for scene, cell in cases]
    soft = [metrics.score(softened(draw(scene).frames), cell) for scene, cell in cases]
    figures: list[dict[str, Any]] = []
    for drawn in dict.fromkeys(fault.drawn for fault in FAULTS):
        frames = [drawn(scene) for scene, _ in cases]
        crisp = [metrics.score(video, cell) for video, (_, cell) in zip(frames, cases, strict=True)]
        blurred = [metrics.score(softened(video), cell) for video, (_, cell) in zip(frames, cases, strict=True)]
        for fault in FAULTS:
            if fault.drawn is drawn:
                chosen = [i for i, (scene, _) in enumerate(cases) if fault.motion in ("", scene.motion)]
                figures.append(compared(fault, *([of[i] for i in chosen] for of in (right, crisp, soft, blurred))))
                print(figures[-1], flush=True)
    figures.sort(key=lambda figure: list(METRICS).index(figure["metric"]))
    write_json(options.docs / "metrics.json", {"scenes": len(cases), "faults": figures})
    rows = "\n".join(
        f"| {f['metric']} | {f['wrong']} | {f['right scenes']} | {f['wrong scenes']} | {f['told apart']:.2f} | "
        f"{f['ceiling']} | {f['wrong, softened']} | {f['told apart, softened']:.2f} |"
        for f in figures
    )
    lost = {m: np.mean([s[m] for s in right]) - np.mean([s[m] for s in soft]) for m in METRICS}
    costs = ", ".join(f"{metric} {value:+.3f}" for metric, value in sorted(lost.items(), key=lambda kv: -abs(kv[1])))
    (options.docs / "metrics.md").write_text(
        METHOD.format(scenes=len(cases), rows=rows, costs=costs), encoding="utf-8"
    )  # fmt: skip


def compared(fault: Fault, *scores: list[dict[str, float]]) -> dict[str, Any]:
    """What its metric says of right and of wrong scenes, then of both softened."""
    metric = fault.metric
    right, wrong, soft, blurred = ([one[metric] for one in of] for of in scores)
    separations = [
        discrimination(*(pair if METRICS[metric] else pair[::-1])) for pair in ((right, wrong), (soft, blurred))
    ]
    return {
        "metric": metric,
        "wrong": fault.what,
        "right scenes": summary(right),
        "wrong scenes": summary(wrong),
        "told apart": round(separations[0], 3),
        "ceiling": summary(soft),
        "wrong, softened": summary(blurred),
        "told apart, softened": round(separations[1], 3),
    }


def scenes(seeds: int) -> list[tuple[Scene, Cell]]:
    """Right scenes: the half's pairs doing its interactions."""
    cast = {c.concept: c for c in DEVELOPMENT.characters}
    return [
        (Scene((cast[a], cast[b]), motion, place, SEED + seed), Cell((a, b), motion, place, seed))
        for a, b in PAIRS["development"]
        for motion in DEVELOPMENT.interactions
        for place in PLACES
        for seed in range(seeds)
    ]


def discrimination(better: list[float], worse: list[float]) -> float:
    """The share of pairs in which the first is larger (the area under the ROC curve)."""
    first, second = np.array(better)[:, None], np.array(worse)[None]
    return float((first > second).mean() + (first == second).mean() / 2)


def summary(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def _by_another_artist(scene: Scene) -> np.ndarray:
    """Both of the right class, but other drawings."""
    rng = np.random.default_rng(scene.seed)
    others = [[c for c in training_characters() if c.concept == who.concept] for who in scene.characters]
    return draw(replace(scene, characters=tuple(o[int(rng.integers(len(o)))] for o in others))).frames


def _of_other_classes(scene: Scene) -> np.ndarray:
    rng = np.random.default_rng(scene.seed)
    present = {who.concept for who in scene.characters}
    others = [c for c in training_characters() if c.concept not in present]
    chosen = rng.choice(len(others), 2, replace=False)
    return draw(replace(scene, characters=tuple(others[int(i)] for i in chosen))).frames


def _performed_by_the_clips(scene: Scene) -> np.ndarray:
    noto = {c.concept: c for c in training_characters() if c.artist == "noto"}
    return draw(replace(scene, characters=tuple(noto[name] for name in PERFORMERS["development"]))).frames


def _one_twice(scene: Scene) -> np.ndarray:
    return draw(replace(scene, characters=(scene.characters[0],) * 2)).frames


def _mixed(scene: Scene) -> np.ndarray:
    """Each has the upper half of the other."""
    first, second = scene.characters
    return draw(replace(scene, characters=(_Chimera(first, second), _Chimera(second, first)))).frames


class _Chimera(Character):
    """A drawing whose upper half is another's."""

    def __init__(self, below: Character, above: Character) -> None:
        super().__init__(below.artist, below.concept)
        object.__setattr__(self, "above", above)

    def sprite(self) -> np.ndarray:
        own, other = super().sprite().copy(), self.above.sprite()  # type: ignore[attr-defined]
        own[: len(own) // 2] = other[: len(own) // 2]
        return own


def _elsewhere(scene: Scene) -> np.ndarray:
    return draw(replace(scene, background="beach")).frames


def _doing_something_else(scene: Scene) -> np.ndarray:
    return draw(replace(scene, motion="walking towards")).frames


def _standing(scene: Scene) -> np.ndarray:
    return draw(replace(scene, motion="next to")).frames


def _not_moving(scene: Scene) -> np.ndarray:
    """Placed as they should be, in every frame as in the first."""
    return draw(scene).frames[:1].repeat(8, 0)


def _roles_swapped(scene: Scene) -> np.ndarray:
    return draw(replace(scene, characters=scene.characters[::-1])).frames


def _nobody(scene: Scene) -> np.ndarray:
    return draw(replace(scene, characters=(), motion="")).frames


def _first_alone(scene: Scene) -> np.ndarray:
    return draw(replace(scene, characters=scene.characters[:1], motion="walking to the right")).frames


def _shuffled(scene: Scene) -> np.ndarray:
    frames = draw(scene).frames
    return frames[np.random.default_rng(scene.seed).permutation(len(frames))]


def _flickering(scene: Scene) -> np.ndarray:
    """Every other frame a third darker."""
    frames = draw(scene).frames.copy()
    frames[::2] = (frames[::2] * 0.67).astype(np.uint8)
    return frames


FAULTS = (
    Fault("identity", "same class, other drawings", _by_another_artist),
    Fault("nearest of its class", "same class, other drawings", _by_another_artist),
    Fault("text alignment", "other classes", _of_other_classes),
    Fault("text alignment", "another place", _elsewhere),
    Fault("text alignment", "another motion", _doing_something_else),
    Fault("placement", "side by side", _standing, "riding"),  # dancers stand so
    Fault("placement", "roles swapped", _roles_swapped, "riding"),  # and their mirror image is theirs
    Fault("motion fidelity", "another motion", _doing_something_else),
    Fault("motion fidelity", "placed right, nobody moves", _not_moving),
    Fault("motion fidelity", "side by side", _standing),
    Fault("temporal consistency", "flickering light", _flickering),
    Fault("temporal consistency", "frames in another order", _shuffled),
    Fault("appearance leakage", "the clip's performers", _performed_by_the_clips),
    Fault("appearance leakage", "none: same class, other drawings", _by_another_artist),
    Fault("attribute mixing", "the first subject twice", _one_twice),
    Fault("attribute mixing", "upper halves exchanged", _mixed),
    *(
        Fault(metric, what, drawn)
        for what, drawn in (("nobody is there", _nobody), ("only the first is there", _first_alone))
        for metric in ("identity", "nearest of its class", "text alignment", "attribute mixing")
    ),
)


if __name__ == "__main__":
    main()
