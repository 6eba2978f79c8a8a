"""Where the parts of a base are, and what is recomputed: the memory modes, for every base of network, autoencoder and
text encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from .attention_maps import AttentionLayer
from .backbone import MemoryMode
from .offloading import bytes_of, checkpointed, offloaded, patch_forward


class PlacedParts(ABC):
    """What bases share that are made of a network, an autoencoder and a text encoder."""

    vae: Any
    memory: MemoryMode
    text_gradients = True

    def __init__(self) -> None:
        self.memory = MemoryMode("high")
        self._recomputing, self._undo = False, list[Callable[[], None]]()

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """See ``Backbone``."""

    @property
    @abstractmethod
    def text_encoder(self) -> nn.Module:
        """Encodes prompts."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """See ``Backbone``."""

    @abstractmethod
    def checkpointed_layers(self) -> list[nn.Module]:
        """The modules of the network that are recomputed, or loaded, each by itself."""

    def use_memory(self, mode: MemoryMode, device: torch.device | None = None) -> None:
        """See ``Backbone``; offloaded modules are in main memory."""
        device = device or self.device
        while self._undo:
            self._undo.pop()()  # restores the layers' own forwards
        self.memory, self._recomputing = mode, mode.gradient_checkpointing
        staying, offload_device = self.resident(mode), torch.device("cpu")
        for part in (self.vae, self.text_encoder, *self.network.children()):
            where = device if any(part in set(stays.modules()) for stays in staying) else offload_device
            if any(weight.device != where for weight in part.state_dict().values()):
                part.to(where)
        for weight in self.network.parameters(recurse=False):
            weight.data = weight.data.to(device)
        if mode.vae_tiling:
            self.vae.enable_tiling()
        else:
            self.vae.disable_tiling()
        if not mode.keep_weights:
            # The backward pass needs the weights again: they are loaded with the recomputed forward.
            self._undo.append(patch_forward(self.checkpointed_layers(), partial(offloaded, device)))
        if mode.gradient_checkpointing:
            self._undo.append(patch_forward(self.checkpointed_layers(), checkpointed))

    def put_away(self) -> None:
        """Offload what the memory mode keeps in main memory."""
        if not self.memory.keep_encoders:
            for part in (self.vae, self.text_encoder):
                part.to("cpu")

    def resident(self, mode: MemoryMode) -> list[nn.Module]:
        """See ``Backbone``."""
        layers = set(self.checkpointed_layers())
        small = [child for child in self.network.children() if not layers & set(child.modules())]
        network = [self.network] if mode.keep_weights else small
        return [*network, self.vae, self.text_encoder] if mode.keep_encoders else network

    def weights_memory(self, mode: MemoryMode) -> int:
        """See ``Backbone``; includes the largest of the modules that are loaded on demand."""
        loaded = [] if mode.keep_weights else [max(map(bytes_of, self.checkpointed_layers()))]
        others = [] if mode.keep_encoders else [max(map(bytes_of, (self.vae, self.text_encoder)))]
        return sum([*map(bytes_of, self.resident(mode)), *loaded, *others])

    @contextmanager
    def _at_work(self, part: Any) -> Iterator[None]:
        """Inside, the text encoder or the autoencoder is on the device; with gradients it stays there until
        ``put_away``."""
        if self.memory.keep_encoders or part.device == self.device:
            yield
            return
        try:
            part.to(self.device)
            yield
        except BaseException:
            part.to("cpu")
            raise
        if not torch.is_grad_enabled():
            part.to("cpu")

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        """Inside, gradient checkpointing is on, layer by layer (stock UNet3DConditionModel does not support it).

        Hooks and recording run again in the backward pass, in which the same adapters must be active as in the forward
        pass.
        """
        if self._recomputing:
            yield
            return
        undo, self._recomputing = patch_forward(self.checkpointed_layers(), checkpointed), True
        try:
            yield
        finally:
            undo()
            self._recomputing = False

    def _recomputed_layer(self, layer: AttentionLayer) -> nn.Module | None:
        """The checkpointed module that contains an attention layer, if there is one."""
        if not self._recomputing:
            return None
        attention = self.network.get_submodule(layer.name)
        inside = (module for module in self.checkpointed_layers() if attention in set(module.modules()))
        return next(inside)
