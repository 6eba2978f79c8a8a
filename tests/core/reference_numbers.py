"""What each stage and each metric gives for one small fixed input, to notice that its numbers changed.

    python -m tests.core.reference_numbers

writes ``reference_numbers.json`` anew, each with the ``VERSION`` its module declares.  The stages run on a network of
some thousand weights that are filled here, so that neither a new built-in base nor another version of diffusers, which
may draw initial weights in another order, changes anything.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from videomage_core.callbacks import Callbacks
from videomage_core.config import CollaborativeConfig, FusionConfig, MotionConfig, SamplingConfig, SubjectConfig
from videomage_core.data.examples import MotionClip, SubjectImage
from videomage_core.data.lora_file import LoraModel
from videomage_core.model.fingerprint import fingerprint
from videomage_core.model.lora_weights import LoraWeights
from videomage_core.model.text import SpecialToken
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.stages.baselines import sample_averaged, sample_merged
from videomage_core.stages.collaborative_sampling import sample_collaboratively
from videomage_core.stages.ddim_inversion import invert_clip
from videomage_core.stages.fusion import fuse_subjects
from videomage_core.stages.generated_clips import generate_clips
from videomage_core.stages.motion_lora import train_motion
from videomage_core.stages.subject_lora import train_subject

FILE = Path(__file__).with_name("reference_numbers.json")
FRAMES, SIDE = 4, 16
SIZE: dict[str, Any] = {"height": SIDE, "width": SIDE}
SAMPLING = SamplingConfig(frames=FRAMES, steps=2, ddim_inversion_steps=2, **SIZE)
TRAINING: dict[str, Any] = {"steps": 3, "rank": 2, "learning_rate": 0.02, **SIZE}
Numbers = dict[str, list[float]]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _filled(network: nn.Module, seed: int) -> nn.Module:
    """Weights by name, each from a generator of its own: uniform, or one for norms and zero for biases."""
    for index, (name, weight) in enumerate(sorted(network.named_parameters())):
        if weight.ndim > 1:
            reach = (3 / weight[0].numel()) ** 0.5
            weight.data.uniform_(-reach, reach, generator=seeded(1000 * seed + index))
        else:
            weight.data.fill_(0.0 if name.endswith("bias") else 1.0)
    return network.eval()


class _Scheduler:
    alphas_cumprod = torch.linspace(0.999, 0.01, 1000)
    config = type("Config", (dict,), {"prediction_type": "epsilon"})()


def tiny_base(folder: Path) -> UNet3DBackbone:
    """A base of the U-Net kind with a few thousand weights; its tokenizer is written to ``folder``."""
    from diffusers import AutoencoderKL, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from emoji_world.base_training.tokenizer import build_tokenizer

    tokenizer = build_tokenizer(["a", "dog", "panda", "running", "plain", "background"], folder)
    unet = UNet3DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=16, attention_head_dim=8,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4,
    )  # fmt: skip
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    parts = [_filled(part, seed) for seed, part in enumerate((unet, vae, text))]
    return UNet3DBackbone("tiny", *(part.requires_grad_(False) for part in parts), tokenizer, _Scheduler())


class LeftHalf:
    """Finds every subject in the left half."""

    def segment(self, pixels: torch.Tensor, words: Sequence[str]) -> torch.Tensor:
        mask = torch.zeros(len(words), *pixels.shape[1:])
        mask[..., : pixels.shape[-1] // 2] = 1
        return mask

    def key_parts(self) -> tuple[str, ...]:
        return ("left half",)


def _lora(base: UNet3DBackbone, seed: int, token: str | None) -> LoraModel:
    """A LoRA of random factors: a subject, or a motion without a token."""
    layers = {}
    for index, target in enumerate(base.targets("temporal" if token is None else "spatial")):
        layer = base.network.get_submodule(target.module)
        a, b = (torch.randn(n, 2, generator=seeded(1000 * seed + 2 * index + i)) * 0.2
                for i, n in enumerate((layer.in_features, layer.out_features)))  # fmt: skip
        layers[target.module] = (a.T.contiguous(), b)
    tokens = () if token is None else (SpecialToken(token, base.initial_vectors("dog", 1) + 0.1 * seed, "dog"),)
    kind = "motion" if token is None else "subject"
    return LoraModel(kind, LoraWeights(layers), tokens, base.name, fingerprint(base.network))  # type: ignore[arg-type]


def _noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=seeded(seed)) * 2 - 1


def _clip() -> MotionClip:
    masks = torch.ones(1, FRAMES, SIDE, SIDE)
    masks[..., SIDE // 2 :] = 0
    return MotionClip(_noise(3, 3, FRAMES, SIDE, SIDE), ("dog",), masks)


def _summary(values: torch.Tensor) -> list[float]:
    """Four numbers that another result hardly shares."""
    flat = values.detach().double().flatten()
    signs = torch.randn(len(flat), generator=seeded(0)).sign().double()
    return [float(v) for v in (flat.mean(), flat.std(), flat.abs().max(), (flat * signs).std())]


def of_subject(base: UNet3DBackbone, folder: Path) -> Numbers:
    images = [SubjectImage(_noise(seed, 3, SIDE, SIDE)) for seed in (1, 2)]
    config = SubjectConfig(auxiliary_clips=2, auxiliary_frames=FRAMES, auxiliary_steps=2, random_flip=True, **TRAINING)
    trained = train_subject(base, images, "<toy>", "dog", config, folder, segmenter=LeftHalf())
    return trained.history.losses


def of_motion(base: UNet3DBackbone, folder: Path) -> Numbers:
    losses = {}
    for objective in ("appearance-agnostic", "motion_director"):
        config = MotionConfig(frames=FRAMES, objective=objective, textual_inversion_steps=2, **TRAINING)
        trained = train_motion(base, [_clip()], "a dog is running", config, folder / objective)
        losses |= {f"{objective}: {name}": values for name, values in trained.history.losses.items()}
    return losses


def of_fusion(base: UNet3DBackbone, folder: Path) -> Numbers:
    config = FusionConfig(
        frames=FRAMES, teacher_videos=1, teacher_steps=2, cutmix_videos=1, **{**TRAINING, "rank": 3}
    )  # fmt: skip
    subjects = [_lora(base, 1, "<toy>"), _lora(base, 2, "<pet>")]
    fused = fuse_subjects(base, subjects, config, folder, segmenter=LeftHalf())
    return fused.history.losses | {"compression": [fused.compression_error]}


def of_collaborative_sampling(base: UNet3DBackbone, folder: Path) -> Numbers:
    config = CollaborativeConfig(frames=FRAMES, steps=3, tau=2, **SIZE)
    inverted = torch.randn(1, *base.latent_shape(FRAMES, SIDE, SIDE), generator=seeded(9))
    made = sample_collaboratively(
        base, _lora(base, 1, "<toy>"), _lora(base, 3, None), "a <toy> running", 5, config, inverted
    )
    return {"video": _summary(made.video), "x_sub": made.subject_update_ratios, "x_mot": made.motion_update_ratios}


def of_comparisons(base: UNet3DBackbone, folder: Path) -> Numbers:
    subjects, motion = [_lora(base, 1, "<toy>"), _lora(base, 2, "<pet>")], _lora(base, 3, None)
    merged = sample_merged(base, [(subjects[0], 1.0), (motion, 0.5)], "a <toy> running", 5, SAMPLING)
    averaged = sample_averaged(base, subjects, motion, "a <toy> and a <pet>", 5, SAMPLING)
    return {"merged": _summary(merged), "averaged": _summary(averaged)}


def of_generated_clips(base: UNet3DBackbone, folder: Path) -> Numbers:
    return {
        "latents": _summary(
            generate_clips(base, ["a dog", "a panda"], 5, SAMPLING, folder, "clips", "base", Callbacks())
        )
    }


def of_ddim_inversion(base: UNet3DBackbone, folder: Path) -> Numbers:
    return {"noise": _summary(invert_clip(base, _noise(3, 3, FRAMES, SIDE, SIDE), SAMPLING))}


STAGES: dict[str, Callable[[UNet3DBackbone, Path], Numbers]] = {
    "subject_lora": of_subject,
    "motion_lora": of_motion,
    "fusion": of_fusion,
    "collaborative_sampling": of_collaborative_sampling,
    "baselines": of_comparisons,
    "generated_clips": of_generated_clips,
    "ddim_inversion": of_ddim_inversion,
}


def _video(seed: int, frames: int = 3) -> np.ndarray:
    """uint8 [F, 32, 40, 3] of large patches, which survive resizing."""
    patches = np.random.default_rng(seed).integers(0, 256, (frames, 4, 5, 3), dtype=np.uint8)
    return patches.repeat(8, 1).repeat(8, 2)


def of_colours(folder: Path) -> Numbers:
    from videomage_core.evaluation.colour_metrics import ColourMetrics

    return _scores(ColourMetrics().score(_video(0), None, {"toy": list(_video(1, 2))}))


def of_mobilenet(folder: Path) -> Numbers:
    from videomage_core.evaluation.mobilenet_metrics import MobileNetMetrics

    return _scores(MobileNetMetrics().score(_video(0), None, {"toy": list(_video(1, 2))}))


def of_tracked(folder: Path) -> Numbers:
    from emoji_world.world.characters import Character
    from emoji_world.world.scene import Scene, draw
    from tests.core.evaluation.small_grid import write_small_grid
    from videomage_core.evaluation.grid import Cell, load_grid
    from videomage_core.evaluation.tracked_metrics import TrackedMetrics

    metrics = TrackedMetrics(load_grid(write_small_grid(folder)))
    shown = draw(Scene((Character("twemoji", "dog"), Character("noto", "pig")), "riding", "grass", 8)).frames
    return _scores(metrics.score(shown, Cell(("rex", "po"), "riding", "grass", 3)))


def of_learned(folder: Path) -> Numbers:
    """By a CLIP of a few weights, filled here."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    from videomage_core.evaluation.learned_metrics import LearnedMetrics

    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "c</w>": 3, "a": 4, "c": 5}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16).save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = small | {
        "vocab_size": 6,
        "max_position_embeddings": 16,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    vision = small | {"image_size": 32, "patch_size": 8}
    _filled(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)), 4).save_pretrained(folder)
    preparation = {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32},
                   "image_mean": (0.48, 0.46, 0.41), "image_std": (0.27, 0.26, 0.28)}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(preparation))
    return _scores(LearnedMetrics(folder, None, "cpu").score(_video(0), "a c", {"toy": list(_video(1, 2))}))


METRICS: dict[str, Callable[[Path], Numbers]] = {
    "colour_metrics": of_colours,
    "learned_metrics": of_learned,
    "mobilenet_metrics": of_mobilenet,
    "tracked_metrics": of_tracked,
}


def _scores(scores: dict[str, float]) -> Numbers:
    return {name: [value] for name, value in scores.items()}


def main() -> None:
    from videomage_core.evaluation.code_version import METRIC_VERSIONS
    from videomage_core.stages.versions import STAGE_VERSIONS

    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as at:
        base = tiny_base(Path(at) / "tokenizer")
        for name, stage in STAGES.items():
            told[name] = {"version": STAGE_VERSIONS[name], "numbers": stage(base, Path(at) / name)}
        for name, metric in METRICS.items():
            (folder := Path(at) / name).mkdir()
            told[name] = {"version": METRIC_VERSIONS[name], "numbers": metric(folder)}
    rounded = json.loads(json.dumps(told), parse_float=lambda text: float(f"{float(text):.6g}"))
    FILE.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {FILE}")


if __name__ == "__main__":
    main()
