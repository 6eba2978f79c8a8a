from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanPipeline

from emoji_world.base_training.framewise import causal_weights
from emoji_world.base_training.text_to_video import TextToVideo
from emoji_world.base_training.train_autoencoder import FrameAutoencoder
from emoji_world.base_training.train_transformer import encode
from emoji_world.base_training.wan_folder import LARGEST, weights_of, write_base
from emoji_world.base_training.wan_models import new_autoencoder
from emoji_world.base_training.wan_tokenizer import build_tokenizer
from emoji_world.world.small_dataset import vocabulary

pytest.importorskip("sentencepiece", reason="the recipe's tokenizer is trained with the sentencepiece package")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A base of random weights, written."""
    work = tmp_path_factory.mktemp("work")
    tokenizer = build_tokenizer(vocabulary(), work / "tokenizer")
    torch.manual_seed(0)
    model = TextToVideo(len(tokenizer))
    torch.nn.init.normal_(model.transformer.proj_out.weight, std=0.02)
    autoencoder = new_autoencoder()
    autoencoder.load_state_dict(causal_weights(FrameAutoencoder().inner.state_dict(), autoencoder))
    autoencoder.register_to_config(latents_mean=[0.5] * 16, latents_std=[2.0] * 16)
    write_base(work / "base", autoencoder, model, work / "tokenizer")
    return work / "base"


def test_diffusers_opens_it_and_samples(base):
    pipeline = WanPipeline.from_pretrained(base, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    settings = {"height": 16, "width": 16, "num_inference_steps": 2, "guidance_scale": 3.0, "output_type": "np"}
    latents = torch.randn(1, 16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    video = pipeline("a dog on grass", latents=latents, **settings).frames
    assert video.shape == (1, 3, 16, 16, 3)
    other = pipeline("a cat at night", latents=latents, **settings).frames
    assert not np.array_equal(video, other)


def test_the_pipeline_s_text_and_prediction_are_those_of_training(base):
    """WanPipeline pads texts to 512 places and attends to all; training does the same with one of them."""
    pipeline = WanPipeline.from_pretrained(base, local_files_only=True, torch_dtype=torch.float32)
    model = TextToVideo(len(pipeline.tokenizer))
    model.load_state_dict(weights_of(base, len(pipeline.tokenizer)))
    text, _ = pipeline.encode_prompt("a dog on grass", do_classifier_free_guidance=False, max_sequence_length=512)
    tokens = pipeline.tokenizer(["a dog on grass"], padding="max_length", max_length=9, return_tensors="pt")
    x = torch.randn(1, 16, 2, 4, 4)
    with torch.no_grad():
        expected = pipeline.transformer(x, torch.tensor([700.0]), text, return_dict=False)[0]
        got = model.eval().predict(x, torch.tensor([0.7]), tokens.input_ids, tokens.attention_mask)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_weights_are_fp16_and_few(base):
    from safetensors.torch import load_file

    files = list(base.rglob("*.safetensors"))
    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) < LARGEST
    for file in files:
        assert {weight.dtype for weight in load_file(file).values()} == {torch.float16}
    assert not any("_name_or_path" in config.read_text(encoding="utf-8") for config in base.rglob("config.json"))


def test_latents_are_normalised_as_the_pipeline_takes_them_back(base):
    from diffusers import AutoencoderKLWan

    autoencoder = AutoencoderKLWan.from_pretrained(base / "vae", torch_dtype=torch.float32).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 16, 16, 3), dtype=np.uint8)
    latents = encode(autoencoder, pixels, batch=4)
    assert latents.shape == (3, 16, 5, 4, 4)
    clip = torch.from_numpy(pixels).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    with torch.no_grad():
        expected = (autoencoder.encode(clip).latent_dist.mode() - 0.5) / 2.0
    torch.testing.assert_close(latents.float(), expected, rtol=0, atol=5e-3)


def test_an_autoencoder_that_looks_back_is_refused():
    with pytest.raises(ValueError, match=r"its encoder\.conv_in looks at past frames; allowed: one that acts"):
        encode(new_autoencoder(), np.zeros((1, 1, 8, 8, 3), dtype=np.uint8))
