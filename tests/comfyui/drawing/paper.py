"""The workflow of the paper's settings on ZeroScope."""

from __future__ import annotations

from .nodes import START, Node, Workflow, note
from .parts import (
    CLIP,
    SEGMENTER_MODELS,
    ZEROSCOPE,
    base,
    found,
    fuse,
    images,
    preview,
    scs,
    train_motion,
    train_subject,
)

PAPER = Workflow(
    "05 The paper's settings on ZeroScope",
    ZEROSCOPE,
    [
        (
            START,
            [
                note(
                    "# The paper's settings\n\n**Not for the built-in base, and not for the example images**: "
                    "put your own photos and clip in their places first (*Load Image* or a folder; *Load Video*), "
                    "and write your words in Segment by Words, the two trainings and the prompt.\n\n**You need** a "
                    "GPU; **ZeroScope v2 576w** (cerspense/zeroscope_v2_576w on Hugging Face; licence "
                    "CC-BY-NC-4.0: not for commercial use), its whole folder with unet, vae, text_encoder, "
                    "tokenizer and scheduler in models/diffusers/zeroscope_v2_576w; **GroundingDINO and SAM 2**, "
                    "which cut the performers out of the clip and the subjects out of what their LoRAs make (the "
                    "help page of Load Segmenter says which and where). Then refresh the page.\n\nThe published "
                    "weights of ZeroScope have not been tried with this pack yet. If memory runs out, set *memory* "
                    "of Load Video Base to low.\n\nThe settings are the paper's: 24 frames of 576x320, 300 steps, "
                    "rank 4, lambda1 0.25, omega 0.5, lambda2 0.6, tau 15, alpha 10000, noise_prior (beta) 0.3.",
                    640,
                ),
                base(ZEROSCOPE),
            ],
        ),
        ("Put your own here", [images("dog"), images("panda"), CLIP, SEGMENTER_MODELS]),
        ("Find who performs it", found()),
        ("Learn the subjects", [train_subject("dog", {"file_name": "zeroscope_dog"})]),
        ("Learn the subjects", [train_subject("panda", {"file_name": "zeroscope_panda"})]),
        ("Learn the motion", [train_motion({"file_name": "zeroscope_riding"}, by_words=True)]),
        ("Put the subjects together", [fuse(("train dog", "LoRA"), ("train panda", "LoRA"),
                                            {"file_name": "zeroscope_dog_and_panda"},
                                            {"segmenter": ("found", "segmenter")})]),
        ("Make the video", [scs(("fused", "LoRA"), ("train riding", "LoRA"))]),
        ("See it", [Node("save", "SaveVideo", {"video": ("made", "video")}, {"filename_prefix": "videomage/zeroscope"}),
                    preview("looked", ("made", "attention overlays"), "Where each token looked")]),
    ],
)  # fmt: skip
