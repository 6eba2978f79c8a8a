"""The command that makes masks from words: segment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..config import SegmentationConfig
from ..output_paths import require_output_folder
from .segmenter_options import add_models, folder_names, segmenter_of
from .settings import add_settings, read_settings


def add_segment(commands: Any) -> None:
    """Register ``segment`` and its flags."""
    parser = commands.add_parser(
        "segment",
        help="segment what words name in an image or a clip",
        description="Masks from words, by GroundingDINO and SAM 2.  Writes a folder of masks for each word, which "
        "train-motion --subject WORD=FOLDER and train-subject --masks read, and a video with the masks in colours.",
    )
    parser.add_argument("source", type=Path, help="an image, a video file, or a folder of numbered images")
    parser.add_argument("--query", action="append", required=True, help="name of what to segment; repeat for several")
    parser.add_argument("--output", type=Path, default=Path("outputs/masks"), help="folder of the masks (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (%(default)s)")
    add_models(parser, required=True)
    parser.add_argument("--settings", type=Path, help="TOML file of settings, named as the flags below; flags win")
    add_settings(parser, SegmentationConfig, "[values] are the defaults")
    parser.set_defaults(execute=_segment)


def _segment(options: argparse.Namespace) -> None:
    require_output_folder(options.output, "--output")
    segmenter = segmenter_of(options, read_settings(options, SegmentationConfig()))
    from ..data.images import MODELS_SEE, read_image, save_mask
    from ..data.masks import resize_mask
    from ..data.media import count_frames, frame_size, load_clip, save_video
    from ..data.media_files import IMAGE_SUFFIXES
    from ..data.overlay import tinted
    from ..segmentation.words import split_words

    words = [word for text in options.query for word in split_words(text)]
    is_image = options.source.suffix.lower() in IMAGE_SUFFIXES and options.source.suffix.lower() != ".gif"
    if is_image:
        still = read_image(options.source, min_size=MODELS_SEE)
        pixels, size = still.pixels[:, None], still.source_size
    else:
        pixels = load_clip(options.source, count_frames(options.source), min_size=MODELS_SEE).pixels
        size = frame_size(options.source)
    masks = segmenter.segment(pixels, words)
    folders = folder_names(words)
    for number, (word, mask) in enumerate(zip(words, masks, strict=True)):
        folder = options.output / folders[number]
        for f, frame in enumerate(mask):
            save_mask(
                resize_mask(frame[None], *size)[0],
                folder / (f"{options.source.stem}.png" if is_image else f"{f:05}.png"),
            )
        share = float(mask.mean())
        print(f"wrote {folder}: {len(mask)} masks of {word!r}, {share:.1%} of the image")
    save_video(tinted(pixels, masks), options.output / "overlay.mp4", 8.0)
    print(f"wrote {options.output / 'overlay.mp4'}")
