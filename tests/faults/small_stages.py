"""Each stage at its smallest, so that it can be disturbed many times: run whole, it takes some seconds.

python tests/faults/small_stages.py STAGE STEPS FOLDER    runs one, prints a line as it begins and for each step
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open

from videomage_core.callbacks import Callbacks
from videomage_core.config import CollaborativeConfig, FusionConfig, MotionConfig, SubjectConfig
from videomage_core.data.examples import MotionClip, SubjectImage
from videomage_core.data.lora_file import LoraModel, load_lora, save_lora
from videomage_core.data.masks import GivenMasks
from videomage_core.model.fingerprint import fingerprint
from videomage_core.model.loading import load_unet3d
from videomage_core.model.lora_weights import LoraWeights
from videomage_core.model.text import SpecialToken
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.stages.collaborative_sampling import sample_collaboratively
from videomage_core.stages.ddim_inversion import invert_clip
from videomage_core.stages.fusion import fuse_subjects
from videomage_core.stages.motion_lora import train_motion
from videomage_core.stages.subject_lora import train_subject

SIZE = {"height": 24, "width": 24}
STAGES = ("subject", "motion", "fusion", "sampling")
LORA = "lora.safetensors"  # what a training leaves in its folder, beside its checkpoint


def run_stage(
    name: str, base: UNet3DBackbone, folder: Path, steps: int, callbacks: Callbacks | None = None
) -> list[torch.Tensor]:
    """All that a stage makes: factors, vectors, losses, or a video."""
    return {"subject": _subject, "motion": _motion, "fusion": _fusion, "sampling": _sampling}[name](
        base, folder, steps, callbacks or Callbacks(log=lambda _: None)
    )


def _subject(base: UNet3DBackbone, folder: Path, steps: int, callbacks: Callbacks) -> list[torch.Tensor]:
    config = SubjectConfig(
        steps=steps,
        save_every_n_steps=2,
        dropout=0.1,
        auxiliary_clips=2,
        auxiliary_frames=2,
        auxiliary_steps=2,
        random_flip=True,
        **SIZE,
    )
    image = SubjectImage(_noise(0, 3, 30, 40).clamp(-1, 1))
    made = train_subject(base, [image], "<toy>", "robot", config, folder, callbacks=callbacks)
    save_lora(folder / LORA, made.lora_model)
    return [*_factors(made.lora_model), torch.tensor(made.history.losses["loss"])]


def _motion(base: UNet3DBackbone, folder: Path, steps: int, callbacks: Callbacks) -> list[torch.Tensor]:
    config = MotionConfig(
        steps=steps, save_every_n_steps=2, frames=2, textual_inversion_steps=steps // 2 + 1, dropout=0.1, **SIZE
    )
    mask = torch.zeros(1, 2, 24, 24)
    mask[..., 6:18, 6:18] = 1
    clip = MotionClip(_noise(1, 3, 2, 24, 24).clamp(-1, 1), ("dog",), mask)
    made = train_motion(base, [clip], "a dog is jumping", config, folder, callbacks=callbacks)
    save_lora(folder / LORA, made.lora_model)
    return [*_factors(made.lora_model), torch.tensor(made.history.losses["loss"])]


def _fusion(base: UNet3DBackbone, folder: Path, steps: int, callbacks: Callbacks) -> list[torch.Tensor]:
    config = FusionConfig(
        steps=steps, save_every_n_steps=2, frames=2, teacher_videos=1, teacher_steps=2, cutmix_videos=1, **SIZE
    )
    mask = torch.zeros(1, 2, 24, 24)
    mask[..., 8:16, 8:16] = 1
    subjects = [_lora_model(base, 2, "<toy>"), _lora_model(base, 3, "<pet>")]
    made = fuse_subjects(base, subjects, config, folder, segmenter=GivenMasks(mask), callbacks=callbacks)
    save_lora(folder / LORA, made.lora_model)
    return [*_factors(made.lora_model), torch.tensor(made.history.losses["loss"])]


def _sampling(base: UNet3DBackbone, folder: Path, steps: int, callbacks: Callbacks) -> list[torch.Tensor]:
    config = CollaborativeConfig(frames=2, steps=steps, tau=steps // 2, ddim_inversion_steps=3, **SIZE)
    clip = _noise(1, 3, 2, 24, 24).clamp(-1, 1)
    inverted = invert_clip(base, clip, config, folder, callbacks)
    motion = _lora_model(base, 4, None)
    made = sample_collaboratively(
        base, _lora_model(base, 2, "<toy>"), motion, "a <toy> is jumping", 0, config, inverted, True, callbacks
    )
    assert made.maps is not None
    return [made.video, made.maps]


def _lora_model(base: UNet3DBackbone, seed: int, token: str | None) -> LoraModel:
    generator, layers = torch.Generator().manual_seed(seed), {}
    for target in base.targets("temporal" if token is None else "spatial"):
        layer = base.network.get_submodule(target.module)
        a, b = (
            torch.randn(2, layer.in_features, generator=generator),
            torch.randn(layer.out_features, 2, generator=generator),
        )
        layers[target.module] = (a * 0.1, b * 0.1)
    tokens = () if token is None else (SpecialToken(token, base.initial_vectors("robot", 1), "robot"),)
    kind = "motion" if token is None else "subject"
    return LoraModel(kind, LoraWeights(layers), tokens, base.name, fingerprint(base.network))


def _factors(lora_model: LoraModel) -> list[torch.Tensor]:
    factors = [factor for pair in lora_model.weights.layers.values() for factor in pair]
    return [*factors, *(token.vectors for token in lora_model.tokens)]


def _noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    """Bit for bit."""
    return len(one) == len(two) and all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


if __name__ == "__main__":
    stage, steps, folder = sys.argv[1:]
    torch.set_num_threads(1)
    base = load_unet3d(dtype="fp32", device="cpu")
    print("begins", flush=True)
    told: Callable[[int, int, str], None] = lambda done, total, what: print(what, done, total, flush=True)  # noqa: E731
    run_stage(stage, base, Path(folder), int(steps), Callbacks(progress=told))


TIMES = int(os.environ.get("FAULTS", "1"))
STEPS = 6
TRAININGS = STAGES[:-1]


def whole(folder: Path) -> None:
    """Every file that a stage left can be read to its end, and none is half written."""
    for path in folder.rglob("*"):
        if path.name == LORA:
            assert load_lora(path).weights.layers, path
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                assert all(file.get_tensor(key) is not None for key in file.keys()), path  # noqa: SIM118
        elif path.suffix == ".pt":
            assert torch.load(path, weights_only=True)["step"] >= 0, path
