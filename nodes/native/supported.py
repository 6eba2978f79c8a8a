"""What SCS Guider can work with, asked before anything is loaded, and what to do where it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...videomage_core.model.dit_maps import Span

SPANS = "videomage_spans"  # a conditioning's option: {"word", "start", "end"} of each subject, in order of the prompt
SUPPORTED = ("WanModel",)  # networks whose blocks have self- and cross-attention, and add nothing in place


def require_supported(name: str, patcher: Any) -> None:
    """ValueError unless a MODEL is one that can be guided."""
    network = getattr(getattr(patcher, "model", None), "diffusion_model", None)
    kind = type(network).__name__
    if kind not in SUPPORTED:
        raise ValueError(
            f"{name}: got a {kind}, SCS Guider works with Wan 2.1 and 2.2 text-to-video and image-to-video models; "
            "other models (LTX, Hunyuan, VACE, Animate and more) are not carried yet: sample them with CFGGuider, or "
            "train with this pack's own nodes on a base of theirs"
        )
    options = getattr(patcher, "model_options", {})
    if options.get("context_handler") is not None:
        raise ValueError(
            f"{name}: has context windows, which cut a video into parts that guidance cannot compare; take the Context "
            "Windows node away, and make the video shorter"
        )
    if "easycache" in options.get("transformer_options", {}):
        raise ValueError(
            f"{name}: has EasyCache or LazyCache on it, which would mix up the branches' estimates; take that node away"
        )
    several = options.get("multigpu_clones") or _additional(patcher, "multigpu")
    if several:
        raise ValueError(f"{name}: is spread over several GPUs, which guidance does not know; take that node away")


def require_trainable(patcher: Any) -> None:
    """ValueError unless a MODEL is one on which LoRAs can be trained, as it comes from Load Diffusion Model."""
    network = getattr(getattr(patcher, "model", None), "diffusion_model", None)
    kind = type(network).__name__
    if kind not in SUPPORTED:
        raise ValueError(
            f"model: got a {kind}; LoRAs are trained on Wan 2.1 and 2.2 text-to-video models; wire a Load Diffusion "
            "Model with one of them (for LTX, Hunyuan, VACE, Animate and others use their own trainers)"
        )
    channels = (network.in_dim, network.out_dim)
    if channels != (16, 16) or network.model_type != "t2v":
        raise ValueError(
            f"model: got a Wan with {channels[0]} channels in and {channels[1]} out, which begins from an image or is "
            "Wan 2.2's 5B model; train on the text-to-video model of 1.3B or 14B: core's Load LoRA puts such a LoRA on "
            "the image-to-video model of that size too"
        )
    if patcher.patches:
        raise ValueError(
            f"model: has LoRAs on {len(patcher.patches)} weights; what is trained on top of them would fit only "
            "together with them. Wire the Load Diffusion Model itself to it, without Load LoRA between"
        )
    if getattr(patcher, "injections", None):
        raise ValueError(
            f"model: has parts injected into its layers ({', '.join(map(str, patcher.injections))}), as a LoRA in "
            "bypass mode; wire the Load Diffusion Model itself"
        )
    unknown = [name for name, layer in network.named_modules() if _no_linear_of_core(layer)]
    if unknown:
        raise ValueError(
            f"model: {unknown[0]} and {len(unknown) - 1} more are not core's own linear layers (a GGUF, Nunchaku or "
            "compiled model); train on a safetensors file in bf16, fp16 or fp8 from Load Diffusion Model"
        )


def unused_options(patcher: Any) -> list[str]:
    """What other nodes have put around a MODEL that a base of it does without: by the core's names, sorted."""
    options: dict[str, Any] = {**patcher.model_options}
    options |= options.pop("transformer_options", {})
    names = {str(name) for name, value in options.items() if value}
    for kinds in (getattr(patcher, "wrappers", {}), getattr(patcher, "callbacks", {})):
        names |= {str(kind) for kind, by_key in kinds.items() if any(by_key.values())}
    return sorted(names)


def _no_linear_of_core(layer: Any) -> bool:
    named = type(layer).__module__.startswith("comfy.")
    return hasattr(layer, "in_features") and not (named and hasattr(layer, "weight_function"))


def require_vae(vae: Any) -> None:
    """ValueError unless a VAE is Wan 2.1's, which makes what 1.3B and 14B models take."""
    got = (getattr(vae, "latent_dim", None), getattr(vae, "latent_channels", None))
    if vae is None or got != (3, 16):
        what = "nothing" if vae is None else f"one of {got[1]} channels{'' if got[0] == 3 else ' for images'}"
        raise ValueError(
            f"vae: got {what}, must be Wan's of 16 channels; wire a Load VAE with wan_2.1_vae.safetensors (wan2.2_vae "
            "is for the 5B model alone)"
        )


def _additional(patcher: Any, key: str) -> Any:
    get = getattr(patcher, "get_additional_models_with_key", None)
    return get(key) if get else None


def require_conditioning(name: str, conditioning: Any) -> None:
    """ValueError unless a conditioning is one prompt over the whole video, all the time."""
    if len(conditioning) != 1:
        raise ValueError(
            f"{name}: got {len(conditioning)} combined prompts, guidance compares one; wire Encode Prompt (SCS) to it"
        )
    partial = [key for key in ("area", "mask", "start_percent", "end_percent", "hooks") if key in conditioning[0][1]]
    if partial:
        raise ValueError(
            f"{name}: has {', '.join(partial)} set, guidance compares prompts that hold everywhere and always; take "
            "such nodes away, or set tau to 0"
        )


def spans_of(conditionings: Mapping[str, Any]) -> tuple[list[str], dict[str, list[Span]]]:
    """The subjects' words, and their token spans in each conditioning.

    Raises:
        ValueError: there are none, or not as many in each.
    """
    found = {name: conditioning[0][1].get(SPANS) or [] for name, conditioning in conditionings.items()}
    for name, spans in found.items():
        if not spans:
            raise ValueError(
                f"{name}: does not say where the subjects stand in the prompt; make both prompts with Encode Prompt "
                "(SCS) and mark the subjects there, or set tau to 0"
            )
    names, every = list(found), list(found.values())
    if len(every[0]) != len(every[1]):
        raise ValueError(
            f"{names[0]}, {names[1]}: name {len(every[0])} and {len(every[1])} subjects; wire both outputs of one "
            "Encode Prompt (SCS)"
        )
    for (name, spans), conditioning in zip(found.items(), conditionings.values(), strict=True):
        tokens = conditioning[0][0].shape[1]
        bad = [span for span in spans if not 0 <= span["start"] < span["end"] <= tokens]
        if bad:
            raise ValueError(f"{name}: {bad[0]} is not within the prompt's {tokens} tokens; encode the prompt again")
    spans = {name: [(int(of["start"]), int(of["end"])) for of in own] for name, own in found.items()}
    return [str(of["word"]) for of in every[0]], spans
