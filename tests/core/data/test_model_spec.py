"""What LoRA managers read of our files, as other trainers write it."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from videomage_core.data.lora_file import LoraModel, load_lora, save_lora
from videomage_core.data.lora_layers import read_external_lora
from videomage_core.data.model_spec import merged_header, trigger_words
from videomage_core.model.fingerprint import Fingerprint
from videomage_core.model.lora_weights import LoraWeights
from videomage_core.model.text import SpecialToken


def lora_model(ranks: tuple[int, ...] = (2, 2)) -> LoraModel:
    layers = {f"a.{i}": (torch.ones(rank, 4), torch.ones(5, rank)) for i, rank in enumerate(ranks)}
    tokens = (SpecialToken("<toy>", torch.ones(1, 8), "stuffed animal"),)
    details = {"settings": {"width": 576, "height": 320}, "prompts": "a secret"}
    mark = Fingerprint("0" * 16, (0.0,) * 16)
    image = Image.new("RGB", (8, 8), "red")
    return LoraModel("subject", LoraWeights(layers), tokens, "zeroscope_v2_576w", mark, details, image)


def header_of(path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def test_a_saved_file_says_title_base_words_size_and_image(tmp_path):
    save_lora(tmp_path / "my toy.safetensors", lora_model())
    header = header_of(tmp_path / "my toy.safetensors")
    assert header["modelspec.sai_model_spec"] == "1.0.1"
    assert header["modelspec.architecture"] == "modelscope-t2v/lora"
    assert header["modelspec.title"] == header["ss_output_name"] == "my toy"
    assert header["modelspec.trigger_phrase"] == "<toy>" and header["modelspec.resolution"] == "576x320"
    assert header["modelspec.thumbnail"].startswith("data:image/png;base64,")
    assert header["ss_base_model_version"] == "zeroscope_v2_576w"
    assert json.loads(header["ss_tag_frequency"]) == {"my toy": {"<toy>": 1}}
    others = {key: value for key, value in header.items() if key != "videomage"}
    assert "secret" not in json.dumps(others) and "/" not in header["modelspec.title"]
    assert load_lora(tmp_path / "my toy.safetensors").tokens[0].name == "<toy>"


@pytest.mark.parametrize(("ranks", "dim"), [((2, 2), "2"), ((2, 4), "Dynamic")])
def test_alpha_is_the_rank_since_the_scale_is_in_the_factors(ranks, dim, tmp_path):
    save_lora(tmp_path / "toy.safetensors", lora_model(ranks))
    header = header_of(tmp_path / "toy.safetensors")
    assert header["ss_network_dim"] == header["ss_network_alpha"] == dim
    assert read_external_lora(tmp_path / "toy.safetensors").scale.startswith("scale 1 from")


def test_the_same_lora_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        save_lora(tmp_path / folder / "toy.safetensors", lora_model())
    one, two = ((tmp_path / folder / "toy.safetensors").read_bytes() for folder in ("a", "b"))
    assert one == two


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"ss_tag_frequency": '{"10_a": {"sks": 3, "dog": 1}, "b": {"sks": 2}}'}, {"sks": 5, "dog": 1}),
        ({"modelspec.trigger_phrase": "sks toy, <b>"}, {"sks toy": 1, "<b>": 1}),
        ({"ss_tag_frequency": "{"}, {}),
        ({"ss_tag_frequency": "[1]"}, {}),
        ({"ss_tag_frequency": '{"a": 3, "b": {"c": "x"}}'}, {}),
        ({"ss_tag_frequency": "[" * 100_000}, {}),
        ({"ss_tag_frequency": json.dumps({"a": {"x" * 300_000: 1}})}, {}),
        ({}, {}),
    ],
)
def test_trigger_words_of_anyone(header, words):
    assert trigger_words(header) == words


def test_a_merge_names_what_it_was_made_of():
    one = {"ss_tag_frequency": '{"a": {"sks": 3}}', "ss_base_model_version": "wan2.1"}
    same = merged_header(["a.safetensors", "b.safetensors"], [one, one], "wan2.1")
    assert same["modelspec.merged_from"] == "a.safetensors, b.safetensors"
    assert same["ss_base_model_version"] == "wan2.1" and trigger_words(same) == {"sks": 6}
    assert merged_header(["a", "b"], [one, {}], "wan")["ss_base_model_version"] == "wan"
