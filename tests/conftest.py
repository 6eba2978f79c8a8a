"""Fixtures shared by all tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch

from videomage_core.data.lora_file import LoraModel
from videomage_core.model.base_folder import EMOJI_BASE
from videomage_core.model.fingerprint import fingerprint
from videomage_core.model.loading import load_unet3d
from videomage_core.model.lora_weights import LoraWeights
from videomage_core.model.memory import MODES
from videomage_core.model.text import SpecialToken
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.model.wan import WanBackbone


def weights_of(backbone: UNet3DBackbone | WanBackbone) -> dict[str, torch.Tensor]:
    """Copies of all weights a stage could change, by part and name."""
    parts = {"network": backbone.network, "vae": backbone.vae, "text_encoder": backbone.prompts.text_encoder}
    return {f"{p}.{n}": t.detach().clone() for p, module in parts.items() for n, t in module.state_dict().items()}


@pytest.fixture(scope="session")
def shared_emoji_base() -> UNet3DBackbone:
    return load_unet3d(dtype="fp32", device="cpu")


@contextmanager
def left_as_it_was(base: UNet3DBackbone | WanBackbone) -> Iterator[None]:
    """A test that leaves a base changed in any bit, or any hook on it, fails."""
    before = weights_of(base)
    yield
    after = weights_of(base)
    assert after.keys() == before.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    modules = [*base.network.modules(), *base.prompts.text_encoder.modules()]
    assert not any(m._forward_hooks or m._forward_pre_hooks or m.training for m in modules)
    assert not any(p.requires_grad for p in base.network.parameters())


@pytest.fixture
def emoji_base(shared_emoji_base: UNet3DBackbone) -> Iterator[UNet3DBackbone]:
    """The built-in base, which must be left as it was."""
    with left_as_it_was(shared_emoji_base):
        yield shared_emoji_base


@pytest.fixture(scope="session")
def wan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Wan base of random weights; not to be changed."""
    from tests.tiny_wan import write_tiny_wan

    return write_tiny_wan(tmp_path_factory.mktemp("bases") / "tiny_wan")


@pytest.fixture(scope="session")
def shared_tiny_wan(wan_folder: Path) -> WanBackbone:
    from videomage_core.model.wan_loading import load_wan

    base = load_wan(wan_folder, dtype="fp32", device="cpu")
    base._probe = (5, 96, 96)  # on this small video each block has heads of both kinds
    return base


@pytest.fixture
def tiny_wan(shared_tiny_wan: WanBackbone) -> Iterator[WanBackbone]:
    """That base, which must be left as it was."""
    with left_as_it_was(shared_tiny_wan):
        yield shared_tiny_wan


@pytest.fixture
def in_mode(emoji_base: UNet3DBackbone) -> Callable[[str], AbstractContextManager[None]]:
    """Inside ``in_mode(name)`` the built-in base works in that memory mode."""

    @contextmanager
    def inside(name: str) -> Iterator[None]:
        emoji_base.use_memory(MODES[name])
        try:
            yield
        finally:
            emoji_base.use_memory(MODES["high"])

    return inside


@pytest.fixture(scope="session")
def zeroscope_size(shared_emoji_base: UNet3DBackbone) -> UNet3DBackbone:
    """ZeroScope's U-Net with random weights; text encoder and autoencoder have its shapes, but few layers.

    In bf16; in fp32 on processors without instructions for bf16, where a step takes ten times as long.
    """
    from diffusers import AutoencoderKL, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    has_bf16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    dtype = torch.bfloat16 if has_bf16 else torch.float32
    with torch.device("meta"):
        unet = UNet3DConditionModel().to(dtype)
    unet = unet.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for name, weight in unet.named_parameters():
        if name.endswith("bias"):
            weight.data.zero_()
        elif weight.ndim > 1:
            weight.data.uniform_(-0.035, 0.035, generator=generator)  # a normal distribution takes thrice as long
        else:
            weight.data.fill_(1.0)
    tokenizer = shared_emoji_base.prompts.tokenizer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer), hidden_size=1024, intermediate_size=64, num_hidden_layers=1,
                num_attention_heads=16, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(8,) * 4, down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4,
        )  # fmt: skip
    parts = (unet, vae.to(dtype), text_encoder.to(dtype))
    return UNet3DBackbone("zeroscope", *parts, tokenizer, _Scheduler(shared_emoji_base.alphas_cumprod))


class _Scheduler:
    def __init__(self, alphas_cumprod: torch.Tensor) -> None:
        self.alphas_cumprod = alphas_cumprod
        self.config = type("Config", (dict,), {"prediction_type": "epsilon"})()


def random_lora_model(
    base: UNet3DBackbone | WanBackbone,
    seed: int,
    token: str | None = "<toy>",
    superclass: str = "robot",
    rank: int = 2,
    size: float = 0.1,
) -> LoraModel:
    """A LoRA of random factors: a subject with its token, or a motion where ``token`` is None."""
    generator, layers = torch.Generator().manual_seed(seed), {}
    for target in base.targets("temporal" if token is None else "spatial"):
        layer = base.network.get_submodule(target.module)
        a = torch.randn(rank, layer.in_features, generator=generator) * size
        b = torch.randn(layer.out_features, rank, generator=generator) * size
        if target.rows is not None:
            untouched = torch.ones(layer.out_features, dtype=torch.bool)
            untouched[list(target.rows)] = False
            b[untouched] = 0
        layers[target.module] = (a, b)
    tokens = []
    if token is not None:
        vectors = base.initial_vectors(superclass, 1)
        vectors += size * torch.randn(vectors.shape, generator=generator)
        tokens.append(SpecialToken(token, vectors, superclass))
    kind = "motion" if token is None else "subject"
    return LoraModel(kind, LoraWeights(layers), tuple(tokens), base.name, fingerprint(base.network))


@pytest.fixture(scope="session")
def make_lora_model() -> Callable[..., LoraModel]:
    """``random_lora_model``, as a fixture: test files cannot import from here."""
    return random_lora_model


@pytest.fixture
def latents() -> torch.Tensor:
    """Noise of the built-in base's latent size: [1, 6, 8, 12, 12]."""
    return torch.randn(1, 6, 8, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def sam2_both_ways(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One tiny SAM 2 with random weights, as a file of the package ``sam2`` and as a Hugging Face folder."""
    from emoji_world.fixtures.weight_conversion import random_sam2, sam2_folder

    folder = tmp_path_factory.mktemp("sam2")
    file = random_sam2(folder / "sam2_tiny.safetensors")
    return file, sam2_folder(file, folder / "sam2-tiny")


@pytest.fixture(scope="session")
def sam2_for_images(sam2_both_ways: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same SAM 2 without its memory, as ``Sam2Model`` is saved."""
    from emoji_world.fixtures.weight_conversion import without_memory

    return without_memory(sam2_both_ways[1], tmp_path_factory.mktemp("sam2") / "images")


@pytest.fixture(scope="session")
def detector_both_ways(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """One small GroundingDINO with random weights: the package's file, BERT's folder for it, a Hugging Face folder."""
    from emoji_world.fixtures.tiny_detector import random_detector
    from emoji_world.fixtures.weight_conversion import detector_file

    folder = tmp_path_factory.mktemp("detector")
    made = random_detector(folder / "grounding-dino-small")
    return *detector_file(made, folder / "groundingdino_small.safetensors"), made


@pytest.fixture
def copied_base(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EMOJI_BASE, tmp_path / "base"))
