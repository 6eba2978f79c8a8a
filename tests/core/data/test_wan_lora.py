"""LoRA files for Wan: every trainer's gives the same change of weights; a merge is the average of those changes."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.core.data.wan_lora_files import LAYERS, RANK, ROWS, factors, original_to_diffusers, write
from videomage_core.data.wan_lora import merge_wan_loras, read_wan_lora, save_wan_lora, wan_layer


def deltas(weights) -> dict[str, torch.Tensor]:
    return {layer: weights.delta(layer) for layer in weights.layers}


@pytest.mark.parametrize("who", ROWS)
def test_every_trainer_s_file_gives_the_original_names_and_the_right_change(who, tmp_path):
    pairs = factors(0)
    scale = write(tmp_path / "x.safetensors", who, pairs)
    got = deltas(read_wan_lora(tmp_path / "x.safetensors").experts[""])
    assert set(got) == set(LAYERS)
    for layer, (a, b) in pairs.items():
        torch.testing.assert_close(got[layer], scale * (b @ a))


def test_a_lora_trained_on_diffusers_wan_with_peft_gives_the_change_that_peft_applies(tmp_path):
    from diffusers import WanTransformer3DModel
    from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    model = WanTransformer3DModel(
        num_attention_heads=1, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=8, freq_dim=16,
        ffn_dim=20, num_layers=2,
    )  # fmt: skip
    config = LoraConfig(r=4, lora_alpha=8, use_rslora=True, target_modules=["to_q", "to_out.0", "net.0.proj", "net.2"])
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    about = {**config.to_dict(), "target_modules": sorted(config.target_modules)}
    state = get_peft_model_state_dict(model, adapter_name="default")
    WanLoraLoaderMixin.save_lora_weights(
        tmp_path, transformer_lora_layers=state, transformer_lora_adapter_metadata=about
    )
    read = read_wan_lora(tmp_path / "pytorch_lora_weights.safetensors")
    assert read.scale == "scale 4 from the header's lora_adapter_metadata (alpha 8 / sqrt 4)"
    got = deltas(read.experts[""])
    wanted = {n: m.get_delta_weight("default") for n, m in model.named_modules() if hasattr(m, "get_delta_weight")}
    assert len(got) == len(wanted) == 12
    for name, delta in wanted.items():
        torch.testing.assert_close(got[wan_layer(name)], delta, atol=1e-5, rtol=1e-5)


def test_diffusers_reads_what_is_written_and_makes_the_same_change(tmp_path):
    from diffusers import WanTransformer3DModel
    from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin

    write(tmp_path / "x.safetensors", "musubi, kohya", factors(0))
    lora = read_wan_lora(tmp_path / "x.safetensors")
    (path,) = save_wan_lora(tmp_path / "ours.safetensors", lora)
    model = WanTransformer3DModel(
        num_attention_heads=1, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=8, freq_dim=16,
        ffn_dim=20, num_layers=2,
    )  # fmt: skip
    state = WanLoraLoaderMixin.lora_state_dict(tmp_path, weight_name=path.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        WanLoraLoaderMixin.load_lora_into_transformer(state, model)
    got = {n: m for n, m in model.named_modules() if hasattr(m, "get_delta_weight")}
    assert len(got) == len(LAYERS)
    for name, module in got.items():
        (adapter,) = module.lora_A
        torch.testing.assert_close(module.get_delta_weight(adapter), lora.experts[""].delta(wan_layer(name)))


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_s_name_is_the_same_however_it_is_written(name):
    for spelling in (name, name.replace(".", "_"), original_to_diffusers(name)):
        assert wan_layer(spelling) == name
        assert wan_layer(original_to_diffusers(name).replace(".", "_")) == name


def test_layers_outside_and_strange_ones():
    assert wan_layer("head.head") == wan_layer("proj_out") == "head.head"
    assert wan_layer("blocks.3.attn2.add_k_proj") == "blocks.3.cross_attn.k_img"
    assert wan_layer("condition_embedder.time_proj") == "time_projection.1"
    for strange in ("blocks.0.norm1", "down_blocks.0.attentions.0.proj_in", "blocks.0.self_attn.qkv", "blocks.x.ffn.0"):
        assert wan_layer(strange) is None


def test_a_merge_is_the_weighted_average_of_the_changes_exactly(tmp_path):
    """In float64; averaged factors would be something else."""
    loras, scales = [], []
    for number, who in enumerate(("musubi, kohya", "diffusers", "ai-toolkit")):
        path = tmp_path / f"{number}.safetensors"
        scales.append(write(path, who, factors(number)))
        loras.append(read_wan_lora(path))
    merged = merge_wan_loras(loras, [1, 2, 1]).experts[""]
    assert merged.rank == 3 * RANK
    for layer in LAYERS:
        wanted = sum(
            share * scale * (factors(n)[layer][1].double() @ factors(n)[layer][0].double())
            for n, (share, scale) in enumerate(zip((0.25, 0.5, 0.25), scales, strict=True))
        )
        a, b = merged.layers[layer]
        torch.testing.assert_close(b.double() @ a.double(), wanted, atol=1e-6, rtol=1e-6)


def test_merging_a_lora_with_itself_returns_it_and_a_missing_layer_counts_as_zero(tmp_path):
    write(tmp_path / "a.safetensors", "ai-toolkit", factors(0))
    write(tmp_path / "b.safetensors", "ai-toolkit", {LAYERS[0]: factors(1)[LAYERS[0]]})
    one, part = read_wan_lora(tmp_path / "a.safetensors"), read_wan_lora(tmp_path / "b.safetensors")
    twice = merge_wan_loras([one, one]).experts[""]
    for layer in LAYERS:
        torch.testing.assert_close(twice.delta(layer), one.experts[""].delta(layer))
    both = merge_wan_loras([one, part]).experts[""]
    torch.testing.assert_close(both.delta(LAYERS[1]), one.experts[""].delta(LAYERS[1]) / 2)


def test_a_written_file_comes_back_with_vectors_and_trigger_words(tmp_path):
    header = {"ss_tag_frequency": json.dumps({"10_toy": {"sks toy": 7}}), "ss_base_model_version": "wan2.1"}
    for name, seed in (("a", 0), ("b", 1)):
        write(tmp_path / f"{name}.safetensors", "ai-toolkit", factors(seed))
        tensors = load_file(tmp_path / f"{name}.safetensors")
        save_file(
            {**tensors, f"lora_emb.{name}": torch.full((2, 8), seed + 1.0)}, tmp_path / f"{name}.safetensors", header
        )
    merged = merge_wan_loras([read_wan_lora(tmp_path / "a.safetensors"), read_wan_lora(tmp_path / "b.safetensors")])
    (path,) = save_wan_lora(tmp_path / "sub" / "both.safetensors", merged)
    again = read_wan_lora(path)
    assert {name: float(t.mean()) for name, t in again.vectors.items()} == {"a": 1.0, "b": 2.0}
    for layer in LAYERS:
        assert torch.equal(again.experts[""].delta(layer), merged.experts[""].delta(layer))
    assert all(key.startswith(("diffusion_model.blocks.", "lora_emb.")) for key in load_file(path))
    about = again.metadata
    assert json.loads(about["ss_tag_frequency"]) == {"a + b": {"sks toy": 14}}
    assert about["modelspec.architecture"] == "wan2.1/lora" and about["modelspec.title"] == "both"
    assert about["modelspec.merged_from"] == "a.safetensors, b.safetensors"


@pytest.mark.parametrize(("dtype", "near"), [("fp32", 0), ("bf16", 1e-2), ("fp16", 2e-3)])
def test_half_precision_is_near(dtype, near, tmp_path):
    write(tmp_path / "a.safetensors", "ai-toolkit", factors(0))
    lora = read_wan_lora(tmp_path / "a.safetensors")
    again = read_wan_lora(save_wan_lora(tmp_path / "b.safetensors", lora, dtype)[0])
    for layer in LAYERS:
        error = (again.experts[""].delta(layer) - lora.experts[""].delta(layer)).norm()
        assert error <= near * lora.experts[""].delta(layer).norm()


def unsplit(path, first, second):
    tensors = {}
    for part, pairs in (("transformer_1", first), ("transformer_2", second)):
        for layer, (a, b) in pairs.items():
            name = f"diffusion_model.{part}.{layer}"
            tensors |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
    save_file(tensors, path)


def test_both_experts_of_wan_2_2_are_merged_apart_and_written_apart(tmp_path):
    unsplit(tmp_path / "a.safetensors", factors(0), factors(1))
    unsplit(tmp_path / "b.safetensors", factors(2), factors(3))
    write(tmp_path / "c.safetensors", "ai-toolkit", factors(4))
    loras = [read_wan_lora(tmp_path / f"{name}.safetensors") for name in "abc"]
    written = save_wan_lora(tmp_path / "m.safetensors", merge_wan_loras(loras))
    assert [path.name for path in written] == ["m_high_noise.safetensors", "m_low_noise.safetensors"]
    for path, seeds in zip(written, ((0, 2, 4), (1, 3, 4)), strict=True):
        got = read_wan_lora(path).experts[""]
        for layer in LAYERS:
            wanted = sum(factors(seed)[layer][1] @ factors(seed)[layer][0] for seed in seeds) / 3
            torch.testing.assert_close(got.delta(layer), wanted, atol=1e-5, rtol=1e-5)


def test_the_zero_differences_of_a_speed_up_lora_are_read_and_others_refused(tmp_path):
    write(tmp_path / "x.safetensors", "lightx2v", factors(0))
    tensors = load_file(tmp_path / "x.safetensors")
    save_file({**tensors, "diffusion_model.blocks.0.norm3.diff": torch.zeros(4)}, tmp_path / "x.safetensors")
    assert len(read_wan_lora(tmp_path / "x.safetensors").experts[""].layers) == len(LAYERS)
    save_file({**tensors, "diffusion_model.blocks.0.norm3.diff_b": torch.ones(4)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"norm3.diff_b is a whole difference .* load it with ComfyUI's Load LoRA"):
        read_wan_lora(tmp_path / "x.safetensors")


def test_what_cannot_be_merged_says_why(tmp_path):
    write(tmp_path / "a.safetensors", "ai-toolkit", factors(0))
    write(tmp_path / "wide.safetensors", "ai-toolkit", factors(0, wide=16))
    write(tmp_path / "a_high_noise.safetensors", "ai-toolkit", factors(0))
    write(tmp_path / "a_low_noise.safetensors", "ai-toolkit", factors(0))
    a, wide, high, low = (
        read_wan_lora(tmp_path / f"{name}.safetensors") for name in ("a", "wide", "a_high_noise", "a_low_noise")
    )
    for loras, weights, message in (
        ([], None, "got none"),
        ([a, a], [1.0], "weights: got 1 for 2 LoRAs"),
        ([a, a], [1.0, -1.0], "weights: got 1, -1 for 2"),
        ([a, a], [0.0, 0.0], "not all 0"),
        ([a, wide], None, r"a\.safetensors and wide\.safetensors are for different sizes of Wan: .* 12x12 and 16x16"),
        ([high, low], None, "high-noise and of its low-noise expert"),
    ):
        with pytest.raises(ValueError, match=message):
            merge_wan_loras(loras, weights)
    merged = merge_wan_loras([a])
    with pytest.raises(ValueError, match="dtype: got 'int8'"):
        save_wan_lora(tmp_path / "b.safetensors", merged, "int8")
    with pytest.raises(ValueError, match="expert: got 'low_noise'"):
        merged.state_dict("low_noise")
    key = "lora_unet_down_blocks_0_attentions_0_proj_in"
    save_file(
        {f"{key}.lora_down.weight": torch.zeros(1, 4), f"{key}.lora_up.weight": torch.zeros(4, 1)},
        tmp_path / "u.safetensors",
    )
    with pytest.raises(ValueError, match=r"u\.safetensors does not fit Wan: 1 of its layers.*seems to be for a U-Net"):
        read_wan_lora(tmp_path / "u.safetensors")


def test_two_vectors_of_one_name_clash(tmp_path):
    loras = []
    for seed in (0, 1):
        path = tmp_path / f"{seed}.safetensors"
        write(path, "ai-toolkit", factors(seed))
        save_file({**load_file(path), "lora_emb.toy": torch.full((1, 8), float(seed))}, path)
        loras.append(read_wan_lora(path))
    with pytest.raises(ValueError, match=r"different vectors for <toy>; rename it in one"):
        merge_wan_loras(loras)
