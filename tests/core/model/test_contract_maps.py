"""What every base must do when its attention maps are recorded: one suite over all of them."""

from __future__ import annotations

import pytest
import torch

from tests.core.model.carrier import PROMPT
from videomage_core.model.attention_maps import AttentionLayer
from videomage_core.model.backbone import Backbone
from videomage_core.model.memory import HIGH, MEDIUM


def layers_of(base: Backbone) -> list[AttentionLayer]:
    return base.attention_layers("cross") + base.attention_layers("temporal")


def test_maps_are_maps_and_recording_changes_nothing(carrier):
    base, x, text, level = carrier.base, carrier.noise(2), carrier.text(PROMPT, PROMPT), carrier.base.level_at(0.6)
    spans = base.token_spans(PROMPT, [carrier.token()]) + base.word_spans(PROMPT, "a cat", [carrier.token()])
    with torch.no_grad():
        plain = base.predict(x, level, text)
        with base.record(layers_of(base), spans) as maps:
            assert torch.equal(base.predict(x, level, text), plain)
        assert torch.equal(base.predict(x, level, text), plain)
    assert list(maps.cross) == [layer.name for layer in base.attention_layers("cross")]
    assert list(maps.temporal) == [layer.name for layer in base.attention_layers("temporal")]
    for m_sca in maps.cross.values():
        assert m_sca.shape[:3] == (2, 2, x.shape[2]) and m_sca.dtype == torch.float32
        assert float(m_sca.min()) >= 0 and float(m_sca.sum(1).max()) <= 1 + 1e-5
    for m_tsa in maps.temporal.values():
        assert m_tsa.shape[0] == 2 and m_tsa.shape[-2:] == (x.shape[2], x.shape[2])
        torch.testing.assert_close(m_tsa.sum(-1), torch.ones_like(m_tsa.sum(-1)))


@pytest.mark.parametrize("mode", [HIGH, MEDIUM], ids=lambda mode: mode.name)
def test_a_forward_that_stops_has_the_same_maps_with_gradients(carrier, mode):
    base, level, text = carrier.base, carrier.base.level_at(0.6), carrier.text()
    spans = base.token_spans(PROMPT, [carrier.token()])
    layers = [base.attention_layers("cross")[0], base.attention_layers("temporal")[0]]
    with torch.no_grad(), base.record(layers, spans) as wanted:
        base.predict(carrier.noise(), level, text)
    base.use_memory(mode)
    try:
        x = carrier.noise().requires_grad_()
        with base.record(layers, spans, stop=True) as maps:
            base.record_forward(x, level, text)
            (gradient,) = torch.autograd.grad(
                sum(m.square().sum() for m in [*maps.cross.values(), *maps.temporal.values()]), x
            )
    finally:
        base.use_memory(HIGH)
    for kind in ("cross", "temporal"):
        for name, value in getattr(wanted, kind).items():
            torch.testing.assert_close(getattr(maps, kind)[name].detach(), value)
    assert float(gradient.abs().sum()) > 0


def test_a_constant_layer_gives_the_same_map_without_a_gradient(carrier):
    base, level, text = carrier.base, carrier.base.level_at(0.6), carrier.text()
    (layer,) = base.attention_layers("cross")[:1]
    with base.record([layer], base.token_spans(PROMPT, [carrier.token()]), stop=True, constant=[layer]) as maps:
        base.record_forward(carrier.noise().requires_grad_(), level, text)
    assert not maps.cross[layer.name].requires_grad


def test_rows_choose_a_part_of_the_batch(carrier):
    base, level, layers = carrier.base, carrier.base.level_at(0.6), layers_of(carrier.base)
    spans = base.token_spans(PROMPT, [carrier.token()])
    x, texts = carrier.noise(2), carrier.text("", PROMPT)
    with torch.no_grad():
        with base.record(layers, spans, rows=slice(1, 2)) as half:
            base.predict(x, level, texts)
        with base.record(layers, spans) as alone:
            base.predict(x[1:], level, texts[1:])
    for kind in ("cross", "temporal"):
        for name, value in getattr(alone, kind).items():
            torch.testing.assert_close(getattr(half, kind)[name], value, atol=1e-5, rtol=1e-4)
