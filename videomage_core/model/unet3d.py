"""ZeroScope, ModelScope and the embedded base: any diffusers folder with a UNet3DConditionModel.

Layers, as diffusers names them: spatial transformers stand under ``attentions``, temporal ones
under ``temp_attentions`` (which contains the text "attentions": names are compared by part, never
by substring) and ``transformer_in``.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import nn
from torch.utils.checkpoint import checkpoint

from . import attention_maps
from .attention_maps import ForwardEnded, Maps, Site
from .backbone import Gradients, Level, Prediction, Role, Target
from .text import PromptEncoder, SpecialToken, TokenSpan

EMOJI_BASE = Path(__file__).parents[1] / "assets" / "emoji_base"

_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_WEIGHTS = ("*.safetensors", "*.bin")
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_PREDICTIONS: dict[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v"}


# Values alive at once for each latent position of each frame in ZeroScope's U-Net, whose first blocks are
# _WIDTH wide; counted over a forward pass, and over one with its way back.  They grow with the width alone.
_ALIVE: dict[Gradients, int] = {"none": 10_600, "recomputed": 67_100, "kept": 162_100}
_WIDTH = 320


class UNet3DBackbone:
    """A loaded base that keeps the contract of ``backbone.Backbone``; build it with ``load_unet3d``."""

    def __init__(self, name: str, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any, scheduler: Any) -> None:
        from .one_frame import skip_temporal_layers_at_one_frame  # imports diffusers, which is slow

        self.name = name
        self.unet, self.vae = unet, vae
        self.prompts = PromptEncoder(tokenizer, text_encoder)
        self.alphas_cumprod: torch.Tensor = scheduler.alphas_cumprod.float()
        self.set_alpha_to_one = bool(scheduler.config.get("set_alpha_to_one", False))
        self.steps_offset = int(scheduler.config.get("steps_offset", 0))
        self.prediction: Prediction = _PREDICTIONS[scheduler.config.prediction_type]
        skip_temporal_layers_at_one_frame(unet)
        unet.set_attn_processor(_Attention())
        for part in (unet, vae, text_encoder):
            part.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.unet.device

    @property
    def network(self) -> nn.Module:
        return self.unet

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights; latents, maps and losses are float32 whatever it is."""
        return self.unet.dtype

    @property
    def spatial_factor(self) -> int:
        """Pixels of a latent's side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """See ``Backbone``; sides must be multiples of the autoencoder's factor."""
        factor = self.spatial_factor
        _require_multiples(factor, height, width)
        return self.unet.config.in_channels, frames, height // factor, width // factor

    def activation_memory(self, frames: int, height: int, width: int, gradients: Gradients = "none") -> int:
        """See ``Backbone``; frames * H * W * ``_ALIVE`` values of the base's precision."""
        _, _, h, w = self.latent_shape(1, height, width)
        share = self.unet.config.block_out_channels[0] / _WIDTH
        return int(frames * h * w * _ALIVE[gradients] * share * self.dtype.itemsize)

    @torch.no_grad()
    def encode_video(self, pixels: torch.Tensor) -> torch.Tensor:
        """See ``Backbone``; frame by frame, the mode of the autoencoder's posterior."""
        return self._by_frames(
            pixels, lambda frame: self.vae.encode(frame).latent_dist.mode() * self.vae.config.scaling_factor
        )

    @torch.no_grad()
    def decode_video(self, latents: torch.Tensor) -> torch.Tensor:
        """See ``Backbone``; frame by frame, clipped to -1..1."""
        scale = self.vae.config.scaling_factor
        return self._by_frames(latents, lambda frame: self.vae.decode(frame / scale).sample).clamp(-1, 1)

    def _by_frames(self, video: torch.Tensor, convert: Any) -> torch.Tensor:
        batch = video.shape[0]
        frames = video.transpose(1, 2).flatten(0, 1)  # [B,C,F,H,W] -> [B*F,C,H,W]
        vae = self.vae
        converted = [convert(frame[None].to(vae.device, vae.dtype)).float() for frame in frames]
        return torch.cat(converted).unflatten(0, (batch, -1)).transpose(1, 2)  # [B*F,C,H,W] -> [B,C,F,H,W]

    def encode_prompt(
        self, texts: Sequence[str], tokens: Sequence[SpecialToken] = (), as_superclass: bool = False
    ) -> torch.Tensor:
        """See ``Backbone``."""
        return self.prompts.encode(texts, tokens, as_superclass)

    def token_spans(self, text: str, tokens: Sequence[SpecialToken], as_superclass: bool = False) -> list[TokenSpan]:
        """See ``Backbone``."""
        return self.prompts.spans(text, tokens, as_superclass)

    def word_spans(self, text: str, word: str, tokens: Sequence[SpecialToken] = ()) -> list[TokenSpan]:
        """See ``Backbone``."""
        return self.prompts.word_spans(text, word, tokens)

    def _level(self, t: torch.Tensor) -> Level:
        alpha_bar = self.alphas_cumprod[t]
        return Level(t, alpha_bar.sqrt(), (1 - alpha_bar).sqrt())

    def levels(self, steps: int) -> list[Level]:
        """See ``Backbone``; evenly spaced as DDIM's "leading" spacing, the last at the schedule's clean end."""
        length = len(self.alphas_cumprod)
        if not 1 <= steps <= length:
            raise ValueError(f"steps: got {steps}, allowed: 1 to {length}")
        offset = self.steps_offset if steps < length else 0  # with every step there is no room for one
        times = torch.arange(steps).flip(0) * (length // steps) + offset
        noisy = [self._level(t) for t in times.clamp(max=length - 1)]
        zero = torch.tensor(0)
        clean = Level(zero, torch.tensor(1.0), torch.tensor(0.0)) if self.set_alpha_to_one else self._level(zero)
        return [*noisy, clean]

    def random_level(self, batch: int, generator: torch.Generator) -> Level:
        """See ``Backbone``; timesteps drawn evenly."""
        return self._level(torch.randint(len(self.alphas_cumprod), (batch,), generator=generator))

    def predict(self, x: torch.Tensor, level: Level, text: torch.Tensor) -> torch.Tensor:
        """See ``Backbone``."""
        t = level.t.to(self.device).expand(x.shape[0])
        return self.unet(x.to(self.device, self.dtype), t, text.to(self.device, self.dtype)).sample.float()

    def initial_vectors(self, words: str, count: int) -> torch.Tensor:
        """See ``Backbone``."""
        return self.prompts.initial_vectors(words, count)

    def targets(self, role: Role, attention_only: bool = False, input_transformer: bool = True) -> list[Target]:
        """See ``Backbone``: all linear layers of the spatial, or of the temporal transformers."""
        names = [
            name.removesuffix(".base_layer")  # as peft calls a layer that carries a LoRA
            for name, module in self.unet.named_modules()
            if isinstance(module, nn.Linear) and _role_of(name) == role and not _is_lora(name)
        ]
        if attention_only:
            names = [name for name in names if {"attn1", "attn2"} & set(name.split("."))]
        if not input_transformer:
            names = [name for name in names if not name.startswith("transformer_in.")]
        return [Target(name) for name in names]

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        """See ``Backbone``; block by block (stock UNet3DConditionModel refuses it).

        Hooks and recorded maps fire again on the way back, and the adapters active then must be
        those that were active on the way there.
        """
        blocks = [*self.unet.down_blocks, self.unet.mid_block, *self.unet.up_blocks]
        before = [vars(block).get("forward") for block in blocks]
        for block in blocks:
            block.forward = partial(_recomputed, block.forward)
        try:
            yield
        finally:
            for block, own in zip(blocks, before, strict=True):
                del block.forward  # the class's own again
                if own is not None:
                    block.forward = own

    def map_sites(self, kind: Literal["cross", "temporal"]) -> list[Site]:
        """See ``Backbone``.  Both attention layers of a temporal block are temporal self-attention."""
        role, layers = ("spatial", ("attn2",)) if kind == "cross" else ("temporal", ("attn1", "attn2"))
        names = [name for name, _ in self.unet.named_modules() if _role_of(name) == role]
        return sorted((Site(n, kind) for n in names if n.split(".")[-1] in layers), key=_running_order)

    def record(
        self, sites: Sequence[Site], spans: Sequence[TokenSpan] = (), rows: slice = slice(None), stop: bool = False
    ) -> AbstractContextManager[Maps]:
        """See ``Backbone``."""
        ordered = sorted(sites, key=_running_order)
        end = self._recomputed_block(ordered[-1]) if stop and ordered else None
        return attention_maps.record(self.unet, ordered, spans, rows, stop, end)

    def attend(self, x: torch.Tensor, level: Level, text: torch.Tensor) -> None:
        """See ``Backbone``."""
        with suppress(ForwardEnded):
            self.predict(x, level, text)

    def _recomputed_block(self, site: Site) -> nn.Module | None:
        """The block around a site, if it is recomputed on the way back."""
        parts = site.name.split(".")
        block = self.unet.get_submodule(".".join(parts[: 1 if parts[0] in ("mid_block", "transformer_in") else 2]))
        return block if "forward" in vars(block) else None


class _Attention:
    """PyTorch's fused attention; on a CPU, for short sequences, written out: there the fused one is several times
    slower backwards.

    Scores of up to 256 x 256 fit a core's cache; longer ones would cost memory that the fused one saves.
    """

    LONGEST = 256

    def __init__(self) -> None:
        from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

        self.written_out, self.fused = AttnProcessor(), AttnProcessor2_0()

    def __call__(
        self,
        attention: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        short = max(hidden_states.shape[1], context.shape[1]) <= self.LONGEST
        processor = self.written_out if short and hidden_states.device.type == "cpu" else self.fused
        return processor(attention, hidden_states, encoder_hidden_states, *args, **kwargs)


def _recomputed(forward: Any, *arguments: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, **named)


def _is_lora(name: str) -> bool:
    return bool({"lora_A", "lora_B"} & set(name.split(".")))


def _role_of(name: str) -> Role | None:
    """What kind of transformer a module belongs to."""
    parts = name.split(".")
    if "temp_attentions" in parts or "transformer_in" in parts:
        return "temporal"
    return "spatial" if "attentions" in parts else None


def _running_order(site: Site) -> tuple[int, list[int], bool, str]:
    """The order of the forward pass; in a block, each spatial transformer runs before its temporal one."""
    stages = ("transformer_in", "down_blocks", "mid_block", "up_blocks")
    parts = site.name.split(".")
    numbers = [int(part) for part in parts if part.isdigit()]
    return stages.index(parts[0]), numbers, "temp_attentions" in parts, parts[-1]


def load_unet3d(folder: str | Path = EMOJI_BASE, dtype: str = "auto", device: str = "auto") -> UNet3DBackbone:
    """Load a base from a folder in diffusers layout.

    Args:
        folder: holds ``unet vae text_encoder tokenizer scheduler``; weights as safetensors or
            ``.bin``, which is read with ``weights_only``.  Nothing is downloaded.
        dtype: "fp32", "fp16", "bf16"; "auto" is fp32 on a CPU, and on a GPU bf16, or fp16 if it has no bf16.
        device: a torch device; "auto" takes a GPU where there is one.

    Raises:
        FileNotFoundError: no such folder, or parts of a base are missing; all of them are named.
        ValueError: the folder holds another kind of model or a broken file, or dtype or device is unknown.
    """
    folder = Path(folder).resolve()
    where = choose_device(device)
    chosen = _dtype(dtype, where)
    check_base_folder(folder)

    # slow to import, and not needed to refuse a wrong folder
    from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
    from transformers import CLIPTextModel

    with _without_progress_bars():
        return UNet3DBackbone(
            folder.name,
            _load_weights(UNet3DConditionModel, folder / "unet", chosen).to(where),
            _load_weights(AutoencoderKL, folder / "vae", chosen).to(where),
            _load_weights(CLIPTextModel, folder / "text_encoder", chosen).to(where),
            _load_tokenizer(folder),
            DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True),
        )


def _load_tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    tokenizer.model_max_length = min(tokenizer.model_max_length, 77)  # a missing setting means infinity
    return tokenizer


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Small files load in a blink; transformers' own bar for each would only litter the terminal."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def check_prompt(folder: Path, text: str, tokens: Sequence[SpecialToken] = ()) -> None:
    """Raise ValueError, before any weights are loaded, if a base cannot read a prompt.

    It may be too long, or name a special token that is not among ``tokens``.
    """
    check_base_folder(folder)
    PromptEncoder(_load_tokenizer(folder), None).spans(text, tokens, as_superclass=False)


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" takes a GPU where there is one.  ValueError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        have = ", ".join(["'auto'", "'cpu'", *(f"'cuda:{i}'" for i in range(torch.cuda.device_count()))])
        raise ValueError(f"device: got {name!r}, this machine has {have}") from error
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        on_gpu = "bf16" if device.type != "cuda" or torch.cuda.is_bf16_supported() else "fp16"
        name = "fp32" if device.type == "cpu" else on_gpu
    if name not in _DTYPES:
        raise ValueError(f"dtype: got {name!r}, allowed: 'auto', {', '.join(map(repr, _DTYPES))}")
    return _DTYPES[name]


def _load_weights(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """One part of a base; ValueError if its file is broken or lacks weights, which libraries fill at random."""
    import transformers

    # both libraries renamed ``torch_dtype`` to ``dtype``, at different times
    renamed = kind.__module__.startswith("transformers") and int(transformers.__version__.split(".")[0]) >= 5
    options: dict[str, Any] = {"dtype" if renamed else "torch_dtype": dtype}
    if not any(f for name in _WEIGHTS for f in folder.glob(name) if ".fp16." not in f.name):
        options["variant"] = "fp16"
    try:
        part, report = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True, **options)
    except (OSError, RuntimeError, ValueError, NotImplementedError, SafetensorError, pickle.UnpicklingError) as error:
        raise ValueError(f"base: the weights in {folder} cannot be read ({error}); copy them again") from error
    missing = sorted(name for name in report["missing_keys"] if not name.endswith("position_ids"))
    if missing or report["mismatched_keys"]:
        first = missing[0] if missing else str(next(iter(report["mismatched_keys"])))
        count = len(missing) + len(report["mismatched_keys"])
        raise ValueError(f"base: {count} weights in {folder} are missing or misfit, e.g. {first}; copy them again")
    return part


def check_size(folder: Path, height: int, width: int) -> None:
    """Raise ValueError, before anything is loaded, if a base cannot make videos of that size."""
    check_base_folder(folder)
    blocks = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))["block_out_channels"]
    _require_multiples(2 ** (len(blocks) - 1), height, width)


def _require_multiples(factor: int, height: int, width: int) -> None:
    if height % factor or width % factor or min(height, width) < factor:
        nearest = [max(factor, round(side / factor) * factor) for side in (height, width)]
        raise ValueError(
            f"size: got {height}x{width} pixels (height x width), both must be multiples of {factor}; "
            f"nearest: {nearest[0]}x{nearest[1]}"
        )


def is_base_folder(folder: Path) -> bool:
    """Whether ``folder`` holds a base that ``load_unet3d`` takes."""
    try:
        check_base_folder(folder)
    except (OSError, ValueError):
        return False
    return True


def check_base_folder(folder: Path) -> None:
    """Raise, before anything is loaded, if ``folder`` is no whole base with a UNet3DConditionModel."""
    if not folder.is_dir():
        raise FileNotFoundError(f"base: {folder} is not a folder; give one in diffusers layout ({', '.join(_PARTS)})")
    missing = [part for part in _PARTS if not (folder / part).is_dir()]
    for part, config in (("unet", "config.json"), ("vae", "config.json"), ("text_encoder", "config.json")):
        if part not in missing and not (folder / part / config).is_file():
            missing.append(f"{part}/{config}")
        if part not in missing and not any(f for pattern in _WEIGHTS for f in (folder / part).glob(pattern)):
            missing.append(f"{part}/*.safetensors (or *.bin)")
    tokenizer = folder / "tokenizer"
    pieces = [name for name in ("vocab.json", "merges.txt") if not (tokenizer / name).is_file()]
    if "tokenizer" not in missing and not (tokenizer / "tokenizer.json").is_file():
        missing += [f"tokenizer/{name}" for name in pieces]
    if "scheduler" not in missing and not (folder / "scheduler" / "scheduler_config.json").is_file():
        missing.append("scheduler/scheduler_config.json")
    if missing:
        raise FileNotFoundError(f"base: {folder} lacks {', '.join(missing)}; copy the whole model folder again")
    kind = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8")).get("_class_name")
    if kind != "UNet3DConditionModel":
        raise ValueError(
            f"base: {folder}/unet is a {kind}, allowed is UNet3DConditionModel "
            "(ZeroScope v2, ModelScope text-to-video, or the embedded base)"
        )
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    if scheduler.get("rescale_betas_zero_snr"):
        raise ValueError(
            f"base: {folder}/scheduler asks for rescale_betas_zero_snr, whose first step holds no signal at all; "
            "set it to false in scheduler_config.json if the model was not trained so"
        )
    if scheduler.get("prediction_type", "epsilon") not in _PREDICTIONS:
        raise ValueError(
            f"base: {folder}/scheduler predicts {scheduler['prediction_type']!r}, allowed: {', '.join(_PREDICTIONS)}"
        )
