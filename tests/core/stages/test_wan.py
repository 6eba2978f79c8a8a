"""Every stage on a tiny Wan of random weights: Eq. 2-11 with flow prediction, latent frames and heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import CollaborativeConfig, FusionConfig, MotionConfig, SamplingConfig, SubjectConfig
from videomage_core.data.cutmix import CutMix
from videomage_core.data.examples import CaptionedClip, MotionClip, SubjectImage
from videomage_core.data.lora_file import LoraModel, apply_loras, load_lora, save_lora
from videomage_core.data.wan_lora import read_wan_lora
from videomage_core.model import lora
from videomage_core.model.lora_weights import average
from videomage_core.sampling import generate_videos
from videomage_core.stages import motion_lora
from videomage_core.stages.baselines import sample_averaged, sample_merged
from videomage_core.stages.collaborative_sampling import sample_collaboratively
from videomage_core.stages.ddim_inversion import invert_clip
from videomage_core.stages.fusion import attention_loss, fuse_subjects, pair_maps
from videomage_core.stages.motion_lora import motion_loss, train_motion
from videomage_core.stages.subject_lora import prediction_error, train_subject

FRAMES, SIDE = 5, 32
SIZE = {"height": SIDE, "width": SIDE}
TRAINING = {"steps": 3, "rank": 2, "learning_rate": 1e-2, "save_every_n_steps": 2, **SIZE}
SUBJECT = SubjectConfig(
    auxiliary_clips=1, auxiliary_frames=FRAMES, auxiliary_steps=2, token_learning_rate=1e-2, **TRAINING
)
MOTION = MotionConfig(frames=FRAMES, textual_inversion_steps=2, **TRAINING)
FUSION = FusionConfig(
    frames=FRAMES, teacher_videos=1, teacher_steps=1, teacher_guidance_scale=1.0, cutmix_videos=1,
    **{**TRAINING, "rank": 0},
)  # fmt: skip
SAMPLING = SamplingConfig(frames=FRAMES, steps=2, guidance_scale=3.0, ddim_inversion_steps=3, **SIZE)
SCS = CollaborativeConfig(frames=FRAMES, steps=3, guidance_scale=3.0, tau=2, alpha=1e6, **SIZE)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images() -> list[SubjectImage]:
    mask = torch.zeros(40, 40)
    mask[8:30, 6:34] = 1
    return [SubjectImage(torch.rand(3, 40, 40, generator=seeded(5)) * 2 - 1, mask)]


def clip() -> MotionClip:
    masks = torch.zeros(1, FRAMES, SIDE, SIDE)
    for frame in range(FRAMES):
        masks[0, frame, 8:20, 2 * frame : 2 * frame + 14] = 1
    return MotionClip(masks.expand(3, -1, -1, -1) * 1.6 - 0.8, ("dog",), masks)


class Box:
    """Finds a subject always in the same place."""

    def segment(self, pixels: torch.Tensor, words: Sequence[str]) -> torch.Tensor:
        mask = torch.zeros(1, *pixels.shape[1:])
        mask[..., 4:22, 6:26] = 1
        return mask


def flat(lora_model: LoraModel) -> torch.Tensor:
    factors = [factor.flatten() for pair in lora_model.weights.layers.values() for factor in pair]
    return torch.cat([*factors, *(token.vectors.flatten() for token in lora_model.tokens)])


def subject(base, folder: Path, config: SubjectConfig = SUBJECT, **more):
    auxiliary = [CaptionedClip(torch.rand(3, FRAMES, SIDE, SIDE, generator=seeded(6)) * 2 - 1, "a cat on grass")]
    return train_subject(base, images(), "<toy>", "robot", config, folder, auxiliary=auxiliary, **more)


def motion(base, folder: Path, config: MotionConfig = MOTION, **more):
    return train_motion(base, [clip()], "a dog is passing", config, folder, **more)


def fuse(base, subjects, folder: Path, config: FusionConfig = FUSION, **more):
    return fuse_subjects(base, subjects, config, folder, segmenter=Box(), **more)


@pytest.fixture
def both(tiny_wan, make_lora_model) -> list[LoraModel]:
    return [make_lora_model(tiny_wan, 1), make_lora_model(tiny_wan, 2, "<pet>", "dog")]


def require_rows(base, lora_model: LoraModel, role: str) -> None:
    """A LoRA is on a role's layers, and exactly zero in the rows of the other's heads."""
    targets = {target.module: target.rows for target in base.targets(role)}
    assert lora_model.weights.layers.keys() == targets.keys()
    for module, (_, b) in lora_model.weights.layers.items():
        untouched = torch.ones(len(b), dtype=torch.bool)
        untouched[list(targets[module] or range(len(b)))] = False
        assert not bool(b[untouched].any()) and bool(b[~untouched].any())


# --- the trainings


def test_a_subject_is_learned_by_its_rows_and_its_token(tiny_wan, tmp_path):
    trained = subject(tiny_wan, tmp_path)
    require_rows(tiny_wan, trained.lora_model, "spatial")
    assert not torch.equal(trained.lora_model.tokens[0].vectors, tiny_wan.initial_vectors("robot", 1))
    assert set(trained.history.losses) == {"L_sub", "L_reg", "loss"}


def test_a_motion_is_learned_by_its_rows(tiny_wan, tmp_path):
    trained = motion(tiny_wan, tmp_path)
    require_rows(tiny_wan, trained.lora_model, "temporal")
    assert trained.lora_model.tokens == () and (tmp_path / "inversion_0").is_dir()


def test_losses_fall(tiny_wan, tmp_path):
    longer = {"steps": 40, "batch_size": 4}
    runs = [
        subject(tiny_wan, tmp_path / "s", dataclasses.replace(SUBJECT, lambda1=0.0, **longer)),
        motion(tiny_wan, tmp_path / "m", dataclasses.replace(MOTION, omega=0.0, learning_rate=5e-2, **longer)),
    ]
    for run in runs:
        losses = run.history.losses["loss"]
        assert sum(losses[-10:]) < 0.95 * sum(losses[:10]), losses


def test_omega_zero_is_the_plain_loss_and_another_moves_the_target(tiny_wan):
    with torch.no_grad():
        x0, text = tiny_wan.encode_video(clip().pixels[None]), tiny_wan.encode_prompt(["a dog is passing"])
        appearance = tiny_wan.encode_prompt(["a dog on grass"])
        example = motion_lora._Example(x0, text, appearance)

        def loss(omega: float) -> torch.Tensor:
            return motion_loss(tiny_wan, [example], dataclasses.replace(MOTION, omega=omega), seeded(2))["L_mot"]

        assert torch.equal(loss(0.0), prediction_error(tiny_wan, x0, text, seeded(2)).mean())
        generator = seeded(2)
        level = tiny_wan.random_level(1, generator)
        eps = torch.randn(x0.shape, generator=generator)
        x_t = (1 - level.s) * x0 + level.s * eps
        static, output = (tiny_wan.predict(x_t, level, of) for of in (appearance, text))
        wanted = (output - (1.5 * (eps - x0) - 0.5 * static)).square().mean()  # Eq. 5 for the velocity eps - x0
    torch.testing.assert_close(loss(0.5), wanted)


def test_motion_directors_objective_runs(tiny_wan, tmp_path):
    trained = motion(tiny_wan, tmp_path, dataclasses.replace(MOTION, objective="motion_director"))
    assert set(trained.history.losses) == {"L_spatial", "L_mot", "L_debiased", "loss"}
    require_rows(tiny_wan, trained.lora_model, "temporal")


@pytest.mark.parametrize(("train", "steps"), [(subject, 2), (motion, 3)])  # of which a motion's first two are inversion
def test_a_stop_and_a_second_call_give_what_one_call_gives(tiny_wan, tmp_path, train, steps):
    wanted = flat(train(tiny_wan, tmp_path / "whole").lora_model)
    done: list[int] = []
    callbacks = Callbacks(progress=lambda step, *_: done.append(step), cancelled=lambda: len(done) >= steps)
    with pytest.raises(Cancelled):
        train(tiny_wan, tmp_path / "two", callbacks=callbacks)
    resumed = train(tiny_wan, tmp_path / "two")
    assert resumed.history.resumed_at > 0
    assert torch.equal(flat(resumed.lora_model), wanted)


def test_checkpointing_changes_memory_and_nothing_else(tiny_wan, tmp_path):
    """L_sub's and L_reg's texts have different lengths, and both are recomputed in one backward pass."""
    from videomage_core.model.memory import HIGH, MEDIUM

    one = subject(tiny_wan, tmp_path / "a")
    tiny_wan.use_memory(MEDIUM)
    try:
        two = subject(tiny_wan, tmp_path / "b")
    finally:
        tiny_wan.use_memory(HIGH)
    torch.testing.assert_close(flat(one.lora_model), flat(two.lora_model), atol=1e-5, rtol=1e-4)


# --- fusion


def test_a_fusion_learns_by_its_rows(tiny_wan, both, tmp_path):
    fused = fuse(tiny_wan, both, tmp_path)
    require_rows(tiny_wan, fused.lora_model, "spatial")
    assert set(fused.history.losses) == {"L_fusion", "L_attn", "loss"}
    assert fused.history.losses["L_fusion"][0] > 0
    assert fused.maps is not None and fused.maps.shape == (2, FRAMES, SIDE, SIDE)


def test_l_attn_falls(tiny_wan, both):
    """On one pair at one level; its masks are of nine frames, the maps of three."""
    tokens = [token for lora_model in both for token in lora_model.tokens]
    masks = torch.zeros(2, 9, SIDE, SIDE)
    masks[0, :, :, :16], masks[1, :, :, 16:] = 1, 1
    pair = CutMix(torch.rand(3, 9, SIDE, SIDE, generator=seeded()) * 2 - 1, masks)
    start = average([lora_model.weights for lora_model in both])
    layers, values = tiny_wan.attention_layers("cross"), []
    with lora.trainable_adapter(tiny_wan, "fused", tiny_wan.targets("spatial"), FUSION, start) as parameters:
        optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2)
        for _ in range(12):
            optimizer.zero_grad()
            with pair_maps(tiny_wan, pair, ["<toy>", "<pet>"], tokens, layers, seeded(2)) as maps:
                loss = attention_loss(maps, pair.masks, tiny_wan.temporal_factor)
                loss.backward()
            optimizer.step()
            values.append(float(loss.detach()))
    assert values[-1] < 0.8 * values[0], values


def test_the_fusion_of_compressed_rank_keeps_other_rows_at_zero(tiny_wan, both, tmp_path):
    fused = fuse(tiny_wan, both, tmp_path, dataclasses.replace(FUSION, rank=3, lambda2=0.0))
    assert 0 < fused.compression_error < 1
    require_rows(tiny_wan, fused.lora_model, "spatial")


# --- sampling


def test_scs_moves_both_branches_and_tells_where_it_looked(tiny_wan, make_lora_model):
    toy, passing = make_lora_model(tiny_wan, 1), make_lora_model(tiny_wan, 3, None)
    made = sample_collaboratively(tiny_wan, toy, passing, "a <toy> is passing", 5, SCS, with_maps=True)
    assert made.video.shape == (3, FRAMES, SIDE, SIDE) and bool(made.video.isfinite().all())
    assert made.maps is not None and made.maps.shape == (1, FRAMES, SIDE, SIDE)
    assert len(made.subject_update_ratios) == len(made.motion_update_ratios) == 2
    assert min(made.subject_update_ratios + made.motion_update_ratios) > 0
    off = sample_collaboratively(tiny_wan, toy, passing, "a <toy> is passing", 5, dataclasses.replace(SCS, tau=0))
    assert not torch.allclose(made.video, off.video, atol=1e-4)


def test_scs_refuses_to_step_from_where_flow_has_no_step(tiny_wan, make_lora_model):
    config = dataclasses.replace(SCS, guided_step_from="original")
    with pytest.raises(
        ValueError, match="guided_step_from: got 'original', which has no first step under flow matching"
    ):
        sample_collaboratively(
            tiny_wan, make_lora_model(tiny_wan, 1), make_lora_model(tiny_wan, 3, None), "a <toy> is passing", 5, config
        )


def test_averaged_outputs_of_one_subject_are_its_own(tiny_wan, make_lora_model):
    toy = make_lora_model(tiny_wan, 1)
    averaged = sample_averaged(tiny_wan, [toy], None, "a <toy> on grass", 5, SAMPLING)
    merged = sample_merged(tiny_wan, [(toy, 1.0)], "a <toy> on grass", 5, SAMPLING)
    assert bool(averaged.isfinite().all())
    torch.testing.assert_close(averaged, merged, atol=1e-3, rtol=1e-3)


def test_a_clips_inverted_noise_is_noise_of_the_latents(tiny_wan):
    noise = invert_clip(tiny_wan, clip().pixels, SAMPLING)
    assert noise.shape[1:] == tiny_wan.latent_shape(FRAMES, SIDE, SIDE) and bool(noise.isfinite().all())


# --- files


def test_a_file_is_core_s_and_gives_the_same_sample(tiny_wan, make_lora_model, tmp_path):
    toy, path = make_lora_model(tiny_wan, 1), tmp_path / "toy.safetensors"
    save_lora(path, toy)
    loaded = load_lora(path)
    videos = []
    for lora_model in (toy, loaded):
        with apply_loras(tiny_wan, [(lora_model, 1.0)]) as tokens:
            videos.append(generate_videos(tiny_wan, ["a <toy> on grass"], [3], SAMPLING, tokens=tokens))
    assert torch.equal(*videos)
    read = read_wan_lora(path)  # as any file for Wan; core takes what it holds
    keys = read.state_dict().keys()
    assert "diffusion_model.blocks.1.cross_attn.o.lora_B.weight" in keys
    assert "diffusion_model.blocks.0.ffn.0.lora_A.weight" in keys
    assert read.metadata["modelspec.architecture"] == "wan2.1/lora" and set(read.vectors) == {"toy"}


# --- what does not fit


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda base, at: motion(base, at, dataclasses.replace(MOTION, frames=8)),
            "frames: got 8, this base makes 1 more",
        ),
        (
            lambda base, at: subject(base, at, dataclasses.replace(SUBJECT, auxiliary_frames=8)),
            "auxiliary_frames, of the clips for L_reg: frames: got 8",
        ),
        (lambda base, at: motion(base, at, dataclasses.replace(MOTION, height=40)), "size: got 40x32"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tiny_wan, tmp_path, run, message):
    with pytest.raises(ValueError, match=message):
        run(tiny_wan, tmp_path)
    assert not list(tmp_path.iterdir())
