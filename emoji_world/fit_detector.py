"""A tiny GroundingDINO for the emoji world: fitted on drawn scenes, to prove the way from words to boxes.

    python -m emoji_world.fit_detector

writes ``emoji_world/segmenters/detector_emoji``, a folder in the Hugging Face layout with a vocabulary of its
own.  The tests use it; no user needs it.  It never sees the held-out artist's characters, nor the scenes
from the seed ``HELD_OUT`` on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .cast import CONCEPTS
from .cpu_torchvision import make_importable
from .fit_sam2 import HELD_OUT, SEGMENTERS, box_of
from .scene import draw, random_scene

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


def build(tokens: int, width: int = 64) -> Any:
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
            num_queries=50, dropout=0.0, fusion_droppath=0.0, auxiliary_loss=True,
        )
    )  # fmt: skip
    for layer in range(1, len(model.bbox_embed)):  # one head for all layers, as it is saved; here they are copies
        model.bbox_embed[layer] = model.bbox_embed[0]
    model.model.decoder.bbox_embed = model.bbox_embed
    words = model.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after
    words.weight.data.mul_(0.1)  # or the first scores are all near 0 or 1, and nothing is learned
    return model


def random_detector(folder: Path) -> Path:
    """Write a small one's folder with random weights of a fixed seed, as wide as the package's must be."""
    from transformers import AutoTokenizer

    write_vocabulary(folder)
    model = build(len(AutoTokenizer.from_pretrained(folder)), width=256)
    generator = torch.Generator().manual_seed(1)
    for _, weight in sorted(model.named_parameters()):
        weight.data.add_(0.02 * torch.randn(weight.shape, generator=generator))
    model.save_pretrained(folder)
    return folder


def example(rng: np.random.Generator) -> tuple[torch.Tensor, list[tuple[str, torch.Tensor]]]:
    """A picture [3, S, S] in -1..1, and whom it shows with their boxes in pixels."""
    scene = random_scene(int(rng.integers(HELD_OUT)))
    drawing = draw(scene, 3, SIDE // 2)
    f = int(rng.integers(3))
    pixels = torch.from_numpy(drawing.frames[f]).permute(2, 0, 1).float() / 127.5 - 1
    shown = []
    for character, mask in zip(scene.characters, drawing.masks, strict=True):
        if (mask[f] > 0.5).mean() > 0.005:
            shown.append((character.concept, box_of(torch.from_numpy(mask[f]))))
    return pixels, shown


def batch_of(step: int, size: int, tokenizer: Any) -> tuple[dict[str, Any], list[dict[str, torch.Tensor]]]:
    """What the model reads and what is true: one caption of some concepts for all pictures."""
    from videomage_core.segmentation.boxes import fit
    from videomage_core.segmentation.words import caption_of

    rng = np.random.default_rng([step, 17])
    pairs = [example(rng) for _ in range(size)]
    seen = list(dict.fromkeys(word for _, shown in pairs for word, _ in shown))
    count = int(rng.integers(1, 7))
    words = [str(w) for w in rng.permutation(seen)[:count]]
    words += [str(w) for w in rng.permutation([c for c in CONCEPTS if c not in words])[: int(rng.integers(0, 3))]]
    words = [str(w) for w in rng.permutation(words or ["dog"])]
    pictures, labels = [], []
    for pixels, shown in pairs:
        picture, fitted = fit(pixels, SIDE, SIDE)
        known = [(words.index(word), box) for word, box in shown if word in words]
        pictures.append(picture)
        labels.append(
            {
                "class_labels": torch.tensor([n for n, _ in known], dtype=torch.long),
                "boxes": torch.stack([fitted.from_frame(box) for _, box in known]) if known else torch.zeros(0, 4),
            }
        )
    read = tokenizer([caption_of(words)] * size, return_tensors="pt")
    return {"pixel_values": torch.stack(pictures), **read}, labels


def fit_detector(model: Any, tokenizer: Any, steps: int, batch: int = 8, learning_rate: float = 1e-3) -> list[float]:
    """Train in place; the losses."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.05)
    losses, began = [], time.monotonic()
    for step in range(steps):
        torch.manual_seed(step)
        inputs, labels = batch_of(step, batch, tokenizer)
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        if (step + 1) % 50 == 0:
            rate = (time.monotonic() - began) / (step + 1)
            print(f"step {step + 1}/{steps} loss {np.mean(losses[-50:]):.3f} {rate:.2f} s/step", flush=True)
    model.eval()
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--output", type=Path, default=SEGMENTERS / "detector_emoji")
    options = parser.parse_args()
    make_importable()
    from transformers import AutoTokenizer

    write_vocabulary(options.output)
    tokenizer = AutoTokenizer.from_pretrained(options.output)
    model = build(len(tokenizer))
    fit_detector(model, tokenizer, options.steps)
    model.half().save_pretrained(options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
