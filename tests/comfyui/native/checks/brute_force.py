"""The guider's maps, gradients and steps written out: ordinary weights with the LoRAs in them, whole attention maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tiny_wan as tiny
import torch
from videomage_pack.nodes.native import gradients, recording
from videomage_pack.videomage_core.stages.algorithm1 import guidance_losses

State = dict[str, torch.Tensor]
Branch = tuple[Any, torch.Tensor, Any]  # a MODEL, its text [1, T, D], its spans


def merged(patcher: Any) -> State:
    """The network's weights with the MODEL's LoRAs in them, ordinary tensors."""
    state = {name: value.clone() for name, value in patcher.model.diffusion_model.state_dict().items()}
    for key, patches in patcher.patches.items():
        name = key.removeprefix("diffusion_model.")
        for strength, adapter, *_ in patches:
            up, down, alpha = adapter.weights[:3]
            state[name] = state[name] + strength * (1 if alpha is None else alpha / len(down)) * up @ down
    return state


def denoised(patcher: Any, x: torch.Tensor, sigma: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """x0 = x - sigma * v (flow matching) at x [B, C, f, H, W], of one text."""
    model = tiny.tiny_wan().model
    time = model.model_sampling.timestep(sigma).expand(len(x))
    with torch.no_grad():
        v = torch.func.functional_call(
            model.diffusion_model, merged(patcher), (x, time, text), {"transformer_options": {}}
        )
    result: torch.Tensor = x - sigma * v
    return result


def guidance_gradients(
    subjects: Sequence[Branch], motion: Branch, x: torch.Tensor, sigma: torch.Tensor, heads: dict[int, torch.Tensor]
) -> list[torch.Tensor]:
    """Eq. 10 by plain autograd: of L_m->s to x_sub, and of L_s->m to x_mot.  The subjects' maps are averaged."""
    model = tiny.tiny_wan().model
    with torch.inference_mode(False), torch.enable_grad(), gradients.differentiable_rope(model.diffusion_model):
        x_sub, x_mot = x.clone().requires_grad_(), x.clone().requires_grad_()
        time = model.model_sampling.timestep(sigma.clone())
        every = [
            whole_maps(model.diffusion_model, merged(patcher), at, time, text.clone(), spans, heads)
            for at, (patcher, text, spans) in [*((x_sub, one) for one in subjects), (x_mot, motion)]
        ]
        mean = recording.AttentionMaps(
            {name: sum(maps.cross[name] for maps in every[:-1]) / len(subjects) for name in every[0].cross},
            {name: sum(maps.temporal[name] for maps in every[:-1]) / len(subjects) for name in every[0].temporal},
        )
        losses = guidance_losses(mean, every[-1])
        return [torch.autograd.grad(loss, at)[0] for loss, at in zip(losses, (x_sub, x_mot), strict=True)]


def whole_maps(network: Any, state: Any, x: Any, t: Any, text: Any, spans: Any, heads: dict[int, torch.Tensor]) -> Any:
    """Maps of a forward with these weights, by whole softmaxes."""
    maps, calls = recording.AttentionMaps(), [0]

    def override(func: Any, q: Any, k: Any, v: Any, heads_count: int = 0, *rest: Any, **named: Any) -> torch.Tensor:
        block, cross = divmod(calls[0], 2)
        calls[0] += 1
        split = [of.unflatten(-1, (tiny.HEADS, -1)).transpose(1, 2) for of in (q, k, v)]
        weights = (split[0] @ split[1].transpose(-1, -2) * split[0].shape[-1] ** -0.5).softmax(-1)  # [B,H,N,T]
        if block in heads and cross:
            columns = [weights[..., span["start"] : span["end"]].sum(-1).mean(1) for span in spans]
            maps.cross[f"blocks.{block}"] = torch.stack(columns, 1).unflatten(-1, (3, 2, 3))
        elif block in heads:
            q, k = (of[:, heads[block][0]].unflatten(2, (3, 6)).transpose(2, 3) for of in split[:2])
            scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
            maps.temporal[f"blocks.{block}"] = scores.softmax(-1).mean(1)
        return (weights @ split[2]).transpose(1, 2).flatten(2)

    options = {"transformer_options": {"optimized_attention_override": override}}
    torch.func.functional_call(network, state, (x, t, text), options)
    return maps
