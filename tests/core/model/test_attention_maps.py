"""Recorded maps: equal to a float64 reference, and recording changes nothing."""

from __future__ import annotations

import pytest
import torch

from videomage_core.model.attention_maps import AttentionLayer, mean_map, normalize_maps, select_layers
from videomage_core.model.text import TokenSpan

SPANS = [TokenSpan("dog", (2,)), TokenSpan("a cat", (5, 6))]


def text_of(base, count: int = 1) -> torch.Tensor:
    return base.encode_prompt(["a dog is chasing a cat on grass", "a frog at night"][:count])


def reference_weights(module, hidden: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) in float64, written out head by head."""
    query = (hidden.double() @ module.to_q.weight.double().T).chunk(module.heads, dim=-1)
    key = (context.double() @ module.to_k.weight.double().T).chunk(module.heads, dim=-1)
    scale = query[0].shape[-1] ** -0.5
    return sum(torch.softmax(q @ k.transpose(-1, -2) * scale, -1) for q, k in zip(query, key, strict=True)) / len(query)


@pytest.mark.parametrize("kind", ["cross", "temporal"])
def test_maps_equal_a_float64_reference(emoji_base, latents, kind):
    layer = emoji_base.attention_layers(kind)[-1]
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    module = emoji_base.unet.get_submodule(layer.name)

    def spy(_, arguments, options):
        context = options.get("encoder_hidden_states")
        seen.append((arguments[0], arguments[0] if context is None else context))

    hook = module.register_forward_pre_hook(spy, with_kwargs=True)
    x = torch.cat([latents, -latents])
    with torch.no_grad(), emoji_base.record([layer], SPANS) as maps:
        emoji_base.predict(x, emoji_base.levels(4)[1], text_of(emoji_base, 2))
    hook.remove()
    weights = reference_weights(module, *seen[0])
    if kind == "temporal":  # [B*h*w,F,F]
        assert torch.allclose(maps.temporal[layer.name], weights.float().view(2, 144, 8, 8), atol=1e-5)
    else:  # [B*F,h*w,T]
        dog, cat = weights[..., 2], weights[..., 5] + weights[..., 6]
        expected = torch.stack([dog.view(2, 8, 12, 12), cat.view(2, 8, 12, 12)], dim=1)
        assert torch.allclose(maps.cross[layer.name], expected.float(), atol=1e-5)


def test_recording_changes_no_output(emoji_base, latents):
    level, text = emoji_base.levels(4)[0], text_of(emoji_base)
    plain = emoji_base.predict(latents, level, text)
    with emoji_base.record(
        emoji_base.attention_layers("cross") + emoji_base.attention_layers("temporal"), SPANS
    ) as maps:
        recorded = emoji_base.predict(latents, level, text)
    assert torch.equal(plain, recorded)
    assert torch.equal(plain, emoji_base.predict(latents, level, text))
    assert len(maps.cross) == len(emoji_base.attention_layers("cross"))
    assert len(maps.temporal) == len(emoji_base.attention_layers("temporal"))


def test_rows_choose_the_conditional_half(emoji_base, latents):
    layers = emoji_base.attention_layers("cross")[-1:] + emoji_base.attention_layers("temporal")[-1:]
    level, text = emoji_base.levels(4)[0], text_of(emoji_base)
    empty = emoji_base.encode_prompt([""])
    with torch.no_grad():
        with emoji_base.record(layers, SPANS) as alone:
            emoji_base.predict(latents, level, text)
        with emoji_base.record(layers, SPANS, rows=slice(1, 2)) as half:
            emoji_base.predict(torch.cat([latents, latents]), level, torch.cat([empty, text]))
    for kind in ("cross", "temporal"):
        for name, value in getattr(alone, kind).items():
            assert torch.allclose(value, getattr(half, kind)[name], atol=1e-5)


def test_stop_ends_the_forward_with_the_same_maps(emoji_base, latents):
    layers, level, text = emoji_base.attention_layers("cross")[:2], emoji_base.levels(4)[0], text_of(emoji_base)
    later: list[str] = []
    hook = emoji_base.unet.conv_out.register_forward_hook(lambda *_: later.append("ran"))
    with emoji_base.record(layers, SPANS, stop=True) as stopped:
        emoji_base.record_forward(latents, level, text)
    assert not later
    with emoji_base.record(layers, SPANS) as whole:
        emoji_base.predict(latents, level, text)
    hook.remove()
    assert later
    assert all(torch.equal(whole.cross[name], stopped.cross[name]) for name in whole.cross)


def test_gradients_flow_from_maps_to_latents(emoji_base, latents):
    x = latents.clone().requires_grad_()
    layers = emoji_base.attention_layers("cross")[1:2] + emoji_base.attention_layers("temporal")[2:3]
    with emoji_base.record(layers, SPANS) as maps:
        emoji_base.predict(x, emoji_base.levels(4)[0], text_of(emoji_base))
    for value in (*maps.cross.values(), *maps.temporal.values()):
        (gradient,) = torch.autograd.grad(value.square().mean(), x, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_temporal_rows_sum_to_one_and_sizes_follow_the_level(emoji_base):
    x = torch.randn(1, 6, 3, 10, 14)
    with (
        torch.no_grad(),
        emoji_base.record(emoji_base.attention_layers("cross") + emoji_base.attention_layers("temporal"), SPANS) as m,
    ):
        emoji_base.predict(x, emoji_base.levels(4)[0], text_of(emoji_base))
    assert {tuple(v.shape) for v in m.cross.values()} == {(1, 2, 3, 10, 14), (1, 2, 3, 5, 7)}
    assert all(torch.allclose(v.sum(-1), torch.ones(()), atol=1e-5) for v in m.temporal.values())


def test_an_error_inside_restores_the_layers(emoji_base):
    before = [emoji_base.unet.get_submodule(s.name).processor for s in emoji_base.attention_layers("cross")]
    with pytest.raises(RuntimeError, match="boom"), emoji_base.record(emoji_base.attention_layers("cross"), SPANS):
        raise RuntimeError("boom")
    assert before == [emoji_base.unet.get_submodule(s.name).processor for s in emoji_base.attention_layers("cross")]


def test_cross_maps_without_tokens_are_refused(emoji_base):
    with (
        pytest.raises(ValueError, match="spans: got none"),
        emoji_base.record(emoji_base.attention_layers("cross")),
    ):
        pass


def test_temporal_maps_of_one_frame_are_refused(emoji_base, latents):
    layers = emoji_base.attention_layers("temporal")[:1]
    with pytest.raises(ValueError, match="frames: got 1, but temporal"), emoji_base.record(layers, SPANS):
        emoji_base.predict(latents[:, :, :1], emoji_base.levels(4)[0], text_of(emoji_base))


NAMES = ["down_blocks.1.attn2", "mid_block.attn2", "up_blocks.1.attn2", "up_blocks.10.attn2"]


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ("all", NAMES),
        (" all ,", NAMES),
        ("mid_block", NAMES[1:2]),
        ("up_blocks.1", NAMES[2:3]),
        ("up_blocks", NAMES[2:]),
        ("up_blocks.10.attn2, down_blocks", [NAMES[0], NAMES[3]]),
        ("mid_block,mid_block.attn2", NAMES[1:2]),
    ],
)
def test_layers_are_chosen_by_whole_parts_of_their_names_in_running_order(layers, wanted):
    assert [layer.name for layer in select_layers([AttentionLayer(name, "cross") for name in NAMES], layers)] == wanted


@pytest.mark.parametrize(
    ("layers", "unknown"),
    [("up", "up"), ("mid_block, nowhere, up_blocks.", "nowhere, up_blocks."), ("all, mid_block", "all"),
     ("", "nothing"), (" , ", "nothing")],
)  # fmt: skip
def test_layers_that_are_not_there_are_named(layers, unknown):
    with pytest.raises(ValueError) as error:
        select_layers([AttentionLayer(name, "cross") for name in NAMES], layers)
    assert str(error.value) == (
        f"layers: got {layers!r}, of which {unknown} names no layer; write 'all', or beginnings of these, separated "
        f"by commas: {', '.join(NAMES)}"
    )


def test_a_scaled_map_reaches_one_in_each_frame_and_its_largest_value_is_a_constant():
    maps = torch.rand(2, 3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.01
    maps[1, 2] = 0  # looked at by no place at all
    maps.requires_grad_()
    got, largest = normalize_maps(maps), maps.detach().amax((-2, -1))
    assert torch.equal(got.detach().amax((-2, -1)), (largest > 0).double())
    visible = largest > 0
    torch.testing.assert_close((got * largest[..., None, None])[visible], maps[visible])
    (gradient,) = torch.autograd.grad(got[visible].sum(), maps)
    torch.testing.assert_close(gradient[visible], (1 / largest[visible])[:, None, None].expand(-1, 5, 7))


def test_the_mean_map_is_of_scaled_layers():
    """Each layer counts alike, however faint its map; the wanted size is reached from any."""
    fine = torch.rand(1, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    coarse = torch.full((1, 2, 3, 4, 4), 1e-4)
    got = mean_map([fine, coarse], 8, 8)
    assert got.shape == (2, 3, 8, 8)
    torch.testing.assert_close(got, (normalize_maps(fine[0]) + 1) / 2)
    larger = mean_map([fine, coarse], 32, 48)
    assert larger.shape == (2, 3, 32, 48) and 0 <= float(larger.min()) <= float(larger.max()) <= 1
