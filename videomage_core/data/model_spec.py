"""What LoRA managers and other programs read in a file's header, as other trainers write it.

``modelspec.*`` is Stability AI's ModelSpec 1.0.1; ``ss_*`` is what kohya's trainers write and most managers show:
``ss_base_model_version``, and ``ss_tag_frequency`` for the trigger words.  The scale is always in the factors, so
``ss_network_alpha`` equals ``ss_network_dim``.  No date: the same training gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

SPEC = "1.0.1"
_MOST = 200_000  # characters of a stranger's text that are read
_MOST_WORDS = 1000


def manager_header(
    title: str,
    architecture: str,
    base: str,
    words: Mapping[str, int],
    ranks: Sequence[int],
    description: str = "",
    resolution: str = "",
    thumbnail: str | None = None,
    merged_from: Sequence[str] = (),
) -> dict[str, str]:
    """The header's texts.

    Args:
        title: the file's name without its end.
        architecture: of the base, as ModelSpec names it, e.g. "wan2.1".
        base: its name, e.g. "zeroscope_v2_576w".
        words: trigger words -> how often they were seen in training.
        ranks: of the layers.
        description: a sentence.
        resolution: e.g. "576x320".
        thumbnail: an image as base64 PNG.
        merged_from: names of the files it was made of.
    """
    dim = str(ranks[0]) if len(set(ranks)) == 1 else "Dynamic"  # as kohya writes for layers of different ranks
    header = {
        "modelspec.sai_model_spec": SPEC,
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": title,
        "modelspec.description": description,
        "modelspec.resolution": resolution,
        "modelspec.trigger_phrase": ", ".join(words),
        "modelspec.tags": ", ".join(words),
        "modelspec.thumbnail": f"data:image/png;base64,{thumbnail}" if thumbnail else "",
        "modelspec.merged_from": ", ".join(merged_from),
        "ss_base_model_version": base,
        "ss_output_name": title,
        "ss_network_module": "networks.lora",
        "ss_network_dim": dim,
        "ss_network_alpha": dim,
        "ss_tag_frequency": json.dumps({title: dict(words)}) if words else "",
    }
    return {key: value for key, value in header.items() if value}


def trigger_words(metadata: Mapping[str, str]) -> dict[str, int]:
    """The trigger words of a file by anyone, with their counts; nothing where the header cannot be read."""
    words: dict[str, int] = {}
    text = metadata.get("ss_tag_frequency", "")
    if 0 < len(text) <= _MOST:
        try:
            folders = json.loads(text)
        except (ValueError, RecursionError):
            folders = {}
        for tags in folders.values() if isinstance(folders, dict) else ():
            for word, count in tags.items() if isinstance(tags, dict) else ():
                if isinstance(count, int) and word.strip():
                    words[word.strip()] = words.get(word.strip(), 0) + count
    phrase = metadata.get("modelspec.trigger_phrase", "")[:_MOST]
    for word in (part.strip() for part in phrase.split(",")):
        if word:
            words.setdefault(word, 1)
    most = sorted(words, key=lambda word: -words[word])[:_MOST_WORDS]
    return {word: words[word] for word in most}


def merged_header(names: Sequence[str], headers: Sequence[Mapping[str, str]], architecture: str) -> dict[str, str]:
    """For a file made of several: their trigger words together, and their base if all name the same."""
    words: dict[str, int] = {}
    for header in headers:
        for word, count in trigger_words(header).items():
            words[word] = words.get(word, 0) + count
    bases = {header.get("ss_base_model_version", "") for header in headers}
    base = bases.pop() if len(bases) == 1 else ""
    description = f"The average of {len(names)} LoRAs, merged by VideoMage."
    return manager_header(
        " + ".join(name.removesuffix(".safetensors") for name in names), architecture, base or architecture, words,
        (), description, merged_from=names,
    )  # fmt: skip
