"""Recorded maps: equal to a float64 reference, and recording changes nothing."""

from __future__ import annotations

import pytest
import torch

from videomage_core.model.text import TokenSpan

SPANS = [TokenSpan("dog", (2,)), TokenSpan("a cat", (5, 6))]


def text_of(base, count: int = 1) -> torch.Tensor:
    return base.encode_prompt(["a dog is chasing a cat on grass", "a frog at night"][:count])


def reference_weights(layer, hidden: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) in float64, written out head by head."""
    query = (hidden.double() @ layer.to_q.weight.double().T).chunk(layer.heads, dim=-1)
    key = (context.double() @ layer.to_k.weight.double().T).chunk(layer.heads, dim=-1)
    scale = query[0].shape[-1] ** -0.5
    return sum(torch.softmax(q @ k.transpose(-1, -2) * scale, -1) for q, k in zip(query, key, strict=True)) / len(query)


@pytest.mark.parametrize("kind", ["cross", "temporal"])
def test_maps_equal_a_float64_reference(emoji_base, latents, kind):
    site = emoji_base.map_sites(kind)[-1]
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    layer = emoji_base.unet.get_submodule(site.name)

    def spy(_, arguments, options):
        context = options.get("encoder_hidden_states")
        seen.append((arguments[0], arguments[0] if context is None else context))

    hook = layer.register_forward_pre_hook(spy, with_kwargs=True)
    x = torch.cat([latents, -latents])
    with torch.no_grad(), emoji_base.record([site], SPANS) as maps:
        emoji_base.predict(x, emoji_base.levels(4)[1], text_of(emoji_base, 2))
    hook.remove()
    weights = reference_weights(layer, *seen[0])
    if kind == "temporal":  # [B*h*w,F,F]
        assert torch.allclose(maps.temporal[site.name], weights.float().view(2, 144, 8, 8), atol=1e-5)
    else:  # [B*F,h*w,T]
        dog, cat = weights[..., 2], weights[..., 5] + weights[..., 6]
        expected = torch.stack([dog.view(2, 8, 12, 12), cat.view(2, 8, 12, 12)], dim=1)
        assert torch.allclose(maps.cross[site.name], expected.float(), atol=1e-5)


def test_recording_changes_no_output(emoji_base, latents):
    level, text = emoji_base.levels(4)[0], text_of(emoji_base)
    plain = emoji_base.predict(latents, level, text)
    with emoji_base.record(emoji_base.map_sites("cross") + emoji_base.map_sites("temporal"), SPANS) as maps:
        recorded = emoji_base.predict(latents, level, text)
    assert torch.equal(plain, recorded)
    assert torch.equal(plain, emoji_base.predict(latents, level, text))
    assert len(maps.cross) == len(emoji_base.map_sites("cross"))
    assert len(maps.temporal) == len(emoji_base.map_sites("temporal"))


def test_rows_choose_the_conditional_half(emoji_base, latents):
    sites = emoji_base.map_sites("cross")[-1:] + emoji_base.map_sites("temporal")[-1:]
    level, text = emoji_base.levels(4)[0], text_of(emoji_base)
    empty = emoji_base.encode_prompt([""])
    with torch.no_grad():
        with emoji_base.record(sites, SPANS) as alone:
            emoji_base.predict(latents, level, text)
        with emoji_base.record(sites, SPANS, rows=slice(1, 2)) as half:
            emoji_base.predict(torch.cat([latents, latents]), level, torch.cat([empty, text]))
    for kind in ("cross", "temporal"):
        for name, value in getattr(alone, kind).items():
            assert torch.allclose(value, getattr(half, kind)[name], atol=1e-5)


def test_stop_ends_the_forward_with_the_same_maps(emoji_base, latents):
    sites, level, text = emoji_base.map_sites("cross")[:2], emoji_base.levels(4)[0], text_of(emoji_base)
    later: list[str] = []
    hook = emoji_base.unet.conv_out.register_forward_hook(lambda *_: later.append("ran"))
    with emoji_base.record(sites, SPANS, stop=True) as stopped:
        emoji_base.attend(latents, level, text)
    assert not later
    with emoji_base.record(sites, SPANS) as whole:
        emoji_base.predict(latents, level, text)
    hook.remove()
    assert later
    assert all(torch.equal(whole.cross[name], stopped.cross[name]) for name in whole.cross)


def test_gradients_flow_from_maps_to_latents(emoji_base, latents):
    x = latents.clone().requires_grad_()
    sites = emoji_base.map_sites("cross")[1:2] + emoji_base.map_sites("temporal")[2:3]
    with emoji_base.record(sites, SPANS) as maps:
        emoji_base.predict(x, emoji_base.levels(4)[0], text_of(emoji_base))
    for value in (*maps.cross.values(), *maps.temporal.values()):
        (gradient,) = torch.autograd.grad(value.square().mean(), x, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_temporal_rows_sum_to_one_and_sizes_follow_the_level(emoji_base):
    x = torch.randn(1, 6, 3, 10, 14)
    with (
        torch.no_grad(),
        emoji_base.record(emoji_base.map_sites("cross") + emoji_base.map_sites("temporal"), SPANS) as m,
    ):
        emoji_base.predict(x, emoji_base.levels(4)[0], text_of(emoji_base))
    assert {tuple(v.shape) for v in m.cross.values()} == {(1, 2, 3, 10, 14), (1, 2, 3, 5, 7)}
    assert all(torch.allclose(v.sum(-1), torch.ones(()), atol=1e-5) for v in m.temporal.values())


def test_an_error_inside_restores_the_layers(emoji_base):
    before = [emoji_base.unet.get_submodule(s.name).processor for s in emoji_base.map_sites("cross")]
    with pytest.raises(RuntimeError, match="boom"), emoji_base.record(emoji_base.map_sites("cross"), SPANS):
        raise RuntimeError("boom")
    assert before == [emoji_base.unet.get_submodule(s.name).processor for s in emoji_base.map_sites("cross")]


def test_cross_maps_without_tokens_are_refused(emoji_base):
    with (
        pytest.raises(ValueError, match="spans: got none"),
        emoji_base.record(emoji_base.map_sites("cross")),
    ):
        pass


def test_temporal_maps_of_one_frame_are_refused(emoji_base, latents):
    sites = emoji_base.map_sites("temporal")[:1]
    with pytest.raises(ValueError, match="frames: got 1, but temporal"), emoji_base.record(sites, SPANS):
        emoji_base.predict(latents[:, :, :1], emoji_base.levels(4)[0], text_of(emoji_base))
