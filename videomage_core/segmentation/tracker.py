"""SAM 2: boxes in one frame of a clip become masks in all of them (Ravi et al. 2024), run in either of two ways.

Tracking needs only a few past frames: the package's and transformers' states keep all, so that a long clip
would fill the memory; what is too old to be looked at is dropped here.  Forward that changes no mask; on the way back
from a subject that comes late, SAM 2 would also look at some frames after that one, which are gone in clips that go on
for more than ``_KEPT`` frames.  Frames are resized one by one, when they are looked at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from PIL import Image

from .boxes import normalised, resize
from .detector import require_package
from .sam2_package import build_package_model, sizes_of
from .weights import SAM2, folder_kind, load_folder, load_into, read_weights, require_source

_TRANSFORMERS = (4, 57)  # 4.56 has both models, too, but its one for images gives other masks
_KEPT = 20  # past frames: SAM 2 looks at 6 masks and 15 pointers


class Frames:
    """A clip as SAM 2 reads it: item ``i`` is [3, S, S], normalised; made when it is asked for."""

    def __init__(self, pixels: torch.Tensor, side: int) -> None:
        """Of pixels [3, F, H, W] in -1..1."""
        self.pixels, self.side = pixels, side

    def __len__(self) -> int:
        return self.pixels.shape[1]

    def __getitem__(self, index: int) -> torch.Tensor:
        return normalised(resize(self.pixels[:, index][None].cpu(), self.side, self.side))[0]


class Tracker(Protocol):
    """Follows subjects through a clip."""

    def follow(self, pixels: torch.Tensor, start: int, boxes: torch.Tensor, seen: Callable[[], None]) -> torch.Tensor:
        """Masks of N subjects in all frames, [N, F, H, W] bool, on the CPU.

        Args:
            pixels: [3, F, H, W] in -1..1.
            start: the frame in which the boxes are; from there it goes on to the end and back to the beginning.
            boxes: [N, 4], left, top, right, bottom in pixels.
            seen: called after each frame; what it raises ends the work.
        """


class PackageTracker:
    """The makers' own model, of the package ``sam2``."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def follow(self, pixels: torch.Tensor, start: int, boxes: torch.Tensor, seen: Callable[[], None]) -> torch.Tensor:
        state = self._state(pixels)
        for n, box in enumerate(boxes):
            self.model.add_new_points_or_box(state, frame_idx=start, obj_id=n, box=box.cpu().numpy())
        masks = torch.zeros(len(boxes), *pixels.shape[1:], dtype=torch.bool)
        for backwards in (False, True):
            for frame, _, logits in self.model.propagate_in_video(state, start_frame_idx=start, reverse=backwards):
                masks[:, frame] = (logits[:, 0] > 0).cpu()  # [N,1,H,W] -> [N,H,W]
                for object_outputs in state["output_dict_per_obj"].values():
                    _forget(object_outputs["non_cond_frame_outputs"], frame, backwards)
                seen()
        return masks

    def _state(self, pixels: torch.Tensor) -> dict[str, Any]:
        """The package's own state of a one-frame clip, in which our frames take the place of its."""
        height, width = pixels.shape[-2:]
        self.model._get_image_feature = lambda *_, **__: None  # it would look at the stand-in: seconds on a CPU
        try:
            with tempfile.TemporaryDirectory() as folder:
                Image.new("RGB", (8, 8)).save(Path(folder) / "0.jpg")
                state = self.model.init_state(folder, offload_video_to_cpu=True, offload_state_to_cpu=True)
        finally:
            del self.model._get_image_feature
        state.update(images=Frames(pixels, self.model.image_size), num_frames=pixels.shape[1])
        state.update(video_height=height, video_width=width, cached_features={})
        return dict(state)


class TransformersTracker:
    """transformers' ``Sam2VideoModel``."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def follow(self, pixels: torch.Tensor, start: int, boxes: torch.Tensor, seen: Callable[[], None]) -> torch.Tensor:
        session = self._session(pixels, start, boxes)
        length = pixels.shape[1]
        masks = torch.zeros(len(boxes), *pixels.shape[1:], dtype=torch.bool)
        for backwards, order in ((False, range(start, length)), (True, range(start - 1, -1, -1))):
            for frame in order:
                logits = self.model(session, frame_idx=frame, reverse=backwards).pred_masks  # [N,1,h,w]
                masks[:, frame] = _enlarged(logits, pixels)
                for object_outputs in session.output_dict_per_obj.values():
                    _forget(object_outputs["non_cond_frame_outputs"], frame, backwards)
                seen()
        return masks

    def _session(self, pixels: torch.Tensor, start: int, boxes: torch.Tensor) -> Any:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        side, device = _side(self.model.config.image_size), self.model.device
        session = Sam2VideoInferenceSession(
            None, *pixels.shape[-2:], inference_device=device, inference_state_device="cpu", dtype=torch.float32
        )
        session.processed_frames = Frames(pixels, side)
        for n, box in enumerate(_scaled(boxes, pixels, side)):
            index = session.obj_id_to_idx(n)
            labels = torch.tensor([[[2, 3]]], dtype=torch.int32)  # SAM's two points of a box
            session.add_point_inputs(index, start, {"point_coords": box.view(1, 1, 2, 2), "point_labels": labels})
        session.obj_with_new_inputs = list(range(len(boxes)))
        return session


class TransformersImages:
    """transformers' ``Sam2Model``, which has no memory: for images alone."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def follow(self, pixels: torch.Tensor, start: int, boxes: torch.Tensor, seen: Callable[[], None]) -> torch.Tensor:
        _require_image(pixels.shape[1])
        side = _side(self.model.config.prompt_encoder_config.image_size)
        image = Frames(pixels, side)[0][None].to(self.model.device)
        given = _scaled(boxes, pixels, side)[None].to(self.model.device)  # [1,N,4]
        logits = self.model(pixel_values=image, input_boxes=given, multimask_output=False).pred_masks[0]  # [N,1,h,w]
        seen()
        return _enlarged(logits, pixels)[:, None]


def _forget(outputs: dict[int, Any], frame: int, backwards: bool) -> None:
    """Drop what lies too far behind ``frame`` to be looked at again."""
    for old in [f for f in outputs if (f - frame if backwards else frame - f) > _KEPT]:
        del outputs[old]


def _scaled(boxes: torch.Tensor, pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Boxes [N, 4] in the clip's pixels as those of a square of ``side``."""
    height, width = pixels.shape[-2:]
    return boxes.float().cpu() * torch.tensor([side / width, side / height] * 2)


def _enlarged(logits: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Logits [N, 1, h, w] -> masks [N, H, W] of the clip's size."""
    large = F.interpolate(logits.float(), size=pixels.shape[-2:], mode="bilinear", align_corners=False)
    return (large[:, 0] > 0).cpu()


def _side(size: Any) -> int:
    return int(size if isinstance(size, int) else size[0])


def check_tracker(path: Path, frames: int = 1) -> None:
    """Raise unless SAM 2 can be loaded from ``path`` and follow through so many frames; loads nothing.

    Raises:
        FileNotFoundError, ValueError: the weights are not there, are something else, or are for images alone.
        ImportError: the package, or the version of transformers, that runs them is not installed.
    """
    require_source(path, SAM2)
    if not path.is_dir():
        require_package("sam2", "rf-sam-2", SAM2)
    elif tuple(map(int, version("transformers").split(".")[:2])) < _TRANSFORMERS:
        raise ImportError(
            f"{SAM2}: a folder of it needs transformers 4.57 or newer, here is {version('transformers')}; a file of "
            "its weights does not"
        )
    elif folder_kind(path) == "sam2":
        _require_image(frames)


def _require_image(frames: int) -> None:
    if frames > 1:
        raise ValueError(
            f"{SAM2}: this folder holds the model for images (sam2), the clip has {frames} frames; take the folder "
            "of a sam2_video model, or a file of weights"
        )


def load_tracker(path: Path, device: torch.device) -> Tracker:
    """Load SAM 2 from a file of weights, or from a Hugging Face folder.

    Raises:
        FileNotFoundError, ValueError, ImportError: see ``check_tracker``; weights that do not fit.
    """
    check_tracker(path)
    if path.is_dir():
        return _from_folder(path, device)
    weights = read_weights(path, SAM2)
    model = build_package_model(sizes_of(weights, path))
    load_into(model, weights, path, SAM2)
    return PackageTracker(model.eval().requires_grad_(False).to(device))


def _from_folder(folder: Path, device: torch.device) -> Tracker:
    from transformers import Sam2Model, Sam2VideoModel

    for_images = folder_kind(folder) == "sam2"
    kind = Sam2Model if for_images else Sam2VideoModel
    model = load_folder(kind, folder, SAM2).eval().requires_grad_(False).to(device)
    return TransformersImages(model) if for_images else TransformersTracker(model)
