"""LoRAs that others wrote become subjects that act as they did."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from videomage_core.cli import main
from videomage_core.data.external_lora import load_external_lora
from videomage_core.data.lora_file import apply_loras

MODULE = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
OTHER = "mid_block.attentions.0.proj_in"


def factors(base, module: str, rank: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    layer = base.unet.get_submodule(module)
    generator = torch.Generator().manual_seed(len(module))
    a = torch.randn(rank, layer.in_features, generator=generator)
    return a, torch.randn(layer.out_features, rank, generator=generator)


def test_peft_and_kohya_files_give_the_same_subject(emoji_base, tmp_path):
    peft, kohya = {}, {}
    for module in (MODULE, OTHER):
        a, b = factors(emoji_base, module)
        peft |= {f"unet.{module}.lora_A.weight": a, f"unet.{module}.lora_B.weight": b * 0.5}
        stem = f"lora_unet_{module.replace('.', '_')}"
        kohya |= {f"{stem}.lora_down.weight": a, f"{stem}.lora_up.weight": b, f"{stem}.alpha": torch.tensor(1.0)}
    save_file(peft, tmp_path / "peft.safetensors")
    save_file(kohya, tmp_path / "kohya.safetensors")
    first = load_external_lora(emoji_base, tmp_path / "peft.safetensors", "red cat", "cat")
    second = load_external_lora(emoji_base, tmp_path / "kohya.safetensors", "red cat", "cat")
    assert first.details["scale"].startswith("scale 1 from") and "0.5 from its .alpha" in second.details["scale"]
    assert set(first.weights.layers) == set(second.weights.layers) == {MODULE, OTHER}
    for module in (MODULE, OTHER):
        a, b = factors(emoji_base, module)
        for lora_model in (first, second):
            assert torch.allclose(lora_model.weights.delta(module), 0.5 * b @ a, atol=1e-5)


def test_the_token_means_its_trigger_words(emoji_base, tmp_path):
    a, b = factors(emoji_base, MODULE)
    save_file({f"{MODULE}.lora_A.weight": a, f"{MODULE}.lora_B.weight": b}, tmp_path / "x.safetensors")
    lora_model = load_external_lora(emoji_base, tmp_path / "x.safetensors", "grey robot", "robot")
    assert lora_model.tokens[0].name == "<grey_robot>" and lora_model.tokens[0].superclass == "robot"
    with apply_loras(emoji_base, [(lora_model, 1.0)]) as tokens, torch.no_grad():
        got = emoji_base.encode_prompt(["a <grey_robot> is jumping on grass"], tokens)
        assert torch.allclose(got, emoji_base.encode_prompt(["a grey robot is jumping on grass"]), atol=1e-6)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"unet.conv_in.lora_A.weight": torch.zeros(1, 4), "unet.conv_in.lora_B.weight": torch.zeros(4, 1)}, "conv_in"),
        ({"weights": torch.zeros(1)}, "none of its keys"),
        (
            {f"unet.{MODULE}.lora_A.weight": torch.zeros(1, 7), f"unet.{MODULE}.lora_B.weight": torch.zeros(9, 1)},
            rf"does not fit 'emoji_base': {MODULE} is 9x7 in the file and \d+x\d+ in the base",
        ),
        (
            {
                "diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.zeros(1, 4),
                "diffusion_model.blocks.0.self_attn.q.lora_B.weight": torch.zeros(4, 1),
            },
            "1 of its layers, e.g. 'blocks.0.self_attn.q', .*it seems to be for Wan",
        ),
        ({"lora_te_text_model_x.lora_down.weight": torch.zeros(1, 1)}, "changes the text encoder"),
    ],
)
def test_what_is_no_subject_is_refused(emoji_base, tmp_path, tensors, message):
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=message):
        load_external_lora(emoji_base, tmp_path / "x.safetensors", "cat", "cat")


def test_a_file_that_is_not_there_or_not_whole_is_named(emoji_base, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone.safetensors is not there"):
        load_external_lora(emoji_base, tmp_path / "gone.safetensors", "cat", "cat")
    (tmp_path / "half.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(ValueError, match=r"half.safetensors is not a whole safetensors file"):
        load_external_lora(emoji_base, tmp_path / "half.safetensors", "cat", "cat")


@pytest.mark.parametrize(("trigger", "superclass", "named"), [("  ", "cat", "trigger"), ("sks cat", " ", "superclass")])
def test_words_that_are_missing_are_asked_for(emoji_base, tmp_path, trigger, superclass, named):
    with pytest.raises(ValueError, match=rf"{named}: got .* needs its trigger words"):
        load_external_lora(emoji_base, tmp_path / "x.safetensors", trigger, superclass)


def test_inspect_says_what_an_ordinary_file_holds(tmp_path, capsys):
    tensors = {
        "lora_unet_blocks_0_self_attn_q.lora_down.weight": torch.ones(4, 8),
        "lora_unet_blocks_0_self_attn_q.lora_up.weight": torch.ones(8, 4),
        "lora_unet_blocks_0_self_attn_q.alpha": torch.tensor(2.0),
    }
    header = {"ss_tag_frequency": '{"10_cup": {"sks cup": 12}}', "ss_base_model_version": "wan2.1"}
    save_file(tensors, tmp_path / "cup.safetensors", header)
    assert main(["inspect", str(tmp_path / "cup.safetensors")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [
        "base: Wan (wan2.1)",
        "trigger words: sks cup",
        "LoRA: rank 4 on 1 layers",
        "scale 0.5 from its .alpha tensor (alpha 2 / 4)",
    ]
    (tmp_path / "x.safetensors").write_bytes(b"GGUF" + b"\0" * 60)
    assert main(["inspect", str(tmp_path / "x.safetensors")]) == 2
    assert "is a GGUF file" in capsys.readouterr().err
