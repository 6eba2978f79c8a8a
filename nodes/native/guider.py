"""SCS Guider: collaborative sampling on ComfyUI's own MODEL, with core samplers (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ...videomage_core.config import GuiderConfig
from ...videomage_core.model.dit_maps import Span
from ..schema import Node, read_settings, schema, settings_inputs, validate_inputs
from .branches import branches_of_models
from .recording import chosen_blocks
from .supported import require_conditioning, require_supported, spans_of

MOST = 4  # subject models


class SCSGuider(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_SCSGuider",
            display_name="SCS Guider",
            description=(
                "Spatial-temporal collaborative sampling (SCS) on Wan: a model with a subject LoRA and "
                "the same model with a motion LoRA guide each other. For SamplerCustomAdvanced, with any "
                "sampler."
            ),
            search_aliases=["videomage", "collaborative sampling", "two loras", "wan"],
            inputs=[
                io.Model.Input(
                    "model_subject",
                    tooltip="The model with the LoRA of one subject, or one merged or fused LoRA of several.",
                ),
                io.Model.Input(
                    "model_motion", tooltip="The same model, from the same Load Diffusion Model, with a motion LoRA."
                ),
                io.Conditioning.Input(
                    "positive_subject",
                    tooltip="The subject branch's prompt, with trigger words. From Encode Prompt (SCS).",
                ),
                io.Conditioning.Input(
                    "positive_motion", tooltip="The motion branch's prompt, in plain words. From Encode Prompt (SCS)."
                ),
                io.Conditioning.Input("negative", tooltip="The negative prompt of both branches."),
                *(
                    io.Model.Input(
                        f"model_subject_{n}",
                        optional=True,
                        tooltip=f"The same model with the LoRA of subject {n}. Each subject model then adds its own "
                        "effect to the prediction and no LoRAs are averaged. The second subject model costs two "
                        "more passes per step, the third and fourth one more each.",
                    )
                    for n in range(2, MOST + 1)
                ),
                *settings_inputs(GuiderConfig()),
            ],
            outputs=[
                io.Guider.Output(
                    "guider",
                    display_name="guider",
                    tooltip="For SamplerCustomAdvanced; after sampling also for Show Attention (SCS).",
                )
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        beta_subject: float | None = None,
        beta_motion: float | None = None,
        start_percent: float | None = None,
        end_percent: float | None = None,
    ) -> Any:
        settings = {
            "beta_subject": beta_subject, "beta_motion": beta_motion,
            "start_percent": start_percent, "end_percent": end_percent,
        }  # fmt: skip
        return validate_inputs(GuiderConfig(), settings)

    @classmethod
    def execute(
        cls,
        model_subject: Any,
        model_motion: Any,
        positive_subject: Any,
        positive_motion: Any,
        negative: Any,
        **inputs: Any,
    ) -> Any:
        config = read_settings(GuiderConfig(), inputs)
        models = {"model_subject": model_subject, **_more_subjects(inputs), "model_motion": model_motion}
        return io.NodeOutput(build_guider(models, positive_subject, positive_motion, negative, config))


def _more_subjects(inputs: Mapping[str, Any]) -> dict[str, Any]:
    names = [f"model_subject_{n}" for n in range(2, MOST + 1)]
    return {name: inputs[name] for name in names if inputs.get(name) is not None}


def build_guider(
    models: Mapping[str, Any], positive_subject: Any, positive_motion: Any, negative: Any, config: GuiderConfig
) -> Any:
    """The guider of MODELs by their inputs' names, the motion's last; all is checked, and nothing loaded.

    Raises:
        ValueError: what guidance cannot do; says what to do instead.
    """
    for name, model in models.items():
        require_supported(name, model)
    positives = {"positive_subject": positive_subject, "positive_motion": positive_motion}
    blocks: list[int] = []
    words: list[str] = []
    spans: dict[str, list[Span]] = {}
    if config.guided:
        for name, conditioning in positives.items():
            require_conditioning(name, conditioning)
        words, spans = spans_of(positives)
        count = len(model_of(models["model_motion"]).blocks)
        blocks = chosen_blocks(config.recorded_blocks, count)
    branches = branches_of_models(models)
    from .collaborative_guider import MOTION, SUBJECT, CollaborativeGuider  # knows the core's samplers

    conditionings = {SUBJECT: positive_subject, MOTION: positive_motion, "negative": negative}
    named = {SUBJECT: spans.get("positive_subject", []), MOTION: spans.get("positive_motion", [])}
    return CollaborativeGuider(branches, conditionings, words, named, blocks, config)


def model_of(patcher: Any) -> Any:
    """The network of a MODEL."""
    return patcher.model.diffusion_model
