"""The scale of others' files, against the libraries that write them; two places that differ are an error."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from videomage_core.data.lora_layers import read_external_lora

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
R, IN, OUT = 4, 6, 5


def factors(seed: int = 0, rank: int = R) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rank, IN, generator=generator), torch.randn(OUT, rank, generator=generator)


def write(folder: Path, keys: str, metadata: dict[str, str] | None = None, name: str = "x", **more: Any) -> Path:
    """A file of one layer, in the keys of peft or of kohya; ``more``: an ``alpha`` tensor, a ``rank``."""
    a, b = factors(rank=more.get("rank", R))
    stem = f"lora_unet_{LAYER.replace('.', '_')}" if keys == "kohya" else keys + LAYER
    ends = (".lora_down.weight", ".lora_up.weight") if keys == "kohya" else (".lora_A.weight", ".lora_B.weight")
    tensors = {stem + ends[0]: a, stem + ends[1]: b}
    if "alpha" in more:
        tensors[f"{stem}.alpha"] = torch.as_tensor(more["alpha"])
    path = folder / f"{name}.safetensors"
    save_file(tensors, path, metadata)
    return path


def scale_of(path: Path, rank: int = R) -> float:
    """What the file's B was multiplied with."""
    got = read_external_lora(path).layers[""]
    ((_, b),) = got.values()
    return float((b / factors(rank=rank)[1]).mean())


class Net(torch.nn.Module):
    """Three layers for peft, the names nested as in a network."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.ModuleDict({"q": torch.nn.Linear(6, 5)}) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(block["q"](x) for block in self.blocks)


def peft_model(**settings: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(Net(), LoraConfig(target_modules=["q"], **settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return model


PEFT = [
    {"r": 4, "lora_alpha": 16},
    {"r": 4, "lora_alpha": 16, "use_rslora": True},
    {"r": 4, "lora_alpha": 8, "rank_pattern": {"blocks.1.q": 2}, "alpha_pattern": {"blocks.0.q": 3, "1.q": 32}},
    {"r": 4, "lora_alpha": 8, "alpha_pattern": {r"blocks\.[12]\.q": 1}},
    {"r": 4, "lora_alpha": 8, "use_rslora": True, "rank_pattern": {"^blocks.2.q": 1}, "alpha_pattern": {"0.q": 5}},
]


@pytest.mark.parametrize("settings", PEFT, ids=range(len(PEFT)))
def test_a_folder_that_peft_saved_means_what_it_means_to_peft(settings, tmp_path):
    model = peft_model(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(str(tmp_path))
    read = read_external_lora(tmp_path / "adapter_model.safetensors")
    assert "adapter_config.json" in read.scale
    for index in range(3):
        a, b = read.layers[""][f"blocks.{index}.q"]
        wanted = model.base_model.model.blocks[index]["q"].get_delta_weight("default")
        torch.testing.assert_close(b @ a, wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("settings", PEFT, ids=range(len(PEFT)))
@pytest.mark.parametrize("part", ["unet", "transformer"])
def test_a_file_that_diffusers_saved_with_its_metadata_means_what_it_means_to_peft(settings, part, tmp_path):
    from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin, WanLoraLoaderMixin
    from peft import get_peft_model_state_dict

    model = peft_model(**settings)
    layers = {k.removeprefix("base_model.model."): v for k, v in get_peft_model_state_dict(model).items()}
    about = model.peft_config["default"].to_dict()
    about["target_modules"] = sorted(about["target_modules"])
    if part == "unet":
        StableDiffusionLoraLoaderMixin.save_lora_weights(
            tmp_path, unet_lora_layers=layers, unet_lora_adapter_metadata=about
        )
    else:
        WanLoraLoaderMixin.save_lora_weights(
            tmp_path, transformer_lora_layers=layers, transformer_lora_adapter_metadata=about
        )
    read = read_external_lora(tmp_path / "pytorch_lora_weights.safetensors")
    assert "the header's lora_adapter_metadata" in read.scale
    for index in range(3):
        a, b = read.layers[""][f"blocks.{index}.q"]
        wanted = model.base_model.model.blocks[index]["q"].get_delta_weight("default")
        torch.testing.assert_close(b @ a, wanted, atol=1e-6, rtol=1e-5)


def test_the_line_says_what_was_read_and_where(tmp_path):
    header = {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 16})}
    line = read_external_lora(write(tmp_path, "unet.", header)).scale
    assert line == "scale 4 from the header's lora_adapter_metadata (alpha 16 / 4)"
    line = read_external_lora(write(tmp_path, "kohya", alpha=2.0)).scale
    assert line == "scale 0.5 from its .alpha tensor (alpha 2 / 4)"
    assert read_external_lora(write(tmp_path, "unet.")).scale.startswith("scale 1 from no entry of the file")


KOHYA = {"ss_network_module": "networks.lora", "ss_network_dim": "4"}


@pytest.mark.parametrize(
    ("keys", "metadata", "alpha", "wanted"),
    [
        ("kohya", None, 2.0, 0.5),
        ("kohya", None, torch.tensor(2), 0.5),  # musubi's converter writes whole numbers
        ("kohya", None, torch.tensor([2.0]), 0.5),
        ("kohya", {**KOHYA, "ss_network_alpha": "1"}, 1.0, 0.25),
        ("kohya", {**KOHYA, "ss_network_alpha": "10.3"}, torch.tensor(10.3).half(), 10.3 / 4),
        ("kohya", {**KOHYA, "ss_network_alpha": "2.0"}, None, 0.5),  # .alpha was stripped
        ("kohya", {"ss_network_dim": "Dynamic", "ss_network_alpha": "Dynamic"}, 1.0, 0.25),  # a resized one
        ("kohya", {**KOHYA, "ss_network_alpha": "None"}, 8.0, 2.0),
        ("kohya", {**KOHYA, "ss_network_dim": "16", "ss_network_alpha": "8"}, 1.0, 0.25),  # conv_dim and the like
        ("kohya", {**KOHYA, "ss_network_alpha": "1", "ss_network_args": '{"rs_lora": "True"}'}, 2.0, 0.5),
        ("unet.", {**KOHYA, "ss_network_alpha": "1"}, None, 1.0),  # converted: musubi multiplies the scale in
        ("diffusion_model.", None, None, 1.0),  # ai-toolkit, lightx2v
        ("diffusion_model.", {"software": '{"name": "ai-toolkit"}'}, None, 1.0),
        ("diffusion_model.", None, 1.0, 0.25),
        ("transformer.", {"lora_adapter_metadata": '{"transformer.r": 4, "transformer.lora_alpha": 2}'}, None, 0.5),
        ("transformer.", {"lora_adapter_metadata": '{"r": 4, "lora_alpha": 2, "use_rslora": true}'}, None, 1.0),
        ("", {"lora_adapter_metadata": '{"unet.r": 4, "unet.lora_alpha": 2}'}, None, 0.5),
        ("diffusion_model.", {"lora_adapter_metadata": '{"transformer.r": 4, "transformer.lora_alpha": 2}'}, None, 0.5),
        ("unet.", {"lora_alpha": "16", "lora_rank": "4"}, None, 4.0),
        ("unet.", {"network_alpha": "16", "use_rslora": "true"}, None, 8.0),
        ("unet.", {"lora_adapter_metadata": '{"text_encoder.r": 8, "text_encoder.lora_alpha": 2}'}, None, 1.0),
    ],
)  # fmt: skip
def test_where_a_scale_can_stand(keys, metadata, alpha, wanted, tmp_path):
    more = {} if alpha is None else {"alpha": alpha}
    assert scale_of(write(tmp_path, keys, metadata, **more)) == pytest.approx(wanted, rel=1e-3)


def test_what_diffusers_takes_for_the_scale_of_a_kohya_file_is_what_is_read(tmp_path):
    from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin

    path = write(tmp_path, "kohya", alpha=1.0)
    _, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(tmp_path, weight_name=path.name)
    assert [alpha / R for alpha in alphas.values()] == pytest.approx([scale_of(path)])


@pytest.mark.parametrize(
    ("keys", "metadata", "alpha", "message"),
    [
        (
            "kohya", {**KOHYA, "ss_network_alpha": "4"}, 1.0,
            r"the scale of .*attn2_to_k.*: 0\.25 by its \.alpha tensor.*, 1 by the header's ss_network_alpha",
        ),
        (
            "unet.", {"lora_adapter_metadata": '{"unet.r": 4, "unet.lora_alpha": 16}'}, 4.0,
            r"1 by its \.alpha tensor .*, 4 by the header's lora_adapter_metadata",
        ),
        (
            "unet.", {"lora_adapter_metadata": '{"r": 4, "lora_alpha": 16}', "lora_alpha": "4"}, None,
            r"4 by the header's lora_adapter_metadata .*, 1 by the header's lora_alpha",
        ),
        ("unet.", {"lora_adapter_metadata": '{"r": 8, "lora_alpha": 16}'}, None, "rank of .*: 8 by .*, 4 by its"),
        (
            "unet.", {"lora_adapter_metadata": '{"transformer.r": 4, "transformer.lora_alpha": 2}'}, None,
            "its header's lora_adapter_metadata is for 'transformer', the layer .* is of 'unet'",
        ),
        ("unet.", {"ss_network_dim": "4", "ss_network_alpha": "1"}, None, "which holds cannot be known"),
        ("kohya", {"ss_network_dim": "8", "ss_network_alpha": "1"}, None, "8 by the header's ss_network_dim, 4 by its"),
        ("base_model.model.", None, None, "whose scale is in adapter_config.json; put that beside it"),
        ("kohya", None, math.nan, "has nan in lora_unet_.*alpha"),
        ("kohya", None, 0.0, "has 0 in lora_unet_.*alpha"),
        ("kohya", None, [1.0, 2.0], "has 2 numbers in lora_unet_.*alpha"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_or_cannot_be_known_is_refused(keys, metadata, alpha, message, tmp_path):
    path = write(tmp_path, keys, metadata, **({} if alpha is None else {"alpha": alpha}))
    with pytest.raises(ValueError, match=rf"LoRA: x\.safetensors .*{message}"):
        read_external_lora(path)


def test_an_alpha_for_some_layers_only_is_broken(tmp_path):
    path = write(tmp_path, "unet.", alpha=1.0)
    a, b = factors(1)
    save_file({**load_file(path), "unet.other.lora_A.weight": a, "unet.other.lora_B.weight": b}, path)
    with pytest.raises(ValueError, match=r"no \.alpha for 'other'"):
        read_external_lora(path)


def test_the_config_counts_beside_peft_s_own_name_alone(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 16, "peft_type": "LORA"}')
    assert scale_of(write(tmp_path, "unet.", name="adapter_model")) == pytest.approx(4.0)
    assert scale_of(write(tmp_path, "unet.", name="another")) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "adapter_config.json is no JSON"),
        ("[1]", "adapter_config.json holds a JSON list, must be an object"),
        ("[" * 100_000, "is no JSON"),
        ('{"hello": 1}', r"has None for r in adapter_config.json"),
        ('{"r": "4", "lora_alpha": 1}', "has '4' for r"),
        ('{"r": 4, "lora_alpha": true}', "has True for lora_alpha"),
        ('{"r": 4, "lora_alpha": NaN}', "has nan for lora_alpha"),
        ('{"r": 4, "lora_alpha": -1}', "has -1 for lora_alpha"),
        ('{"r": 4, "lora_alpha": 1, "peft_type": "LOHA"}', "is a 'LOHA' by adapter_config.json"),
        ('{"r": 4, "lora_alpha": 1, "use_dora": true}', "is a DoRA by adapter_config.json"),
        ('{"r": 4, "lora_alpha": 1, "init_lora_weights": "pissa_niter_16"}', "began with pissa_niter_16"),
        ('{"r": 4, "lora_alpha": 1, "alpha_pattern": [1]}', r"has \[1\] for alpha_pattern"),
        ('{"r": 4, "lora_alpha": 1, "alpha_pattern": {"a": "b"}}', "has 'b' for alpha_pattern"),
        ('{"r": 4, "lora_alpha": 1, "alpha_pattern": {"(a+)+": 1}}', "too long or too nested"),
        ('{"r": 4, "lora_alpha": 1, "alpha_pattern": {"(a": 1}}', r"has the pattern '\(a'"),
        (b"\xff\xfe{", "adapter_config.json begins as UTF-16 but is damaged at byte 2"),
    ],
)
def test_a_broken_or_strange_config_is_named(text, message, tmp_path):
    path = write(tmp_path, "unet.", name="adapter_model")
    (tmp_path / "adapter_config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_external_lora(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_config_that_another_editor_saved_is_read(encoding, tmp_path):
    path = write(tmp_path, "unet.", name="adapter_model")
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 16}', encoding=encoding)
    assert scale_of(path) == pytest.approx(4.0)


@pytest.mark.parametrize("entry", ["lora_alpha", "network_alpha", "alpha", "ss_network_alpha"])
@pytest.mark.parametrize("value", ["nan", "inf", "0", "-4", "four"])
def test_a_number_in_the_header_that_is_none_is_refused(entry, value, tmp_path):
    header = {entry: value, "ss_network_dim": "4"} if entry.startswith("ss_") else {entry: value}
    if (entry, value) == ("ss_network_alpha", "0"):  # kohya's way to say: alpha = rank
        assert scale_of(write(tmp_path, "unet.", header)) == pytest.approx(1.0)
        return
    with pytest.raises(ValueError, match=rf"x\.safetensors has '{value}' for {entry} in its header"):
        read_external_lora(write(tmp_path, "unet.", header))


def test_a_broken_header_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"lora_adapter_metadata of x\.safetensors is no JSON"):
        read_external_lora(write(tmp_path, "unet.", {"lora_adapter_metadata": "{"}))
