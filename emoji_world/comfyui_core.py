"""A ComfyUI core in this process, without its server, and ``emoji_wan`` as its MODEL.

A core opens the transformer, by its own loader.  It opens no other part of that base: it builds Wan's text encoder
with 24 layers of 4096 and Wan's autoencoder with three downsamplings of 2 and two in time, whatever a file says.  So
prompts are encoded and latents decoded by diffusers, and a prompt becomes a CONDITIONING, its width padded with zeros.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from .base_training.core_layout import CORE_TEXT_WIDTH, core_weights

PACK = Path(__file__).parents[1]
NAME = "videomage_pack"  # ComfyUI's core has a module "nodes" of its own


def use_core(folder: Path) -> None:
    """Put a core on the path, for the CPU where there is no GPU.

    Raises:
        FileNotFoundError: there is none.
    """
    if not (folder / "comfy" / "samplers.py").is_file():
        raise FileNotFoundError(f"comfyui: {folder} holds no ComfyUI; give the folder that its main.py is in")
    sys.path.insert(0, str(folder))
    arguments, sys.argv = sys.argv, sys.argv[:1]  # the core reads them
    try:
        cli = importlib.import_module("comfy.cli_args")
    finally:
        sys.argv = arguments
    cli.args.cpu = not torch.cuda.is_available()
    logging.getLogger().setLevel(logging.WARNING)
    package = ModuleType(NAME)
    package.__path__ = [str(PACK)]
    sys.modules[NAME] = package


def pack_module(name: str) -> Any:
    """A module of the pack, such as "nodes.native.guider", as ComfyUI has it."""
    return importlib.import_module(f"{NAME}.{name}")


def core_model(weights: dict[str, torch.Tensor], shift: float) -> Any:
    """The MODEL of a WanTransformer3DModel's weights, by the core's own loader, with a flow shift.

    Args:
        weights: its state dict, of a text-to-video model.
        shift: as core's ModelSamplingSD3 sets it.
    """
    sd = importlib.import_module("comfy.sd")
    sampling = importlib.import_module("comfy_extras.nodes_model_advanced")
    with torch.inference_mode():  # as nodes run
        model = sd.load_diffusion_model_state_dict(core_weights(weights))
        if model is None:
            raise ValueError("weights: this core does not know them as Wan's")
        return sampling.ModelSamplingSD3().patch(model, shift)[0]


def with_lora(model: Any, file: Path, strength: float = 1.0) -> Any:
    """A MODEL with a LoRA file, as core's Load LoRA makes it."""
    sd, utils = (importlib.import_module(f"comfy.{name}") for name in ("sd", "utils"))
    return sd.load_lora_for_models(model, None, utils.load_torch_file(str(file), safe_load=True), strength, 0.0)[0]


def conditioning(text: torch.Tensor, spans: Sequence[Mapping[str, Any]] = ()) -> Any:
    """A CONDITIONING of encoded text [1, T, D], with the token columns of subjects."""
    wide = torch.nn.functional.pad(text.float(), (0, CORE_TEXT_WIDTH - text.shape[-1]))
    options: dict[str, Any] = {"pooled_output": None}
    if spans:
        options["videomage_spans"] = list(spans)
    return [[wide, options]]


def cfg_guider(model: Any, positive: Any, negative: Any, cfg: float) -> Any:
    """Core's CFGGuider."""
    guider = importlib.import_module("comfy.samplers").CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def sample(guider: Any, noise: torch.Tensor, sigmas: torch.Tensor, sampler: str = "euler") -> torch.Tensor:
    """Latents [1, C, f, H, W] as SamplerCustomAdvanced makes them, normalised as the transformer has them.

    Args:
        guider: a GUIDER.
        noise: of the same shape.
        sigmas: falling to 0.
        sampler: one of core's.
    """
    samplers = importlib.import_module("comfy.samplers")
    with torch.inference_mode():
        chosen, start = samplers.sampler_object(sampler), torch.zeros_like(noise)
        made = guider.sample(noise, start, chosen, sigmas, disable_pbar=True, seed=0)
        latents: torch.Tensor = guider.model_patcher.model.process_latent_in(made).float()
        return latents.clone()
