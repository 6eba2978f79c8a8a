"""ComfyUI's folders, progress, cancelling, events and routes.  Its memory: ``comfy_memory``.

Only these two modules use ComfyUI beyond its node interface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..videomage_core.data.grounded_sam2 import GroundedSam2
from ..videomage_core.folders import below
from ..videomage_core.model.base_folder import EMOJI_BASE
from ..videomage_core.model.base_kinds import check_any_base, is_base_folder
from ..videomage_core.segmentation.weights import DINO, EXPECTED, SAM2, SUFFIXES, folder_kind

BUILT_IN = "emoji base (built in)"
FROM_MODEL = "wan_of_model"  # as the page calls a base of Video Base from Model
PREVIEW_SIDE = 512  # pixels, at most


# --- folders


def base_names() -> list[str]:
    """The bases a user can choose: the built-in one, and the folders of ``models/diffusers``."""
    return [BUILT_IN, *sorted(_base_folders())]


def _base_folders() -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for holding in ("unet/config.json", "transformer/config.json"):
        for name, folder in _folders(holding):
            if is_base_folder(folder):
                paths.setdefault(name, folder)
    return paths


def _folders(holding: str) -> Iterator[tuple[str, Path]]:
    """The folders in ``models/diffusers`` that hold such a file, with their names; "" for all."""
    import folder_paths

    for root in map(Path, folder_paths.get_folder_paths("diffusers")):
        for folder in below(root, 3):  # three deep, as a hub's cache is
            if (folder / holding).exists():
                yield folder.relative_to(root).as_posix(), folder


def base_folder(name: str) -> Path:
    """The folder of a base by its name in the list.

    Raises:
        FileNotFoundError: no such base, or parts of it are missing; the message says where to get them.
        ValueError: it is another kind of model.
    """
    if name == BUILT_IN:
        return EMOJI_BASE
    folder = _base_folders().get(name)
    if folder is not None:
        return folder
    for other, incomplete in _folders(""):
        if other == name:
            check_any_base(incomplete)
    raise FileNotFoundError(
        f"base: {name!r} is not in models/diffusers; there are {', '.join(map(repr, base_names()))}. For ZeroScope v2, "
        "copy its whole folder (unet, vae, text_encoder, tokenizer, scheduler; cerspense/zeroscope_v2_576w on Hugging "
        "Face, licence CC-BY-NC-4.0: not for commercial use) to models/diffusers/zeroscope_v2_576w, and refresh the "
        "page (R)"
    )


def lora_names() -> list[str]:
    """The files of ``models/loras`` and its sub-folders, with "/" also on Windows, so that workflows can be shared."""
    return list(_loras())


def _loras() -> dict[str, str]:
    """ComfyUI's own names, by ours."""
    import folder_paths

    return {_slashed(name): name for name in folder_paths.get_filename_list("loras")}


def _slashed(name: str) -> str:
    return name.replace("\\", "/")


def lora_file(name: str) -> Path:
    """A LoRA file by its name in the list, with either slash; FileNotFoundError for any other name."""
    import folder_paths

    own = _loras().get(_slashed(str(name)))
    path = own and folder_paths.get_full_path("loras", own)
    if not path:
        raise FileNotFoundError(f"LoRA: {name!r} is not in models/loras; refresh the page, or choose another")
    return Path(path)


def loras_folder() -> Path:
    """The folder of trained LoRAs."""
    import folder_paths

    return Path(folder_paths.get_folder_paths("loras")[0]) / "videomage"


def training_folder() -> Path:
    """The folder of the trainings' checkpoints."""
    import folder_paths

    return Path(folder_paths.get_output_directory()) / "videomage"


# --- segmenters

_DETECTORS, _SAM2, _BERT = "grounding-dino", "sam2", "bert-base-uncased"  # folders of models/
NONE_FOUND = "none found"
NOT_NEEDED = "none: the detector is a folder"


def detector_names() -> list[str]:
    """The weights files and Hugging Face folders in ``models/grounding-dino``."""
    return _names(_DETECTORS, SUFFIXES) or [f"{NONE_FOUND}: put GroundingDINO in models/{_DETECTORS}"]


def sam2_names() -> list[str]:
    """The same for ``models/sam2``."""
    return _names(_SAM2, SUFFIXES) or [f"{NONE_FOUND}: put SAM 2 in models/{_SAM2}"]


def bert_names() -> list[str]:
    """BERT's folders in ``models/bert-base-uncased``; a detector that is a folder needs none."""
    return [*_names(_BERT, ()), NOT_NEEDED]


def load_segmenter(detector: str, sam2: str, bert: str) -> GroundedSam2:
    """A segmenter by its names in the lists: checked, not loaded.

    Raises:
        FileNotFoundError: no such file; the message says which files go where.
        ValueError, ImportError: another kind of model, or a package is missing.
    """
    import comfy.model_management as management

    words = None if bert == NOT_NEEDED else _chosen(_BERT, (), bert, "BERT")
    detector_path = _chosen(_DETECTORS, SUFFIXES, detector, DINO)
    return GroundedSam2(
        detector_path, _chosen(_SAM2, SUFFIXES, sam2, SAM2), None if detector_path.is_dir() else words,
        device=str(management.get_torch_device()),
    )  # fmt: skip


def _names(kind: str, suffixes: tuple[str, ...]) -> list[str]:
    return sorted(_models(kind, suffixes))


def _chosen(kind: str, suffixes: tuple[str, ...], name: str, what: str) -> Path:
    paths = _models(kind, suffixes)
    if name not in paths:
        there = f"there are {', '.join(map(repr, paths))}" if paths else "there is nothing"
        raise FileNotFoundError(f"{what}: {name!r} is not in models/{kind}; {there}. Expected {EXPECTED[what]}")
    return paths[name]


def _models(kind: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files and Hugging Face folders of a model folder, by name; also in folders of ``extra_model_paths.yaml``."""
    paths: dict[str, Path] = {}
    for root in _roots(kind):
        if folder_kind(root):
            paths.setdefault(root.name, root)
        for path in below(root, 2):
            if (path.is_dir() and folder_kind(path)) or (
                path.is_file() and path.suffix.lower() in suffixes and not folder_kind(path.parent)
            ):
                paths.setdefault(path.relative_to(root).as_posix(), path)
    return paths


def name_model_folders() -> None:
    """Make models/sam2 known to ComfyUI, so that its page finds, or misses, the file that a workflow names."""
    import folder_paths

    folder_paths.add_model_folder_path("sam2", str(Path(folder_paths.models_dir) / "sam2"))


def _roots(kind: str) -> list[Path]:
    """Where ComfyUI has models of a kind that it may not know of itself."""
    import folder_paths

    usual = Path(folder_paths.models_dir) / kind
    try:
        known = [Path(root) for root in folder_paths.get_folder_paths(kind)]
    except KeyError:  # nobody has named such a folder
        known = []
    return [root for root in dict.fromkeys([*known, usual]) if root.is_dir()]


# --- progress, cancel, events, routes


def show_progress(node: str, done: int, total: int, image: Any = None) -> None:
    """Update a node's progress bar and, if given, its preview (``PIL.Image``)."""
    from comfy_execution.progress import get_progress_state

    preview = None if image is None else ("JPEG", image, PREVIEW_SIDE)
    get_progress_state().update_progress(node, done, total, preview)


def show_text(node: str, text: str) -> None:
    """Show a line under a node; older pages show nothing."""
    from server import PromptServer

    send_text = getattr(PromptServer.instance, "send_progress_text", None)
    if send_text is not None:
        send_text(text, node)


def stop_if_asked() -> None:
    """Raise ComfyUI's own exception if the job was cancelled; it clears ComfyUI's flag."""
    import comfy.model_management as management

    management.throw_exception_if_processing_interrupted()


def was_cancelled(error: BaseException) -> bool:
    """Whether an exception is the one of ``stop_if_asked``."""
    import comfy.model_management as management

    return isinstance(error, management.InterruptProcessingException)


def send(event: str, data: dict[str, Any]) -> None:
    """Send an event to all open pages."""
    from server import PromptServer

    if PromptServer.instance is not None:
        PromptServer.instance.send_sync(event, data, None)


def add_route(path: str, answer: Callable[[Any], Any]) -> None:
    """Add a read-only route, GET ``path``."""
    from server import PromptServer

    if getattr(PromptServer, "instance", None) is not None:
        PromptServer.instance.routes.get(path)(answer)
