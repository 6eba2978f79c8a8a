"""One training step of each kind at ZeroScope's size: gradients where they belong, and nowhere else."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import torch

from videomage_core.config import CollaborativeConfig, FusionConfig, MotionConfig, SubjectConfig
from videomage_core.data.examples import CaptionedClip, MotionClip, SubjectImage
from videomage_core.data.masks import GivenMasks
from videomage_core.stages.collaborative_sampling import sample_collaboratively
from videomage_core.stages.fusion import fuse_subjects
from videomage_core.stages.motion_lora import train_motion
from videomage_core.stages.subject_lora import train_subject

HEIGHT, WIDTH = 64, 128  # 8x16 latents: 1x2 in the middle, the least where self-attention has something to compare


def checksums(base) -> dict[str, int]:
    parts = {"unet": base.unet, "vae": base.vae, "text_encoder": base.prompts.text_encoder}
    return {
        f"{part}.{name}": zlib.crc32(weight.detach().contiguous().view(torch.uint8).numpy())
        for part, module in parts.items()
        for name, weight in module.state_dict().items()
    }


@dataclass
class Step:
    """What an optimiser step found: gradients of its groups; trained parameters of the base's parts by name."""

    groups: list[list[torch.Tensor]]
    network: dict[str, torch.Tensor]
    others: list[str] = field(default_factory=list)


@pytest.fixture
def steps(zeroscope_size, monkeypatch) -> Iterator[list[Step]]:
    """Filled with each step that is made; the base must be the same afterwards, bit for bit."""
    base, stock, seen = zeroscope_size, torch.optim.AdamW.step, []
    before = checksums(base)

    def watched(optimizer, *arguments):
        groups = [[p.grad.clone() for p in group["params"]] for group in optimizer.param_groups]
        asked = {n: p.grad for n, p in base.unet.named_parameters() if p.requires_grad or p.grad is not None}
        others = [
            name
            for part in (base.vae, base.prompts.text_encoder)
            for name, p in part.named_parameters()
            if p.requires_grad or p.grad is not None
        ]
        seen.append(Step(groups, {name: grad.clone() for name, grad in asked.items()}, others))
        return stock(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    yield seen
    assert checksums(base) == before
    assert not any(p.requires_grad or p.grad is not None for p in base.unet.parameters())


def pixels(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)) * 2 - 1


def require_lora_gradients(step: Step, modules: set[str], trained: list[torch.Tensor]) -> None:
    """Finite in every A and B of these modules and in nothing else; in A zero, as B is zero yet, in B not."""
    ends: dict[str, Callable[[float], bool]] = {
        ".lora_A.weight": lambda largest: largest == 0,
        ".lora_B.weight": lambda largest: 0 < largest < float("inf"),
    }
    found = {
        name.replace(".subject.", ".").replace(".motion.", "."): float(grad.abs().max())
        for name, grad in step.network.items()
    }
    assert set(found) == {module + end for module in modules for end in ends}
    wrong = [name for name, largest in found.items() for end in ends if name.endswith(end) and not ends[end](largest)]
    assert not wrong
    assert len(trained) == len(found) and all(bool(grad.isfinite().all()) for grad in trained)
    assert not step.others


def require_finite(history, *terms: str) -> None:
    assert set(history.losses) == {*terms, "loss"}
    assert all(0 < loss < float("inf") for losses in history.losses.values() for loss in losses)


def test_a_subject_step_reaches_the_spatial_layers_and_the_token(zeroscope_size, steps, tmp_path):
    config = SubjectConfig(steps=1, height=HEIGHT, width=WIDTH)
    clips = [CaptionedClip(pixels(3, 2), "a cat is jumping")]
    images = [SubjectImage(pixels(3))]
    trained = train_subject(zeroscope_size, images, "<toy>", "robot", config, tmp_path, auxiliary=clips)
    require_finite(trained.history, "L_sub", "L_reg")
    (step,) = steps
    lora, (token,) = step.groups
    modules = {target.module for target in zeroscope_size.targets("spatial")}
    require_lora_gradients(step, modules, lora)
    assert token.shape == (1, 1024) and 0 < float(token.abs().max()) < float("inf")
    layers = trained.lora_model.weights.layers
    assert set(layers) == modules and all(
        b.dtype == torch.float32 and float(b.abs().max()) > 0 for _, b in layers.values()
    )


def test_a_motion_step_reaches_the_temporal_layers(zeroscope_size, steps, tmp_path):
    config = MotionConfig(steps=1, textual_inversion_steps=1, frames=2, height=HEIGHT, width=WIDTH)
    masks = torch.zeros(1, 2, HEIGHT, WIDTH)
    masks[..., 8:40, 16:60] = 1
    clip = MotionClip(pixels(3, 2), ("robot",), masks)
    trained = train_motion(zeroscope_size, [clip], "a robot is walking", config, tmp_path)
    require_finite(trained.history, "L_mot")
    inversion, step = steps
    ((token,),) = inversion.groups
    assert not inversion.network and not inversion.others
    assert token.shape == (1, 1024) and 0 < float(token.abs().max()) < float("inf")
    modules = {target.module for target in zeroscope_size.targets("temporal")}
    (lora,) = step.groups
    require_lora_gradients(step, modules, lora)
    layers = trained.lora_model.weights.layers
    assert set(layers) == modules and all(
        b.dtype == torch.float32 and float(b.abs().max()) > 0 for _, b in layers.values()
    )


def test_a_fusion_step_reaches_the_fused_lora_alone(zeroscope_size, steps, make_lora_model, tmp_path):
    """L_fusion and L_attn together, both recomputed in the backward pass."""
    lora_models = [make_lora_model(zeroscope_size, 1), make_lora_model(zeroscope_size, 2, "<pet>", "dog")]
    config = FusionConfig(
        steps=1, frames=2, height=HEIGHT, width=WIDTH, teacher_videos=1, teacher_steps=1, teacher_guidance_scale=1.0,
        cutmix_videos=1,
    )  # fmt: skip
    masks = torch.zeros(1, 2, HEIGHT, WIDTH)
    masks[..., 8:40, 16:60] = 1
    fused = fuse_subjects(zeroscope_size, lora_models, config, tmp_path, segmenter=GivenMasks(masks))
    require_finite(fused.history, "L_fusion", "L_attn")
    (step,) = steps
    modules = {target.module for target in zeroscope_size.targets("spatial")}
    assert set(step.network) == {f"{module}.lora_{f}.fused.weight" for module in modules for f in "AB"}
    assert not [name for name, grad in step.network.items() if not 0 < float(grad.abs().max()) < float("inf")]
    assert len(step.groups[0]) == len(step.network) and not step.others
    assert fused.lora_model.weights.rank == 4 and bool(fused.maps.isfinite().all()) and float(fused.maps.max()) > 0


def test_a_guided_step_moves_both_branches(zeroscope_size, make_lora_model):
    before = checksums(zeroscope_size)
    subject, motion = make_lora_model(zeroscope_size, 1), make_lora_model(zeroscope_size, 2, None)
    config = CollaborativeConfig(frames=2, height=HEIGHT, width=WIDTH, steps=1, tau=1)
    made = sample_collaboratively(zeroscope_size, subject, motion, "a <toy> is walking", 0, config, with_maps=True)
    assert 0 < made.subject_update_ratios[0] < float("inf") and 0 < made.motion_update_ratios[0] < float("inf")
    assert made.maps.shape == (1, 2, HEIGHT, WIDTH) and float(made.maps.max()) > 0
    assert bool(made.video.isfinite().all()) and bool(made.maps.isfinite().all())
    assert checksums(zeroscope_size) == before
    assert not any(p.requires_grad or p.grad is not None for p in zeroscope_size.unet.parameters())
