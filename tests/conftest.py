"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from videomage_core.model.unet3d import UNet3DBackbone, load_unet3d


def weights_of(backbone: UNet3DBackbone) -> dict[str, torch.Tensor]:
    """Copies of all weights a stage could change, by part and name."""
    parts = {"unet": backbone.unet, "vae": backbone.vae, "text_encoder": backbone.prompts.text_encoder}
    return {f"{p}.{n}": t.detach().clone() for p, module in parts.items() for n, t in module.state_dict().items()}


@pytest.fixture(scope="session")
def shared_emoji_base() -> UNet3DBackbone:
    return load_unet3d(dtype="fp32", device="cpu")


@pytest.fixture
def emoji_base(shared_emoji_base: UNet3DBackbone) -> Iterator[UNet3DBackbone]:
    """The embedded base; a test that leaves it changed in any bit, or any hook on it, fails."""
    before = weights_of(shared_emoji_base)
    yield shared_emoji_base
    after = weights_of(shared_emoji_base)
    assert after.keys() == before.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    modules = [*shared_emoji_base.unet.modules(), *shared_emoji_base.prompts.text_encoder.modules()]
    assert not any(m._forward_hooks or m._forward_pre_hooks or m.training for m in modules)
    assert not any(p.requires_grad for p in shared_emoji_base.unet.parameters())


@pytest.fixture
def latents() -> torch.Tensor:
    """Noise of the embedded base's latent size: [1, 6, 8, 12, 12]."""
    return torch.randn(1, 6, 8, 12, 12, generator=torch.Generator().manual_seed(0))
