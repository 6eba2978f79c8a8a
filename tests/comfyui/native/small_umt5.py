"""A custom node pack for tests: core's Load CLIP builds Wan's text encoder small, by core's own option for that."""

from __future__ import annotations

from typing import Any

NODE_CLASS_MAPPINGS: dict[str, Any] = {}
SMALL = {
    "d_model": 4096, "d_ff": 16, "d_kv": 8, "num_heads": 2, "num_layers": 1, "vocab_size": 512, "model_type": "umt5",
    "is_gated_act": True, "dense_act_fn": "gelu_pytorch_tanh",
}  # fmt: skip


def install() -> None:
    import comfy.sd

    load = comfy.sd.load_text_encoder_state_dicts

    def small(*positional: Any, model_options: Any = None, **named: Any) -> Any:
        options = {**(model_options or {}), "umt5xxl_model_config": SMALL}
        return load(*positional, model_options=options, **named)

    comfy.sd.load_text_encoder_state_dicts = small


if __name__ != "small_umt5":  # as ComfyUI imports packs; the script beside it wants the sizes alone
    install()
