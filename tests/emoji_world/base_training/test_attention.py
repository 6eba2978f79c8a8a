import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttnProcessor

from emoji_world.base_training.attention import padding_bias, use_plain_attention


def small_transformer() -> WanTransformer3DModel:
    torch.manual_seed(0)
    model = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=4,
        out_channels=4,
        text_dim=8,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@torch.no_grad()
def test_one_place_of_padding_stands_for_all_of_them():
    model = small_transformer()
    attended = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0]])
    text = torch.randn(3, 6, 8) * attended.unsqueeze(-1)
    x, t = torch.randn(3, 4, 3, 4, 4), torch.tensor([900.0, 500.0, 20.0])
    padded = torch.cat([text, text.new_zeros(3, 512 - 6, 8)], dim=1)
    expected = model(x, t, padded, return_dict=False)[0]
    cross = use_plain_attention(model)
    cross.bias = padding_bias(attended)
    short = model(x, t, text, return_dict=False)[0]
    assert float(expected.abs().mean()) > 0.1
    torch.testing.assert_close(short, expected, rtol=0, atol=2e-5)


def test_without_the_bias_padding_counts_too_little():
    model = small_transformer()
    text = torch.zeros(1, 6, 8)
    text[0, 0] = 1.0
    x, t = torch.randn(1, 4, 1, 4, 4), torch.tensor([900.0])
    padded = torch.cat([text, text.new_zeros(1, 512 - 6, 8)], dim=1)
    expected = model(x, t, padded, return_dict=False)[0]
    use_plain_attention(model)
    assert not torch.allclose(model(x, t, text, return_dict=False)[0], expected, atol=1e-4)


def test_the_bias_is_the_number_of_places_left():
    bias = padding_bias(torch.tensor([[1, 1, 0, 0]]), length=10)
    assert bias.shape == (1, 1, 1, 4)
    weights = bias.flatten().exp()
    torch.testing.assert_close(weights, torch.tensor([1.0, 1.0, 8.0, 0.0]))


def test_a_text_without_padding_is_refused():
    with pytest.raises(ValueError, match="a text fills all 3 places; allowed: one fewer"):
        padding_bias(torch.ones(1, 3, dtype=torch.long))


def test_gradients_are_those_of_the_stock_processor():
    model = small_transformer()
    text, x, t = torch.randn(1, 5, 8), torch.randn(1, 4, 2, 4, 4), torch.tensor([300.0])
    model(x, t, text, return_dict=False)[0].square().mean().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    use_plain_attention(model)
    assert not isinstance(model.blocks[0].attn1.processor, WanAttnProcessor)
    model(x, t, text, return_dict=False)[0].square().mean().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-3, atol=1e-6)
