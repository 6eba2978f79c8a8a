import numpy as np
import pytest
import torch

from emoji_world.base_training.framewise import causal_weights, to_frames
from emoji_world.base_training.linear_start import principal_components, start_from_components
from emoji_world.base_training.train_autoencoder import FrameAutoencoder, measure, varied_colours
from emoji_world.base_training.wan_models import FRAMES, LATENT_CHANNELS, new_autoencoder
from emoji_world.world.scene import draw, random_scene


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    """Stills of the small world, [B, 3, 48, 48] in -1..1."""
    drawn = np.stack([draw(random_scene(seed, still=True), frames=1).frames[0] for seed in range(48)])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


def scattered(seed: int):
    """A causal autoencoder whose weights are those of a frame-wise one with random weights, and that one."""
    torch.manual_seed(seed)
    frame_wise = FrameAutoencoder()
    with torch.no_grad():
        for parameter in frame_wise.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    causal = new_autoencoder()
    causal.load_state_dict(causal_weights(frame_wise.inner.state_dict(), causal))
    return causal.double().eval(), frame_wise.double().eval()


@torch.no_grad()
def test_a_clip_is_encoded_and_decoded_frame_by_frame_exactly():
    causal, frame_wise = scattered(0)
    clip = torch.rand(2, 3, FRAMES, 16, 24, dtype=torch.float64) * 2 - 1
    latents = causal.encode(clip).latent_dist.mode()
    assert latents.shape == (2, LATENT_CHANNELS, FRAMES, 4, 6)
    for frame in range(FRAMES):
        alone = frame_wise.encode(clip[:, :, frame]).mode()
        torch.testing.assert_close(latents[:, :, frame : frame + 1], alone, rtol=0, atol=1e-12)
    decoded = causal.decode(latents).sample
    for frame in range(FRAMES):
        alone = frame_wise.decode(latents[:, :, frame : frame + 1]).clamp(-1, 1)
        torch.testing.assert_close(decoded[:, :, frame], alone, rtol=0, atol=1e-12)


def test_frame_convolutions_take_the_last_tap():
    torch.manual_seed(0)
    causal = new_autoencoder()
    last = causal.encoder.conv_in.weight[:, :, -1].clone()
    frame_wise = to_frames(causal)
    assert torch.equal(frame_wise.encoder.conv_in.weight, last)


def test_the_start_reconstructs_as_well_as_the_principal_components(frames):
    torch.manual_seed(0)
    autoencoder = new_autoencoder().eval()
    start_from_components(autoencoder, frames)
    mean, components, scales = principal_components(frames, 4, LATENT_CHANNELS)
    assert torch.allclose(components @ components.T, torch.eye(LATENT_CHANNELS), atol=1e-5)
    # B 3 (12 4) (12 4), in the order of diffusers' patchify: channel, column, row
    patches = frames.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 5, 4).flatten(3)
    error = patches - mean
    error = (error - error @ components.T @ components).square().mean((1, 2, 3)) / 4
    bound = float((-10 * error.log10()).mean())
    reached = measure(autoencoder, frames)
    assert bound > 27
    assert abs(reached - bound) < 0.6  # the norm is nearly, not quite, constant
    latents = autoencoder.encode(frames.unsqueeze(2)).latent_dist
    assert abs(float(latents.mode().square().mean().sqrt().detach()) - 1) < 0.1
    assert float(scales[0]) > float(scales[-1])


def test_an_autoencoder_with_downsampling_cannot_start_so(frames):
    from diffusers import AutoencoderKLWan

    deep = AutoencoderKLWan(base_dim=8, dim_mult=[1, 1], num_res_blocks=1, temperal_downsample=[False])
    with pytest.raises(ValueError, match=r"dim_mult: got \[1, 1\], allowed: one level"):
        start_from_components(deep, frames)


def test_colours_are_swapped_in_every_other_frame():
    frames = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
    varied = varied_colours(frames, np.random.default_rng(1))
    assert np.array_equal(varied[1::2], frames[1::2])
    assert np.array_equal(np.sort(varied, axis=-1), np.sort(frames, axis=-1))
    assert not np.array_equal(varied[::2], frames[::2])
