"""Masks from words on the command line: the flags that name a segmenter, and the command segment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..config import SegmentationConfig
from .common import terminal_run
from .settings import add_settings, read_settings

_FLAGS = ("detector", "sam2", "bert")


def add_segmenter(parser: argparse.ArgumentParser, purpose: str) -> None:
    """The flags that name GroundingDINO and SAM 2."""
    group = parser.add_argument_group("segmenter", f"{purpose}; --detector and --sam2 together, or neither")
    _add_models(group, required=False)


def _add_models(group: Any, required: bool) -> None:
    group.add_argument(
        "--detector", type=Path, required=required, help="GroundingDINO: a file (.pth, .safetensors) or a folder"
    )
    group.add_argument("--sam2", type=Path, required=required, help="SAM 2: a file (.pt, .safetensors) or a folder")
    group.add_argument("--bert", type=Path, help="the folder bert-base-uncased, where --detector is a file")


def segmenter_of(options: argparse.Namespace, config: SegmentationConfig | None = None) -> Any:
    """The segmenter that the flags name, or None for none.

    Raises:
        ValueError: one of the two is missing.
        FileNotFoundError, ImportError: see ``GroundedSam2``.
    """
    given = [name for name in _FLAGS if getattr(options, name) is not None]
    if not given:
        return None
    if options.detector is None or options.sam2 is None:
        raise ValueError(f"--{', --'.join(given)}: a segmenter needs --detector and --sam2 together")
    from ..data.grounded_sam2 import GroundedSam2
    from ..model.loading import choose_device

    device = str(choose_device(options.device))
    return GroundedSam2(
        options.detector, options.sam2, options.bert, config or SegmentationConfig(), device, terminal_run()
    )


def add_segment(commands: Any) -> None:
    parser = commands.add_parser(
        "segment",
        help="masks from words: cut out of a picture or a clip what words name",
        description="Masks from words, by GroundingDINO and SAM 2.  Writes a folder of masks for each word, which "
        "train-motion --subject WORD=FOLDER and train-subject --masks read, and a video with the masks in colours.",
    )
    parser.add_argument("source", type=Path, help="a picture, a video file, or a folder of numbered images")
    parser.add_argument("--word", action="append", required=True, help="what to cut out; once for each")
    parser.add_argument("--output", type=Path, default=Path("outputs/masks"), help="folder of the masks (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (%(default)s)")
    _add_models(parser, required=True)
    parser.add_argument("--settings", type=Path, help="TOML file of settings, named as the flags below; flags win")
    add_settings(parser, SegmentationConfig, "[values] are the defaults")
    parser.set_defaults(execute=_segment)


def _segment(options: argparse.Namespace) -> None:
    segmenter = segmenter_of(options, read_settings(options, SegmentationConfig()))
    from ..data.images import IMAGE_SUFFIXES, load_picture, save_mask
    from ..data.media import count_frames, load_clip, save_video
    from ..data.overlay import tinted
    from ..segmentation.words import split_words

    words = [word for text in options.word for word in split_words(text)]
    picture = options.source.suffix.lower() in IMAGE_SUFFIXES and options.source.suffix.lower() != ".gif"
    if picture:
        pixels = load_picture(options.source).pixels[:, None]
    else:
        pixels = load_clip(options.source, count_frames(options.source)).pixels
    masks = segmenter.segment(pixels, words)
    for number, (word, mask) in enumerate(zip(words, masks, strict=True)):
        folder = options.output / (word if words.count(word) == 1 else f"{word}_{number + 1}").replace(" ", "_")
        for f, frame in enumerate(mask):
            save_mask(frame, folder / (f"{options.source.stem}.png" if picture else f"{f:05}.png"))
        share = float(mask.mean())
        print(f"wrote {folder}: {len(mask)} masks of {word!r}, {share:.1%} of the picture")
    save_video(tinted(pixels, masks), options.output / "overlay.mp4", 8.0)
    print(f"wrote {options.output / 'overlay.mp4'}")
