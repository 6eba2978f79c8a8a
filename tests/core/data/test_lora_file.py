"""The LoRA file: what goes in comes out, stock loaders read it, wrong files say what is wrong."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from videomage_core.data.lora_file import (
    LoraModel,
    apply_loras,
    collect_tokens,
    load_lora,
    lora_path,
    rename_token,
    require_base,
    save_lora,
)
from videomage_core.model import lora
from videomage_core.model.fingerprint import Fingerprint, fingerprint
from videomage_core.model.lora_weights import LoraWeights
from videomage_core.model.text import SpecialToken


@pytest.fixture
def lora_model(emoji_base) -> LoraModel:
    generator = torch.Generator().manual_seed(0)
    layers = {}
    for target in emoji_base.targets("spatial"):
        layer = emoji_base.network.get_submodule(target.module)
        a = torch.randn(2, layer.in_features, generator=generator) * 0.1
        layers[target.module] = (a, torch.randn(layer.out_features, 2, generator=generator) * 0.1)
    return LoraModel(
        "subject",
        LoraWeights(layers, scale=3.0),
        (SpecialToken("<toy_1>", torch.randn(2, 96, generator=generator), "stuffed animal"),),
        "emoji_base",
        fingerprint(emoji_base.network),
        {"steps": 300},
        Image.new("RGB", (300, 200), "red"),
    )


def test_a_file_comes_back_whole(lora_model, tmp_path, emoji_base):
    save_lora(tmp_path / "sub" / "toy.safetensors", lora_model)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["toy.safetensors"]
    again = load_lora(tmp_path / "sub" / "toy.safetensors")
    assert (again.kind, again.base, again.details) == ("subject", "emoji_base", {"steps": 300})
    assert again.tokens[0].name == "<toy_1>" and again.tokens[0].superclass == "stuffed animal"
    assert torch.equal(again.tokens[0].vectors, lora_model.tokens[0].vectors)
    assert again.fingerprint == lora_model.fingerprint
    assert again.thumbnail is not None and max(again.thumbnail.size) == 128
    for module in lora_model.weights.layers:
        assert torch.allclose(again.weights.delta(module), lora_model.weights.delta(module), atol=1e-6)
    assert emoji_base.encode_prompt(["a <toy_1> on grass"], again.tokens).shape == (1, 77, 96)


def test_stock_diffusers_loads_it_and_predicts_the_same(lora_model, tmp_path, emoji_base, latents):
    from diffusers import UNet3DConditionModel
    from diffusers.loaders import PeftAdapterMixin, StableDiffusionLoraLoaderMixin

    from videomage_core.model.base_folder import EMOJI_BASE

    class StockUNet(UNet3DConditionModel, PeftAdapterMixin):
        pass

    save_lora(tmp_path / "toy.safetensors", lora_model)
    unet = StockUNet.from_config(UNet3DConditionModel.load_config(EMOJI_BASE / "unet")).eval()
    unet.load_state_dict(emoji_base.unet.state_dict())
    state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(tmp_path, weight_name="toy.safetensors")
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(state, network_alphas=alphas, unet=unet)

    text = emoji_base.encode_prompt(["a dog on grass"])
    lora.load(emoji_base, "toy", load_lora(tmp_path / "toy.safetensors").weights)
    try:
        with torch.no_grad(), lora.use_adapters(emoji_base, {"toy": 1}):
            ours = emoji_base.unet(latents, 500, text).sample
    finally:
        lora.remove(emoji_base, "toy")
    with torch.no_grad():
        assert torch.allclose(unet(latents, 500, text).sample, ours, atol=1e-4)
        assert not torch.allclose(emoji_base.unet(latents, 500, text).sample, ours, atol=1e-2)


def test_every_key_is_one_that_stock_loaders_accept(lora_model, tmp_path):
    save_lora(tmp_path / "toy.safetensors", lora_model)
    with safe_open(tmp_path / "toy.safetensors", framework="pt") as file:
        keys, about = list(file.keys()), json.loads(file.metadata()["videomage"])
    assert all("lora" in key for key in keys)
    assert "lora_emb.toy_1" in keys
    assert not any(isinstance(v, str) and "/" in v for k, v in about.items() if k != "thumbnail")


def test_another_base_is_named(lora_model, emoji_base):
    require_base(lora_model, "emoji_base", fingerprint(emoji_base.network))
    other = dataclasses.replace(
        lora_model, fingerprint=Fingerprint("0" * 16, lora_model.fingerprint.weights), base="zeroscope"
    )
    with pytest.raises(ValueError, match="trained on the base 'zeroscope' and does not fit 'emoji_base'"):
        require_base(other, "emoji_base", fingerprint(emoji_base.network))


def test_clashing_tokens_say_how_to_rename(lora_model):
    with pytest.raises(ValueError, match=r"<toy_1> is in more than one .* rename FILE '<toy_1>' '<toy_1_2>'"):
        collect_tokens([lora_model, lora_model])
    renamed = rename_token(lora_model, "<TOY_1>", "<bear>")
    assert [t.name for t in collect_tokens([lora_model, renamed])] == ["<toy_1>", "<bear>"]
    assert torch.equal(renamed.tokens[0].vectors, lora_model.tokens[0].vectors)
    with pytest.raises(ValueError, match="got '<cat>', this LoRA has <toy_1>"):
        rename_token(lora_model, "<cat>", "<dog>")


def test_a_missing_a_truncated_and_a_strange_file_are_refused(lora_model, tmp_path):
    path = tmp_path / "toy.safetensors"
    with pytest.raises(FileNotFoundError, match=r"toy.safetensors is not there"):
        load_lora(path)
    save_lora(path, lora_model)
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"toy\.safetensors is not a whole safetensors file"):
            load_lora(path)
    save_file({"lora": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="was not written by VideoMage"):
        load_lora(path)
    save_file({"lora": torch.zeros(1)}, path, metadata={"videomage": "{'format': __import__('os')}"})
    with pytest.raises(ValueError, match=r"the metadata of toy\.safetensors cannot be read"):
        load_lora(path)
    save_file({"lora": torch.zeros(1)}, path, metadata={"videomage": "[1]"})
    with pytest.raises(ValueError, match=r"the metadata of toy\.safetensors cannot be read \(it is a list\)"):
        load_lora(path)
    save_file({"lora": torch.zeros(1)}, path, metadata={"videomage": '{"format": 99}'})
    with pytest.raises(ValueError, match="is of format 99, allowed is 1"):
        load_lora(path)


def test_a_failed_write_leaves_the_old_file(lora_model, tmp_path, monkeypatch):
    path = tmp_path / "toy.safetensors"
    save_lora(path, lora_model)
    before = path.read_bytes()

    def full(_tensors, partial, **_options):
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("videomage_core.data.safetensors_file.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_lora(path, lora_model)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="name: got"):
        lora_path(tmp_path, name)


def test_a_name_may_have_sub_folders(tmp_path):
    assert lora_path(tmp_path, "toys/bear") == tmp_path.resolve() / "toys" / "bear.safetensors"
    assert lora_path(tmp_path, "bear.safetensors") == tmp_path.resolve() / "bear.safetensors"


def test_layers_of_different_ranks_come_back_as_they_were(lora_model, tmp_path):
    first = next(iter(lora_model.weights.layers))
    a, b = lora_model.weights.layers[first]
    layers = {**lora_model.weights.layers, first: (torch.cat([a, a]), torch.cat([b, b], dim=1))}
    mixed = dataclasses.replace(lora_model, weights=LoraWeights(layers, scale=0.5))
    save_lora(tmp_path / "mixed.safetensors", mixed)
    again = load_lora(tmp_path / "mixed.safetensors").weights
    assert all(torch.allclose(again.delta(m), mixed.weights.delta(m), atol=1e-6) for m in layers)


@pytest.mark.parametrize("text", ["!!!", "JSFQUy1BZG9iZS0zLjA=", ""])
def test_a_thumbnail_that_is_no_small_png_is_left_out(lora_model, tmp_path, monkeypatch, text):
    monkeypatch.setattr("videomage_core.data.lora_file.image_to_text", lambda _: text)
    save_lora(tmp_path / "toy.safetensors", lora_model)
    assert load_lora(tmp_path / "toy.safetensors").thumbnail is None


def prediction(base, latents: torch.Tensor) -> torch.Tensor:
    return base.predict(latents, base.levels(4)[1], base.encode_prompt(["a dog on grass"]))


def test_applied_loras_act_inside_alone_each_at_its_strength(lora_model, emoji_base, latents):
    plain, other = prediction(emoji_base, latents), rename_token(lora_model, "<toy_1>", "<bear>")
    with torch.no_grad():
        with apply_loras(emoji_base, [(lora_model, 1.0)]) as tokens:
            assert [token.name for token in tokens] == ["<toy_1>"]
            alone = prediction(emoji_base, latents)
        with apply_loras(emoji_base, [(lora_model, 0.25), (other, 0.75)]) as tokens:
            assert [token.name for token in tokens] == ["<toy_1>", "<bear>"]
            torch.testing.assert_close(prediction(emoji_base, latents), alone, atol=1e-3, rtol=1e-3)
        assert not torch.allclose(alone, plain, atol=1e-2)
        assert lora.names(emoji_base) == [] and torch.equal(prediction(emoji_base, latents), plain)


def clashing(lora_model: LoraModel) -> list[LoraModel]:
    """The second has the first one's token, in other letters."""
    token = dataclasses.replace(lora_model.tokens[0], name="<TOY_1>")
    return [lora_model, dataclasses.replace(lora_model, tokens=(token,))]


def foreign(lora_model: LoraModel) -> list[LoraModel]:
    """The second is of another base."""
    mark = Fingerprint("0" * 16, lora_model.fingerprint.weights)
    other = rename_token(lora_model, "<toy_1>", "<bear>")
    return [lora_model, dataclasses.replace(other, fingerprint=mark, base="zeroscope")]


def misfit(lora_model: LoraModel) -> list[LoraModel]:
    """The second says it is of this base, but one of its layers has another size."""
    name, (a, b) = next(iter(lora_model.weights.layers.items()))
    layers = {**lora_model.weights.layers, name: (a[:, 1:], b)}
    return [lora_model, dataclasses.replace(rename_token(lora_model, "<toy_1>", "<bear>"), weights=LoraWeights(layers))]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (clashing, r"tokens: <toy_1> is in more than one of these LoRAs; rename it in one: .* '<toy_1>' '<toy_1_2>'"),
        (foreign, "was trained on the base 'zeroscope' and does not fit 'emoji_base'; load 'zeroscope', or train"),
        (misfit, r"in the file and .* in 'emoji_base'; it is for another base"),
    ],
)
def test_what_cannot_be_applied_leaves_the_base_as_it_was(lora_model, emoji_base, latents, wrong, message):
    before = own_modules(emoji_base)
    plain, lora_models = prediction(emoji_base, latents), wrong(lora_model)
    with pytest.raises(ValueError, match=message), apply_loras(emoji_base, [(one, 1.0) for one in lora_models]):
        raise AssertionError("it was applied")
    assert own_modules(emoji_base) == before and not hasattr(emoji_base.network, "peft_config")
    assert torch.equal(prediction(emoji_base, latents), plain)


def own_modules(base) -> dict[str, int]:
    return {name: id(module) for name, module in base.network.named_modules()}
