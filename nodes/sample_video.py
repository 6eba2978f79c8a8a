"""Sample Video: the base, or LoRAs without SCS, to compare."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..videomage_core.config import SamplingConfig
from ..videomage_core.model.memory import workloads_for
from ..videomage_core.model.text import prompt_warnings
from ..videomage_core.stages.baselines import sample_averaged, sample_base, sample_composed, sample_merged
from .collaborative_sampling import (
    OOM_HINT,
    clip_input,
    inverted_noise,
    motion_pixels,
    prompt_input,
    seed_input,
    video_outputs,
)
from .comfy_memory import HostedBase, on_device
from .conversions import image, video
from .progress import callbacks_for
from .schema import (
    Base,
    Lora,
    Node,
    advanced,
    growing_inputs,
    read_settings,
    schema,
    settings_inputs,
    validate_inputs,
    wired_inputs,
)

MOST = 4
MERGED, ALONE = "all LoRAs in one model", "the base alone"
AVERAGED, COMPOSED = "averaged subject outputs", "composed subject effects"
METHODS = (MERGED, ALONE, AVERAGED, COMPOSED)


class SampleVideo(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_SampleVideo",
            display_name="Sample Video",
            description=(
                "Generates a video from a prompt, with or without LoRAs. With the seed, clip and size of an "
                "SCS Sampler it starts from the same noise, so the two can be compared."
            ),
            search_aliases=["text to video", "zeroscope"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                Base.Input("base", tooltip="The base model."),
                *growing_inputs(Lora, "lora", MOST, 0, "A subject, motion or fused LoRA."),
                clip_input(),
                prompt_input("A dog is running on grass"),
                io.Combo.Input(
                    "method",
                    list(METHODS),
                    default=MERGED,
                    tooltip=f"{MERGED}: each with its strength (the paper's 'w/o SCS'). {ALONE}: no LoRA is "
                    f"active, and superclasses replace the tokens. {AVERAGED}: each subject's LoRA in turn with the "
                    f"motion's, outputs averaged, as the paper runs its baselines. {COMPOSED}: each subject's effect "
                    "on the prediction is added to that of the base with the motion. In these two strengths are "
                    "ignored.",
                ),
                seed_input(),
                *settings_inputs(SamplingConfig()),
                *(
                    advanced(
                        io.Float.Input(
                            f"strength_{i}",
                            default=1.0,
                            min=-4.0,
                            max=4.0,
                            step=0.05,
                            tooltip=f"Strength of LoRA {i}; 0 is off.",
                        )
                    )
                    for i in range(1, MOST + 1)
                ),
            ],
            outputs=video_outputs(),
        )

    @classmethod
    def validate_inputs(cls, height: int | None = None, width: int | None = None) -> Any:
        return validate_inputs(SamplingConfig(), {"height": height, "width": width})

    @classmethod
    def execute(cls, base: HostedBase, prompt: str, method: str, seed: int, clip: Any = None, **inputs: Any) -> Any:
        config = read_settings(SamplingConfig(), inputs)
        loras = wired_inputs("lora", MOST, inputs)
        strengths = [inputs[f"strength_{i}"] for i in range(1, MOST + 1) if inputs.get(f"lora_{i}") is not None]
        frames = motion_pixels(clip, config)
        with on_device(base, OOM_HINT, workloads_for(config)) as backbone:
            callbacks = callbacks_for(cls.hidden.unique_id)
            for warning in prompt_warnings(prompt, [token for lora in loras for token in lora.tokens]):
                callbacks.log(warning)
            inverted = inverted_noise(backbone, frames, config, callbacks)
            if method == ALONE:
                pixels = sample_base(backbone, loras, prompt, seed, config, inverted, callbacks)
            elif method in (AVERAGED, COMPOSED):
                motions = [lora for lora in loras if lora.kind == "motion"]
                if len(motions) > 1:
                    raise ValueError(f"LoRAs: got {len(motions)} motions, '{method}' takes one at most")
                subjects = [lora for lora in loras if lora.kind != "motion"]
                motion = motions[0] if motions else None
                sample = sample_averaged if method == AVERAGED else sample_composed
                pixels = sample(backbone, subjects, motion, prompt, seed, config, inverted, callbacks)
            else:
                pairs = list(zip(loras, strengths, strict=True))
                pixels = sample_merged(backbone, pairs, prompt, seed, config, inverted, callbacks)
        return io.NodeOutput(image(pixels), video(pixels, config.fps))
