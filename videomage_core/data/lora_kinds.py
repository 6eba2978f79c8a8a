"""What a file of weights is, by the names of its tensors: one that is no plain LoRA is refused by its own name."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

# What stands in a key -> what the file is, and what to do.  The first that matches wins.
_KINDS: tuple[tuple[str, str, str], ...] = (
    (r"\.hada_w[12]_[ab]$", "a LyCORIS LoHa file", "train an ordinary LoRA"),
    (r"\.lokr_(w|t)[12]", "a LyCORIS LoKr file", "train an ordinary LoRA"),
    (
        r"\.(dora_scale|lora_magnitude_vector)",
        "a DoRA",
        "it cannot be averaged; train an ordinary LoRA",
    ),
    (r"\.(oft_blocks|oft_diag|oft_r|boft_)", "an OFT file", "train an ordinary LoRA"),
    (r"\.(lora_mid|lora_t2)\.?", "a LyCORIS LoCon file of convolutions (Tucker)", "train a LoRA of linear layers"),
    (r"\.lora_embedding_[AB]", "a LoRA of a text encoder's embedding table", "train a LoRA of the network alone"),
    (r"\.(a1|a2|b1|b2)\.weight$", "a LyCORIS GLoRA file", "train an ordinary LoRA"),
    (r"\.on_input$|\.ia3_l$", "an IA3 file", "train an ordinary LoRA"),
    (r"modules_to_save", "a peft file with whole layers (modules_to_save)", "train an ordinary LoRA"),
    (r"\.diff$|\.diff_b$|\.set_weight$", "a file of whole differences (.diff)", "load it with ComfyUI's Load LoRA"),
)
_LORA = re.compile(r"[._]lora[._]|\.lora_|_lora\.")
_EMBEDDING = re.compile(r"^(emb_params|clip_[lgh]|t5xxl|string_to_param.*|<[^<>]+>)$")
_CHECKPOINT = re.compile(
    r"^(model\.diffusion_model\.|diffusion_model\.|first_stage_model\.|cond_stage_model\.)|"
    r"^(blocks|down_blocks|up_blocks|double_blocks|transformer_blocks|encoder|decoder)\.\d+\.|\.weight$"
)
# How the layers of a base are called -> the base; keys with "_" for ".".
_BASES: tuple[tuple[str, str], ...] = (
    (r"^blocks_\d+_(self_attn|cross_attn|attn[12]|ffn)_", "Wan"),
    (r"(double|single)_blocks_\d+_", "Flux or HunyuanVideo"),
    (r"single_transformer_blocks_\d+_", "Flux"),
    (r"(input|output)_blocks_\d+_", "Stable Diffusion or SDXL, in their original names"),
    (r"motion_modules_\d+_", "AnimateDiff"),
    (r"(down|up)_blocks_\d+_", "a U-Net, such as Stable Diffusion, SDXL or ZeroScope"),
    (r"^transformer_blocks_\d+_", "a transformer such as LTX, SD 3 or CogVideoX"),
)
TEXT_ENCODER = re.compile(r"^(text_encoders?(_\d)?\.|lora_te\d?_|lora_te\d?\.|base_model\.model\.text_model\.)")


def kind_of(keys: Collection[str], metadata: Mapping[str, str]) -> tuple[str, str] | None:
    """What a file is that is no plain LoRA, and what to do; None for a LoRA, perhaps with more beside it."""
    for pattern, what, cure in _KINDS[:-1]:
        if any(re.search(pattern, key) for key in keys):
            return what, cure
    if any(_LORA.search(key) for key in keys):
        return None
    if any(re.search(_KINDS[-1][0], key) for key in keys):
        return _KINDS[-1][1], _KINDS[-1][2]
    if keys and len(keys) <= 8 and all(_EMBEDDING.match(key) for key in keys):
        return "a textual inversion embedding", "it belongs in models/embeddings; give the subject's LoRA"
    if any(_CHECKPOINT.search(key) for key in keys):
        return "a whole model (a checkpoint), not a LoRA", "give the LoRA that was trained on it"
    return None


def base_of(layers: Collection[str], metadata: Mapping[str, str]) -> str:
    """The base a LoRA seems to be for, in words; "" if nothing tells."""
    named = metadata.get("modelspec.architecture") or metadata.get("ss_base_model_version") or ""
    for pattern, base in _BASES:
        if any(re.search(pattern, layer.replace(".", "_")) for layer in layers):
            return f"{base} ({named[:60]})" if named else base
    return named[:60]
