"""The built-in bases' names, and which architecture a base's folder says that it holds; needs no torch."""

from __future__ import annotations

from pathlib import Path

from ..text_files import read_json_object

_ASSETS = Path(__file__).parents[1] / "assets"
EMOJI_WAN = _ASSETS / "emoji_wan"
BUILT_IN = ("emoji_base", EMOJI_WAN.name)


def named_base(text: str) -> Path:
    """A base by its folder, or by its name where it comes with this package: ``emoji_base``, ``emoji_wan``."""
    built_in = _ASSETS / text
    return built_in if text in BUILT_IN and built_in.is_dir() and not Path(text).exists() else Path(text)


def is_wan_folder(folder: Path) -> bool:
    """Whether ``folder`` says that it holds a base of Wan's architecture, a WanPipeline."""
    try:
        return read_json_object(folder / "model_index.json", "base").get("_class_name") == "WanPipeline"
    except (OSError, ValueError):
        return False


def refuse_wan(folder: Path) -> None:
    """ValueError for a Wan base, where one of another architecture is needed."""
    if is_wan_folder(folder):
        raise ValueError(
            f"base: {folder} is a Wan base; allowed here is one with a UNet3DConditionModel, such as the built-in "
            "emoji_base; load_base takes both"
        )
