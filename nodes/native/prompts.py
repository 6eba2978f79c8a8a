"""Encode Prompt (SCS): one prompt for both branches (Sec. 3.3: c_tgt and c~_tgt), for ComfyUI's own Wan."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ...videomage_core.data.learned_tokens import read_learned_tokens, with_learned
from ...videomage_core.model.prompt_spans import mark_prompt, read_subjects
from .. import comfy_host as host
from ..schema import Node, accepted, advanced, schema
from .text_encoder import WanText

NONE = "none"


class EncodePromptSCS(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_EncodePromptSCS",
            display_name="Encode Prompt (SCS)",
            description=(
                "Encodes one prompt for both branches of SCS Guider: as written for the subject branch, "
                "and with plain words in place of trigger words for the motion branch. Also finds each "
                "subject's text tokens, for guidance."
            ),
            search_aliases=["videomage", "clip text encode", "wan prompt"],
            inputs=_inputs(),
            outputs=[
                io.Conditioning.Output(
                    "subject", display_name="subject", tooltip="The prompt as written; for positive_subject."
                ),
                io.Conditioning.Output(
                    "motion",
                    display_name="motion",
                    tooltip="The prompt with plain words in place of trigger words; for positive_motion.",
                ),
                io.Conditioning.Output(
                    "negative_out", display_name="negative", tooltip="The negative prompt; for negative."
                ),
                io.String.Output(
                    "motion_prompt", display_name="motion prompt", tooltip="The motion branch's prompt as text."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, prompt: str | None = None, subjects: str | None = None, learned_tokens: str | None = None
    ) -> Any:
        def check_file() -> None:
            if learned_tokens not in (None, NONE):
                host.lora_file(str(learned_tokens))

        def check_words() -> None:
            box = read_subjects(subjects or "")
            if prompt is not None and subjects is not None and learned_tokens == NONE:
                mark_prompt(prompt, box)

        return accepted(check_file, check_words)

    @classmethod
    def execute(cls, clip: Any, prompt: str, subjects: str, negative: str, learned_tokens: str = NONE) -> Any:
        box = read_subjects(subjects)
        said = {one.words.lower(): one.superclass for one in box}
        file = None if learned_tokens == NONE else host.lora_file(learned_tokens)
        everyone, vectors = with_learned(prompt, box, read_learned_tokens(file, said) if file else [])
        marked = mark_prompt(prompt, everyone)
        text = WanText(clip)
        return io.NodeOutput(
            text.conditioning(marked.subject, marked.subject_places, vectors),
            text.conditioning(marked.motion, marked.motion_places),
            text.plain(negative),
            marked.motion,
        )


def _inputs() -> list[io.Input]:
    return [
        io.Clip.Input("clip", tooltip="Wan's text encoder: Load CLIP of type wan."),
        io.String.Input(
            "prompt",
            default="A ohwx dog is riding a sks cat on the beach",
            multiline=True,
            tooltip=(
                "The prompt, with each subject's trigger words. Describe the motion in detail. Emphasis "
                "works as usual: (word:1.2)."
            ),
        ),
        io.String.Input(
            "subjects",
            default="ohwx dog = dog\nsks cat = cat",
            multiline=True,
            tooltip=(
                "One line per subject: its words in the prompt = what it is in plain words. Case does not matter."
            ),
        ),
        io.String.Input("negative", default="", multiline=True, tooltip="The negative prompt of both branches."),
        advanced(
            io.Combo.Input(
                "learned_tokens",
                options=[NONE, *host.lora_names()],
                default=NONE,
                tooltip=(
                    "A LoRA file by VideoMage with learned embeddings of tokens such as <toy>; none: trigger "
                    "words only."
                ),
            )
        ),
    ]
