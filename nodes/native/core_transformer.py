"""A core Wan as a network that adapters can be put on, under diffusers' names of its layers.

The core's modules stay as they are.  Beside each linear layer of a block stands a ``CoreLinear``, which calls it; peft
wraps those, and while a block runs the core's layers call what stands beside them.  So nothing is renamed or moved in
the MODEL, and it is free of adapters whenever no pass runs.  Gradients pass as ``gradients`` describes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from ...videomage_core.model.wan_attention import TextContext, WanAttentionProcessor, attend
from .gradients import Forward, differentiable_forward, differentiable_rope, patched_forwards, weighted_layers
from .recording import OVERRIDE, bound_now

# What core's layers are called in the engine; longer names first where one contains another.
_RENAMED = (
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
    (".self_attn.", ".attn1."), (".cross_attn.", ".attn2."), (".o.", ".to_out.0."),
    (".q.", ".to_q."), (".k.", ".to_k."), (".v.", ".to_v."),
    (".ffn.0.", ".ffn.net.0.proj."), (".ffn.2.", ".ffn.net.2."), (".norm3.", ".norm2."),
    ("head.head.", "proj_out."), ("head.modulation", "scale_shift_table"), (".modulation", ".scale_shift_table"),
)  # fmt: skip


def engine_name(name: str) -> str:
    """The name in the engine of a weight of core's WanModel."""
    for theirs, ours in _RENAMED:
        name = name.replace(theirs, ours)
    return name


class CoreLinear(nn.Linear):
    """A linear layer of the core's; its weights stay there, ``weight`` is empty."""

    def __init__(self, module: Any) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = module.in_features, module.out_features
        self.weight = nn.Parameter(torch.empty(0), requires_grad=False)  # peft asks for its device
        self.call = differentiable_forward(module, module.forward)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(x)


class _Attention(nn.Module):
    """The four linear layers of an attention, and who looks at its q, k and v."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = CoreLinear(attention.q), CoreLinear(attention.k), CoreLinear(attention.v)
        self.to_out = nn.ModuleList([CoreLinear(attention.o)])
        self.processor = WanAttentionProcessor()


class _FeedForward(nn.Module):
    def __init__(self, ffn: Any) -> None:
        super().__init__()
        first = nn.Module()
        first.proj = CoreLinear(ffn[0])
        self.net = nn.ModuleList([first, nn.Identity(), CoreLinear(ffn[2])])


class CoreBlock(nn.Module):
    """A block of the core's: it runs there, with the layers that stand here."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.attn1, self.attn2 = _Attention(block.self_attn), _Attention(block.cross_attn)
        self.ffn = _FeedForward(block.ffn)
        beside = [module for name, module in self.named_modules() if isinstance(module, CoreLinear)]
        names = {f"{engine_name(f'.{name}.')[1:-1]}": module for name, module in weighted_layers(block)}
        self._forwards: dict[nn.Module, Forward] = {
            module: partial(self._layer, name)
            if _is_beside(self, name)
            else differentiable_forward(module, module.forward)
            for name, module in names.items()
        }
        assert sum(isinstance(forward, partial) for forward in self._forwards.values()) == len(beside)

    def _layer(self, name: str, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.get_submodule(name)(x)
        return result

    def forward(self, x: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor], network: nn.Module) -> torch.Tensor:
        """The block's output; all that it is computed from is in the arguments, for the backward pass.

        Args:
            x: [B, N, D].
            run: core's own block.
            network: core's, whose rotary embedding is made differentiable meanwhile.
        """
        with patched_forwards(self._forwards), differentiable_rope(network):
            return run(x)


def _is_beside(block: nn.Module, name: str) -> bool:
    try:
        return isinstance(block.get_submodule(name), CoreLinear)
    except AttributeError:
        return False


class _Config(dict[str, Any]):
    """Sizes, as diffusers' configs are read: by key and by attribute."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(name)
        return self[name]


class CoreTransformer(nn.Module):
    """The network of a MODEL.

    Args:
        patcher: core's ModelPatcher of a text-to-video Wan.
    """

    def __init__(self, patcher: Any) -> None:
        super().__init__()
        self.patcher, network = patcher, patcher.model.diffusion_model
        self.config = _Config(
            num_attention_heads=network.num_heads,
            attention_head_dim=network.dim // network.num_heads,
            patch_size=tuple(network.patch_size),
            in_channels=network.in_dim,
            ffn_dim=network.ffn_dim,
        )
        self.blocks = nn.ModuleList(CoreBlock(block) for block in network.blocks)
        inside = {module for block in network.blocks for module in block.modules()}
        self._outer: dict[nn.Module, Forward] = {
            module: differentiable_forward(module, module.forward)
            for _, module in weighted_layers(network)
            if module not in inside
        }

    def state_dict(self, *_: Any, **__: Any) -> dict[str, torch.Tensor]:
        """The core's weights by the engine's names, by which ``fingerprint`` knows a base."""
        weights = self.patcher.model.diffusion_model.state_dict()
        return {engine_name(name): weight for name, weight in weights.items()}

    def forward(self, x: torch.Tensor, t: torch.Tensor, text: TextContext) -> torch.Tensor:
        """The network's output, like x.

        Args:
            x: noisy latents [B, C, f, H, W].
            t: timesteps [B].
            text: the embeddings before the text projection, [B, T, D].
        """
        network = self.patcher.model.diffusion_model
        replaced = {("double_block", i): partial(self._run, i, text) for i in range(len(self.blocks))}
        options = {"patches_replace": {"dit": replaced}}
        with patched_forwards(self._outer):
            output: torch.Tensor = network(x, t, context=text.embedding, transformer_options=options)
        return output

    def _run(self, index: int, text: TextContext, args: dict[str, Any], original: dict[str, Any]) -> dict[str, Any]:
        block, block_now = self.blocks[index], bound_now(original["original_block"])

        def run(x: torch.Tensor) -> torch.Tensor:
            options = {**args["transformer_options"], OVERRIDE: _Attended(block, text)}
            result: torch.Tensor = block_now({**args, "img": x, "transformer_options": options})["img"]
            return result

        return {"img": block(args["img"], run, self.patcher.model.diffusion_model)}


class _Attended:
    """Attention of one run of a block: self-attention first, then that to the text."""

    def __init__(self, block: Any, text: TextContext) -> None:
        self.layers, self.text, self.calls = (block.attn1, block.attn2), text, 0

    def __call__(
        self, _: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, *__: Any, **___: Any
    ) -> torch.Tensor:
        layer, text = self.layers[self.calls], self.text if self.calls else None
        self.calls += 1
        query, key, value = (of.unflatten(-1, (heads, -1)).transpose(1, 2) for of in (q, k, v))  # -> [B,H,N,d]
        layer.processor.observe(query, key, value, text)
        mixed = attend(query, key, value, None if text is None else text.bias.to(query))
        return mixed.transpose(1, 2).flatten(2)  # [B,H,N,d] -> [B,N,H*d]
