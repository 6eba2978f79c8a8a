"""Loading a base: the precision that is nearest to fp32, and no alarm about files that are as they should be."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from videomage_core.model import loading
from videomage_core.model.loading import auto_dtype, load_unet3d


@pytest.mark.parametrize(
    ("stored", "has_bf16", "chosen"),
    [
        (torch.float16, True, "fp16"), (torch.float32, True, "fp16"), (None, True, "fp16"),
        (torch.bfloat16, True, "bf16"), (torch.bfloat16, False, "fp16"),
    ],
)  # fmt: skip
def test_auto_on_a_gpu_takes_the_finer_precision(monkeypatch, tmp_path, stored, has_bf16, chosen):
    monkeypatch.setattr(loading, "stored_dtype", lambda folder: stored)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert auto_dtype(tmp_path, torch.device("cuda")) == chosen
    assert auto_dtype(tmp_path, torch.device("cpu")) == "fp32"


def test_fp16_is_the_finer_one_and_bf16_decodes_in_fp32(emoji_base):
    """The measured reason for the choice: errors against fp32 of a prediction and of decoded pixels."""
    x = torch.randn(emoji_base.latent_shape(2, 48, 48), generator=torch.Generator().manual_seed(0))[None]
    errors, level = {}, emoji_base.levels(4)[1]
    exact = emoji_base.predict(x, level, emoji_base.encode_prompt(["a dog"]))
    for name in ("fp16", "bf16"):
        base = load_unet3d(dtype=name, device="cpu")
        errors[name] = float((base.predict(x, level, base.encode_prompt(["a dog"])) - exact).norm() / exact.norm())
        grey = 127.5 * float((base.decode_video(x) - emoji_base.decode_video(x)).abs().max())
        assert grey < 0.5, "less than half a level of 255"
        assert base.vae.dtype == (torch.float32 if name == "bf16" else torch.float16)
    assert errors["fp16"] < errors["bf16"] / 4 and errors["fp16"] < 0.01


def test_pickled_weights_load_without_a_word(emoji_base, copied_base, capfd):
    """As ZeroScope's are published."""
    names = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "pytorch_model"}
    for part, name in names.items():
        (path,) = (copied_base / part).glob("*.safetensors")
        torch.save(load_file(path), copied_base / part / f"{name}.bin")
        path.unlink()
    capfd.readouterr()
    loaded = load_unet3d(copied_base, device="cpu")
    said = capfd.readouterr()
    assert said.err == "" and said.out == ""
    assert all(torch.equal(a, b) for a, b in zip(loaded.unet.parameters(), emoji_base.unet.parameters(), strict=True))


def test_the_cure_is_for_the_cause(copied_base, monkeypatch):
    from transformers import CLIPTextModel

    def too_old(*_, **__):
        raise ValueError("... we now require users to upgrade torch to at least v2.6 ...")

    monkeypatch.setattr(CLIPTextModel, "from_pretrained", too_old)
    with pytest.raises(ValueError, match=r"here is torch .*: update torch, or take the model's \.safetensors files"):
        load_unet3d(copied_base, device="cpu")
