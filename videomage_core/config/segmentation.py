"""Settings of masks from words."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import Settings, setting


@dataclass(frozen=True)
class SegmentationConfig(Settings):
    """Masks from words (Grounded-SAM and Grounded-SAM2 in Sec. 3.3 and 7.1, which give no settings)."""

    box_threshold: float = setting(0.35, "lowest score of a detected box, 0 to 1 (GroundingDINO's default)", 0, 1)
    text_threshold: float = setting(
        0.25, "lowest mean score of a query's words for a box, 0 to 1 (GroundingDINO's default)", 0, 1
    )
    boxes: str = setting(
        "best",
        "boxes per query; best: the one with the highest score; all: all of them, as one mask (ours)",
        choices=("best", "all"),
    )
    detection_interval: int = setting(
        8,
        ("run detection every N frames, to find subjects that appear later; 0: in the first frame only (ours)"),
        0,
        1024,
    )
    detector_image_size: int = setting(
        800, "shorter side of the detector's input in pixels; smaller is faster (GroundingDINO's default)", 64, 2048
    )
    dtype: str = setting(
        "auto",
        "precision of the segmentation models; auto: half precision on a GPU (ours)",
        choices=("auto", "fp32", "fp16", "bf16"),
    )
