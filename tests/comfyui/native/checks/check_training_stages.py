"""Whole trainings on the core's MODEL: rows, files, resuming, and what is left behind."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import comfy.samplers
import comfy.sd
import comfy.utils
import pytest
import tiny_base as tiny
import torch
from videomage_pack.nodes.native import gradients
from videomage_pack.nodes.native.core_wan import RECOMPUTED, STORED
from videomage_pack.videomage_core.callbacks import Callbacks, Cancelled
from videomage_pack.videomage_core.config import FusionConfig, MotionConfig, SamplingConfig, SubjectConfig
from videomage_pack.videomage_core.data.examples import CaptionedClip, MotionClip, SubjectImage
from videomage_pack.videomage_core.data.lora_file import LoraModel, apply_loras, load_lora, save_lora
from videomage_pack.videomage_core.model import lora
from videomage_pack.videomage_core.sampling import gaussian_noise, generate_videos
from videomage_pack.videomage_core.stages.fusion import fuse_subjects
from videomage_pack.videomage_core.stages.motion_lora import train_motion
from videomage_pack.videomage_core.stages.subject_lora import train_subject

FRAMES, SIDE = 5, 32
SIZE = {"height": SIDE, "width": SIDE}
TRAINING = {"steps": 3, "rank": 2, "learning_rate": 1e-2, "save_every_n_steps": 2, **SIZE}
SUBJECT = SubjectConfig(auxiliary_clips=1, auxiliary_frames=FRAMES, auxiliary_steps=2, **TRAINING)
MOTION = MotionConfig(frames=FRAMES, **TRAINING)
FUSION = FusionConfig(
    frames=FRAMES, teacher_videos=1, teacher_steps=1, teacher_guidance_scale=1.0, cutmix_videos=1,
    **{**TRAINING, "rank": 0},
)  # fmt: skip
SAMPLING = SamplingConfig(frames=FRAMES, steps=4, guidance_scale=3.0, **SIZE)


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny.core_model(tiny.transformer(32), 32)


@pytest.fixture(scope="module")
def shared(model: Any) -> Any:
    base = tiny.core_backbone(model, tiny.tiny_clip(), tiny.tiny_vae())
    base._heads = torch.tensor([[True, False, False, True], [False, True, False, False]])
    return base


def state(model: Any) -> tuple[Any, ...]:
    """All that a MODEL is and carries."""
    patches = {key: list(map(id, patches)) for key, patches in model.patches.items()}
    modules = {
        name: (id(module), vars(module).get("forward"), bool(getattr(module, "weight_function", None)))
        for name, module in model.model.diffusion_model.named_modules()
    }
    own = sys.modules["comfy.ldm.wan.model"]
    rope = {name: getattr(own, name) for name in gradients.ROPE if hasattr(own, name)}
    return patches, model.patches_uuid, repr(model.model_options), dict(model.object_patches), modules, rope


@pytest.fixture
def base(shared: Any, model: Any) -> Any:
    """A base; a check that leaves anything on its MODEL, or an adapter on it, fails."""
    before, weights = (
        state(model),
        {name: weight.clone() for name, weight in model.model.diffusion_model.state_dict().items()},
    )
    shared.use_memory(STORED)
    yield shared
    shared.use_memory(STORED)
    assert state(model) == before and not lora.names(shared)
    after = model.model.diffusion_model.state_dict()
    assert after.keys() == weights.keys() and all(torch.equal(weights[name], after[name]) for name in weights)
    assert not torch.is_inference_mode_enabled()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images() -> list[SubjectImage]:
    mask = torch.zeros(40, 40)
    mask[8:30, 6:34] = 1
    return [SubjectImage(torch.rand(3, 40, 40, generator=seeded(5)) * 2 - 1, mask)]


def clip() -> MotionClip:
    return MotionClip(torch.rand(3, FRAMES, SIDE, SIDE, generator=seeded(4)) * 2 - 1, ("dog",), None)


class Box:
    """Finds a subject always in the same place."""

    def segment(self, pixels: torch.Tensor, words: Sequence[str]) -> torch.Tensor:
        mask = torch.zeros(1, *pixels.shape[1:])
        mask[..., 4:22, 6:26] = 1
        return mask


def subject(base: Any, folder: Path, token: str = "<ohwx_dog>", config: Any = SUBJECT, **more: Any) -> Any:
    auxiliary = [CaptionedClip(torch.rand(3, FRAMES, SIDE, SIDE, generator=seeded(6)) * 2 - 1, "a cat on grass")]
    return train_subject(base, images(), token, "dog", config, folder, auxiliary=auxiliary, **more)


def motion(base: Any, folder: Path, config: Any = MOTION, **more: Any) -> Any:
    return train_motion(base, [clip()], "a dog is passing", config, folder, **more)


def flat(made: LoraModel) -> torch.Tensor:
    return torch.cat([factor.flatten() for pair in made.weights.layers.values() for factor in pair])


def require_rows(base: Any, made: LoraModel, role: str) -> None:
    """A LoRA is on a role's layers, and exactly zero in the rows of the other's heads."""
    targets = {target.module: target.rows for target in base.targets(role)}
    assert made.weights.layers.keys() == targets.keys()
    for module, (_, b) in made.weights.layers.items():
        untouched = torch.ones(len(b), dtype=torch.bool)
        untouched[list(targets[module] or range(len(b)))] = False
        assert not bool(b[untouched].any()) and bool(b[~untouched].any())


def check_subject_motion_and_fusion_learn_by_their_rows(base: Any, tmp_path: Path) -> None:
    one, two = (subject(base, tmp_path / name[1:-1], name).lora_model for name in ("<ohwx_dog>", "<sks_cat>"))
    ride = motion(base, tmp_path / "motion", sampling=SAMPLING)
    require_rows(base, one, "spatial")
    require_rows(base, ride.lora_model, "temporal")
    assert one.details["trigger"] == "ohwx dog" and ride.sample is not None and ride.lora_model.tokens == ()
    assert not (tmp_path / "motion" / "inversion_0").exists(), "appearance comes from words"
    fused = fuse_subjects(base, [one, two], FUSION, tmp_path / "fusion", segmenter=Box())
    require_rows(base, fused.lora_model, "spatial")
    assert set(fused.history.losses) == {"L_fusion", "L_attn", "loss"}


@pytest.mark.parametrize(("train", "steps"), [(subject, 2), (motion, 2)])
def check_a_stop_and_a_second_call_give_what_one_call_gives(base: Any, tmp_path: Path, train: Any, steps: int) -> None:
    expected = flat(train(base, tmp_path / "whole").lora_model)
    done: list[int] = []
    callbacks = Callbacks(progress=lambda step, *_: done.append(step), cancelled=lambda: len(done) >= steps)
    with pytest.raises(Cancelled):
        train(base, tmp_path / "two", callbacks=callbacks)
    resumed = train(base, tmp_path / "two")
    assert resumed.history.resumed_at > 0 and torch.equal(flat(resumed.lora_model), expected)


def check_checkpointing_changes_memory_and_nothing_else(base: Any, tmp_path: Path) -> None:
    one = subject(base, tmp_path / "a").lora_model
    base.use_memory(RECOMPUTED)
    two = subject(base, tmp_path / "b").lora_model
    torch.testing.assert_close(flat(one), flat(two), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("where", ["forward", "backward"])
def check_an_error_leaves_nothing(base: Any, tmp_path: Path, monkeypatch: Any, where: str) -> None:
    """The fixture compares."""
    from videomage_pack.nodes.native import core_transformer

    owner, name = (core_transformer, "attend") if where == "forward" else (gradients, "linear_weight")
    calls, function = [0], getattr(owner, name)

    def breaks(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise RuntimeError("broken on purpose")
        return function(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, breaks)
        with pytest.raises(RuntimeError, match="broken on purpose"):
            motion(base, tmp_path / "broken")
    assert bool(flat(motion(base, tmp_path / "after").lora_model).isfinite().all())


def check_core_loads_the_file_and_makes_the_same_video(base: Any, model: Any, tmp_path: Path) -> None:
    """Over 40 dB, from one noise; and the LoRA counts."""
    config = dataclasses.replace(SUBJECT, learning_rate=0.1, lambda1=0.0)
    path, prompt = tmp_path / "dog.safetensors", "a ohwx dog on grass"
    save_lora(path, subject(base, tmp_path / "dog", config=config).lora_model)
    with apply_loras(base, [(load_lora(path), 1.0)]) as tokens:
        ours = generate_videos(base, ["a <ohwx_dog> on grass"], [3], SAMPLING, tokens=tokens)
    alone = generate_videos(base, [prompt], [3], SAMPLING)
    with torch.inference_mode():
        text = base.prompts.text
        positive, negative = (text.plain(words) for words in (prompt, SAMPLING.negative_prompt))
        loaded = comfy.sd.load_lora_for_models(model, None, comfy.utils.load_torch_file(str(path)), 1.0, 0.0)[0]
        assert loaded.patches.keys() and len(loaded.patches) == len(load_lora(path).weights.layers)
        guider = comfy.samplers.CFGGuider(loaded)
        guider.set_conds(positive, negative)
        guider.set_cfg(SAMPLING.guidance_scale)
        noise = gaussian_noise(base.latent_shape(FRAMES, SIDE, SIDE), 3)
        sigmas = torch.stack([level.s for level in base.levels(SAMPLING.steps)])
        latents = guider.sample(noise, torch.zeros_like(noise), comfy.samplers.sampler_object("euler"), sigmas,
                                disable_pbar=True, seed=0)  # fmt: skip
        video = base.vae.decode(latents).movedim(-1, 1) * 2 - 1
        loaded.unpatch_model()
    assert decibels(video, ours) > 40 > decibels(alone, ours)


def decibels(one: torch.Tensor, other: torch.Tensor) -> float:
    """Peak signal to noise of videos in -1..1."""
    return float(10 * torch.log10(4 / (one.clamp(-1, 1) - other).square().mean()))


def check_a_length_that_wan_cannot_make_is_refused_before_anything(base: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frames: got 8, this base makes 1 more than a multiple of 4"):
        motion(base, tmp_path / "m", dataclasses.replace(MOTION, frames=8))
    with pytest.raises(ValueError, match="auxiliary_frames, of the clips for L_reg: frames: got 8"):
        subject(base, tmp_path / "s", config=dataclasses.replace(SUBJECT, auxiliary_frames=8))
    assert not list(tmp_path.iterdir())
