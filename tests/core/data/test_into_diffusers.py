"""The lines that the documentation shows load our files into a stock diffusers pipeline, which then does as we do."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import pytest
import torch

from videomage_core import load_into_diffusers
from videomage_core.data.lora_file import apply_loras, save_lora
from videomage_core.model.base_folder import EMOJI_BASE

DOCS = Path(__file__).parents[3] / "docs" / "command_line.md"


def shown() -> str:
    """The documentation's lines for diffusers."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if "load_into_diffusers" in block]
    return block


def test_what_the_documentation_shows_runs_and_predicts_as_we_do(
    emoji_base, make_lora_model, latents, tmp_path, monkeypatch
):
    subject, motion = make_lora_model(emoji_base, 1), make_lora_model(emoji_base, 2, None)
    save_lora(tmp_path / "loras" / "toy.safetensors", subject)
    save_lora(tmp_path / "loras" / "riding.safetensors", motion)
    shutil.copytree(EMOJI_BASE, tmp_path / "models" / "zeroscope_v2_576w")
    (tmp_path / "shown.py").write_text(shown(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    pipe = runpy.run_path("shown.py")["pipe"]

    prompt = "a <toy> is jumping on grass"
    with apply_loras(emoji_base, [(subject, 1.0), (motion, 1.0)]) as tokens, torch.no_grad():
        text = emoji_base.encode_prompt([prompt], tokens)
        ours = emoji_base.unet(latents, 500, text).sample
    with torch.no_grad():
        plain = emoji_base.unet(latents, 500, text).sample
        theirs_text, _ = pipe.encode_prompt(prompt, "cpu", 1, False)
        theirs = pipe.unet(latents, 500, theirs_text).sample
    torch.testing.assert_close(theirs_text, text, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain, ours, atol=1e-2)


def test_strength_counts_and_another_base_is_refused(emoji_base, make_lora_model, latents, tmp_path):
    from diffusers import UNet3DConditionModel

    motion = make_lora_model(emoji_base, 2, None)
    save_lora(tmp_path / "riding.safetensors", motion)
    unet = UNet3DConditionModel.from_pretrained(EMOJI_BASE, subfolder="unet").eval()
    assert load_into_diffusers(unet, tmp_path / "riding.safetensors", strength=0.5) == {}
    text = emoji_base.encode_prompt(["a dog on grass"])
    with apply_loras(emoji_base, [(motion, 0.5)]), torch.no_grad():
        ours = emoji_base.unet(latents, 500, text).sample
    with torch.no_grad():
        torch.testing.assert_close(unet(latents, 500, text).sample, ours, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match=r"unet: .* in the LoRA and missing in this U-Net; it was trained on 'emoji"):
        load_into_diffusers(torch.nn.Linear(2, 2), tmp_path / "riding.safetensors")


def test_stock_loading_still_fails_which_is_why_there_is_a_helper(emoji_base, make_lora_model, tmp_path):
    """If this ends, the documentation can show ``load_lora_weights``."""
    from diffusers import TextToVideoSDPipeline

    save_lora(tmp_path / "toy.safetensors", make_lora_model(emoji_base, 1))
    pipe = TextToVideoSDPipeline.from_pretrained(EMOJI_BASE)
    with pytest.raises(AttributeError, match="load_lora_adapter"):
        pipe.load_lora_weights(tmp_path, weight_name="toy.safetensors")
