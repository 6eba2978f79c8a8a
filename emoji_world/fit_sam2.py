"""A tiny SAM 2 for the emoji world: fitted on drawn scenes with their true boxes, to prove the way from boxes to masks.

    python -m emoji_world.fit_sam2

writes ``emoji_world/segmenters/sam2_emoji.safetensors`` and its sizes beside it.  The tests use it; no user
needs it.  Held-out characters (one artist) and the seeds from ``HELD_OUT`` on are never seen.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from .scene import draw, random_scene

SEGMENTERS = Path(__file__).parent / "segmenters"
SIZES = {
    "image_size": 128, "hidden": 128, "memory": 64, "memory_layers": 1, "feed_forward": 128, "embed_dim": 24,
    "num_heads": 1, "stages": [1, 1, 2, 1], "global_att_blocks": [3], "window_pos_embed_bkg_spatial_size": [4, 4],
    "window_spec": [8, 4, 8, 4],
}  # fmt: skip
SIDE, FRAMES = 64, 4
HELD_OUT = 1_000_000


def build() -> Any:
    """The tiny model of the package ``sam2``, with random weights of a fixed seed."""
    from videomage_core.segmentation.sam2_package import build_package_model

    torch.manual_seed(0)
    model = build_package_model({**SIZES, "newer": True, "pointers": True})
    model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(2.0)  # a hidden mask would teach nothing
    return model


def example(step: int, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames [F, 3, S, S] in -1..1 and a subject's masks [F, S, S]; at times the subject is away in one frame."""
    rng = np.random.default_rng([step, index, 5])
    while True:
        drawing = draw(random_scene(int(rng.integers(HELD_OUT))), FRAMES, SIDE)
        chosen = [m for m in drawing.masks if (m[0] > 0.5).mean() > 0.01]
        if chosen:
            break
    mask = chosen[int(rng.integers(len(chosen)))].copy()
    frames = drawing.frames.copy()
    if rng.random() < 0.3:
        away = int(rng.integers(1, FRAMES))
        frames[away] = draw(random_scene(int(rng.integers(HELD_OUT))), 1, SIDE).frames[0]
        mask[away] = 0
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1  # [F,S,S,3] -> [F,3,S,S]
    return pixels, torch.from_numpy(mask)


def box_of(mask: torch.Tensor) -> torch.Tensor:
    """left, top, right, bottom [4] of what a mask [H, W] shows."""
    rows, columns = (mask > 0.5).any(1).nonzero().flatten(), (mask > 0.5).any(0).nonzero().flatten()
    return torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=torch.float32)


def loss_at(model: Any, step: int, batch: int) -> torch.Tensor:
    """Mask, presence and quality losses of one batch of short clips, each with a jittered box in its first frame."""
    from videomage_core.segmentation.boxes import normalised, resize

    pairs = [example(step, i) for i in range(batch)]
    side = model.image_size
    pixels = torch.stack([p for p, _ in pairs], dim=1)  # [F,B,3,S,S]
    masks = F.interpolate(torch.stack([m for _, m in pairs], dim=1), size=(side, side), mode="bilinear")  # [F,B,s,s]
    boxes = torch.stack([box_of(mask) for mask in masks[0]])
    jitter = torch.from_numpy(np.random.default_rng([step, 3]).normal(0, 0.05, (batch, 4))).float()
    boxes = boxes + jitter * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    points = {"point_coords": boxes.view(batch, 2, 2), "point_labels": torch.tensor([[2, 3]]).repeat(batch, 1).int()}
    seen: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    total = torch.zeros(())
    for f in range(len(pixels)):
        features = model.forward_image(normalised(resize(pixels[f], side, side)))
        _, vision, places, sizes = model._prepare_backbone_features(features)
        given = points if f == 0 else None
        out, heads, _, _ = model._track_step(
            f, f == 0, vision, places, sizes, given, None, seen, len(pixels), False, None
        )
        _, several, quality, _, chosen, pointer, presence = heads
        total = total + _frame_loss(several, quality, presence, masks[f])
        out.update(obj_ptr=pointer, object_score_logits=presence)
        model._encode_memory_in_output(vision, sizes, given, True, chosen, presence, out)
        seen["cond_frame_outputs" if f == 0 else "non_cond_frame_outputs"][f] = out
    return total / len(pixels)


def _frame_loss(
    several: torch.Tensor, quality: torch.Tensor, presence: torch.Tensor, true: torch.Tensor
) -> torch.Tensor:
    """Logits [B, M, s, s] with their promised IoU [B, M] and presence [B, 1] against masks [B, s, s]."""
    there = ((true > 0.5).float().mean((1, 2)) > 0.002).float()
    logits, wanted = several.clamp(-15, 15), true[:, None].expand_as(several)
    cross = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean((2, 3))
    share = logits.sigmoid()
    dice = 1 - (2 * (share * wanted).sum((2, 3)) + 1) / ((share + wanted).sum((2, 3)) + 1)
    best = (5 * cross + dice).amin(1)  # of three guesses, the best one learns
    with torch.no_grad():
        cut, whole = (logits > 0) & (wanted > 0.5), (logits > 0) | (wanted > 0.5)
        iou = cut.float().sum((2, 3)) / whole.float().sum((2, 3)).clamp(min=1)
    promised = (quality - iou).abs().mean(1)
    appears = F.binary_cross_entropy_with_logits(presence[:, 0], there)
    return ((best + promised) * there).mean() + appears


def fit(model: Any, steps: int, batch: int = 8, learning_rate: float = 1e-3, first: int = 0) -> list[float]:
    """Train in place on the scenes of the steps from ``first`` on; the losses."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    losses, began = [], time.monotonic()
    for step in range(steps):
        torch.manual_seed(first + step)
        loss = loss_at(model, first + step, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        if (step + 1) % 50 == 0:
            rate = (time.monotonic() - began) / (step + 1)
            print(f"step {step + 1}/{steps} loss {np.mean(losses[-50:]):.3f} {rate:.2f} s/step", flush=True)
    model.eval()
    return losses


def save(model: Any, file: Path) -> None:
    """The weights in half precision, and their sizes beside them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}, file)
    file.with_suffix(".json").write_text(json.dumps(SIZES, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--start", type=Path, help="a file of an earlier fit, to go on from")
    parser.add_argument("--first", type=int, default=0, help="number of the first step, which draws other scenes")
    parser.add_argument("--output", type=Path, default=SEGMENTERS / "sam2_emoji.safetensors")
    options = parser.parse_args()
    model = build()
    if options.start is not None:
        model.load_state_dict(load_file(options.start))
    fit(model, options.steps, learning_rate=options.learning_rate, first=options.first)
    save(model, options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
