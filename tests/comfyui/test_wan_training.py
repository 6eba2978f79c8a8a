"""Training on core's own Wan, in ComfyUI: the files of Wan 2.2's two models, which core's Load LoRA loads."""

from __future__ import annotations

from typing import Any

import pytest
from prompts import SMALL_WAN, Prompt, node, with_few_steps
from server import Server


def training(server: Server, expert: str, **more: Any) -> Prompt:
    """A subject of the example's images on a stand-in."""
    few = {**SMALL_WAN, "lambda1": 0.0, "steps": 2, "sample_every_n_steps": 0}
    few = {name: value for name, value in few.items() if name != "frames"}
    model = f"wan2.2_t2v_{expert}_14B_fp8_scaled.safetensors"
    return {
        "1": node(server, "UNETLoader", unet_name=model),
        "2": node(server, "CLIPLoader", clip_name="umt5_xxl_fp8_e4m3fn_scaled.safetensors", type="wan"),
        "3": node(server, "VAELoader", vae_name="wan_2.1_vae.safetensors"),
        "4": node(server, "VideoMage_BaseFromModel", model=["1", 0], clip=["2", 0], vae=["3", 0], expert=expert),
        "5": {"class_type": "VideoMage_ExampleSubject", "inputs": {"subject": "dog"}},
        "6": node(server, "VideoMage_TrainSubject", base=["4", 0], images=["5", 0], token="<ohwx_dog>",
                  file_name="two", **few, **more),
    }  # fmt: skip


def test_each_expert_writes_a_file_that_core_loads(server: Server) -> None:
    for expert in ("high_noise", "low_noise"):
        server.run(with_few_steps(training(server, expert)))
    folder = server.home / "models" / "loras" / "videomage"
    files = sorted(path.name for path in folder.glob("two*.safetensors"))
    assert files == ["two_high_noise.safetensors", "two_low_noise.safetensors"]
    prompt = {
        "1": node(server, "UNETLoader", unet_name="wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors"),
        "2": node(server, "LoraLoaderModelOnly", model=["1", 0], lora_name=f"videomage/{files[1]}"),
        "3": node(server, "CLIPLoader", clip_name="umt5_xxl_fp8_e4m3fn_scaled.safetensors", type="wan"),
        "4": node(server, "CLIPTextEncode", clip=["3", 0], text="a ohwx dog"),
        "5": node(server, "EmptyHunyuanLatentVideo", width=48, height=48, length=5, batch_size=1),
        "6": node(server, "KSampler", model=["2", 0], positive=["4", 0], negative=["4", 0], latent_image=["5", 0],
                  steps=1, cfg=1.0),
        "7": node(server, "VAELoader", vae_name="wan_2.1_vae.safetensors"),
        "8": node(server, "VAEDecode", samples=["6", 0], vae=["7", 0]),
        "9": node(server, "PreviewImage", images=["8", 0]),
    }  # fmt: skip
    assert server.run(prompt)
    assert "lora key not loaded: diffusion_model" not in server.tail(50_000)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"height": 40}, "size: got"),
        ({"lambda1": 0.25, "auxiliary_frames": 8}, "frames: got 8, this base makes 1 more than a multiple of 4"),
    ],
)
def test_what_wan_cannot_make_is_refused(server: Server, more: dict[str, Any], message: str) -> None:
    prompt = training(server, "low_noise")
    prompt["6"]["inputs"].update(more)
    events = server.told(prompt)
    assert events[-1][0] == "execution_error" and message in events[-1][1]["exception_message"]
