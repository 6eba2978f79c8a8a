"""Trainings on the core's MODEL: the same LoRA as on diffusers' Wan."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_base as tiny
import torch
from videomage_pack.videomage_core.config import MotionConfig
from videomage_pack.videomage_core.model import lora
from videomage_pack.videomage_core.model.fingerprint import fingerprint
from videomage_pack.videomage_core.stages import motion_lora

FRAMES, SIDE = 5, 32
CONFIG = MotionConfig(frames=FRAMES, height=SIDE, width=SIDE, rank=2, learning_rate=1e-2, omega=0.5)


@pytest.fixture(scope="module")
def folder_base(tmp_path_factory: Any) -> Any:
    return tiny.diffusers_base(tmp_path_factory.mktemp("wan") / "base")


@pytest.fixture(scope="module")
def base(folder_base: Any) -> Any:
    model = tiny.core_model(folder_base.transformer, folder_base.transformer.config.text_dim)
    return tiny.core_backbone(model, tiny.tiny_clip(), tiny.tiny_vae(), folder_base._probe)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def check_one_prediction_one_fingerprint(base: Any, folder_base: Any) -> None:
    x = torch.randn(2, *base.latent_shape(FRAMES, SIDE, SIDE), generator=seeded())
    text = folder_base.encode_prompt(["a dog is passing", "a cat"])
    level = base.random_level(2, seeded(1))
    wanted, got = (of.predict(x, level, text) for of in (folder_base, base))
    assert float((wanted - got).norm() / wanted.norm()) < 1e-4
    assert fingerprint(base.network) == fingerprint(folder_base.network)


def trained(base: Any, text: Any, appearance: Any, x0: torch.Tensor, heads: torch.Tensor, steps: int = 20) -> Any:
    base._heads = heads
    example = motion_lora._Example(x0, text, appearance)
    with lora.trainable_adapter(base, "motion", base.targets("temporal"), CONFIG) as parameters:
        optimizer, generator = torch.optim.AdamW(parameters.values(), lr=1e-2), seeded(7)
        for _ in range(steps):
            optimizer.zero_grad()
            motion_lora.motion_loss(base, [example], CONFIG, generator)["L_mot"].backward()
            optimizer.step()
        return lora.weights(base, "motion")


def check_both_carriers_train_the_same_lora(base: Any, folder_base: Any) -> None:
    text, appearance = (folder_base.encode_prompt([prompt]) for prompt in ("a dog is passing", "a video of a dog"))
    x0 = torch.randn(1, *base.latent_shape(FRAMES, SIDE, SIDE), generator=seeded(3))
    heads = folder_base.temporal_heads
    one, two = (trained(of, text, appearance, x0, heads) for of in (folder_base, base))
    assert one.layers.keys() == two.layers.keys()
    deltas = [torch.cat([of.delta(name).flatten() for name in one.layers]) for of in (one, two)]
    assert float(deltas[0].norm()) > 0.01
    assert float((deltas[0] - deltas[1]).norm() / deltas[0].norm()) < 1e-3
