"""Ratios on the built-in base: SCS beside its work, and a training step beside a bare one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

from benchmarks.stage_steps import PROMPT, both_loras, stage_steps
from benchmarks.timing import Ratio, by_turns, ratio, seconds
from videomage_core.data.lora_file import LoraModel
from videomage_core.model import lora
from videomage_core.model.fingerprint import fingerprint
from videomage_core.model.single_frame import skip_temporal_layers_at_one_frame
from videomage_core.model.text import SpecialToken
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.presets import EMOJI
from videomage_core.sampling import generate_videos
from videomage_core.stages.collaborative_sampling import sample_collaboratively
from videomage_core.stages.motion_lora import _Example, motion_loss
from videomage_core.training.loop import Backward, ParameterGroup, _gradients, make_optimizer

CPU = torch.device("cpu")
Job = Callable[[], object]


SCS, PLAIN = "SCS over its counted work", "SCS over plain guided sampling"
STEP = "a training step over one of diffusers and peft alone"


def of_sampling(base: UNet3DBackbone, rounds: int) -> dict[str, Ratio]:
    """SCS beside the work that it cannot do without, and beside plain guided sampling."""
    config, steps, video = EMOJI.collaborative, stage_steps(base, EMOJI), _video(base)
    whole: dict[str, list[float]] = {"SCS": [], "work": [], "plain": []}
    video()  # warmed
    for _ in range(rounds):
        whole["SCS"].append(seconds(video, CPU))
        whole["plain"].append(seconds(lambda: generate_videos(base, ["a dog and a dog"], [0], EMOJI.sampling), CPU))
        work = 2 * config.steps * _mean(steps["SCS, a prediction"], 10) + config.tau * _mean(
            steps["SCS, a guidance"], 4
        )
        whole["work"].append(work)
    return {
        SCS: ratio(whole["SCS"], whole["work"]),
        PLAIN: ratio(whole["SCS"], whole["plain"]),
    }


def outside_the_network(base: UNet3DBackbone) -> dict[str, float]:
    """Shares of SCS's time that are neither predictions nor guidances, of one run, warmed."""
    video, taken = _video(base), dict[str, float]()
    video()
    parts = {
        "switching adapters": (lora, "use_adapters"), "putting LoRAs on": (lora, "load"),
        "taking them off": (lora, "remove"),
        "reading prompts": (base, "encode_prompt"), "decoding": (base, "decode_video"),
    }  # fmt: skip

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def within(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                taken[name] = taken.get(name, 0.0) + time.perf_counter() - began

        return within

    def entered(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Of a context: entering it and leaving it."""

        @contextmanager
        def within(*args: Any, **kwargs: Any) -> Iterator[None]:
            context = function(*args, **kwargs)
            timed(name, context.__enter__)()
            try:
                yield
            finally:
                timed(name, context.__exit__)(None, None, None)

        return within

    with ExitStack() as stack:
        for name, (owner, attribute) in parts.items():
            wrap = entered if attribute == "use_adapters" else timed
            stack.enter_context(mock.patch.object(owner, attribute, wrap(name, getattr(owner, attribute))))
        whole = seconds(video, CPU)
    return {name: took / whole for name, took in taken.items()}


def _video(base: UNet3DBackbone) -> Job:
    """One video by SCS, of two fused subjects and a motion that know nothing yet."""
    tokens = tuple(SpecialToken(f"<s{n}>", base.initial_vectors("dog", 1), "dog") for n in range(2))
    base_fingerprint = fingerprint(base.network)
    with both_loras(base):
        fused, motion = (lora.weights(base, name) for name in ("subject", "motion"))
    subject = LoraModel("fusion", fused, tokens, base.name, base_fingerprint)
    moving = LoraModel("motion", motion, (), base.name, base_fingerprint)
    return lambda: sample_collaboratively(base, subject, moving, PROMPT, 0, EMOJI.collaborative)


def _mean(step: Any, times: int) -> float:
    """Seconds of one run, warmed."""
    with step() as (job, _):
        job()
        return seconds(lambda: [job() for _ in range(times)], CPU) / times


def of_training(base: UNet3DBackbone, rounds: int) -> dict[str, Ratio]:
    """A step of the motion's training beside the same work written with diffusers and peft alone."""
    with _our_motion_step(base) as ours, _bare_motion_step(base) as bare:
        taken = by_turns({"ours": ours, "bare": bare}, rounds, CPU)
    return {STEP: ratio(taken["ours"], taken["bare"])}


@contextmanager
def _our_motion_step(base: UNet3DBackbone) -> Iterator[Job]:
    config = EMOJI.motion
    with lora.trainable_adapter(base, "motion", base.targets("temporal"), config) as parameters:
        latents = torch.randn(1, *base.latent_shape(config.frames, config.height, config.width))
        text = base.encode_prompt(["a dog is riding a pig"]).detach()
        examples = [_Example(latents, text, text)] * config.batch_size
        groups = [ParameterGroup("lora", parameters, config.learning_rate)]
        optimizer = make_optimizer(groups, config)

        def loss_fn(generator: torch.Generator, backward: Backward) -> None:
            backward(motion_loss(base, examples, config, generator))

        def step() -> None:
            _gradients(groups, loss_fn, optimizer, config, 0, 1.0)
            optimizer.step()

        yield step


@contextmanager
def _bare_motion_step(base: UNet3DBackbone) -> Iterator[Job]:
    """Noise, the frozen teacher, the LoRA, the backward pass, clipping and AdamW, as a script of diffusers has them."""
    from diffusers import DDPMScheduler, UNet3DConditionModel
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    from videomage_core.model.base_folder import EMOJI_BASE

    config = EMOJI.motion
    unet = UNet3DConditionModel.from_pretrained(EMOJI_BASE / "unet", local_files_only=True)
    skip_temporal_layers_at_one_frame(unet)
    unet.requires_grad_(False)
    modules = [target.module for target in base.targets("temporal")]
    inject_adapter_in_model(LoraConfig(r=config.rank, lora_alpha=config.rank, target_modules=modules), unet)
    layers = [module for module in unet.modules() if isinstance(module, BaseTunerLayer)]
    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=0.0)
    schedule = DDPMScheduler.from_pretrained(EMOJI_BASE / "scheduler", local_files_only=True)
    x0 = torch.randn(config.batch_size, *base.latent_shape(config.frames, config.height, config.width))
    text = base.encode_prompt(["a dog is riding a pig"] * config.batch_size).detach()

    def step() -> None:
        optimizer.zero_grad()
        t = torch.randint(schedule.config.num_train_timesteps, (len(x0),))
        eps = torch.randn_like(x0)
        x_t = schedule.add_noise(x0, eps, t)
        for layer in layers:
            layer.enable_adapters(False)
        with torch.no_grad():
            static = unet(x_t, t, text).sample
        for layer in layers:
            layer.enable_adapters(True)
        target = (1 + config.omega) * eps - config.omega * static
        torch.nn.functional.mse_loss(unet(x_t, t, text).sample, target).backward()
        torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
        optimizer.step()

    yield step
