"""Spatial-temporal collaborative sampling, SCS: Sec. 3.3, Eq. 9-11, Algorithm 1.

Two branches of one base, with the subject LoRA theta_hat_s and with the motion LoRA theta_m, denoise
one video x_t.  In each of the first tau steps x_t is copied into x_sub and x_mot, which guide each other:

    L_s->m = || M_SCA,s - M_SCA,m ||^2     x_mot := x_mot - alpha_t * grad L_s->m     (Eq. 10, 11)
    L_m->s = || M_TSA,s - M_TSA,m ||^2     x_sub := x_sub - alpha_t * grad L_m->s     (Eq. 10, 11)

The subject branch says where each subject is (its spatial cross-attention maps M_SCA), the motion
branch how things move (its temporal self-attention maps M_TSA); the one that is not moved is a constant.  Then

    eps_t = beta_s * eps_theta_hat_s(x_sub, c_tgt) + beta_m * eps_theta_m(x_mot, c~_tgt)    (Eq. 9; Algorithm 1, line
    13)

and one step.  c_tgt names special tokens, c~_tgt their superclass words in the same places.

Where the paper is silent (ours):

* Norms are means, over a layer's map and then over the layers: 1e3 to 1e5 all work in Table 3e, which
  suggests means.  But then a gradient shrinks as latents grow, so alpha is multiplied by
  (number of latent values) / ``PAPER_VALUES``: it is the paper's at its size, and moves videos of another
  height and width about as far.  Over frames that holds for x_mot; x_sub moves 1 to 3 times less for
  twice the frames.  How far maps react depends on the base, so a base may want an alpha of its own:
  the log tells RMS(update) / RMS(x).
* alpha_t "decays by half by the end of denoising": linearly, from alpha to alpha / 2 over *all* steps;
  Attend-and-Excite's own code, which the paper follows, ends at 0.707: a setting.
* Maps are of the conditional half alone, as in Attend-and-Excite; both branches are under guidance.
* Where the step starts: Algorithm 1 moves the copies and says only "obtain x_t-1".  Ours: from the moved copies'
  mix, beta_s * x_sub + beta_m * x_mot, which is each branch's own step, mixed, as Attend-and-Excite's step starts from
  what it moved.  The other choice (``guided_step_from``) is the x_t that was not moved.  There the network takes much
  of
  the move for noise that is missing, so less is taken out of x_t, and the step goes against the move: on the
  embedded base the losses hardly fall, and at alpha 1e6 they rise (docs/guidance.md).
* For v and flow prediction each branch's output becomes eps at its own latents before the mix.
* Maps, losses and latents are float32.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import torch

from ..callbacks import Callbacks
from ..config import CollaborativeConfig
from ..data.lora_file import LoraModel, require_base
from ..model import lora
from ..model.attention_maps import AttentionLayer, AttentionMaps, mean_map, select_layers
from ..model.backbone import Backbone, NoiseLevel
from ..model.fingerprint import fingerprint
from ..model.text import SpecialToken, TokenSpan
from ..sampling import initial_noise, predict_with_guidance, preview, step, to_x0_eps
from ..training.grad_scaling import scaled_gradients

PAPER_VALUES = 4 * 24 * 40 * 72  # latent values of the paper's videos: 24 frames of 320x576 pixels
SUBJECT, MOTION = "subject", "motion"  # names of the two adapters


@dataclass(frozen=True)
class CollaborativeResult:
    """A sampled video.

    Attributes:
        video: [3, F, H, W] in -1..1.
        words: the special tokens that the prompt names, by occurrence, K of them.
        maps: where the subject branch saw each of them, mean of the guided steps and layers,
            [K, F, H, W] in 0..1; None unless asked for, or without guidance.
        subject_update_ratios: RMS(update) / RMS(x) of x_sub in each guided step.
        motion_update_ratios: the same of x_mot.
    """

    video: torch.Tensor
    words: tuple[str, ...]
    maps: torch.Tensor | None = None
    subject_update_ratios: list[float] = field(default_factory=list)
    motion_update_ratios: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Branch:
    """One of the two: its LoRA, its prompt, and where the subjects' words stand in it."""

    adapter: str
    strength: float
    text: torch.Tensor  # [1, T, D]
    spans: list[TokenSpan]
    share: float  # beta


def sample_collaboratively(
    backbone: Backbone,
    subject: LoraModel,
    motion: LoraModel,
    prompt: str,
    seed: int,
    config: CollaborativeConfig,
    inverted: torch.Tensor | None = None,
    with_maps: bool = False,
    callbacks: Callbacks | None = None,
) -> CollaborativeResult:
    """A video of the subjects doing the motion.

    Args:
        backbone: the base; left as it was found, bit for bit.
        subject: one subject, or a fusion of several.
        motion: the motion.
        prompt: c_tgt, which names every token of ``subject``: "A <toy> is riding a <dog>".
        seed: of the initial noise.
        config: all settings.
        inverted: the motion clip's inverted noise [1, C, F, h, w] (``invert_clip``); None: plain noise.
        with_maps: return the maps too.
        callbacks: progress, previews and cancel.

    Raises:
        ValueError: LoRAs of the wrong kind or of another base, a prompt that lacks a token, unknown layers.
        Cancelled: stopped by the host.
    """
    callbacks = callbacks or Callbacks()
    check_pair(subject, motion)
    tokens = list(subject.tokens)
    require_named(prompt, tokens)
    spans = backbone.token_spans(prompt, tokens)
    cross = select_layers(backbone.attention_layers("cross"), config.cross_attention_layers)
    temporal = select_layers(backbone.attention_layers("temporal"), config.temporal_attention_layers)
    with lora.restore_adapters(backbone), torch.no_grad():
        base_fingerprint = fingerprint(backbone.network)
        for concept in (subject, motion):
            require_base(concept, backbone.name, base_fingerprint)
        lora.load(backbone, SUBJECT, subject.weights)
        lora.load(backbone, MOTION, motion.weights)
        branches = _branches(backbone, prompt, tokens, spans, config)
        x = initial_noise(backbone, seed, config, inverted).to(backbone.device)
        negative = backbone.encode_prompt([config.negative_prompt])
        with lora.merged(backbone):
            latents, looks, moved = _denoise(
                backbone, x, branches, negative, cross, temporal, config, with_maps, callbacks
            )
        video = backbone.decode_video(latents)[0].cpu()
    words = tuple(span.word for span in spans)
    return CollaborativeResult(video, words, looks, *moved)


def check_pair(subject: LoraModel, motion: LoraModel) -> None:
    """ValueError unless the two are a subject or a fusion, and a motion."""
    if subject.kind == "motion" or not subject.tokens:
        raise ValueError(f"subject: got a {subject.kind} LoRA, expected a subject or fused LoRA with its tokens")
    if motion.kind != "motion":
        raise ValueError(f"motion: got a {motion.kind} LoRA, expected a motion LoRA")


def require_named(prompt: str, tokens: Sequence[SpecialToken]) -> None:
    """ValueError unless the prompt names every token."""
    missing = [token.name for token in tokens if token.name.lower() not in prompt.lower()]
    if missing:
        raise ValueError(
            f"prompt: got {prompt!r}, which does not name {', '.join(missing)}; name every subject of the LoRA, or "
            "sample with the LoRA of those you want"
        )


def _branches(
    backbone: Backbone,
    prompt: str,
    tokens: Sequence[SpecialToken],
    spans: list[TokenSpan],
    config: CollaborativeConfig,
) -> tuple[_Branch, _Branch]:
    text = backbone.encode_prompt([prompt], tokens)
    plain = backbone.encode_prompt([prompt], tokens, as_superclass=True)
    plain_spans = backbone.token_spans(prompt, tokens, as_superclass=True)
    return (
        _Branch(SUBJECT, config.subject_strength, text, spans, config.beta_subject),
        _Branch(MOTION, config.motion_strength, plain, plain_spans, config.beta_motion),
    )


def _denoise(
    backbone: Backbone,
    x: torch.Tensor,
    branches: tuple[_Branch, _Branch],
    negative: torch.Tensor,
    cross: list[AttentionLayer],
    temporal: list[AttentionLayer],
    config: CollaborativeConfig,
    with_maps: bool,
    callbacks: Callbacks,
) -> tuple[torch.Tensor, torch.Tensor | None, tuple[list[float], list[float]]]:
    """Algorithm 1: clean latents, the subjects' maps, and how far guidance moved x_sub and x_mot."""
    levels = backbone.levels(config.steps)
    looks: list[torch.Tensor] = []
    moved: tuple[list[float], list[float]] = ([], [])
    size = (config.height, config.width)
    for index in range(config.steps):
        callbacks.check()
        level, following = levels[index], levels[index + 1]
        x_sub, x_mot = x, x
        guided = index < config.tau and config.alpha > 0
        if guided:
            alpha = alpha_at(index, config) * x.numel() / PAPER_VALUES
            maps, (to_sub, to_mot) = guidance(backbone, x, level, branches, cross, temporal)
            x_sub, x_mot = x - alpha * to_sub, x - alpha * to_mot
            for kept, update in zip(moved, (to_sub, to_mot), strict=True):
                kept.append(alpha * _rms(update) / _rms(x))
            if with_maps:
                looks.append(mean_map([m.detach() for m in maps.cross.values()], *size))
        eps = torch.zeros_like(x)
        for branch, at in zip(branches, (x_sub, x_mot), strict=True):
            if branch.share == 0:
                continue
            with lora.use_adapters(backbone, {branch.adapter: branch.strength}):
                output = predict_with_guidance(backbone, at, level, branch.text, negative, config.guidance_scale)
            eps = eps + branch.share * to_x0_eps(output, at, level, backbone.prediction)[1]  # Algorithm 1, line 13
        if guided and config.guided_step_from == "updated":
            x = config.beta_subject * x_sub + config.beta_motion * x_mot
        preview(backbone, to_x0_eps(eps, x, level, "epsilon")[0], index, config.steps, callbacks)
        x = step(eps, x, level, following, "epsilon")
        callbacks.progress(index + 1, config.steps, "collaborative sampling")
    if moved[0]:
        callbacks.log(
            f"guidance moved x_sub by {statistics.mean(moved[0]):.2%} and x_mot by {statistics.mean(moved[1]):.2%} "
            f"(mean RMS(update) / RMS(x) of {len(moved[0])} steps)"
        )
    return x, torch.stack(looks).mean(0) if looks else None, moved


def alpha_at(index: int, config: CollaborativeConfig) -> float:
    """alpha_t of step ``index``, counted from 0."""
    progress = index / max(1, config.steps - 1)
    if config.alpha_decay == "none":
        return config.alpha
    if config.alpha_decay == "linear":
        return config.alpha * (1 - 0.5 * progress)
    return config.alpha * (1 - 0.5 * progress) ** 0.5


def guidance(
    backbone: Backbone,
    x: torch.Tensor,
    level: NoiseLevel,
    branches: tuple[_Branch, _Branch],
    cross: Sequence[AttentionLayer],
    temporal: Sequence[AttentionLayer],
) -> tuple[AttentionMaps, tuple[torch.Tensor, torch.Tensor]]:
    """What each branch tells the other at x [1, C, F, h, w]: two forwards to the last site, two ways back.

    Where the base recomputes activations, only one branch's are there at a time: a fraction of the memory, for one more
    forward and each layer run twice; the same result.

    Args:
        backbone: the base, with both LoRAs on it.
        x: noisy latents.
        level: theirs.
        branches: subject's and motion's.
        cross: whose M_SCA are compared.
        temporal: whose M_TSA are compared.

    Returns:
        The subject branch's maps, and the gradients of L_m->s to x_sub and of L_s->m to x_mot
        (Eq. 10), both like x.
    """
    subject, motion = branches
    # Half precision would round these gradients, of means over whole maps, to zero in the backward pass.
    scale = 2.0**20 if backbone.dtype == torch.float16 else 1.0

    def gradient(loss: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        (found,) = scaled_gradients(loss, [at], scale)
        assert found is not None
        return found

    def attended(
        branch: _Branch, moving: Sequence[AttentionLayer], constant: Sequence[AttentionLayer] = ()
    ) -> AbstractContextManager[tuple[torch.Tensor, AttentionMaps]]:
        return _attended(backbone, x, level, branch, moving, constant)

    with torch.enable_grad():
        if not backbone.memory.gradient_checkpointing:
            with attended(subject, temporal, constant=cross) as (x_sub, of_subject):
                pass
            with attended(motion, cross, constant=temporal) as (x_mot, of_motion):
                pass
            to_sub = gradient(map_distance(of_subject.temporal, of_motion.temporal), x_sub)
            to_mot = gradient(map_distance(of_motion.cross, of_subject.cross), x_mot)
            return of_subject, (to_sub, to_mot)
        with torch.no_grad(), attended(motion, temporal) as (_, of_motion):
            pass
        with attended(subject, temporal, constant=cross) as (x_sub, of_subject):  # in the backward pass recorded again
            to_sub = gradient(map_distance(of_subject.temporal, of_motion.temporal), x_sub)
        of_subject.temporal.clear()  # and with it the graph
        with attended(motion, cross) as (x_mot, of_motion):
            to_mot = gradient(map_distance(of_motion.cross, of_subject.cross), x_mot)
        return of_subject, (to_sub, to_mot)


@contextmanager
def _attended(
    backbone: Backbone,
    x: torch.Tensor,
    level: NoiseLevel,
    branch: _Branch,
    moving: Sequence[AttentionLayer],
    constant: Sequence[AttentionLayer],
) -> Iterator[tuple[torch.Tensor, AttentionMaps]]:
    """One branch run as far as the last site; its LoRA acts inside.

    Yields a copy of x, and the maps: gradients flow from those of ``moving`` to it.
    """
    at = x.detach().requires_grad_(torch.is_grad_enabled())
    with (
        lora.use_adapters(backbone, {branch.adapter: branch.strength}),
        backbone.record([*moving, *constant], branch.spans, stop=True, constant=constant) as maps,
    ):
        backbone.record_forward(at, level, branch.text)
        yield at, maps


def map_distance(moved: Mapping[str, torch.Tensor], constant: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """|| moved - constant ||^2: the mean over each layer's map, then over the layers.

    Args:
        moved: maps by layer, with a graph.
        constant: the other branch's, of the same layers and shapes; no gradient flows there.
    """
    errors = [(moved[name] - constant[name].detach()).square().mean() for name in moved]
    return torch.stack(errors).mean()


def _rms(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())
