"""The paper's metrics (Sec. 4.1), by models that the user has on disk; nothing is ever downloaded.

* CLIP-T: cosine of each frame with the prompt, mean over frames (Radford et al. 2021).
* CLIP-I: cosine of each frame with each image of each subject, mean over all.
* DINO-I: the same with the class token of a DINO (Caron et al. 2021) or DINOv2 vision transformer.
* T. Cons.: CLIP's cosine of consecutive frames, mean; 1 for a single frame.

Images are prepared here, as the model's ``preprocessor_config.json`` says (shorter side resized, centre cut,
normalised): the processors of transformers need a torchvision, or are other ones from version to version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ..text_files import read_json_object

VERSION = 1  # raised when the same videos get other scores
METRICS: dict[str, bool] = {"CLIP-T": True, "CLIP-I": True, "DINO-I": True, "T. Cons.": True}
MEANINGS = {
    "CLIP-T": "similarity of frames and prompt, by CLIP, -1 to 1",
    "CLIP-I": "similarity of frames and the subjects' images, by CLIP, -1 to 1",
    "DINO-I": "similarity of frames and the subjects' images, by DINO, -1 to 1",
    "T. Cons.": "similarity of consecutive frames, by CLIP, -1 to 1",
}
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")
_NEEDED = {
    "CLIP": (("clip",), "e.g. openai's clip-vit-large-patch14", ("tokenizer_config.json",)),
    "DINO": (("vit", "dinov2"), "e.g. Facebook's dino-vits16", ()),
}


def check_folder(folder: Path, what: str) -> None:
    """Refuse a folder that holds no such model, before anything is loaded.

    Args:
        folder: in Hugging Face's layout.
        what: "CLIP" or "DINO".

    Raises:
        FileNotFoundError: the folder, its configs or its weights are not there.
        ValueError: it holds another kind of model.
    """
    kinds, example, more = _NEEDED[what]
    advice = f"give a folder in Hugging Face's layout, {example}"
    if not folder.is_dir():
        raise FileNotFoundError(f"{what}: {folder} is not a folder; {advice}")
    for name in ("config.json", "preprocessor_config.json", *more):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{what}: {folder} lacks {name}; {advice}")
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise FileNotFoundError(f"{what}: {folder} holds none of {', '.join(_WEIGHTS)}; {advice}")
    kind = read_json_object(folder / "config.json", "model").get("model_type")
    if kind not in kinds:
        raise ValueError(f"{what}: {folder} holds a model of type {kind!r}, allowed: {', '.join(kinds)}; {advice}")


@dataclass(frozen=True)
class _Preparation:
    """How a model wants its images."""

    resize: int  # pixels, of the shorter side, or of both
    crop: int
    squash: bool  # to a square, whole; else the middle is cut out
    mean: torch.Tensor  # [3, 1, 1]
    std: torch.Tensor
    smoothing: str = "bicubic"

    @classmethod
    def of(cls, folder: Path) -> _Preparation:
        read = read_json_object(folder / "preprocessor_config.json", "model")
        size = read.get("size", 224)
        squash = not read.get("do_center_crop", False) and not (isinstance(size, Mapping) and "shortest_edge" in size)
        if isinstance(size, Mapping):
            size = size.get("shortest_edge", size.get("height"))
        crop = read.get("crop_size", size) if read.get("do_center_crop", False) else size
        if isinstance(crop, Mapping):
            crop = crop["height"]
        mean, std = (torch.tensor(read[f"image_{name}"]).view(3, 1, 1) for name in ("mean", "std"))
        smoothing = "bilinear" if read.get("resample", 3) == 2 else "bicubic"  # PIL's numbers
        return cls(int(size), int(crop), squash, mean, std, smoothing)

    def __call__(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """uint8 [H, W, 3] each -> [N, 3, crop, crop]."""
        return torch.stack([self._one(image) for image in images])

    def _one(self, image: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
        height, width = pixels.shape[-2:]
        scale = self.resize / min(height, width)
        size = (max(self.crop, round(height * scale)), max(self.crop, round(width * scale)))
        if self.squash:
            size = (self.crop, self.crop)
        pixels = functional.interpolate(pixels[None], size, mode=self.smoothing, antialias=True)[0].clamp(0, 1)
        top, left = (size[0] - self.crop) // 2, (size[1] - self.crop) // 2
        cut = pixels[:, top : top + self.crop, left : left + self.crop]
        return (cut - self.mean) / self.std


class LearnedMetrics:
    """Scores videos with CLIP, DINO or both.

    Args:
        clip: folder of a CLIPModel with its tokenizer, or None.
        dino: folder of a DINO ViTModel or a Dinov2Model, or None.
        device: where they run.
        batch: images at a time.

    Raises:
        FileNotFoundError, ValueError: see ``check_folder``; both are looked at before either is loaded.
    """

    def __init__(self, clip: Path | None, dino: Path | None, device: str = "cpu", batch: int = 32) -> None:
        if clip is not None:
            check_folder(clip, "CLIP")
        if dino is not None:
            check_folder(dino, "DINO")
        self._device, self._batch = device, batch
        self._clip = None if clip is None else _loaded("CLIPModel", clip, device)
        self._dino = None if dino is None else _loaded("AutoModel", dino, device)
        self._prepare_clip = None if clip is None else _Preparation.of(clip)
        self._prepare_dino = None if dino is None else _Preparation.of(dino)
        self._tokenizer = None if clip is None else _loaded("CLIPTokenizer", clip, None)

    def score(
        self, video: np.ndarray, prompt: str | None, references: Mapping[str, Sequence[np.ndarray]]
    ) -> dict[str, float]:
        """What can be measured.

        Args:
            video: uint8 [F, H, W, 3].
            prompt: in plain words, without tokens; None leaves CLIP-T out.  Cut at the model's longest text.
            references: images of each subject, uint8 [h, w, 3] of any size; without any, CLIP-I and DINO-I are
                left out.

        Returns:
            By the names of ``METRICS``.
        """
        images = [image for of in references.values() for image in of]
        result: dict[str, float] = {}
        if self._clip is not None:
            frames = self._clip_features(list(video))
            if prompt is not None:
                result["CLIP-T"] = float((frames @ self._clip_text(prompt)).mean())
            if images:
                result["CLIP-I"] = _to_subjects(frames, self._clip_features(images), references)
        if self._dino is not None and images:
            result["DINO-I"] = _to_subjects(self._dino_features(list(video)), self._dino_features(images), references)
        if self._clip is not None:
            result["T. Cons."] = float((frames[1:] * frames[:-1]).sum(-1).mean()) if len(frames) > 1 else 1.0
        return result

    @torch.inference_mode()
    def _clip_features(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        assert self._prepare_clip is not None and self._clip is not None
        parts = []
        for pixels in self._prepare_clip(images).split(self._batch):
            pooled = self._clip.vision_model(pixel_values=pixels.to(self._device)).pooler_output
            parts.append(self._clip.visual_projection(pooled))
        return functional.normalize(torch.cat(parts).float(), dim=-1).cpu()

    @torch.inference_mode()
    def _clip_text(self, prompt: str) -> torch.Tensor:
        assert self._tokenizer is not None and self._clip is not None
        longest = self._clip.config.text_config.max_position_embeddings
        tokens = self._tokenizer([prompt], truncation=True, max_length=longest, return_tensors="pt")
        pooled = self._clip.text_model(**{k: v.to(self._device) for k, v in tokens.items()}).pooler_output
        return functional.normalize(self._clip.text_projection(pooled).float(), dim=-1)[0].cpu()

    @torch.inference_mode()
    def _dino_features(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        assert self._prepare_dino is not None and self._dino is not None
        parts = [
            self._dino(pixel_values=pixels.to(self._device)).last_hidden_state[:, 0]
            for pixels in self._prepare_dino(images).split(self._batch)
        ]
        return functional.normalize(torch.cat(parts).float(), dim=-1).cpu()


def _to_subjects(frames: torch.Tensor, images: torch.Tensor, references: Mapping[str, Sequence[np.ndarray]]) -> float:
    """Mean over subjects of the mean cosine of frames [F, D] with a subject's images, of [P, D] in their order."""
    means = [(frames @ own.T).mean() for own in images.split([len(of) for of in references.values()]) if len(own)]
    return float(torch.stack(means).mean())


def _loaded(kind: str, folder: Path, device: str | None) -> Any:
    """A model in eval mode, or with ``device`` None a tokenizer, from ``folder`` alone.

    Raises:
        ValueError: weights are missing, which transformers would draw at random.
    """
    import transformers

    source = getattr(transformers, kind)
    if device is None:
        return source.from_pretrained(folder, local_files_only=True)
    model, info = source.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler"))  # DINO's has none
    if missing:
        raise ValueError(f"{kind}: {folder} lacks the weights {missing[0]} and {len(missing) - 1} more; copy it again")
    return model.to(device).eval().requires_grad_(False)
