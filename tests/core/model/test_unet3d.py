"""Loading any folder with a UNet3DConditionModel, and refusing what is none."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from safetensors.torch import load_file

from videomage_core.model import lora
from videomage_core.model.base_folder import EMOJI_BASE
from videomage_core.model.loading import load_unet3d
from videomage_core.model.text import TokenSpan
from videomage_core.model.unet3d import UNet3DBackbone


def test_the_built_in_base_is_small_and_in_ordinary_layout():
    assert {p.name for p in EMOJI_BASE.iterdir()} >= {
        "unet", "vae", "text_encoder", "tokenizer", "scheduler", "model_index.json",
    }  # fmt: skip
    assert sum(p.stat().st_size for p in EMOJI_BASE.rglob("*") if p.is_file()) < 20e6
    assert not list(EMOJI_BASE.rglob("*.bin"))


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_predicts_nearly_the_same(emoji_base, latents, dtype):
    half = load_unet3d(dtype=dtype, device="cpu")
    text, level = emoji_base.encode_prompt(["a dog on grass"]), emoji_base.levels(4)[1]
    expected = emoji_base.predict(latents, level, text)
    output = half.predict(latents, level, half.encode_prompt(["a dog on grass"]))
    assert output.dtype == torch.float32
    assert (output - expected).square().mean() < 1e-2 * expected.square().mean()


def test_levels_go_from_noise_to_clean(emoji_base):
    levels = emoji_base.levels(25)
    assert len(levels) == 26 and [int(level.t) for level in levels[:2]] == [961, 921]
    assert all(later.a > earlier.a for earlier, later in itertools.pairwise(levels))
    assert all(torch.isclose(level.a**2 + level.s**2, torch.tensor(1.0)) for level in levels)
    random = emoji_base.random_level(5, torch.Generator().manual_seed(0))
    assert random.t.shape == random.a.shape == (5,)
    assert [int(level.t) for level in emoji_base.levels(1000)[:-1]] == list(range(999, -1, -1))
    with pytest.raises(ValueError, match="steps: got 1001, allowed: 1 to 1000"):
        emoji_base.levels(1001)


def test_targets_split_the_network_without_overlap(emoji_base):
    spatial = {t.module for t in emoji_base.targets("spatial")}
    temporal = {t.module for t in emoji_base.targets("temporal")}
    assert spatial and temporal and not spatial & temporal
    assert all(".attentions." in name and "temp" not in name for name in spatial)
    assert any(name.startswith("transformer_in.") for name in temporal)
    linear = {n for n, m in emoji_base.unet.named_modules() if isinstance(m, torch.nn.Linear) and "attentions" in n}
    assert linear <= spatial | temporal


def test_attention_layers_are_in_running_order(emoji_base, latents):
    ran: list[str] = []
    layers = [s.name for s in emoji_base.attention_layers("cross") + emoji_base.attention_layers("temporal")]
    hooks = [
        emoji_base.unet.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
        for name in layers
    ]
    emoji_base.predict(latents, emoji_base.levels(4)[0], emoji_base.encode_prompt([""]))
    for hook in hooks:
        hook.remove()
    for kind in ("cross", "temporal"):
        expected = [s.name for s in emoji_base.attention_layers(kind)]
        assert [name for name in ran if name in expected] == expected


def test_video_through_the_autoencoder_keeps_order_and_shape(emoji_base):
    ramp = torch.linspace(-1, 1, 5).view(1, 1, 5, 1, 1).expand(2, 3, 5, 48, 64)
    latents = emoji_base.encode_video(ramp)
    assert latents.shape == (2, *emoji_base.latent_shape(5, 48, 64))
    single = emoji_base.encode_video(ramp[1:, :, 3:4])
    assert torch.allclose(latents[1:, :, 3:4], single, atol=1e-5)
    assert emoji_base.decode_video(latents).shape == ramp.shape


def test_a_size_the_autoencoder_cannot_make_is_refused(emoji_base):
    with pytest.raises(ValueError, match=r"got 50x48 pixels .* multiples of 4; nearest: 48x48"):
        emoji_base.latent_shape(8, 50, 48)


def test_the_text_encoders_weights_are_named_for_both_versions_of_transformers():
    assert all(name.startswith("text_model.") for name in load_file(EMOJI_BASE / "text_encoder" / "model.safetensors"))


def test_zeroscope_size_in_bf16_predicts_records_and_gives_gradients(zeroscope_size):
    assert sum(p.numel() for p in zeroscope_size.unet.parameters()) == 1_411_233_860
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 4, 3, 8, 8, generator=generator).requires_grad_()
    text = torch.randn(1, 77, 1024, generator=generator)
    layers = zeroscope_size.attention_layers("cross")[-1:] + zeroscope_size.attention_layers("temporal")[-2:-1]
    with zeroscope_size.record(layers, [TokenSpan("a", (2,))]) as maps:
        output = zeroscope_size.predict(x, zeroscope_size.levels(50)[10], text)
    assert output.isfinite().all() and output.abs().max() > 0
    cross, temporal = next(iter(maps.cross.values())), next(iter(maps.temporal.values()))
    assert cross.shape == (1, 1, 3, 8, 8) and temporal.shape == (1, 64, 3, 3)
    (gradient,) = torch.autograd.grad(cross.square().sum() + temporal.square().sum(), x)
    assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_written_out_attention_is_the_fused_one(emoji_base, latents):
    from diffusers.models.attention_processor import AttnProcessor2_0

    level, text = emoji_base.levels(10)[3], emoji_base.encode_prompt(["a dog"])
    written = emoji_base.predict(latents, level, text)
    before = dict(emoji_base.unet.attn_processors)
    try:
        emoji_base.unet.set_attn_processor(AttnProcessor2_0())
        fused = emoji_base.predict(latents, level, text)
    finally:
        emoji_base.unet.set_attn_processor(before)
    torch.testing.assert_close(written, fused, atol=1e-4, rtol=1e-4)


def test_targets_can_be_narrowed(emoji_base):
    every = {t.module for t in emoji_base.targets("temporal")}
    attention = {t.module for t in emoji_base.targets("temporal", attention_only=True)}
    inner = {t.module for t in emoji_base.targets("temporal", train_transformer_in=False)}
    assert attention < every and all({"attn1", "attn2"} & set(name.split(".")) for name in attention)
    assert every - inner and all(name.startswith("transformer_in.") for name in every - inner)


def own_forwards(base) -> dict[str, object]:
    """The forward that was put on each module itself, past its class."""
    return {name: vars(module).get("forward") for name, module in base.unet.named_modules()}


def test_checkpointing_gives_the_forwards_back(emoji_base):
    before = own_forwards(emoji_base)
    layer = r"(transformer_in|(.*_block.*)\.(resnets|temp_convs|attentions|temp_attentions|.*samplers)\.\d+)"
    layers = {name for name in before if re.fullmatch(layer, name)}

    def changed() -> set[str]:
        return {name for name, forward in own_forwards(emoji_base).items() if forward is not before[name]}

    with emoji_base.checkpointing():
        assert changed() == layers and len(layers) > 20
        with emoji_base.checkpointing():
            pass
        assert changed() == layers
    assert not changed()
    with pytest.raises(RuntimeError, match="boom"), emoji_base.checkpointing():
        raise RuntimeError("boom")
    assert not changed()


@pytest.mark.parametrize(("role", "frames"), [("spatial", 1), ("spatial", 3), ("temporal", 3)])
def test_checkpointing_computes_twice_and_gives_the_same_gradients(emoji_base, latents, role, frames):
    """With dropout too: what is computed again is dropped again."""
    x = latents[:, :, :frames].clone().requires_grad_()
    level, text = emoji_base.levels(10)[3], emoji_base.encode_prompt(["a dog"])
    with lora.restore_adapters(emoji_base):
        parameters = lora.add(emoji_base, "x", emoji_base.targets(role), rank=2, dropout=0.5)
        for index, parameter in enumerate(parameters):
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(index))

        def gradients() -> tuple[list[torch.Tensor], int]:
            ran: list[int] = []
            inner = emoji_base.unet.mid_block.attentions[0].transformer_blocks[0]
            hook = inner.register_forward_hook(lambda *_: ran.append(1))
            torch.manual_seed(0)
            try:
                loss = emoji_base.predict(x, level, text).square().sum()
                return list(torch.autograd.grad(loss, [x, *parameters])), len(ran)
            finally:
                hook.remove()

        with lora.use_adapters(emoji_base, {"x": 1}), lora.dropout(emoji_base, "x", on=True):
            plain, once = gradients()
            with emoji_base.checkpointing():
                checkpointed, twice = gradients()
    assert (once, twice) == (1, 2)
    for one, two in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5 * float(one.abs().max()))
    assert all(float(gradient.abs().max()) > 0 for gradient in plain)


@pytest.mark.parametrize(
    ("kind", "chosen", "later"),
    [
        ("cross", slice(0, 2), ["up_blocks.0", "up_blocks.1", "conv_out"]),
        ("cross", slice(None), ["conv_out"]),
        ("temporal", slice(0, 1), ["down_blocks.0", "up_blocks.1", "conv_out"]),
        ("temporal", slice(2, 5), ["up_blocks.0", "up_blocks.1", "conv_out"]),
    ],
)
def test_maps_for_their_own_sake_are_the_same_with_checkpointing(emoji_base, latents, kind, chosen, later):
    """Values, and gradients to latents and to a LoRA; and the network stops behind the last attention layer."""
    x = latents[:, :, :3].clone().requires_grad_()
    level, text = emoji_base.levels(10)[3], emoji_base.encode_prompt(["a dog"])
    layers, spans = emoji_base.attention_layers(kind)[chosen], [TokenSpan("dog", (2,)), TokenSpan("a", (1,))]
    ran: list[str] = []
    modules = {name: emoji_base.unet.get_submodule(name) for name in later}
    hooks = [m.register_forward_hook(lambda *_, name=name: ran.append(name)) for name, m in modules.items()]

    def gradients(parameters: list, stop: bool) -> tuple[dict[str, torch.Tensor], list[torch.Tensor | None]]:
        with emoji_base.record(layers[::-1], spans, stop=stop) as maps:
            (emoji_base.record_forward if stop else emoji_base.predict)(x, level, text)
            found = dict(getattr(maps, kind))
            loss = sum((index + 1) * value.square().sum() for index, value in enumerate(found.values()))
            got = torch.autograd.grad(loss, [x, *parameters], allow_unused=True)
        return {name: value.detach() for name, value in found.items()}, list(got)

    with lora.restore_adapters(emoji_base):
        parameters = lora.add(emoji_base, "x", emoji_base.targets("spatial" if kind == "cross" else "temporal"), rank=2)
        for index, parameter in enumerate(parameters):
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(index))
        with lora.use_adapters(emoji_base, {"x": 1}):
            wanted, by_hand = gradients(parameters, stop=False)
            assert set(ran) == set(later)
            ran.clear()
            stopped, plain = gradients(parameters, stop=True)
            with emoji_base.checkpointing():
                again, checkpointed = gradients(parameters, stop=True)
    for hook in hooks:
        hook.remove()
    assert not ran
    assert list(wanted) == list(stopped) == list(again) == [layer.name for layer in layers]
    for name, value in wanted.items():
        assert torch.equal(value, stopped[name]) and torch.equal(value, again[name])
    for whole, one, two in zip(by_hand, plain, checkpointed, strict=True):
        assert (whole is None) == (one is None) == (two is None)
        if whole is not None:
            torch.testing.assert_close(one, whole, rtol=1e-4, atol=1e-6 * float(whole.abs().max()))
            torch.testing.assert_close(two, whole, rtol=1e-4, atol=1e-6 * float(whole.abs().max()))
    assert float(by_hand[0].abs().max()) > 0 and any(gradient is not None for gradient in by_hand[1:])


def test_the_layers_of_motion_director_at_the_paper_s_size():
    """As its own search finds them: 96 of 192 spatial ones, 170 of 204 temporal ones."""
    from types import SimpleNamespace

    from diffusers import UNet3DConditionModel

    with torch.device("meta"):
        base = SimpleNamespace(unet=UNet3DConditionModel())
    counts = {}
    for role in ("spatial", "temporal"):
        whole = UNet3DBackbone.targets(base, role)
        own = UNet3DBackbone.targets(base, role, leave_out=("projections", "cross_attention"))
        counts[role] = (len(own), len(whole))
    assert counts == {"spatial": (96, 192), "temporal": (170, 204)}
