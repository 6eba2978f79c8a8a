"""Learn a subject from a few images: Sec. 3.2, Eq. 2-4.

Trained are the vectors of a special token and a LoRA on the spatial layers:

    L = L_sub + lambda1 * L_reg                                            (Eq. 4)

L_sub is noise prediction on one-frame videos of the images (Eq. 2), L_reg the same on clips of
other things with captions without the token (Eq. 3), with the LoRA on, so that it does not unlearn motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..cache_key import training_key
from ..callbacks import Callbacks
from ..config import SamplingConfig, SubjectConfig
from ..data.augmentation import augment
from ..data.examples import CaptionedClip, SubjectImage, add_masks
from ..data.masks import Segmenter, require_useful, resize_mask, segmenter_key_parts
from ..model import lora
from ..model.backbone import Backbone
from ..model.encoded_text import EncodedText
from ..model.fingerprint import fingerprint
from ..model.text import SpecialToken
from ..model.trigger_words import first_token, words_of
from ..sampling import add_noise, training_target
from ..training.loop import Backward, LossFn, ParameterGroup
from .auxiliary_clips import GENERAL_CAPTIONS, AuxiliaryClip, auxiliary_clips, auxiliary_key_parts
from .lora_training import LoraTraining
from .training_result import TrainingResult

VERSION = 1  # raised when the same inputs give another LoRA

# The paper takes Panda-70M's clips.  Ours, where none are given: clips the base makes of these.


@dataclass(frozen=True)
class _View:
    latents: torch.Tensor  # [1, C, 1, h, w]
    mask: torch.Tensor  # [1, 1, 1, h, w]
    prompt: str


def train_subject(
    backbone: Backbone,
    images: Sequence[SubjectImage],
    token: str,
    superclass: str,
    config: SubjectConfig,
    folder: Path,
    prompt: str | None = None,
    auxiliary: Sequence[CaptionedClip] = (),
    captions: Sequence[str] = GENERAL_CAPTIONS,
    sampling: SamplingConfig | None = None,
    callbacks: Callbacks | None = None,
    cache: Path | None = None,
    segmenter: Segmenter | None = None,
) -> TrainingResult:
    """Train a subject LoRA and its token (Eq. 2-4), or resume.

    Args:
        backbone: the base; left as it was found, bit for bit.
        images: images of one subject, at least 1; 3 to 5 in the paper.
        token: the special token, e.g. "<toy>".
        superclass: the subject's class in plain words, e.g. "stuffed animal"; the token is initialised with it.
        config: all settings.
        folder: for the checkpoint, from which a stopped training resumes.
        prompt: c_s, which contains the token; None: "A <token>" (paper, Sec. 7.1).
        auxiliary: clips for L_reg; without any, the base generates them from ``captions``.
        captions: prompts of the generated clips; those that contain the superclass are skipped.
        sampling: size and steps of the samples; None: no samples.
        callbacks: progress, previews and cancel.
        cache: folder for the generated auxiliary clips, shared between subjects; None: ``folder``.
        segmenter: segments the subject in each image without a mask; None: the loss covers the whole image.

    Raises:
        ValueError: no image, a prompt without the token, empty masks, captions that contain the token.
        Cancelled: stopped by the host; a checkpoint was saved, and the same call resumes.
        TrainingDiverged: the loss is not finite.
    """
    callbacks = callbacks or Callbacks()
    prompt = prompt or f"A {token}"
    start = first_token(backbone, token, superclass, config.num_vectors_per_token)
    _check(backbone, images, start, prompt, config)
    key = subject_key(images, token, superclass, config, prompt, auxiliary, captions, segmenter)
    images = add_masks(images, superclass, segmenter, callbacks)
    base_fingerprint = fingerprint(backbone.network)
    with torch.no_grad():
        views = _views(backbone, images, prompt, config, callbacks)
        clips = auxiliary_clips(
            backbone, auxiliary, captions, superclass, config, cache or folder, base_fingerprint, callbacks
        )
    vectors = torch.nn.Parameter(start.vectors.to(backbone.device))
    learned = replace(start, vectors=vectors)
    targets = backbone.targets("spatial", attention_only=config.target_modules == "attention")
    loss_fn = _loss_fn(backbone, views, clips, learned, config)
    about: dict[str, object] = {} if backbone.text_gradients else {"trigger": words_of(token)}
    with lora.trainable_adapter(backbone, "subject", targets, config) as parameters:
        groups = [ParameterGroup("lora", parameters, config.learning_rate)]
        if backbone.text_gradients:
            groups.append(ParameterGroup("token", {"vectors": vectors}, config.token_learning_rate))
        training = LoraTraining(
            "subject", "subject", config, folder, key, base_fingerprint, prompt, sampling, [learned]
        )
        return training.run(backbone, groups, loss_fn, callbacks, images=len(images), **about)


def _loss_fn(
    backbone: Backbone,
    views: Sequence[_View],
    clips: Sequence[AuxiliaryClip],
    token: SpecialToken,
    config: SubjectConfig,
) -> LossFn:
    """L_sub + lambda1 * L_reg (Eq. 4); without ``clips``, L_sub alone."""

    def loss_fn(generator: torch.Generator, backward: Backward) -> None:
        terms = {"L_sub": _subject_loss(backbone, _pick(views, config.batch_size, generator), token, generator)}
        if clips:
            clip = clips[int(torch.randint(len(clips), (), generator=generator))]
            terms["L_reg"] = config.lambda1 * _regularization(backbone, clip, generator)
        backward(terms)

    return loss_fn


def subject_key(
    images: Sequence[SubjectImage],
    token: str,
    superclass: str,
    config: SubjectConfig,
    prompt: str | None = None,
    auxiliary: Sequence[CaptionedClip] = (),
    captions: Sequence[str] = GENERAL_CAPTIONS,
    segmenter: Segmenter | None = None,
) -> str:
    """The key of a subject's training; the arguments are ``train_subject``'s."""
    return training_key(
        "subject", VERSION, config, token.lower(), superclass, prompt or f"A {token.lower()}",
        *(part for image in images for part in image.key_parts()),
        *auxiliary_key_parts(auxiliary, captions, superclass, config), *segmenter_key_parts(segmenter),
    )  # fmt: skip


def _subject_loss(
    backbone: Backbone, views: Sequence[_View], token: SpecialToken, generator: torch.Generator
) -> torch.Tensor:
    """L_sub (Eq. 2): noise prediction on one-frame videos, where the masks are."""
    x0 = torch.cat([view.latents for view in views])  # [B,C,1,h,w]
    mask = torch.cat([view.mask for view in views])  # [B,1,1,h,w]
    text = backbone.encode_prompt([view.prompt for view in views], [token])
    error = prediction_error(backbone, x0, text, generator)
    return ((error * mask).sum() / (mask.sum() * x0.shape[1])).float()


def _regularization(backbone: Backbone, clip: AuxiliaryClip, generator: torch.Generator) -> torch.Tensor:
    """L_reg (Eq. 3): noise prediction on a clip of something else."""
    return prediction_error(backbone, clip.latents, clip.text, generator).mean()


def prediction_error(
    backbone: Backbone, x0: torch.Tensor, text: EncodedText, generator: torch.Generator
) -> torch.Tensor:
    """Squared error of the network's output for freshly noised latents (Eq. 1 before its mean), [B, C, f, h, w]."""
    level = backbone.random_level(len(x0), generator)
    eps = torch.randn(x0.shape, generator=generator).to(x0.device)
    output = backbone.predict(add_noise(x0, eps, level), level, text)
    return (output - training_target(x0, eps, level, backbone.prediction)).square()


def _pick(views: Sequence[_View], count: int, generator: torch.Generator) -> list[_View]:
    """``count`` views, none twice before all were taken."""
    order = [int(i) for _ in range(-(-count // len(views))) for i in torch.randperm(len(views), generator=generator)]
    return [views[i] for i in order[:count]]


def _check(
    backbone: Backbone, images: Sequence[SubjectImage], token: SpecialToken, prompt: str, config: SubjectConfig
) -> None:
    if not images:
        raise ValueError("images: got none, give at least one image of the subject; 3 to 5 are best")
    backbone.latent_shape(1, config.height, config.width)
    if config.lambda1:
        _check_auxiliary(backbone, config)
    for index, image in enumerate(images):
        image_prompt = image.prompt or prompt
        backbone.token_spans(image_prompt, [token])  # refuses another special token, and too long a prompt
        require_token(image_prompt, token.name)
        if image.mask is not None:
            require_useful(image.mask[None], f"image {index + 1}")


def _check_auxiliary(backbone: Backbone, config: SubjectConfig) -> None:
    """ValueError if the base cannot make clips of the length of L_reg's."""
    try:
        backbone.latent_shape(config.auxiliary_frames, config.height, config.width)
    except ValueError as error:
        raise ValueError(f"auxiliary_frames, of the clips for L_reg: {error}") from error


def require_token(prompt: str, token: str) -> None:
    """ValueError unless the prompt holds the token."""
    if token.lower() not in prompt.lower():
        raise ValueError(f"prompt: got {prompt!r}, which does not hold {token}; write e.g. 'A {token}'")


def _views(
    backbone: Backbone, images: Sequence[SubjectImage], prompt: str, config: SubjectConfig, callbacks: Callbacks
) -> list[_View]:
    """The images cut to size, their latents, and their masks at the latents' size."""
    generator = torch.Generator().manual_seed(config.seed)
    _, _, height, width = backbone.latent_shape(1, config.height, config.width)
    views = []
    for image in images:
        for pixels, mask in augment(image.pixels, image.mask, config, generator):
            callbacks.check()
            latents = backbone.encode_video(pixels[None, :, None])  # [3,H,W] -> [1,3,1,H,W] -> [1,C,1,h,w]
            small = resize_mask(mask, height, width)[None, None, None].to(latents.device)  # an image is one frame
            if float(small.sum()) > 0:  # a cut may miss the subject
                views.append(_View(latents, small, image.prompt or prompt))
    if not views:
        raise ValueError("masks: at this size nothing is left of the subject in any image; give larger masks")
    return views
