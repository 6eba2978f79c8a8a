"""ComfyUI's own Wan code on converted weights: in another process, for ComfyUI reads the command line."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

from emoji_world.base_training.core_layout import TEXT_LAYER, core_name, core_weights
from emoji_world.base_training.wan_models import new_transformer

COMFYUI = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "ComfyUI")
ROOT = Path(__file__).parents[3]
VENV = ROOT / ".venv-comfyui" / "bin" / "python"

IN_COMFYUI = """
import sys
comfyui, file = sys.argv[1:]
sys.argv = sys.argv[:1]
sys.path.insert(0, comfyui)
import comfy.options
import comfy.cli_args
comfy.cli_args.args.cpu = True
import torch
import comfy.model_detection, comfy.ops
from comfy.ldm.wan.model import WanModel
torch.set_num_threads(1)
case = torch.load(file, weights_only=True)
config = comfy.model_detection.detect_unet_config(case["weights"], "")
assert config["image_model"] == "wan2.1" and config["model_type"] == "t2v", config
kinds = {k: v for k, v in config.items() if k != "image_model"}
model = WanModel(**kinds, dtype=torch.float32, device="cpu", operations=comfy.ops.manual_cast).eval()
model.load_state_dict(case["weights"], strict=True)
with torch.no_grad():
    print(float((model(case["x"], case["t"], case["text"], transformer_options={}) - case["expected"]).abs().max()))
"""


def test_comfyui_s_wan_gives_the_same_output(tmp_path):
    python = next((p for p in (VENV, Path(os.environ.get("COMFYUI_PYTHON", ""))) if p.is_file()), None)
    if not (COMFYUI / "main.py").is_file() or python is None:
        pytest.skip("no ComfyUI (COMFYUI_PATH, ~/ComfyUI) with an environment (make test-comfyui, COMFYUI_PYTHON)")
    torch.manual_seed(0)
    transformer = new_transformer().eval()
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        x, t = torch.randn(1, 16, 3, 8, 12), torch.tensor([700.0])
        text = torch.zeros(1, 512, 128)
        text[:, :7] = torch.randn(1, 7, 128)
        expected = transformer(x, t, text, return_dict=False)[0]
    wide = torch.nn.functional.pad(text, (0, 4096 - 128))
    case = {"weights": core_weights(transformer.state_dict()), "x": x, "t": t, "text": wide, "expected": expected}
    torch.save(case, tmp_path / "case.pt")
    ran = subprocess.run(
        [python, "-c", IN_COMFYUI, str(COMFYUI), str(tmp_path / "case.pt")], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert float(expected.abs().max()) > 0.5
    assert float(ran.stdout.split()[-1]) < 1e-4


def test_names_are_those_of_the_wan_authors():
    assert core_name("blocks.3.attn2.to_out.0.bias") == "blocks.3.cross_attn.o.bias"
    assert core_name("blocks.0.norm2.weight") == "blocks.0.norm3.weight"
    assert core_name("blocks.0.scale_shift_table") == "blocks.0.modulation"
    assert core_name("scale_shift_table") == "head.modulation"
    assert core_name("blocks.1.ffn.net.0.proj.weight") == "blocks.1.ffn.0.weight"


def test_the_text_layer_is_padded_with_zeros():
    weights = new_transformer().state_dict()
    padded = core_weights(weights)[TEXT_LAYER]
    assert padded.shape == (256, 4096)
    assert torch.equal(padded[:, :128], weights["condition_embedder.text_embedder.linear_1.weight"])
    assert float(padded[:, 128:].abs().max()) == 0.0


def test_a_wider_text_and_image_conditions_are_refused():
    weights = new_transformer().state_dict()
    with pytest.raises(ValueError, match="text_width: got 64, allowed: 128 or more"):
        core_weights(weights, text_width=64)
    with pytest.raises(ValueError, match="of an image-to-video model"):
        core_weights({"blocks.0.attn2.add_k_proj.weight": torch.zeros(1)})
