"""Fuse the LoRAs of N subjects into one: Sec. 3.3, Eq. 6-8; Sec. 7.1.

The fused LoRA theta_hat_s starts as the exact average of the subjects' LoRAs and learns

    L        = L_fusion + lambda2 * L_attn                                              (Eq. 8)
    L_fusion = mean over n of || eps_theta_hat_s(x_n, c_n) - eps_theta_s,n(x_n, c_n) ||^2  (Eq. 6)
    L_attn   = 1/2 * sum over i of || M_SCA,i - mask_i ||^2                             (Eq. 7)

x_n is a video that theta_s,n, the n-th subject's own LoRA, made of c_n.  For L_attn two subjects
are cut out of such videos and pasted on a clean background (``data/cutmix.py``); M_SCA,i is the
spatial cross-attention map of subject i's token there.

Where the paper is silent (ours): all of it at levels drawn as in training; the CutMix prompt is
"A <a> and a <b>"; the background is a video of the base itself; each map is divided by its largest value
in each frame, taken as a constant; norms are means, over all recorded layers; the tokens' vectors stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ..cache_key import training_key
from ..callbacks import Callbacks
from ..config import FusionConfig, SamplingConfig
from ..data.cutmix import CutMix
from ..data.lora_file import LoraModel, collect_tokens, require_base
from ..data.masks import Segmenter, latent_masks, segmenter_key_parts
from ..history import History
from ..model import lora
from ..model.attention_maps import AttentionLayer, mean_map, normalize_maps, select_layers
from ..model.backbone import Backbone, NoiseLevel
from ..model.encoded_text import concat_texts
from ..model.fingerprint import fingerprint
from ..model.latent_time import repeat_latent_frames
from ..model.lora_weights import LoraWeights, average, compress
from ..model.text import SpecialToken
from ..sampling import add_noise
from ..training.loop import Backward, LossFn, ParameterGroup
from .fusion_data import CutMixSources, FusionPrompts, Teacher, pair_prompt, prepare_fusion_data, sample_cutmix_pair
from .lora_training import LoraTraining

VERSION = 1  # raised when the same inputs give another LoRA


@dataclass(frozen=True)
class FusionResult:
    """A finished fusion.

    Attributes:
        lora_model: the fused LoRA with all tokens; for one subject, that subject's own.
        history: losses and seconds, one value per step.
        compression_error: relative error of reducing the exact average to ``config.rank``; 0 without reduction.
        pair: one CutMix pair, or None if L_attn is off.
        maps: its M_SCA under the fused LoRA, averaged over layers, [2, F, H, W] in 0..1.
        sample: a video [3, F, H, W] in -1..1, or None.
    """

    lora_model: LoraModel
    history: History
    compression_error: float = 0.0
    pair: CutMix | None = None
    maps: torch.Tensor | None = None
    sample: torch.Tensor | None = None


def fuse_subjects(
    backbone: Backbone,
    subjects: Sequence[LoraModel],
    config: FusionConfig,
    folder: Path,
    prompts: FusionPrompts | None = None,
    segmenter: Segmenter | None = None,
    sampling: SamplingConfig | None = None,
    callbacks: Callbacks | None = None,
) -> FusionResult:
    """Fuse N subject LoRAs into one (Eq. 6-8), or resume.

    Args:
        backbone: the base; left as it was found, bit for bit.
        subjects: N LoRAs of this base with different tokens; a single one is returned unchanged.
        config: all settings.
        folder: for the checkpoint and the teacher videos.
        prompts: of the teacher videos; None: defaults.
        segmenter: cuts the subjects out; None: their background must be plain.
        sampling: size and steps of the samples; None: no samples.
        callbacks: progress, previews and cancel.

    Raises:
        ValueError: no subject, a motion among them, LoRAs of two bases or with one token, unknown layers,
            a subject that cannot be cut out of any of its videos.
        Cancelled: stopped by the host; a checkpoint was saved, and the same call resumes.
        TrainingDiverged: the loss is not finite.
    """
    callbacks, prompts = callbacks or Callbacks(), prompts or FusionPrompts()
    tokens = check_subjects(subjects)
    base_fingerprint = fingerprint(backbone.network)
    for lora_model in subjects:
        require_base(lora_model, backbone.name, base_fingerprint)
    layers = select_layers(backbone.attention_layers("cross"), config.cross_attention_layers)
    backbone.latent_shape(config.frames, config.height, config.width)
    if len(subjects) == 1:
        callbacks.log("one subject: its fusion is itself")
        return FusionResult(subjects[0], History())
    start, error = _average(subjects, config.rank, callbacks)
    names = [lora_model.tokens[0].name for lora_model in subjects]
    with lora.restore_adapters(backbone):
        teachers, sources = prepare_fusion_data(
            backbone, subjects, config, prompts, segmenter, folder, base_fingerprint, callbacks
        )
        key = fusion_key(subjects, config, prompts, segmenter)
        loss_fn = _loss_fn(backbone, teachers, sources, tokens, layers, config)
        with lora.trainable_adapter(backbone, "fused", backbone.targets("spatial"), config, start) as parameters:
            groups = [ParameterGroup("lora", parameters, config.learning_rate)]
            training = LoraTraining(
                "fusion", "fused", config, folder, key, base_fingerprint, pair_prompt(names), sampling, tokens
            )  # fmt: skip
            about = {"subjects": len(subjects), "compression_error": round(error, 4)}
            fused = training.run(backbone, groups, loss_fn, callbacks, **about)
            pair, maps = None, None
            if sources is not None:
                pair, maps = _shown_pair(backbone, sources, tokens, layers, config)
    return FusionResult(fused.lora_model, fused.history, error, pair, maps, fused.sample)


def _loss_fn(
    backbone: Backbone,
    teachers: Sequence[Teacher],
    sources: CutMixSources | None,
    tokens: Sequence[SpecialToken],
    layers: Sequence[AttentionLayer],
    config: FusionConfig,
) -> LossFn:
    """L_fusion + lambda2 * L_attn (Eq. 8); without ``sources``, L_fusion alone."""

    def loss_fn(generator: torch.Generator, backward: Backward) -> None:
        backward({"L_fusion": fusion_loss(backbone, teachers, config.batch_size, generator)})
        if sources is not None:
            pair, names = sample_cutmix_pair(sources, config.cutmix_overlap, generator)
            with pair_maps(backbone, pair, names, tokens, layers, generator) as maps:
                backward({"L_attn": config.lambda2 * attention_loss(maps, pair.masks, backbone.temporal_factor)})

    return loss_fn


def _average(subjects: Sequence[LoraModel], rank: int, callbacks: Callbacks) -> tuple[LoraWeights, float]:
    """The exact average of the subjects' LoRAs, compressed where a lower rank is asked for, and the relative error."""
    start = average([lora_model.weights for lora_model in subjects])
    if rank > start.rank:
        callbacks.log(f"rank: {rank} is more than the average has; it keeps its own, {start.rank}")
    if not rank or rank >= start.rank:
        return start, 0.0
    compressed, error = compress(start, rank)
    ranks = sum(lora_model.weights.rank for lora_model in subjects)
    callbacks.log(f"the average, brought from rank {ranks} to {rank}, keeps all but {error:.1%} of its length")
    return compressed, error


def fusion_key(
    subjects: Sequence[LoraModel], config: FusionConfig, prompts: FusionPrompts, segmenter: Segmenter | None = None
) -> str:
    """The key of a fusion; the arguments are ``fuse_subjects``'s."""
    parts = [part for lora_model in subjects for part in lora_model.key_parts()]
    return training_key("fusion", VERSION, config, prompts, *segmenter_key_parts(segmenter), *parts)


def check_subjects(subjects: Sequence[LoraModel]) -> list[SpecialToken]:
    """The subjects' tokens; ValueError if these LoRAs cannot be fused."""
    if not subjects:
        raise ValueError("subjects: got none, give at least one subject LoRA")
    for index, lora_model in enumerate(subjects):
        if lora_model.kind == "motion":
            raise ValueError(
                f"subjects: the LoRA {index + 1} of {len(subjects)} is a motion; fuse subjects only, and give the "
                "motion to the sampler"
            )
        if lora_model.kind == "fusion":
            raise ValueError(
                f"subjects: the LoRA {index + 1} of {len(subjects)} is a fusion of {len(lora_model.tokens)} already; "
                "fuse the subjects' own LoRAs, all at once"
            )
        if not lora_model.tokens:
            raise ValueError(
                f"subjects: the LoRA {index + 1} of {len(subjects)} has no token, so no prompt can name it"
            )
    first = subjects[0]
    for index, lora_model in enumerate(subjects[1:], start=2):
        if not lora_model.fingerprint.matches(first.fingerprint):
            raise ValueError(
                f"subjects: the LoRA {index} of {len(subjects)} was trained on {lora_model.base!r}, the first on "
                f"{first.base!r}; fuse LoRAs of one base"
            )
    return collect_tokens(subjects)


def fusion_loss(
    backbone: Backbone, teachers: Sequence[Teacher], count: int, generator: torch.Generator
) -> torch.Tensor:
    """L_fusion (Eq. 6): the active LoRA should predict what each subject's own does, on that subject's videos.

    Args:
        backbone: the base, with the fused LoRA active and the teachers' adapters at hand.
        teachers: N subjects.
        count: how many of them this time; 0: all.
        generator: of all randomness.
    """
    order = torch.randperm(len(teachers), generator=generator)[: count or None]
    chosen = [teachers[i] for i in order.tolist()]
    videos = [int(torch.randint(len(teacher.latents), (), generator=generator)) for teacher in chosen]
    x0 = torch.stack([teacher.latents[v] for teacher, v in zip(chosen, videos, strict=True)]).to(backbone.device)
    text = concat_texts([teacher.texts[v : v + 1] for teacher, v in zip(chosen, videos, strict=True)])
    level = backbone.random_level(len(x0), generator)
    x_t = add_noise(x0, torch.randn(x0.shape, generator=generator).to(x0.device), level)
    teacher_outputs = []
    with torch.no_grad():
        for n, teacher in enumerate(chosen):
            row = slice(n, n + 1)
            with lora.use_adapters(backbone, {teacher.adapter: 1.0}):
                its_level = NoiseLevel(level.t[row], level.a[row], level.s[row])
                teacher_outputs.append(backbone.predict(x_t[row], its_level, text[row]))
    output = backbone.predict(x_t, level, text)
    return (output - torch.cat(teacher_outputs)).square().mean()


def attention_loss(maps: Sequence[torch.Tensor], masks: torch.Tensor, temporal_factor: int = 1) -> torch.Tensor:
    """L_attn (Eq. 7) = 1/2 * sum over i of || M_SCA,i - mask_i ||^2: each token attends to its own subject alone.

    The norm is a mean over places and frames, and the sum's mean is taken over the recorded layers.

    Args:
        maps: M_SCA of each layer, [1, K, f, h, w] for the tokens of K subjects; see ``pair_maps``.
        masks: [K, F, H, W] in 0..1; brought to each layer's size by area, and to latent frames.
        temporal_factor: of the base.
    """
    of_layers = []
    for m_sca in maps:
        mask = latent_masks(masks, m_sca.shape[-2], m_sca.shape[-1], temporal_factor).to(m_sca)
        distances = (normalize_maps(m_sca[0]) - mask).square().mean(dim=(1, 2, 3))  # [K,f,h,w] -> [K]
        of_layers.append(distances.sum() / 2)
    return torch.stack(of_layers).mean()


@contextmanager
def pair_maps(
    backbone: Backbone,
    pair: CutMix,
    names: Sequence[str],
    tokens: Sequence[SpecialToken],
    layers: Sequence[AttentionLayer],
    generator: torch.Generator,
    level: NoiseLevel | None = None,
) -> Iterator[list[torch.Tensor]]:
    """Inside, M_SCA of a CutMix pair's tokens, each [1, 2, f, h, w], with gradients where they are enabled.

    Layers that are recomputed in the backward pass must be recorded there as they were in the forward pass: call
    ``backward`` inside.

    Args:
        backbone: the base, with the fused LoRA active.
        pair: two subjects on one background.
        names: their tokens, in the order of the pair's masks.
        tokens: all special tokens the prompt may name.
        layers: the attention layers whose maps are recorded.
        generator: of all randomness.
        level: of the noise; None: one drawn as in training.
    """
    with torch.no_grad():
        x0 = backbone.encode_video(pair.pixels[None])
        text = backbone.encode_prompt([pair_prompt(names)], tokens)
    spans = backbone.token_spans(pair_prompt(names), tokens)
    level = level or backbone.random_level(1, generator)
    x_t = add_noise(x0, torch.randn(x0.shape, generator=generator).to(x0.device), level)
    with backbone.record(layers, spans, stop=True) as recorded:
        backbone.record_forward(x_t, level, text)
        maps = list(recorded.cross.values())
        if torch.is_grad_enabled() and not any(m_sca.requires_grad for m_sca in maps):
            raise ValueError(
                "cross_attention_layers: the maps of these layers do not depend on the LoRA; record later ones too"
            )
        yield maps


@torch.no_grad()
def _shown_pair(
    backbone: Backbone,
    sources: CutMixSources,
    tokens: Sequence[SpecialToken],
    layers: Sequence[AttentionLayer],
    config: FusionConfig,
) -> tuple[CutMix, torch.Tensor]:
    """A pair to look at, and where its tokens look, halfway between noise and video: [2, F, H, W]."""
    generator = torch.Generator().manual_seed(config.seed)
    pair, names = sample_cutmix_pair(sources, config.cutmix_overlap, generator)
    with pair_maps(backbone, pair, names, tokens, layers, generator, backbone.level_at(0.5)) as maps:
        mean = mean_map(maps, *pair.pixels.shape[-2:])
        return pair, repeat_latent_frames(mean, backbone.temporal_factor)
