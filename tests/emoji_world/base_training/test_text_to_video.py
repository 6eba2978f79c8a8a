import copy

import pytest
import torch

from emoji_world.base_training.text_to_video import TextToVideo, shifted, stratified
from emoji_world.base_training.wan_models import new_autoencoder, new_scheduler, new_text_encoder, new_transformer


@pytest.fixture(scope="module")
def model() -> TextToVideo:
    torch.manual_seed(0)
    return TextToVideo(40).eval()


def test_all_parts_fit_into_25_megabytes_of_fp16():
    parts = (new_transformer(), new_autoencoder(), new_text_encoder(750))
    assert sum(2 * p.numel() for part in parts for p in part.parameters()) < 25e6
    config = parts[0].config
    assert (config.num_attention_heads, config.attention_head_dim, config.num_layers) == (2, 128, 8)
    assert (config.in_channels, tuple(config.patch_size)) == (16, (1, 2, 2))


def test_noise_levels_are_those_of_the_scheduler():
    scheduler = new_scheduler()
    scheduler.set_timesteps(10)
    u = torch.linspace(1, 1 / 1000, 11)[:-1]  # as diffusers spaces them before the shift
    torch.testing.assert_close(scheduler.sigmas[:-1].float(), shifted(u).float(), rtol=0, atol=2e-3)


def test_each_part_of_the_levels_is_drawn_once():
    torch.manual_seed(0)
    u = stratified(64)
    assert torch.equal((u * 64).ceil().sort().values, torch.arange(1, 65.0))
    assert float(shifted(torch.tensor(1.0))) == 1.0
    assert float(shifted(torch.tensor(0.5))) == pytest.approx(0.75)


def test_the_loss_is_nothing_for_who_knows_the_velocity(model, monkeypatch):
    x0 = torch.randn(4, 16, 1, 4, 4)
    ids, attended = torch.zeros(4, 3, dtype=torch.long), torch.zeros(4, 3, dtype=torch.long)

    def knows(x, level, *_):
        return (x - x0) / level.view(-1, 1, 1, 1, 1)  # x_s - x_0 = s (e - x_0)

    monkeypatch.setattr(model, "predict", knows)
    assert float(model.loss(x0, ids, attended)) < 1e-6


def test_the_loss_begins_at_the_velocity_s_variance(model):
    """The output layer begins at zero: E |e - x_0|^2 = 1 + E |x_0|^2."""
    torch.manual_seed(0)
    x0 = 2 * torch.randn(8, 16, 1, 12, 12)
    ids, attended = torch.full((8, 3), 5), torch.tensor([[1, 1, 0]] * 8)
    assert float(model.loss(x0, ids * attended, attended).detach()) == pytest.approx(5.0, rel=0.05)


def test_texts_are_zero_past_their_end(model):
    attended = torch.tensor([[1, 1, 0, 0]])
    text = model.context(torch.tensor([[7, 1, 0, 0]]), attended)
    assert float(text[0, 2:].detach().abs().max()) == 0.0
    assert float(text[0, :2].detach().abs().min(-1).values.max()) > 0.0
    longer = model.context(torch.tensor([[7, 1, 0, 0, 0, 0]]), torch.tensor([[1, 1, 0, 0, 0, 0]]))
    torch.testing.assert_close(longer[:, :4], text, rtol=0, atol=1e-6)


def test_a_copy_has_its_own_weights(model):
    copied = copy.deepcopy(model)
    with torch.no_grad():
        next(copied.transformer.parameters()).add_(1.0)
    first, second = next(model.transformer.parameters()), next(copied.transformer.parameters())
    assert not torch.equal(first, second)
    assert copied.cross_attention is copied.transformer.blocks[0].attn2.processor
