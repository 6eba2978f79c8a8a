"""Weights: read without running anything, and a wrong or missing file names the right one."""

from __future__ import annotations

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from videomage_core.segmentation import weights as w

SAM = {"image_encoder.trunk.patch_embed.proj.weight": torch.ones(4, 3, 7, 7), "b": torch.zeros(2)}
DINO = {"module.backbone.0.patch_embed.proj.weight": torch.ones(4, 3, 4, 4)}


def saved(path, content):
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize("name", ["sam2.safetensors", "sam2.pt", "sam2.pth"])
def test_all_forms_of_a_file_hold_the_same(tmp_path, name):
    shelled = {"model": SAM} if name.endswith("pt") else SAM
    read = w.read_weights(saved(tmp_path / name, shelled), w.SAM2)
    assert read.keys() == SAM.keys() and all(torch.equal(read[k], SAM[k]) for k in SAM)


def test_names_lose_the_wrapper_of_training(tmp_path):
    assert set(w.read_weights(saved(tmp_path / "d.pth", {"model": DINO}), w.DINO)) == {
        "backbone.0.patch_embed.proj.weight"
    }


class Harmful:
    def __reduce__(self):
        return os.system, ("echo harmed > harmed.txt",)


def test_code_in_a_file_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Harmful()}, tmp_path / "sam2.pt")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harmful()))
    for name in ("sam2.pt", "plain.pth"):
        with pytest.raises(
            ValueError, match=r"holds more than weights, which is never executed; expected sam2\.1_hiera"
        ):
            w.read_weights(tmp_path / name, w.SAM2)
    assert not (tmp_path / "harmed.txt").exists()


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt"])
def test_a_damaged_file_is_told(tmp_path, name):
    path = saved(tmp_path / name, SAM)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=f"SAM 2: {name} ends too early \\(200"):
        w.read_weights(path, w.SAM2)


def test_another_models_file_is_named_and_the_right_one_too(tmp_path):
    path = saved(tmp_path / "sam2.1_hiera_tiny.pt", {"model": SAM})
    with pytest.raises(
        ValueError, match=r"GroundingDINO: sam2\.1_hiera_tiny\.pt holds SAM 2; expected groundingdino_swint"
    ):
        w.read_weights(path, w.DINO)
    path = saved(tmp_path / "sam_vit_h.pth", {"image_encoder.patch_embed.proj.weight": torch.ones(1)})
    with pytest.raises(ValueError, match="holds Segment Anything 1"):
        w.read_weights(path, w.SAM2)
    path = saved(tmp_path / "list.pt", [1, 2])
    with pytest.raises(ValueError, match=r"list\.pt holds list, no weights"):
        w.read_weights(path, w.SAM2)


def test_sources_are_checked_without_reading(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"none\.pt does not exist; expected sam2\.1_hiera_tiny\.pt, .*models/sam2"
    ):
        w.require_source(tmp_path / "none.pt", w.SAM2)
    (tmp_path / "a.cfg.py").write_text("raise SystemExit")
    with pytest.raises(ValueError, match=r"a\.cfg\.py is no file of weights"):
        w.require_source(tmp_path / "a.cfg.py", w.DINO)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"folder has no config\.json"):
        w.require_source(folder, w.DINO)
    (folder / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ValueError, match="the folder folder holds 'clip'; expected groundingdino"):
        w.require_source(folder, w.DINO)
    (folder / "config.json").write_text(json.dumps({"model_type": "grounding-dino"}))
    with pytest.raises(FileNotFoundError, match="the folder folder has no weights"):
        w.require_source(folder, w.DINO)
    for name in ("._model.safetensors", "training_args.bin"):  # what macOS leaves behind, and a trainer
        (folder / name).touch()
    with pytest.raises(FileNotFoundError, match="the folder folder has no weights"):
        w.require_source(folder, w.DINO)
    (folder / "model.safetensors").touch()
    with pytest.raises(
        FileNotFoundError, match=r"the folder folder has no vocabulary \(vocab\.txt or tokenizer\.json\); expected"
    ):
        w.require_source(folder, w.DINO)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(
        FileNotFoundError, match=r"BERT: the folder folder has no vocabulary .* models/bert-base-uncased"
    ):
        w.require_source(folder, "BERT")
    (folder / "tokenizer.json").touch()
    w.require_source(folder, "BERT")
    (folder / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    (folder / "tokenizer.json").unlink()
    w.require_source(folder, w.SAM2)


def words_folder(folder, vocabulary=None):
    """BERT's folder as small as it may be: its kind and a vocabulary."""
    from transformers import BertTokenizerFast

    from emoji_world.fixtures.tiny_detector import write_vocabulary

    write_vocabulary(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)
    for path in folder.iterdir():
        if path.name != vocabulary:
            path.unlink()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return folder


def test_either_form_of_a_vocabulary_is_enough(tmp_path):
    read = [w.load_tokenizer(words_folder(tmp_path / name, name), "BERT") for name in w.VOCABULARIES]
    ids = [tokenizer("Stuffed animal . dog .")["input_ids"] for tokenizer in read]
    assert ids[0] == ids[1] and ids[0][0] == 101 and ids[0].count(1012) == 2 and 100 not in ids[0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("vocab.txt", "", r"lacks \[CLS\], \[SEP\] or the dot"),
        ("tokenizer.json", "{", r"cannot be read \("),
        ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ndog\n", r"lacks \[CLS\], \[SEP\] or the dot"),
    ],
    ids=["empty", "damaged", "no dot"],
)
def test_a_vocabulary_of_no_use_is_told(tmp_path, name, text, said):
    folder = words_folder(tmp_path / "bert")
    (folder / name).write_text(text)
    with pytest.raises(
        ValueError, match=rf"BERT: the vocabulary of the folder bert {said}.*expected the folder bert-base"
    ):
        w.load_tokenizer(folder, "BERT")


def test_missing_and_misshapen_weights_are_counted(tmp_path):
    layer = torch.nn.Linear(3, 2)
    path = tmp_path / "x.pt"
    with pytest.raises(ValueError, match=r"x\.pt does not fit: 1 of 2 weights are missing, 0 .* the first is bias"):
        w.load_into(layer, {"weight": torch.zeros(2, 3)}, path, w.SAM2)
    with pytest.raises(ValueError, match="0 of 2 weights are missing, 1 are of another size, the first is weight"):
        w.load_into(layer, {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)}, path, w.SAM2)
    w.load_into(layer, {"weight": torch.ones(2, 3), "bias": torch.ones(2), "more": torch.ones(1)}, path, w.SAM2)
    assert float(layer.weight.sum()) == 6


def test_a_weight_of_several_names_is_there_under_one_of_them(tmp_path):
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = self.two = torch.nn.Linear(3, 2)
            self.other = torch.nn.Linear(3, 2)

    given = {"two.weight": torch.ones(2, 3), "one.bias": torch.ones(2)}
    alone = {"other.weight": torch.ones(2, 3), "other.bias": torch.ones(2)}
    model = Twice()
    w.load_into(model, given | alone, tmp_path / "x.pt", w.DINO)
    assert all(bool((t == 1).all()) for t in model.state_dict().values())
    with pytest.raises(ValueError, match=r"2 of 6 weights are missing, 0 .* the first is other\.weight"):
        w.load_into(Twice(), given, tmp_path / "x.pt", w.DINO)


def test_sizes_beside_a_file_are_data(tmp_path):
    path = tmp_path / "own.pt"
    assert w.own_sizes(path) == {}
    (tmp_path / "own.json").write_text('{"hidden": 64}')
    assert w.known_sizes("own.json", w.own_sizes(path), ["hidden", "memory"]) == {"hidden": 64}
    (tmp_path / "own.json").write_text('{"hiden": 64}')
    with pytest.raises(ValueError, match=r"own\.json: it has hiden; known are hidden, memory"):
        w.known_sizes("own.json", w.own_sizes(path), ["hidden", "memory"])
    (tmp_path / "own.json").write_text("import os")
    with pytest.raises(ValueError, match=r"own\.json is no JSON"):
        w.own_sizes(path)
    (tmp_path / "own.json").write_text("[1]")
    with pytest.raises(ValueError, match="holds a JSON list, must be an object"):
        w.own_sizes(path)
