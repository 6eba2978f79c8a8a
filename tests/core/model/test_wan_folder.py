"""Plain videos by a Wan base: the command line on a tiny random one."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.cli import main
from videomage_core.config import SamplingConfig
from videomage_core.data.media import load_clip
from videomage_core.model.base_folder import check_base_folder, is_base_folder
from videomage_core.model.base_names import is_wan_folder
from videomage_core.model.loading import load_unet3d
from videomage_core.model.wan_folder import EMOJI_WAN_SAMPLING, WAN_SAMPLING, sample_wan, wan_sampling


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A Wan base of random weights, four frames and 8x8 pixels a latent place."""
    torch.manual_seed(0)
    words = {word: index for index, word in enumerate(("<pad>", "</s>", "<unk>", "a", "dog", "cat"))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    pipeline = WanPipeline(
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        ),
        text_encoder=UMT5EncoderModel(UMT5Config(vocab_size=6, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)),
        vae=AutoencoderKLWan(
            base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
        transformer=WanTransformer3DModel(
            num_attention_heads=1, attention_head_dim=24, text_dim=8, freq_dim=16, ffn_dim=16, num_layers=1
        ),
    )
    folder = tmp_path_factory.mktemp("wan")
    pipeline.save_pretrained(folder)
    return folder


SMALL = SamplingConfig(frames=5, height=16, width=32, steps=2, guidance_scale=3.0)


def test_same_prompt_and_seed_same_video(base):
    first = sample_wan(base, "a dog", 3, SMALL, device="cpu")
    assert first.shape == (3, 5, 16, 32)
    assert float(first.min()) >= -1 and float(first.max()) <= 1
    assert torch.equal(first, sample_wan(base, "a dog", 3, SMALL, device="cpu"))
    assert not torch.equal(first, sample_wan(base, "a cat", 3, SMALL, device="cpu"))
    assert not torch.equal(first, sample_wan(base, "a dog", 4, SMALL, device="cpu"))


def test_it_tells_how_far_it_is_and_stops_when_asked(base):
    told = []
    sample_wan(base, "a dog", 0, SMALL, device="cpu", callbacks=Callbacks(progress=lambda *step: told.append(step)))
    assert told == [(1, 2, "sampling"), (2, 2, "sampling")]
    with pytest.raises(Cancelled):
        sample_wan(base, "a dog", 0, SMALL, device="cpu", callbacks=Callbacks(cancelled=lambda: True))


def test_the_command_line_makes_a_plain_video(base, tmp_path, capsys):
    target = tmp_path / "video.mp4"
    asked = ["sample", "a dog", "--base", str(base), "--output", str(target), "--device", "cpu"]
    sizes = ["--frames", "5", "--height", "16", "--width", "32", "--steps", "1"]
    assert main([*asked, *sizes]) == 0
    printed = capsys.readouterr()
    assert f"wrote {target}" in printed.out
    assert "Loading" not in printed.err and "num_frames" not in printed.err
    assert load_clip(target, 5).pixels.shape == (3, 5, 16, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lora", "x.safetensors"], "--lora: a Wan base makes plain videos only so far"),
        (["--motion", "x.safetensors", "--method", "averaged"], "--motion, --method: a Wan base makes plain"),
        (["--tau", "3"], "--tau: only collaborative sampling has this"),
        (["--frames", "7"], "frames: got 7, this base makes 1 more than a multiple of 4; nearest: 5 and 9"),
        (["--frames", "5", "--height", "20"], "size: got 20x832"),
        (["--frames", "5", "--height", "16", "--dtype", "int4"], "dtype: got 'int4', allowed: 'auto', 'fp32'"),
        (["--output", "x.gif"], "must end in .mp4"),
    ],
)
def test_what_a_wan_base_cannot_do_is_refused_before_it_is_loaded(base, arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(WanPipeline, "from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    assert main(["sample", "a dog", "--base", str(base), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_trainings_refuse_it(base):
    assert is_wan_folder(base) and not is_base_folder(base)
    with pytest.raises(ValueError, match="is a Wan base, which supports plain sampling only so far"):
        check_base_folder(base)
    with pytest.raises(ValueError, match="allowed here is one with a UNet3DConditionModel"):
        load_unet3d(base)


def test_missing_parts_are_named(tmp_path):
    (tmp_path / "vae").mkdir()
    with pytest.raises(
        FileNotFoundError, match="lacks transformer, text_encoder, tokenizer, scheduler, transformer/config"
    ):
        sample_wan(tmp_path, "a dog", 0, SMALL)


def test_each_has_the_settings_that_it_was_trained_with(base, tmp_path):
    assert wan_sampling(base) == WAN_SAMPLING
    for part in ("transformer", "text_encoder", "tokenizer", "scheduler", "vae"):
        (tmp_path / part).mkdir()
    (tmp_path / "transformer" / "config.json").write_text("{}", encoding="utf-8")
    config = '{"scale_factor_spatial": 4, "scale_factor_temporal": 1}'  # as emoji_world.base_training's
    (tmp_path / "vae" / "config.json").write_text(config, encoding="utf-8")
    assert wan_sampling(tmp_path) == EMOJI_WAN_SAMPLING
