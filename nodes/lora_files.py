"""Load, save and describe VideoMage LoRAs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io, ui

from ..videomage_core.data.external_lora import load_external_lora
from ..videomage_core.data.lora_file import LoraModel, describe, load_lora, rename_token
from ..videomage_core.model.text import check_token
from ..videomage_core.training.store import export_lora, require_file_name
from . import comfy_host as host
from .comfy_memory import HostedBase
from .schema import Base, Lora, Node, accepted, schema


class LoadLora(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_LoadLora",
            display_name="Load VideoMage LoRA",
            search_aliases=["load lora", "lora loader"],
            description=(
                "Loads a subject, motion or fused LoRA by VideoMage, with its special tokens; or a LoRA "
                "by another trainer, as a subject with trigger words."
            ),
            inputs=[
                io.Combo.Input(
                    "lora_name",
                    host.lora_names(),
                    tooltip="A file in models/loras. LoRAs trained here are in videomage/.",
                ),
                io.String.Input(
                    "rename",
                    default="",
                    tooltip=(
                        "Renames tokens, e.g. '<dog>=<my_dog>'; needed if two LoRAs use the same token. Empty: "
                        "unchanged."
                    ),
                ),
                io.String.Input(
                    "trigger",
                    default="",
                    optional=True,
                    tooltip=(
                        "For a LoRA by another trainer (kohya, peft, diffusers): its trigger words, e.g. 'sks "
                        "cup'; prompts then use <sks_cup>. Empty: a LoRA by VideoMage."
                    ),
                ),
                io.String.Input(
                    "superclass",
                    default="",
                    optional=True,
                    tooltip="For a LoRA by another trainer: the subject's class in plain words, e.g. 'cup'.",
                ),
                Base.Input(
                    "base",
                    optional=True,
                    tooltip="For a LoRA by another trainer: the base it was trained on. From Load Video Base.",
                ),
            ],
            outputs=[Lora.Output("lora", display_name="LoRA", tooltip="The LoRA with its tokens.")],
        )

    @classmethod
    def validate_inputs(cls, lora_name: str | None = None, rename: str | None = None) -> bool | str:
        return accepted(lambda: lora_name is None or host.lora_file(lora_name), lambda: pairs_of(rename or ""))

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None, rename: str | None, **more: Any) -> Any:
        return (
            lora_name and host.lora_file(lora_name).stat().st_mtime,
            rename,
            more.get("trigger"),
            more.get("superclass"),
        )

    @classmethod
    def execute(
        cls, lora_name: str, rename: str, trigger: str = "", superclass: str = "", base: HostedBase | None = None
    ) -> Any:
        path = host.lora_file(lora_name)
        lora = _external(path, trigger, superclass, base) if trigger.strip() else load_lora(path)
        for old, new in pairs_of(rename):
            lora = rename_token(lora, old, new)
        said = lora.details.get("scale") if trigger.strip() else None
        return io.NodeOutput(lora, ui=ui.PreviewText(said)) if said else io.NodeOutput(lora)


def _external(path: Path, trigger: str, superclass: str, base: HostedBase | None) -> LoraModel:
    """An ordinary LoRA as a subject of a base."""
    if base is None:
        raise ValueError(
            f"base: got none; connect the Load Video Base that {path.name} was trained on, as its text encoder "
            "reads the trigger words"
        )
    with torch.inference_mode(False):  # what is made of it may be trained
        return load_external_lora(base.backbone, path, trigger, superclass)


def pairs_of(rename: str) -> list[tuple[str, str]]:
    """ "<dog>=<my_dog>, <cat>=<my_cat>" -> [("<dog>", "<my_dog>"), ...]; ValueError for anything else."""
    pairs = []
    for part in filter(None, (part.strip() for part in rename.split(","))):
        old, new = (word.strip() for word in part.partition("=")[::2])
        if not old or not new:
            raise ValueError(f"rename: got {part!r}, write OLD=NEW, e.g. '<dog>=<my_dog>'")
        check_token(new, old)
        pairs.append((old, new))
    return pairs


class SaveLora(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_SaveLora",
            display_name="Save VideoMage LoRA",
            search_aliases=["save lora"],
            description=(
                "Saves a LoRA to models/loras/videomage under a name of your choice and never overwrites "
                "another file. Trained LoRAs are already saved there."
            ),
            is_output_node=True,
            inputs=[
                Lora.Input("lora", tooltip="A trained or fused LoRA."),
                io.String.Input(
                    "file_name",
                    default="my_lora",
                    tooltip="File name without .safetensors. If it is taken, a number is appended.",
                ),
            ],
            outputs=[Lora.Output("saved", display_name="LoRA", tooltip="The same LoRA.")],
        )

    @classmethod
    def validate_inputs(cls, file_name: str | None = None) -> bool | str:
        return accepted(lambda: file_name is None or require_file_name(file_name))

    @classmethod
    def execute(cls, lora: LoraModel, file_name: str) -> Any:
        path = export_lora(lora, host.loras_folder(), file_name)
        return io.NodeOutput(lora, ui=ui.PreviewText(f"videomage/{path.name}"))


class LoraInfo(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_LoraInfo",
            display_name="LoRA Info",
            search_aliases=["lora metadata", "trigger words"],
            description=(
                "Describes a LoRA: its kind, base model, tokens with their superclasses, and training settings."
            ),
            is_output_node=True,
            inputs=[Lora.Input("lora", tooltip="Any VideoMage LoRA.")],
            outputs=[io.String.Output("text", display_name="text", tooltip="The description as text.")],
        )

    @classmethod
    def execute(cls, lora: LoraModel) -> Any:
        text = describe(lora)
        return io.NodeOutput(text, ui=ui.PreviewText(text))
