"""The recipe, in miniature: its product loads, a finished stage is not done again, more training can follow."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from emoji_world.base_training import train_base
from videomage_core.model.loading import load_unet3d

SMALL = ["--stills", "260", "--clips", "8", "--vae-steps", "1", "--device", "cpu"]


def run(work: Path, output: Path, *more: str) -> None:
    train_base.main([*SMALL, "--cache-dir", str(work), "--output", str(output), *more])


def weights(base: Path) -> dict[str, torch.Tensor]:
    loaded = load_unet3d(base, dtype="fp32", device="cpu")
    return {**loaded.unet.state_dict(), **loaded.prompts.text_encoder.state_dict()}


def different(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in one if not torch.equal(one[name], two[name])}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run(folder / "work", folder / "base", "--still-steps", "1", "--clip-steps", "1")
    return folder


def test_the_product_is_a_base_that_predicts(trained):
    base = load_unet3d(trained / "base", dtype="fp32", device="cpu")
    output = base.predict(torch.randn(1, 6, 2, 12, 12), base.levels(2)[0], base.encode_prompt(["a dog"]))
    assert output.isfinite().all()
    assert base.vae.config.scaling_factor != 0.18215  # measured, not the library's default


def test_written_again_from_the_checkpoint_it_is_the_same(trained, tmp_path):
    run(trained / "work", tmp_path / "again", "--write-only")
    assert not different(weights(trained / "base"), weights(tmp_path / "again"))


def test_training_may_go_on_from_a_finished_base(trained, tmp_path):
    run(
        tmp_path / "work",
        tmp_path / "more",
        "--from-base",
        str(trained / "base"),
        "--still-steps",
        "0",
        "--clip-steps",
        "1",
    )
    changed = different(weights(trained / "base"), weights(tmp_path / "more"))
    assert any(name.startswith("down_blocks") for name in changed)
    first, second = (load_unet3d(b, device="cpu").vae.state_dict() for b in (trained / "base", tmp_path / "more"))
    assert not different(first, second)
