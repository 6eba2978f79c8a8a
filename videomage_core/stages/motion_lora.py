"""Learn a motion from a clip, without the appearance of who performs it: Sec. 3.2, Eq. 5; Sec. 7.1.

First the clip's subjects are cut out of one frame, and each is learned as a special token by
textual inversion: the base stays frozen, Eq. 4's first term alone moves the token's vectors.
Then a LoRA on the temporal layers learns

    L_mot  = || eps_theta_m(x_t, c_m, t) - eps_apfree ||^2
    eps_apfree = (1 + omega) * eps - omega * eps_theta(x_t, c_ap, t)       (Eq. 5)

where c_m describes the motion in plain words, and c_ap the static appearance with the learned
tokens: what the frozen base explains by appearance alone is taken out of the target.

The other objective, for comparison, is MotionDirector's: ``motion_director.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from ..cache_key import cache_key, training_key
from ..callbacks import Callbacks
from ..config import MotionConfig, SamplingConfig, TrainingConfig
from ..data.augmentation import resize_clip, resize_to
from ..data.examples import MotionClip
from ..data.frames import quantize
from ..data.masks import GivenMasks, PlainBackground
from ..model import lora
from ..model.backbone import Backbone
from ..model.encoded_text import EncodedText, concat_texts, repeat_text
from ..model.fingerprint import fingerprint
from ..model.text import SpecialToken, require_plain_words
from ..sampling import add_noise, training_target
from ..training.grad_scaling import loss_scale_for
from ..training.loop import Backward, ParameterGroup, fit
from .lora_training import LoraTraining
from .motion_director import MOTION, appearance_lora, dual_path_loss, layers_of, settled
from .subject_lora import prediction_error
from .training_result import TrainingResult

VERSION = 2  # raised when the same inputs give another LoRA
_MARGIN = 0.1  # around a cut-out subject, as a share of its larger side


@dataclass(frozen=True)
class _Example:
    latents: torch.Tensor  # [1, C, f, h, w]
    motion: EncodedText  # c_m, one
    appearance: EncodedText | None  # c_ap, one; None where no teacher is asked


def train_motion(
    backbone: Backbone,
    clips: Sequence[MotionClip],
    prompt: str,
    config: MotionConfig,
    folder: Path,
    sampling: SamplingConfig | None = None,
    sample_prompt: str | None = None,
    callbacks: Callbacks | None = None,
) -> TrainingResult:
    """Train a motion LoRA (Eq. 5), or resume.

    Args:
        backbone: the base; left as it was found, bit for bit.
        clips: one or more clips of one motion.
        prompt: c_m, the motion in plain words: "A person is riding a horse".
        config: all settings.
        folder: for checkpoints, from which a stopped training resumes.
        sampling: size and steps of the samples; None: no samples.
        sample_prompt: of the samples; None: ``prompt``.
        callbacks: progress, previews and cancel.

    Raises:
        ValueError: no clip, no subjects although Eq. 5 needs them, a subject that cannot be segmented, too few frames.
        Cancelled: stopped by the host; a checkpoint was saved, and the same call resumes.
        TrainingDiverged: the loss is not finite.
    """
    callbacks, config = callbacks or Callbacks(), settled(config)
    _check(backbone, clips, prompt, config)
    base_fingerprint = fingerprint(backbone.network)
    examples = _examples(backbone, clips, prompt, config, folder, callbacks)
    key = motion_key(clips, prompt, config)
    targets = layers_of(backbone, "temporal", config)
    with lora.trainable_adapter(backbone, MOTION, targets, config) as parameters, ExitStack() as stack:
        groups = [ParameterGroup("lora", parameters, config.learning_rate)]
        spatial_parameters: list[torch.Tensor] = []  # MotionDirector's spatial LoRA
        if config.objective == "motion_director":
            appearance = stack.enter_context(appearance_lora(backbone, config))
            groups.append(ParameterGroup("appearance", appearance, config.learning_rate))
            spatial_parameters = list(appearance.values())

        def loss_fn(generator: torch.Generator, backward: Backward) -> None:
            drawn = torch.randint(len(examples), (config.batch_size,), generator=generator)
            chosen = [examples[i] for i in drawn.tolist()]
            if not spatial_parameters:
                return backward(motion_loss(backbone, chosen, config, generator))
            x0, text = torch.cat([e.latents for e in chosen]), concat_texts([e.motion for e in chosen])
            dual_path_loss(backbone, x0, text, spatial_parameters, list(parameters.values()), generator, backward)

        training = LoraTraining(
            "motion", MOTION, config, folder, key, base_fingerprint, sample_prompt or prompt, sampling
        )  # fmt: skip
        return training.run(backbone, groups, loss_fn, callbacks, clips=len(clips))


def _examples(
    backbone: Backbone,
    clips: Sequence[MotionClip],
    prompt: str,
    config: MotionConfig,
    folder: Path,
    callbacks: Callbacks,
) -> list[_Example]:
    """Each clip's latents and prompts; with Eq. 5's, its subjects' tokens are learned first."""
    with torch.no_grad():
        fitted = [resize_clip(clip.pixels, config.frames, config.height, config.width) for clip in clips]
        latents = [backbone.encode_video(pixels[None]) for pixels in fitted]
        texts = [backbone.encode_prompt([clip.prompt or prompt]) for clip in clips]
    appearance_texts: list[EncodedText | None] = [None] * len(clips)
    if removes_appearance(config):
        appearance_texts = [
            _appearance(backbone, clip, config, folder / f"inversion_{i}", callbacks) for i, clip in enumerate(clips)
        ]
    return [_Example(x, text, c_ap) for x, text, c_ap in zip(latents, texts, appearance_texts, strict=True)]


def motion_key(clips: Sequence[MotionClip], prompt: str, config: MotionConfig) -> str:
    """The key of a motion's training; the arguments are ``train_motion``'s."""
    return training_key(
        "motion", VERSION, settled(config), prompt, *(part for clip in clips for part in clip.key_parts())
    )


def motion_loss(
    backbone: Backbone, examples: Sequence[_Example], config: MotionConfig, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """L_mot (Eq. 5) of freshly noised clips; the motion LoRA is active."""
    x0 = torch.cat([example.latents for example in examples])  # [B,C,f,h,w]
    text = concat_texts([example.motion for example in examples])
    level = backbone.random_level(len(x0), generator)
    eps = torch.randn(x0.shape, generator=generator).to(x0.device)
    x_t = add_noise(x0, eps, level)
    target = training_target(x0, eps, level, backbone.prediction)
    appearance = [example.appearance for example in examples if example.appearance is not None]
    if appearance:
        with torch.no_grad(), lora.use_adapters(backbone, {}):  # theta: the base without the LoRA
            static = backbone.predict(x_t, level, concat_texts(appearance))
        target = appearance_free(target, static, config.omega)
    output = backbone.predict(x_t, level, text)
    return {"L_mot": (output - target).square().mean()}


def appearance_free(target: torch.Tensor, static: torch.Tensor, omega: float) -> torch.Tensor:
    """eps_apfree (Eq. 5); its coefficients sum to 1, so it holds for every kind of native output.

    Args:
        target: what the network should put out, [B, C, F, h, w].
        static: what the frozen base puts out for c_ap, the same shape.
        omega: 0 gives ``target`` itself.
    """
    return target if omega == 0 else (1 + omega) * target - omega * static


def _check(backbone: Backbone, clips: Sequence[MotionClip], prompt: str, config: MotionConfig) -> None:
    if not clips:
        raise ValueError("clips: got none, give at least one clip of the motion")
    backbone.latent_shape(config.frames, config.height, config.width)
    require_subjects(clips, config)
    for index, clip in enumerate(clips):
        require_plain_words(clip.prompt or prompt)
        backbone.token_spans(clip.prompt or prompt, [])  # refuses too long a prompt
        if clip.pixels.shape[1] != config.frames:
            raise ValueError(f"clip {index + 1}: got {clip.pixels.shape[1]} frames, expected {config.frames}")


def require_subjects(clips: Sequence[MotionClip], config: MotionConfig) -> None:
    """ValueError if Eq. 5 has no subjects whose appearance to remove."""
    for index, clip in enumerate(clips):
        if removes_appearance(config) and not clip.subjects:
            raise ValueError(
                f"clip {index + 1}: got no subjects, whose appearance Eq. 5 removes; name them, e.g. 'person' and "
                "'horse', or choose omega 0 or the objective 'motion_director'"
            )


def removes_appearance(config: MotionConfig) -> bool:
    """Whether the target is Eq. 5's, and not plain noise."""
    return config.objective == "appearance-agnostic" and config.omega > 0


def _appearance(
    backbone: Backbone, clip: MotionClip, config: MotionConfig, folder: Path, callbacks: Callbacks
) -> EncodedText:
    """c_ap, encoded: the clip's subjects as learned tokens, standing still; in plain words where none are learned."""
    if not backbone.text_gradients:
        with torch.no_grad():
            return backbone.encode_prompt([_appearance_prompt(config, clip.subjects)])
    cut = (
        config.frames,
        config.height,
        config.width,
        config.textual_inversion_frame,
        config.textual_inversion_background,
    )
    tokens = [
        invert_subject(
            backbone, image, f"<sub{i + 1}>", clip.subjects[i], config, folder / f"subject_{i + 1}", callbacks,
            cache_key(i, *clip.key_parts(), *cut),
        )
        for i, image in enumerate(cut_out(clip, config))
    ]  # fmt: skip
    names = [token.name for token in tokens]
    with torch.no_grad():
        return backbone.encode_prompt([_appearance_prompt(config, names)], tokens)


def _appearance_prompt(config: MotionConfig, names: Sequence[str]) -> str:
    subjects = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return config.appearance_prompt.replace("{subjects}", subjects)


def cut_out(clip: MotionClip, config: MotionConfig) -> list[torch.Tensor]:
    """Each subject of one frame, alone on a plain background, [3, height, width] of the config.

    Raises:
        ValueError: the segmenter cannot find a subject.
    """
    index = round(config.textual_inversion_frame * (clip.pixels.shape[1] - 1))
    frame = clip.pixels[:, index]
    segmenter = clip.segmenter or PlainBackground()
    if clip.masks is not None:
        segmenter = GivenMasks(clip.masks[:, index : index + 1])
    masks = segmenter.segment(frame[:, None], clip.subjects)[:, 0]  # [N,1,H,W] -> [N,H,W]
    plain = 2 * config.textual_inversion_background - 1
    images = []
    for word, mask in zip(clip.subjects, masks, strict=True):
        rows, columns = (mask > 0.5).any(1).nonzero().flatten(), (mask > 0.5).any(0).nonzero().flatten()
        if len(rows) == 0:
            raise ValueError(
                f"mask of {word!r}: it is faint in frame {index + 1}; choose another textual_inversion_frame"
            )
        alone = frame * mask + plain * (1 - mask)
        top, bottom, left, right = (int(v) for v in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
        cut = alone[:, top:bottom, left:right]
        images.append(_on_plain(cut, plain, config))
    return images


def _on_plain(cut: torch.Tensor, plain: float, config: MotionConfig) -> torch.Tensor:
    """A cut-out [3, h, w] in the middle of a plain image of the config's size, all of it to be seen."""
    height, width = cut.shape[-2:]
    edge = round(_MARGIN * max(height, width))
    canvas = torch.full((4, height + 2 * edge, width + 2 * edge), plain)
    canvas[:3, edge : edge + height, edge : edge + width] = cut
    return resize_to(canvas, config.height, config.width, "pad")[:3]


def invert_subject(
    backbone: Backbone,
    image: torch.Tensor,
    name: str,
    superclass: str,
    config: MotionConfig,
    folder: Path,
    callbacks: Callbacks,
    source: str | None = None,
) -> SpecialToken:
    """Textual inversion (Sec. 7.1): a token for one image [3, H, W]; the base is frozen, no LoRA.

    ``source`` marks what the image was cut out of, and how; None: the image itself is what was given.
    """
    start = SpecialToken(name, backbone.initial_vectors(superclass, config.textual_inversion_num_vectors), superclass)
    vectors = torch.nn.Parameter(start.vectors.to(backbone.device))
    learned = dataclasses.replace(start, vectors=vectors)
    with torch.no_grad():
        x0 = backbone.encode_video(image[None, :, None])  # [3,H,W] -> [1,C,1,h,w]

    def loss_fn(generator: torch.Generator, backward: Backward) -> None:
        text = repeat_text(backbone.encode_prompt([f"A {name}"], [learned]), config.batch_size)
        error = prediction_error(backbone, x0.expand(config.batch_size, -1, -1, -1, -1), text, generator)
        backward({"L_sub": error.mean()})

    loop = TrainingConfig(
        steps=config.textual_inversion_steps, save_every_n_steps=config.save_every_n_steps, seed=config.seed,
        gradient_accumulation_steps=config.gradient_accumulation_steps, max_grad_norm=config.max_grad_norm,
    )  # fmt: skip
    groups = [ParameterGroup("token", {"vectors": vectors}, config.textual_inversion_learning_rate)]
    key = training_key(
        "inversion", VERSION, loop, source or quantize(image, -1), superclass, config.batch_size,
        config.textual_inversion_learning_rate, config.textual_inversion_num_vectors,
    )  # fmt: skip
    base_fingerprint, scale = fingerprint(backbone.network), loss_scale_for(backbone.dtype)
    fit(groups, loss_fn, loop, folder, key, callbacks, loss_scale=scale, base=base_fingerprint)
    return dataclasses.replace(start, vectors=vectors.detach())
