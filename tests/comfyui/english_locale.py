"""The English locale file: what the nodes say of themselves."""

from __future__ import annotations

import re
from typing import Any


def inputs_of(about: dict[str, Any]) -> dict[str, Any]:
    return {**about["input"].get("required", {}), **about["input"].get("optional", {})}


def english(info: dict[str, Any]) -> dict[str, Any]:
    """The English locale file of these nodes; without curly brackets, which older pages take for variables."""
    return {
        name: {
            "display_name": about["display_name"],
            "description": plain(about["description"]),
            "inputs": {
                key: {"name": key.replace("_", " "), "tooltip": plain(spec[1]["tooltip"])}
                for key, spec in inputs_of(about).items()
            },
            "outputs": {
                str(i): {"name": said, "tooltip": plain(tip)}
                for i, (said, tip) in enumerate(zip(about["output_name"], about["output_tooltips"], strict=True))
            },
        }
        for name, about in info.items()
    }


def plain(text: str) -> str:
    return re.sub(r"\{(\w+)\}", r"'\1' in curly brackets", text)
