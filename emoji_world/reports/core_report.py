"""A base of ``emoji_wan``'s recipe in ComfyUI's own code: the same video as from diffusers, and SCS on it.

    PYTHON_OF_COMFYUI -m emoji_world.reports.core_report BASE OUTPUT --comfyui FOLDER
        [--subject "dog=animal" ...] [--subject-lora FILE ...] [--motion-lora FILE]

Writes the transformer as a file for ComfyUI's models/diffusion_models, a sheet with a row for each way to make the
video, and prints how far the core's latents are from diffusers'.  The noise, the prompts' encodings and the noise
levels are the same everywhere.  Prompts are encoded and latents decoded by diffusers: see ``comfyui_core``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from videomage_core.data.contact_sheet import contact_sheet
from videomage_core.model.prompt_spans import MarkedPrompt, Piece, Place, columns, mark_prompt, read_subjects, tokenized

from .. import comfyui_core as core
from ..base_training.core_layout import core_weights
from ..base_training.wan_models import FLOW_SHIFT, FRAMES, LATENT_CHANNELS, PIXELS_PER_LATENT, TEXT_LENGTH

SIDE = 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="folder in diffusers' layout")
    parser.add_argument("output", type=Path, help="folder for what is written")
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "ComfyUI", help="folder of a ComfyUI")
    parser.add_argument("--prompt", default="a dog next to a frog on a beach", help="with the subjects' words")
    parser.add_argument("--negative", default="", help="what guidance leads away from")
    parser.add_argument("--subject", nargs="*", default=["dog=animal", "frog=animal"], help="words=superclass of each")
    parser.add_argument("--subject-lora", type=Path, nargs="*", default=[], help="a file for each subject, or none")
    parser.add_argument("--motion-lora", type=Path, help="a file, or none")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=4.0)
    parser.add_argument("--tau", type=int, default=6, help="guided steps of SCS")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    core.use_core(given.comfyui)
    report(given)


def report(given: Any) -> None:
    """Make each video, compare, and write what there is to see."""
    pipeline = _pipeline(given.base)
    marked = mark_prompt(given.prompt, read_subjects("\n".join(given.subject)))
    given.output.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.half().contiguous() for name, weight in core_weights(_weights(pipeline)).items()}
    save_file(weights, given.output / f"{given.base.name}.safetensors", metadata={"format": "pt"})
    noise = torch.randn(_shape(), generator=torch.Generator().manual_seed(given.seed))
    theirs, sigmas = by_diffusers(pipeline, given, noise)
    model = core.core_model(_weights(pipeline), FLOW_SHIFT)
    positive, negative = (core.conditioning(_encoded(pipeline, text)) for text in (given.prompt, given.negative))
    ours = core.sample(core.cfg_guider(model, positive, negative, given.cfg), noise, sigmas)
    print(f"core's latents beside diffusers': {float((ours - theirs).norm() / theirs.norm()):.2e} (relative)")
    rows = {"diffusers": theirs, "core": ours}
    for tau in (0, given.tau):
        guider = scs_guider(pipeline, model, marked, given, tau)
        rows[f"SCS, tau {tau}"] = core.sample(guider, noise, sigmas)
    clips = [_decoded(pipeline, latents)[0] for latents in rows.values()]
    contact_sheet(clips, list(rows), scale=2).save(given.output / "sheet.png")
    print(f"{given.output / 'sheet.png'}: a row each of {', '.join(rows)}")


def by_diffusers(pipeline: Any, given: Any, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """WanPipeline's latents by Euler, and its noise levels."""
    side = SIDE // PIXELS_PER_LATENT * pipeline.vae_scale_factor_spatial
    latents = pipeline(
        given.prompt, given.negative, latents=noise.clone(), num_inference_steps=given.steps, guidance_scale=given.cfg,
        height=side, width=side, num_frames=FRAMES, output_type="latent",
    ).frames  # fmt: skip
    return latents, pipeline.scheduler.sigmas.clone()


def scs_guider(pipeline: Any, model: Any, marked: MarkedPrompt, given: Any, tau: int) -> Any:
    """SCS Guider with what LoRAs there are."""
    subjects = [core.with_lora(model, file) for file in given.subject_lora] or [model]
    names = ["model_subject", *(f"model_subject_{n + 2}" for n in range(len(subjects) - 1))]
    motion = core.with_lora(model, given.motion_lora) if given.motion_lora else model
    texts = [
        core.conditioning(_encoded(pipeline, prompt), spans_of(pipeline.tokenizer, prompt, places))
        for prompt, places in ((marked.subject, marked.subject_places), (marked.motion, marked.motion_places))
    ]
    config = core.pack_module("videomage_core.config.guider").GuiderConfig(cfg=given.cfg, tau=tau)
    negative = core.conditioning(_encoded(pipeline, given.negative))
    models = {**dict(zip(names, subjects, strict=True)), "model_motion": motion}
    return core.pack_module("nodes.native.guider").build_guider(models, *texts, negative, config)


def spans_of(tokenizer: Any, prompt: str, places: Sequence[Place]) -> list[dict[str, Any]]:
    """The token columns of places in a prompt."""

    def encode(text: str) -> list[Piece]:
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [Piece(id, *where) for id, where in zip(found["input_ids"], found["offset_mapping"], strict=True)]

    return [vars(place) for place in columns(tokenized(prompt, places, encode), places, TEXT_LENGTH)]


def _pipeline(base: Path) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline

    pipeline = WanPipeline.from_pretrained(base, torch_dtype=torch.float32)  # older diffusers know no dtype
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=FLOW_SHIFT)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _weights(pipeline: Any) -> dict[str, torch.Tensor]:
    return dict(pipeline.transformer.state_dict())


def _encoded(pipeline: Any, prompt: str) -> torch.Tensor:
    """[1, T, D], zero past the prompt's end."""
    with torch.no_grad():
        # The pipeline's call pads to 512 tokens, this function alone to 226, and padding takes a part of attention.
        encoded = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=TEXT_LENGTH)
        text: torch.Tensor = encoded[0]
    return text


def _shape() -> tuple[int, int, int, int, int]:
    side = SIDE // PIXELS_PER_LATENT
    return 1, LATENT_CHANNELS, FRAMES, side, side


@torch.no_grad()
def _decoded(pipeline: Any, latents: torch.Tensor) -> torch.Tensor:
    """[1, C, F, H, W] in -1..1; the autoencoder's latents have mean 0 and deviation 1."""
    clip: torch.Tensor = pipeline.vae.decode(latents, return_dict=False)[0]
    return clip.clamp(-1, 1)


if __name__ == "__main__":
    main()
