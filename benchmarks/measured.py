"""Ratios on the embedded base: SCS beside its work, a training step beside a bare one, and what each saving saves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch

from benchmarks.stage_steps import PROMPT, both_loras, prediction, stage_steps
from benchmarks.timing import Ratio, by_turns, ratio, seconds
from videomage_core.data.lora_file import LoraModel
from videomage_core.model import lora
from videomage_core.model.attention_maps import select_layers
from videomage_core.model.fast_attention import FastAttention
from videomage_core.model.fingerprint import fingerprint
from videomage_core.model.lora_forward import adapted_layers, with_adapters
from videomage_core.model.memory import MODES
from videomage_core.model.single_frame import skip_temporal_layers_at_one_frame
from videomage_core.model.text import SpecialToken
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.presets import EMOJI
from videomage_core.sampling import generate_videos
from videomage_core.stages.algorithm1 import attended, map_distance
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


def beside_the_network(base: UNet3DBackbone) -> dict[str, float]:
    """Shares of SCS's time that are neither predictions nor guidances, of one run, warmed."""
    video, taken = _video(base), dict[str, float]()
    video()
    parts = {
        "switching adapters": (lora, "active"), "putting LoRAs on": (lora, "load"), "taking them off": (lora, "remove"),
        "reading prompts": (base, "encode_prompt"), "decoding": (base, "decode_video"),
    }  # fmt: skip

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def within(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                taken[name] = taken.get(name, 0.0) + time.perf_counter() - began

        return within

    def entered(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Of a context: its way in and its way out."""

        @contextmanager
        def within(*given: Any, **named: Any) -> Iterator[None]:
            context = function(*given, **named)
            timed(name, context.__enter__)()
            try:
                yield
            finally:
                timed(name, context.__exit__)(None, None, None)

        return within

    with ExitStack() as stack:
        for name, (owner, attribute) in parts.items():
            wrap = entered if attribute == "active" else timed
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
    performed = LoraModel("motion", motion, (), base.name, base_fingerprint)
    return lambda: sample_collaboratively(base, subject, performed, PROMPT, 0, EMOJI.collaborative)


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


def of_savings(base: UNet3DBackbone, rounds: int) -> dict[str, Ratio]:
    """Each saving: the time with it over the time without."""
    steps, found = stage_steps(base, EMOJI), {}
    with prediction(base, EMOJI.collaborative) as (merged, _):
        layers = list(adapted_layers(base).values())
        taken = by_turns({"with": merged, "without": partial(_unmerged, layers, merged)}, rounds, CPU)
        found["LoRAs merged into weights in sampling"] = ratio(taken["with"], taken["without"])
    for name, stage in (("train motion", "a motion step"), ("SCS, a guidance", "a guidance")):
        for mode in ("medium", "low"):
            found[f"{stage} in the memory mode {mode}, over high"] = _mode_ratio(base, steps[name], mode, rounds)
    found["a prediction in the memory mode low, over high"] = _mode_ratio(
        base, steps["SCS, a prediction"], "low", rounds
    )
    with steps["train motion"]() as (job, _):
        taken = by_turns({"with": job, "without": partial(_always_fused, job)}, rounds, CPU)
    found["short attention written out on a CPU, in a training step"] = ratio(taken["with"], taken["without"])
    found.update(_of_guidance(base, rounds))
    found.update(_of_batches(base, rounds))
    return found


def _unmerged(layers: list[Any], job: Job) -> None:
    merged = [layer.forward for layer in layers]
    for layer in layers:
        layer.forward = partial(with_adapters, layer)
    try:
        job()
    finally:
        for layer, forward in zip(layers, merged, strict=True):
            layer.forward = forward


def _mode_ratio(base: UNet3DBackbone, step: Any, mode: str, rounds: int) -> Ratio:
    """A step in a memory mode over one in high, by turns; a round before them does not count, nor does the switch."""
    taken: dict[str, list[float]] = {mode: [], "high": []}
    with step() as (job, _):
        for _round in range(rounds + 1):
            for name, found in taken.items():
                base.use_memory(MODES[name])
                found.append(seconds(job, CPU))
    return ratio(taken[mode][1:], taken["high"][1:])


def _always_fused(job: Job) -> None:
    longest, FastAttention.LONGEST = FastAttention.LONGEST, 0
    try:
        job()
    finally:
        FastAttention.LONGEST = longest


def _of_guidance(base: UNet3DBackbone, rounds: int) -> dict[str, Ratio]:
    """The parts of a guidance, each against the plain way: all layers, all with a graph, to the network's end."""
    config = EMOJI.collaborative
    every = base.attention_layers("cross"), base.attention_layers("temporal")
    chosen = (
        select_layers(every[0], config.cross_attention_layers),
        select_layers(every[1], config.temporal_attention_layers),
    )
    with both_loras(base) as (branches, _), lora.merged(base):
        x = torch.randn(1, *base.latent_shape(config.frames, config.height, config.width))
        level = base.levels(config.steps)[3]

        def guided(cross: Any, temporal: Any, graph_everywhere: bool) -> None:
            of = []
            for branch, moving, constant in ((branches[0], temporal, cross), (branches[1], cross, temporal)):
                wanted = ([*moving, *constant], []) if graph_everywhere else (moving, constant)
                with torch.enable_grad(), attended(base, x, level, branch, *wanted) as (at, maps):
                    of.append((at, maps))
            torch.autograd.grad(map_distance(of[0][1].temporal, of[1][1].temporal), of[0][0])
            torch.autograd.grad(map_distance(of[1][1].cross, of[0][1].cross), of[1][0])

        def forward(stop: bool) -> None:
            branch, at = branches[0], x.clone().requires_grad_()
            with (
                lora.use_adapters(base, {branch.adapter: 1.0}),
                base.record([*chosen[0], *chosen[1]], branch.spans, stop=stop) as maps,
            ):
                (base.record_forward if stop else base.predict)(at, level, branch.text)
                torch.autograd.grad(map_distance(maps.temporal, maps.temporal), at)

        jobs = {
            "usual": lambda: guided(*chosen, False), "graph": lambda: guided(*chosen, True),
            "all layers": lambda: guided(*every, False), "stopped": lambda: forward(True),
            "whole": lambda: forward(False),
        }  # fmt: skip
        taken = by_turns(jobs, rounds, CPU)
    return {
        "the other branch's maps without a graph, in a guidance": ratio(taken["usual"], taken["graph"]),
        "the forward ends after the last recorded layer, in a forward and its way back": ratio(
            taken["stopped"], taken["whole"]
        ),
        "the chosen layers instead of all, in a guidance": ratio(taken["usual"], taken["all layers"]),
    }


def _of_batches(base: UNet3DBackbone, rounds: int) -> dict[str, Ratio]:
    """A batch of videos beside the same videos in smaller ones."""
    config = EMOJI.sampling
    x = torch.randn(4, *base.latent_shape(config.frames, config.height, config.width))
    with torch.no_grad():
        text, level = base.encode_prompt(["a dog"] * 4), base.levels(config.steps)[3]

        def in_batches_of(size: int, count: int) -> None:
            with torch.no_grad():
                for at in range(0, count, size):
                    base.predict(x[at : at + size], level, text[at : at + size])

        jobs = {
            "halves": lambda: in_batches_of(2, 2), "one by one": lambda: in_batches_of(1, 2),
            "four": lambda: in_batches_of(4, 4), "two by two": lambda: in_batches_of(2, 4),
        }  # fmt: skip
        taken = by_turns(jobs, rounds, CPU)
    return {
        "both halves of guidance in one batch": ratio(taken["halves"], taken["one by one"]),
        "both branches in one batch (not built: see below)": ratio(taken["four"], taken["two by two"]),
    }
