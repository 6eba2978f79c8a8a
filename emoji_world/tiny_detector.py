"""A tiny GroundingDINO with a vocabulary of the emoji world: random weights, to prove that both ways agree.

It finds boxes, and none that mean anything; true boxes take its place where masks are measured.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import torch

from .cast import CONCEPTS

SIDE = 128
# Where BERT's vocabulary has them, and where transformers' GroundingDINO expects them.
_PLACES = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
SWIN = {"embed_dim": 24, "depths": [1, 1, 2, 1], "num_heads": [2, 4, 8, 8], "window_size": 4}


def write_vocabulary(folder: Path) -> None:
    """A tokenizer that knows the emoji world's words, in BERT's layout."""
    names = {place: token for token, place in _PLACES.items()}
    words = [names.get(i, f"[unused{i}]") for i in range(1030)]
    words += [*CONCEPTS, "stuffed", "animal", "toy", "a", "the", "emoji", *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    words = list(dict.fromkeys(words))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    from transformers import BertTokenizer

    BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=256).save_pretrained(folder)


def build(tokens: int, width: int = 64, queries: int = 50) -> Any:
    """transformers' model with random weights of a fixed seed; the package's can have no width but 256."""
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    torch.manual_seed(0)
    swin = SwinConfig(image_size=SIDE, drop_path_rate=0.0, out_indices=[2, 3, 4], **SWIN)
    bert = BertConfig(
        vocab_size=tokens, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    model = GroundingDinoForObjectDetection(
        GroundingDinoConfig(
            backbone_config=swin, text_config=bert, d_model=width, encoder_layers=1, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128,
            num_queries=queries, dropout=0.0, fusion_droppath=0.0, auxiliary_loss=True,
        )
    )  # fmt: skip
    for layer in range(1, len(model.bbox_embed)):  # one head for all layers, as it is saved; here they are copies
        model.bbox_embed[layer] = model.bbox_embed[0]
    model.model.decoder.bbox_embed = model.bbox_embed
    return model


def random_detector(folder: Path, queries: int = 50) -> Path:
    """Write a small one's folder, as wide as the package's must be, with weights that depend on their names alone.

    So they are the same with every version of transformers, which draw them in different orders.  Published ones give
    900 boxes; with fewer, smaller pictures have places enough.
    """
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    write_vocabulary(folder)
    build(len(AutoTokenizer.from_pretrained(folder)), width=256, queries=queries).save_pretrained(folder)
    file = folder / "model.safetensors"
    weights = load_file(file)
    for name, weight in weights.items():
        if weight.is_floating_point():
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
            around = 1.0 if name.endswith("norm.weight") or ("norm_" in name and name.endswith("weight")) else 0.0
            weights[name] = around + 0.05 * noise
    save_file(weights, file, metadata={"format": "pt"})
    return folder
