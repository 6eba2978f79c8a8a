"""SCS Guider's cost in a ComfyUI core: PYTHON_OF_COMFYUI -m benchmarks.scs_in_core [--comfyui FOLDER]

On a network of ``emoji_wan``'s size with random weights.  The passes of one run are counted, and the same passes are
then made bare: the core's network with ordinary weights, the LoRAs beside its layers, plain autograd, nothing of the
guider or of the core's sampling.  Both are timed by turns in one run, in processor seconds; what is left over is the
guider's and the core's.  A model's first guided step is compared with a finite difference once; that is not in these
figures.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from emoji_world import comfyui_core as core
from emoji_world.base_training.wan_models import FLOW_SHIFT, new_transformer

from .timing import ratio

SHAPE, RANK, STEPS, TAU, CFG, MOST = (1, 16, 5, 12, 12), 4, 6, 2, 4.0, 1.05
LAYERS = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "cross_attn.q", "cross_attn.k", "ffn.0", "ffn.2")
Pairs = dict[str, tuple[torch.Tensor, torch.Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "ComfyUI", help="folder of a ComfyUI")
    parser.add_argument("--rounds", type=int, default=8)
    given = parser.parse_args()
    core.use_core(given.comfyui)
    setup = Setup()
    counted = setup.counted()
    print(f"passes of a run of {STEPS} steps, {TAU} of them guided: {dict(counted)}", flush=True)
    jobs = {
        "SCS": setup.scs, "work": lambda: setup.work(counted), "SCS, tau 0": setup.plain_scs, "core": setup.core_twice,
    }  # fmt: skip
    taken = by_turns_of_a_processor(jobs, given.rounds)
    print("| ratio | target | median (smallest to largest) |\n|---|---|---|")
    print(f"| SCS over its counted passes, made bare | {MOST} | {ratio(taken['SCS'], taken['work'])} |")
    print(f"| SCS with tau 0 over two runs of core's CFGGuider | | {ratio(taken['SCS, tau 0'], taken['core'])} |")


def by_turns_of_a_processor(jobs: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each job in each round, which other work on the machine hardly changes; one thread."""
    torch.set_num_threads(1)
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for index in range(rounds + 1):  # the first does not count
        for name in list(jobs) if index % 2 else list(jobs)[::-1]:
            began = time.process_time()
            jobs[name]()
            if index:
                taken[name].append(time.process_time() - began)
    return taken


class Setup:
    """A MODEL, two branches, and the same network bare."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        transformer = new_transformer()
        with torch.no_grad():
            for parameter in transformer.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02)
        model = core.core_model(dict(transformer.state_dict()), FLOW_SHIFT)
        self.network = model.model.diffusion_model
        loras = [random_lora(self.network, seed) for seed in (1, 2)]
        self.models = [with_pairs(model, pairs) for pairs in loras]
        self.bare = [bare_network(self.network, pairs) for pairs in loras]
        spans = [{"word": "dog", "start": 1, "end": 2}, {"word": "frog", "start": 4, "end": 5}]
        texts = torch.zeros(3, 32, 128)
        texts[:, :9] = torch.randn(3, 9, 128)
        self.conditionings = [core.conditioning(text, spans) for text in texts.split(1)]
        self.texts = [conditioning[0][0] for conditioning in self.conditionings]  # [1, T, D] each
        self.noise, self.sigmas = torch.randn(SHAPE), torch.linspace(1, 0, STEPS + 1)
        self.guiders = {tau: self._guider(tau) for tau in (0, TAU)}
        self.core_guiders = [
            core.cfg_guider(one, positive, self.conditionings[2], CFG)
            for one, positive in zip(self.models, self.conditionings, strict=False)
        ]

    def _guider(self, tau: int) -> Any:
        config = core.pack_module("videomage_core.config.guider").GuiderConfig(cfg=CFG, tau=tau)
        models = dict(zip(("model_subject", "model_motion"), self.models, strict=True))
        return core.pack_module("nodes.native.guider").build_guider(models, *self.conditionings, config)

    def scs(self) -> None:
        core.sample(self.guiders[TAU], self.noise, self.sigmas)

    def plain_scs(self) -> None:
        core.sample(self.guiders[0], self.noise, self.sigmas)

    def core_twice(self) -> None:
        for guider in self.core_guiders:
            core.sample(guider, self.noise, self.sigmas)

    def counted(self) -> Counter[str]:
        """Forwards of one run, by kind: those of two texts, and recorded ones with gradients."""
        passes: Counter[str] = Counter()

        def count(_: Any, given: tuple[Any, ...]) -> None:
            passes["recorded" if torch.is_grad_enabled() else f"of {len(given[0])} texts"] += 1

        self.scs()  # the finite differences of a model's first step
        handle = self.network.register_forward_pre_hook(count)
        try:
            self.scs()
        finally:
            handle.remove()
        return passes

    def work(self, counted: Counter[str]) -> None:
        """The counted passes, each branch's in turn."""
        texts = [torch.cat([self.texts[branch], self.texts[2]]) for branch in range(2)]
        both, level = torch.cat([self.noise] * 2), torch.full((2,), 500.0)
        with torch.no_grad():
            for number in range(counted["of 2 texts"]):
                branch = number % 2
                self.bare[branch](both, level, texts[branch], transformer_options={})
        for _ in range(counted["recorded"] // 2):
            self.bare_guidance(level[:1])

    def bare_guidance(self, level: torch.Tensor) -> None:
        """Both losses and their gradients, by plain autograd; blocks are computed again as the guider does."""
        recording, gradients = (core.pack_module(f"nodes.native.{name}") for name in ("recording", "gradients"))
        algorithm = core.pack_module("videomage_core.stages.algorithm1")
        guider = self.guiders[TAU]
        heads, places, every = recording.HeadSplit(), [], []
        with gradients.differentiable_rope(self.network), torch.enable_grad():
            for network, text, name in zip(self.bare, self.texts, guider.spans, strict=False):
                x = self.noise.clone().requires_grad_()
                recorder = recording.Recorder(guider.blocks, guider.spans[name], SHAPE_OF_TOKENS, heads)
                options = recorder.options({}, network)["transformer_options"]
                with contextlib.suppress(recording.ForwardEnded):
                    network(x, level, text, transformer_options=options)
                places.append(x)
                every.append(recorder.compared)
            for loss, x in zip(algorithm.guidance_losses(*every), places, strict=True):
                torch.autograd.grad(loss, x)


SHAPE_OF_TOKENS = (SHAPE[2], SHAPE[3] // 2, SHAPE[4] // 2)


def random_lora(network: nn.Module, seed: int) -> Pairs:
    """Layer -> (A [R, in], B [out, R])."""
    generator, layers = torch.Generator().manual_seed(seed), dict(network.named_modules())
    pairs = {}
    for name, layer in layers.items():
        if name.startswith("blocks.") and name.endswith(LAYERS):
            down = torch.randn(RANK, int(layer.in_features), generator=generator) / 16
            pairs[name] = down, torch.randn(int(layer.out_features), RANK, generator=generator) / 16
    return pairs


def with_pairs(model: Any, pairs: Pairs) -> Any:
    state = {f"diffusion_model.{n}.lora_A.weight": down for n, (down, _) in pairs.items()}
    state |= {f"diffusion_model.{n}.lora_B.weight": up for n, (_, up) in pairs.items()}
    return core.pack_module("nodes.native.loras").with_lora(model, state, 1.0)


def bare_network(network: nn.Module, pairs: Pairs) -> Any:
    """A copy with ordinary weights and a LoRA beside its layers."""
    bare = copy.deepcopy(network)
    for name, module in bare.named_modules():
        for key, weight in list(module.named_parameters(recurse=False)):
            setattr(module, key, nn.Parameter(weight.detach().clone(), requires_grad=False))
        if name in pairs:
            module.forward = with_lora_path(module.forward, *pairs[name])
    return bare


def with_lora_path(
    forward: Callable[..., torch.Tensor], down: torch.Tensor, up: torch.Tensor
) -> Callable[..., torch.Tensor]:
    linear = nn.functional.linear
    return lambda x: forward(x) + linear(linear(x, down), up)


if __name__ == "__main__":
    main()
