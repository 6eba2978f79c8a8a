from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import comfy_stub
import pytest
import torch

from videomage_core.data.lora_file import LoraModel


def test_load_rename_save_and_tell(nodes: dict[str, Any], host: comfy_stub.Host, toy: LoraModel) -> None:
    load, save, info = (nodes[f"VideoMage_{name}"] for name in ("LoadLora", "SaveLora", "LoraInfo"))
    name = "videomage/toy.safetensors"
    assert load.validate_inputs(name) is True
    loaded = load.execute(name, "<toy>=<bear>").result[0]
    assert [token.name for token in loaded.tokens] == ["<bear>"]
    assert "<bear>" in info.execute(loaded).result[0]
    folder = host.home / "models" / "loras" / "videomage"
    save.execute(loaded, "mine")
    save.execute(loaded, "mine")  # the same LoRA: no second file
    assert sorted(path.name for path in folder.iterdir()) == ["mine.safetensors", "toy.safetensors"]
    save.execute(load.execute(name, "").result[0], "mine")  # another one: not over the first
    assert (folder / "mine_2.safetensors").is_file()


def test_a_missing_file_is_said_before_anything_runs(nodes: dict[str, Any]) -> None:
    said = nodes["VideoMage_LoadLora"].validate_inputs("videomage/gone.safetensors")
    assert "not in models/loras" in said


@pytest.mark.parametrize("value", ["../x", 7, True, {}, ["1", 0, 2], "x" * 20_000])
@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("LoraInfo", "lora"), ("SaveLora", "lora"), ("TrainSubject", "base"), ("TrainSubject", "images"),
        ("TrainMotion", "mask_1"), ("FuseSubjects", "lora_8"), ("SCSSampler", "motion"), ("SampleVideo", "lora_1"),
        ("SegmentByWords", "segmenter"), ("SubjectClip", "lora"), ("Evaluate", "video"), ("ContactSheet", "row_1"),
    ],
)  # fmt: skip
def test_a_value_where_a_wire_belongs_is_refused(nodes: dict[str, Any], name: str, wire: str, value: object) -> None:
    node = nodes[f"VideoMage_{name}"]
    assert wire in {given.id for given in node.define_schema().inputs}
    with pytest.raises(ValueError, match=f"^{wire}: got .{{,80}}, wire a node's output to it$"):
        node.execute(**{wire: value})


def test_names_are_the_same_on_every_system(
    nodes: dict[str, Any], host: comfy_stub.Host, toy: LoraModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows ComfyUI's own list has backslashes; workflows name files with slashes, those saved there may not."""
    listed = "videomage\\toy.safetensors"
    monkeypatch.setattr(sys.modules["folder_paths"], "get_filename_list", lambda _: [listed])
    full = str(host.home / "models" / "loras" / "videomage" / "toy.safetensors")
    monkeypatch.setattr(sys.modules["folder_paths"], "get_full_path", lambda _, name: full if name == listed else None)
    load = nodes["VideoMage_LoadLora"]
    assert load.define_schema().inputs[0].positional[0] == ["videomage/toy.safetensors"]
    for name in ("videomage/toy.safetensors", listed):
        assert load.validate_inputs(name) is True
        assert load.execute(name, "").result[0].kind == "subject"
    assert "not in models/loras" in load.validate_inputs("toy.safetensors")


def _error(node: Any, *given: Any) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        node.execute(*given)
    return str(caught.value)


def test_a_wrong_rename_is_said(nodes: dict[str, Any], toy: LoraModel) -> None:
    assert "write OLD=NEW" in _error(nodes["VideoMage_LoadLora"], "videomage/toy.safetensors", "<bear>")
    assert "<cow>" in _error(nodes["VideoMage_LoadLora"], "videomage/toy.safetensors", "<cow>=<bear>")
    check = nodes["VideoMage_LoadLora"].validate_inputs
    assert "write OLD=NEW" in check("videomage/toy.safetensors", "<toy>=<bear>, <cow>")
    assert "got 'bear', allowed are letters" in check(None, "<toy>=bear")
    assert check("videomage/toy.safetensors", "<toy>=<bear>,") is True and check(None, None) is True


def test_a_wired_name_is_left_to_the_run(nodes: dict[str, Any], toy: LoraModel) -> None:
    mark = nodes["VideoMage_LoadLora"].fingerprint_inputs
    assert mark(lora_name=None, rename="<toy>=<bear>")[1] == "<toy>=<bear>"
    assert mark(lora_name="videomage/toy.safetensors", rename=None)[0] > 0


@pytest.mark.parametrize("name", ["../toy.safetensors", "/etc/passwd", "videomage/../../secret.safetensors"])
def test_no_path_but_a_listed_name_is_read(nodes: dict[str, Any], toy: LoraModel, name: str) -> None:
    assert "not in models/loras" in _error(nodes["VideoMage_LoadLora"], name, "")


def test_a_path_of_home_is_understood(nodes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    images = next(module for name, module in sys.modules.items() if name.endswith(".nodes.conversions"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert images.folder("~", "images_folder") == tmp_path
    assert images.folder("  ", "images_folder") is None


def test_an_ordinary_lora_is_a_subject_called_by_its_trigger_words(
    nodes: dict[str, Any], host: comfy_stub.Host, toy: LoraModel, shared_emoji_base: Any
) -> None:
    from types import SimpleNamespace

    from safetensors.torch import save_file

    module = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    layer = shared_emoji_base.unet.get_submodule(module)
    stem = f"lora_unet_{module.replace('.', '_')}"
    a, b = torch.ones(2, layer.in_features), torch.ones(layer.out_features, 2)
    tensors = {f"{stem}.lora_down.weight": a, f"{stem}.lora_up.weight": b, f"{stem}.alpha": torch.tensor(1.0)}
    save_file(tensors, host.home / "models" / "loras" / "cup.safetensors")
    load, base = nodes["VideoMage_LoadLora"], SimpleNamespace(backbone=shared_emoji_base)
    with torch.inference_mode():
        made = load.execute("cup.safetensors", "", "sks cup", "cup", base)
    lora_model = made.result[0]
    assert [(token.name, token.superclass) for token in lora_model.tokens] == [("<sks_cup>", "cup")]
    assert made.ui == {"text": "scale 0.5 from its .alpha tensor (alpha 1 / 2)"}
    assert torch.allclose(lora_model.weights.delta(module), 0.5 * b @ a)
    assert not lora_model.tokens[0].vectors.is_inference() and not lora_model.weights.layers[module][1].is_inference()
    assert (
        load.execute("cup.safetensors", "<sks_cup>=<mug>", "sks cup", "cup", base).result[0].tokens[0].name == "<mug>"
    )
    for given, message in (
        (("cup.safetensors", ""), "an ordinary LoRA needs its trigger words"),
        (("cup.safetensors", "", "sks cup", "cup"), "base: got none; connect the Load Video Base"),
        (("cup.safetensors", "", "sks cup", "", base), "superclass: got ''"),
        (("videomage/toy.safetensors", "", "sks toy", "robot", base), "was written by VideoMage"),
    ):
        with pytest.raises(ValueError, match=message):
            load.execute(*given)
