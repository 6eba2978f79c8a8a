"""GroundingDINO: where in an image the words of a caption are (Liu et al. 2023), run in either of two ways."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import torch

from .bert import Bert
from .weights import (
    DINO,
    EXPECTED,
    asset,
    folder_kind,
    known_sizes,
    load_folder,
    load_into,
    load_tokenizer,
    own_sizes,
    read_weights,
    require_source,
)

CONFIGS = {96: "groundingdino_swint_ogc.json", 128: "groundingdino_swinb_cogcoor.json"}  # by the backbone's width
INSTALL = "pip install -r requirements.txt in the pack's folder (it names rf-groundingdino and rf-sam-2)"
# What the package asks for and uses in training alone.
_NOT_TRAINED = {
    "dropout": 0.0, "text_dropout": 0.0, "fusion_dropout": 0.0, "fusion_droppath": 0.0, "use_checkpoint": False,
    "use_transformer_ckpt": False, "position_embedding": "sine",
}  # fmt: skip
_building = threading.Lock()


class Detector(Protocol):
    """Scores of a caption's tokens for boxes in an image.

    Attributes:
        queries: how many boxes it gives; an image must have as many places (``boxes.places``).
    """

    queries: int

    def tokens(self, text: str) -> list[int]:
        """A text's token ids, with the token at its start and the one at its end."""

    def find(self, image: torch.Tensor, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores [Q, T] in 0..1 of the caption's T tokens, and boxes [Q, 4] as ``boxes.Fitted`` reads them.

        Args:
            image: [3, H, W], normalised, on the model's device.
            caption: what to find.
        """


class PackageDetector:
    """The makers' own model, of the package ``groundingdino``."""

    def __init__(self, model: Any) -> None:
        self.model, self.queries = model, int(model.num_queries)

    def tokens(self, text: str) -> list[int]:
        return list(self.model.tokenizer(text)["input_ids"])

    def find(self, image: torch.Tensor, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        output = self.model(image[None], captions=[caption])
        return _scored(output["pred_logits"], output["pred_boxes"], len(self.tokens(caption)))


class TransformersDetector:
    """transformers' ``GroundingDinoForObjectDetection``."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer, self.queries = model, tokenizer, int(model.config.num_queries)

    def tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text)["input_ids"])

    def find(self, image: torch.Tensor, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        read = self.tokenizer(caption, return_tensors="pt").to(image.device)
        names = ("input_ids", "token_type_ids", "attention_mask")
        output = self.model(pixel_values=image[None], **{name: read[name] for name in names if name in read})
        return _scored(output.logits, output.pred_boxes, read["input_ids"].shape[1])


def _scored(logits: torch.Tensor, boxes: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """[1, Q, 256] logits and [1, Q, 4] boxes -> scores [Q, length] and boxes [Q, 4], on the CPU."""
    return logits[0, :, :length].float().sigmoid().cpu(), boxes[0].float().cpu()


def check_detector(path: Path, bert: Path | None) -> None:
    """Raise unless a detector can be loaded from ``path``; loads nothing.

    Raises:
        FileNotFoundError, ValueError: the weights, or BERT's folder, are not there or are something else.
        ImportError: the package that runs them is not installed.
    """
    require_source(path, DINO)
    if path.is_dir():
        return
    if bert is None:
        raise FileNotFoundError(
            f"{DINO}: {path.name} reads its words with BERT; expected {EXPECTED['BERT']}. A Hugging Face folder of "
            f"{DINO} has its own"
        )
    require_source(bert, "BERT")
    require_package("groundingdino", "rf-groundingdino", DINO)


def require_package(module: str, distribution: str, kind: str) -> None:
    """ImportError that says what to install, unless the module is there."""
    if importlib.util.find_spec(module) is None:
        raise ImportError(
            f"{kind}: a file of its weights needs the package {distribution}, which is not installed: {INSTALL}, with "
            "the Python that runs this. A folder in the Hugging Face layout needs no package"
        )


def load_detector(path: Path, bert: Path | None, device: torch.device) -> Detector:
    """Load GroundingDINO from a file of weights, or from a Hugging Face folder.

    Args:
        path: the file or folder.
        bert: folder of BERT's configuration and vocabulary; for a file.
        device: where it runs.

    Raises:
        FileNotFoundError, ValueError, ImportError: see ``check_detector``; weights that do not fit.
    """
    check_detector(path, bert)
    if path.is_dir():
        return _from_folder(path, device)
    assert bert is not None
    weights = read_weights(path, DINO)
    model = build_package_model(_sizes(weights, path), bert)
    load_into(model, weights, path, DINO)
    return PackageDetector(model.eval().requires_grad_(False).to(device))


def _sizes(weights: dict[str, torch.Tensor], path: Path) -> dict[str, Any]:
    """Of the published model whose backbone is as wide, or of one's own: those in the JSON beside the file."""
    width = len(weights["backbone.0.patch_embed.proj.weight"])
    given = own_sizes(path)
    if width not in CONFIGS and "swin" not in given:
        raise ValueError(
            f"{DINO}: {path.name} has a backbone of width {width}; known are 96 (Swin-T) and 128 (Swin-B); sizes of "
            f"your own belong in {path.with_suffix('.json').name} beside it"
        )
    published = asset(CONFIGS.get(width, CONFIGS[96]))
    return published | known_sizes(path.with_suffix(".json").name, given, published)


def _from_folder(folder: Path, device: torch.device) -> TransformersDetector:
    from transformers import GroundingDinoForObjectDetection

    tokenizer = load_tokenizer(folder, DINO)
    model = load_folder(GroundingDinoForObjectDetection, folder, DINO)
    return TransformersDetector(model.eval().requires_grad_(False).to(device), tokenizer)


def build_package_model(sizes: dict[str, Any], bert: Path) -> Any:
    """``groundingdino``'s model with random weights.

    Args:
        sizes: as the bundled JSON; no configuration file of Python is ever run.
        bert: folder of BERT's configuration and vocabulary; its weights are among GroundingDINO's own.
    """
    from groundingdino.models.GroundingDINO import groundingdino as package
    from groundingdino.models.GroundingDINO.transformer import build_transformer

    arguments = SimpleNamespace(**{**_NOT_TRAINED, **sizes})
    with _text_encoder_from(package, bert):
        return package.GroundingDINO(
            _backbone(arguments),
            build_transformer(arguments),
            num_queries=arguments.num_queries,
            aux_loss=True,
            iter_update=True,
            query_dim=arguments.query_dim,
            num_feature_levels=arguments.num_feature_levels,
            nheads=arguments.nheads,
            dec_pred_bbox_embed_share=arguments.dec_pred_bbox_embed_share,
            two_stage_type=arguments.two_stage_type,
            two_stage_bbox_embed_share=arguments.two_stage_bbox_embed_share,
            two_stage_class_embed_share=arguments.two_stage_class_embed_share,
            num_patterns=arguments.num_patterns,
            dn_number=0,
            text_encoder_type=str(bert),
            sub_sentence_present=arguments.sub_sentence_present,
            max_text_len=arguments.max_text_len,
        )


def _backbone(arguments: SimpleNamespace) -> Any:
    """The Swin transformer with the position embedding beside it, as the package joins them."""
    from groundingdino.models.GroundingDINO.backbone.backbone import Joiner
    from groundingdino.models.GroundingDINO.backbone.position_encoding import build_position_encoding
    from groundingdino.models.GroundingDINO.backbone.swin_transformer import SwinTransformer

    swin = SwinTransformer(out_indices=(1, 2, 3), drop_path_rate=0.0, **arguments.swin)
    joined = Joiner(swin, build_position_encoding(arguments))
    joined.num_channels = swin.num_features[1:]
    return joined


@contextlib.contextmanager
def _text_encoder_from(package: Any, bert: Path) -> Iterator[None]:
    """Inside, the package takes BERT from us: built from disk, and in our wrapper.

    The package asks a helper module of its own for it, by which it would also download.  Both names are put
    back when the model is built; no class is touched.
    """
    with _building:
        usual = package.get_tokenlizer, package.BertModelWarper
        package.get_tokenlizer = SimpleNamespace(
            get_tokenlizer=lambda _: load_tokenizer(bert, "BERT"), get_pretrained_language_model=lambda _: _bert(bert)
        )
        package.BertModelWarper = Bert
        try:
            yield
        finally:
            package.get_tokenlizer, package.BertModelWarper = usual


def _bert(bert: Path) -> Any:
    from transformers import BertConfig, BertModel

    assert folder_kind(bert) == "bert"
    return BertModel(BertConfig.from_pretrained(bert, local_files_only=True))
