"""What channels-last weights and ``torch.compile`` would give, tried on the built-in base on a CPU.

A compiled network is tried across switches of adapters, as SCS makes two in each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from benchmarks.stage_steps import both_loras
from benchmarks.timing import by_turns, ratio, seconds
from videomage_core.model import lora
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.presets import EMOJI
from videomage_core.stages.algorithm1 import MOTION, SUBJECT

CPU = torch.device("cpu")


def channels_last(base: UNet3DBackbone, rounds: int) -> dict[str, Any]:
    """A prediction with the weights of 2d convolutions in channels-last order, over one without; and who copies.

    Returns:
        "ratio"; "difference", the largest of the outputs; "convolutions" and how many of them were "given" an input
        in that order.
    """
    convolutions = [module for module in base.unet.modules() if isinstance(module, torch.nn.Conv2d)]
    given: list[bool] = []

    def order(memory_format: torch.memory_format) -> None:
        for module in convolutions:
            module.to(memory_format=memory_format)

    def record_order(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        given.append(inputs[0].is_contiguous(memory_format=torch.channels_last) and not inputs[0].is_contiguous())

    predict = _prediction(base)
    plain = predict()
    order(torch.channels_last)
    reordered = predict()
    hooks = [module.register_forward_pre_hook(record_order) for module in convolutions]
    predict()
    for hook in hooks:
        hook.remove()
    taken: dict[str, list[float]] = {"last": [], "first": []}
    for _ in range(rounds):
        for name, memory_format in (("last", torch.channels_last), ("first", torch.contiguous_format)):
            order(memory_format)
            predict()
            taken[name].append(seconds(predict, CPU))
    order(torch.contiguous_format)
    return {
        "ratio": ratio(taken["last"], taken["first"]), "difference": float((reordered - plain).abs().max()),
        "convolutions": len(convolutions), "given": sum(given),
    }  # fmt: skip


def compiled(base: UNet3DBackbone, rounds: int) -> dict[str, Any]:
    """A compiled prediction over a plain one, and how often a switch of adapters compiles it anew.

    Returns:
        "graphs" after a first prediction, after each of four switches, and how often the network was "broken" in
        pieces; "first", the seconds of the compilation; "ratio"; "difference" of the outputs; instead of what could
        not be had "error".
    """
    results: dict[str, Any] = {}
    try:
        results.update(_switches(base))
        results.update(_gain(base, rounds))
    except Exception as error:  # of a compiler that is missing or fails: any
        results["error"] = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
    return results


def _switches(base: UNet3DBackbone) -> dict[str, Any]:
    """The network is traced for each set of adapters; what would be compiled is counted, and run as it is."""
    from torch._dynamo.utils import counters

    graphs = []
    with both_loras(base), _compiled(base, backend="eager"):
        counters.clear()
        for name in (SUBJECT, MOTION, SUBJECT, MOTION, SUBJECT):
            _prediction(base, name)()
            graphs.append(counters["stats"]["unique_graphs"])
        return {"graphs": graphs, "broken": sum(counters["graph_break"].values())}


def _gain(base: UNet3DBackbone, rounds: int) -> dict[str, Any]:
    with both_loras(base):
        predict = _prediction(base, SUBJECT)
        output, plain = predict(), base.unet.forward
        with _compiled(base, backend="inductor") as fast:
            first = seconds(predict, CPU)
            difference = float((predict() - output).abs().max())

            def by(forward: Callable[..., Any]) -> None:
                base.unet.forward = forward
                predict()

            taken = by_turns({"compiled": partial(by, fast), "plain": partial(by, plain)}, rounds, CPU)
    return {"first": first, "ratio": ratio(taken["compiled"], taken["plain"]), "difference": difference}


@contextmanager
def _compiled(base: UNet3DBackbone, backend: str) -> Iterator[Callable[..., Any]]:
    """Inside, the U-Net's forward is compiled; afterwards it is its own again and nothing compiled is kept."""
    unet, before = base.unet, vars(base.unet).get("forward")
    torch._dynamo.reset()
    unet.forward = torch.compile(unet.forward, backend=backend)
    try:
        yield unet.forward
    finally:
        del unet.forward
        if before is not None:
            unet.forward = before
        torch._dynamo.reset()


def _prediction(base: UNet3DBackbone, adapter: str | None = None) -> Callable[[], torch.Tensor]:
    """Both halves of guidance in one batch, as sampling has them."""
    config = EMOJI.collaborative
    x = torch.randn(2, *base.latent_shape(config.frames, config.height, config.width))
    level = base.levels(config.steps)[3]
    with torch.no_grad():
        text = base.encode_prompt(["a dog is jumping"] * 2)

    def predict() -> torch.Tensor:
        with torch.no_grad(), lora.use_adapters(base, {} if adapter is None else {adapter: 1.0}):
            return base.predict(x, level, text)

    return predict
