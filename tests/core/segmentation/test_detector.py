"""GroundingDINO both ways: the same scores and boxes of the same weights, and bad input told before anything loads."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch

from videomage_core.segmentation import detector as d
from videomage_core.segmentation.boxes import places, resize_image
from videomage_core.segmentation.weights import DINO, asset

CPU = torch.device("cpu")
PACKAGE = pytest.mark.skipif(
    importlib.util.find_spec("groundingdino") is None, reason="groundingdino is not installed: see requirements.txt"
)


def image(height: int, width: int) -> torch.Tensor:
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(height + width))


@PACKAGE
@pytest.mark.parametrize("caption", ["dog .", "dog . stuffed animal . unicorn ."])
@pytest.mark.parametrize("size", [(128, 128), (160, 213)])
def test_both_ways_give_the_same(detector_both_ways, caption, size):
    file, bert, folder = detector_both_ways
    with torch.no_grad():
        ours = d.load_detector(file, bert, CPU).find(image(*size), caption)
        other = d.load_detector(folder, None, CPU).find(image(*size), caption)
    torch.testing.assert_close(ours[0], other[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(ours[1], other[1], atol=1e-5, rtol=0)
    assert ours[0].shape == (50, len(d.load_detector(folder, None, CPU).tokens(caption)))
    assert float(ours[0].std()) > 0.01 and float(ours[1].std()) > 0.01


@pytest.mark.parametrize("way", [pytest.param(0, marks=PACKAGE, id="package"), pytest.param(1, id="transformers")])
def test_half_precision_finds_nearly_the_same(detector_both_ways, way, monkeypatch):
    """As on a GPU, with the CPU's bf16; from the same places, as random weights rate them too alike to choose again."""
    file, bert, folder = detector_both_ways
    detector = d.load_detector(*((file, bert), (folder, None))[way], CPU)
    chosen, usual = [], torch.topk

    def topk(values, *given, **named):
        chosen.append(usual(values, *given, **named).indices)
        return values.gather(1, chosen[0]), chosen[0]

    monkeypatch.setattr(torch, "topk", topk)
    with torch.no_grad():
        scores, boxes = detector.find(image(128, 160), "dog . stuffed animal .")
        with torch.autocast("cpu", torch.bfloat16):
            rough, there = detector.find(image(128, 160), "dog . stuffed animal .")
    assert len(chosen) == 2 and rough.dtype == there.dtype == torch.float32
    torch.testing.assert_close(rough, scores, atol=0.06, rtol=0)
    torch.testing.assert_close(there, boxes, atol=0.005, rtol=0)
    assert not torch.equal(rough, scores)


@pytest.fixture(scope="module")
def with_900_queries(tmp_path_factory):
    """As published ones have: the package's where it is there, and transformers'."""
    from emoji_world.fixtures.tiny_detector import random_detector
    from emoji_world.fixtures.weight_conversion import detector_file

    at = tmp_path_factory.mktemp("queries")
    folder = random_detector(at / "folder", queries=900)
    ways = [d.load_detector(folder, None, CPU)]
    if importlib.util.find_spec("groundingdino") is not None:
        ways.append(d.load_detector(*detector_file(folder, at / "file.safetensors"), CPU))
    return ways


@pytest.mark.parametrize("size", [(48, 48), (30, 80), (300, 20)])
@pytest.mark.parametrize("side", [64, 128])
def test_small_images_have_room_for_as_many_boxes_as_published_ones_give(with_900_queries, size, side):
    for detector in with_900_queries:
        given, fitted = resize_image(image(*size).clamp(-1, 1), side, round(side * 5 / 3), detector.queries)
        with torch.no_grad():
            scores, boxes = detector.find(given, "dog .")
        assert scores.shape == (900, 4) and fitted.to_frame(boxes).shape == (900, 4)
        assert bool(scores.isfinite().all()) and bool(boxes.isfinite().all())


@PACKAGE
def test_places_are_those_of_the_models_feature_maps(with_900_queries, monkeypatch):
    package = with_900_queries[1]
    counted = []
    usual = package.model.transformer.forward

    def counting(maps, *given):
        counted.append(sum(m.shape[-2] * m.shape[-1] for m in maps))
        return usual(maps, *given)

    monkeypatch.setattr(package.model.transformer, "forward", counting)
    for size in ((208, 208), (201, 250), (416, 135)):
        with torch.no_grad():
            package.find(image(*size), "dog .")
        assert counted[-1] == places(*size)


@PACKAGE
@pytest.mark.parametrize("name", list(d.CONFIGS.values()))
def test_the_bundled_sizes_are_the_packages(name, detector_both_ways):
    """Weight for weight what the package builds of its own configuration file, which we never run: it is read here."""
    import ast
    from pathlib import Path
    from types import SimpleNamespace

    import groundingdino
    from groundingdino.models.GroundingDINO import groundingdino as package

    file = {"swint": "GroundingDINO_SwinT_OGC.py", "swinb": "GroundingDINO_SwinB_cfg.py"}[name.split("_")[1]]
    source = (Path(groundingdino.__file__).parent / "config" / file).read_text()
    told = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(source).body}
    _, bert, _ = detector_both_ways
    ours = d.build_package_model(asset(name), bert).state_dict()
    with d._text_encoder_from(package, bert):
        own = package.build_groundingdino(SimpleNamespace(**{**told, "text_encoder_type": str(bert)})).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in own.items()}
    shared = set(asset(name)) - {"swin"}
    assert {key: asset(name)[key] for key in shared} == {key: told[key] for key in shared}


@PACKAGE
def test_no_class_and_no_helper_stays_changed(detector_both_ways):
    from groundingdino.models.GroundingDINO import groundingdino as package

    before = package.get_tokenlizer, package.BertModelWarper
    file, bert, _ = detector_both_ways
    d.load_detector(file, bert, CPU)
    with pytest.raises(KeyError), d._text_encoder_from(package, bert):
        raise KeyError
    assert before == (package.get_tokenlizer, package.BertModelWarper)


def test_a_file_without_bert_says_where_it_belongs(tmp_path):
    path = tmp_path / "groundingdino_swint_ogc.pth"
    path.touch()
    with pytest.raises(FileNotFoundError, match=r"reads its words with BERT; expected .* models/bert-base-uncased"):
        d.check_detector(path, None)
    with pytest.raises(FileNotFoundError, match=r"BERT: .*nowhere does not exist"):
        d.check_detector(path, tmp_path / "nowhere")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "roberta"}')
    with pytest.raises(ValueError, match="the folder bert holds 'roberta'"):
        d.check_detector(path, tmp_path / "bert")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    path = tmp_path / "groundingdino_swint_ogc.pth"
    path.touch()
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "bert" / "vocab.txt").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="needs the package rf-groundingdino, which is not installed: pip install -r"):
        d.check_detector(path, tmp_path / "bert")


def test_a_folder_whose_weights_do_not_fit_is_refused(detector_both_ways, tmp_path):
    """transformers itself would draw the missing ones at random."""
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "dino"
    shutil.copytree(detector_both_ways[2], folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.level_embed")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"{DINO}: the weights in dino do not fit its config.json: 1 are missing"):
        d.load_detector(folder, None, CPU)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"the folder dino cannot be loaded \("):
        d.load_detector(folder, None, CPU)


@PACKAGE
def test_a_file_that_has_shared_weights_once_is_the_same(detector_both_ways, tmp_path):
    """As converters write safetensors: of the box heads, which all layers share, one."""
    import shutil

    from safetensors.torch import load_file, save_file

    file, bert, _ = detector_both_ways
    weights = load_file(file)
    once = {n: t for n, t in weights.items() if not n.startswith("transformer.decoder.bbox_embed.")}
    once = {n: t for n, t in once.items() if not n.startswith("bbox_embed.") or n.startswith("bbox_embed.1.")}
    assert len(weights) - len(once) == 18  # three of four heads, of three layers each
    save_file(once, tmp_path / "once.safetensors")
    shutil.copy(file.with_suffix(".json"), tmp_path / "once.json")
    with torch.no_grad():
        ours, other = (d.load_detector(f, bert, CPU).find(image(128, 128), "dog .")
                       for f in (file, tmp_path / "once.safetensors"))  # fmt: skip
    assert torch.equal(ours[0], other[0]) and torch.equal(ours[1], other[1])


@PACKAGE
def test_an_unknown_backbone_is_told(detector_both_ways, tmp_path):
    import shutil

    file, bert, _ = detector_both_ways
    alone = shutil.copy(file, tmp_path / "mine.safetensors")
    with pytest.raises(ValueError, match=r"mine\.safetensors has a backbone of width 24; known are 96 .*mine\.json"):
        d.load_detector(type(file)(alone), bert, CPU)


def test_scores_are_those_of_the_other_line_of_transformers(detector_both_ways):
    """``numbers.json`` was written with transformers 4.57; ``numbers_of_both_lines.py`` says how."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent))
    from numbers_of_both_lines import FILE, of_detector

    wanted = json.loads(FILE.read_text())["detector"]
    file, bert, folder = detector_both_ways
    ways = [d.load_detector(folder, None, CPU)]
    if importlib.util.find_spec("groundingdino") is not None:
        ways.append(d.load_detector(file, bert, CPU))
    for way in ways:
        got = of_detector(way)
        assert got["tokens"] == wanted["tokens"]
        torch.testing.assert_close(torch.tensor(got["scores"]), torch.tensor(wanted["scores"]), atol=5e-5, rtol=0)
        torch.testing.assert_close(torch.tensor(got["boxes"]), torch.tensor(wanted["boxes"]), atol=2e-5, rtol=0)
