"""A Wan: equal to diffusers' own, with texts of which one place stands for all padding, and heads told apart."""

from __future__ import annotations

import pytest
import torch

from videomage_core.model.backbone import NoiseLevel
from videomage_core.model.flow_schedule import FlowSchedule
from videomage_core.model.text import SpecialToken
from videomage_core.model.wan_heads import rows_of
from videomage_core.model.wan_text import LENGTH, PaddedText

PROMPTS = ["a dog is chasing a cat on grass", "a cat"]


@pytest.fixture(scope="module")
def pipeline(wan_folder):
    from diffusers import WanPipeline

    return WanPipeline.from_pretrained(wan_folder, local_files_only=True)


def noise(base, count: int = 2) -> torch.Tensor:
    return torch.randn(count, *base.latent_shape(9, 32, 32), generator=torch.Generator().manual_seed(0))


def padded(text: PaddedText) -> torch.Tensor:
    """To all of its places, [B, 512, D]."""
    return torch.nn.functional.pad(text.embeddings, (0, 0, 0, LENGTH - text.embeddings.shape[1]))


@torch.no_grad()
def test_text_and_prediction_are_those_of_diffusers(tiny_wan, pipeline):
    x, level = noise(tiny_wan), tiny_wan.level_at(0.7)
    wanted_text = pipeline._get_t5_prompt_embeds(PROMPTS, max_sequence_length=LENGTH)
    text = tiny_wan.encode_prompt(PROMPTS)
    assert text.embeddings.shape[1] < 32, "a prompt is not computed with all of its padding"
    torch.testing.assert_close(padded(text), wanted_text, atol=1e-5, rtol=1e-4)
    wanted = pipeline.transformer(x, level.t.expand(2), wanted_text, return_dict=False)[0]
    torch.testing.assert_close(tiny_wan.predict(x, level, text), wanted, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_latents_are_those_of_diffusers(tiny_wan, pipeline):
    pixels = torch.rand(1, 3, 9, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    config = pipeline.vae.config
    mean, std = (torch.tensor(each).view(-1, 1, 1, 1) for each in (config.latents_mean, config.latents_std))
    wanted = (pipeline.vae.encode(pixels).latent_dist.mode() - mean) / std
    got = tiny_wan.encode_video(pixels)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(tiny_wan.decode_video(got), pipeline.vae.decode(wanted * std + mean).sample.clamp(-1, 1))


@torch.no_grad()
def test_m_sca_is_the_softmax_over_the_prompts_own_tokens(tiny_wan):
    """Against the whole map of 512 places, written out in float64."""
    token = SpecialToken("<toy>", tiny_wan.initial_vectors("robot", 2), "robot")
    prompt, layer = "a <toy> is chasing a cat", tiny_wan.attention_layers("cross")[1]
    (span,), seen = tiny_wan.token_spans(prompt, [token]), []
    text, attention = tiny_wan.encode_prompt([prompt], [token]), tiny_wan.network.get_submodule(layer.name)
    hook = attention.register_forward_pre_hook(lambda _, given: seen.append(given[:2]))
    with tiny_wan.record([layer], [span]) as maps:
        tiny_wan.predict(noise(tiny_wan, 1), tiny_wan.level_at(0.5), text)
    hook.remove()
    hidden, context = seen[0]
    count = int(text.counts[0])
    query = attention.norm_q(attention.to_q(hidden)).double().unflatten(-1, (attention.heads, -1))[0].transpose(0, 1)
    key = attention.norm_k(attention.to_k(context.embedding[:, :count])).double()
    key = key.unflatten(-1, (attention.heads, -1))[0].transpose(0, 1)
    scores = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1).mean(0)  # [N, count]
    wanted = scores[:, list(span.positions)].sum(-1).view(1, 1, 3, 2, 2)
    torch.testing.assert_close(maps.cross[layer.name].double(), wanted, atol=1e-5, rtol=1e-4)
    assert len(span.positions) == 2


def test_heads_are_told_apart_without_loras_and_rows_follow(tiny_wan):
    heads, width = tiny_wan.temporal_heads, tiny_wan.transformer.config.attention_head_dim
    assert heads.shape == (2, 4) and bool(heads.any(1).all()) and not bool(heads.all(1).any())
    assert rows_of(torch.tensor([False, True, False]), 2) == (2, 3)
    temporal = {t.module: t.rows for t in tiny_wan.targets("temporal")}
    spatial = {t.module: t.rows for t in tiny_wan.targets("spatial")}
    assert set(temporal) == {f"blocks.{n}.attn1.to_{which}" for n in range(2) for which in "qkv"}
    for module, rows in temporal.items():
        assert sorted([*rows, *spatial[module]]) == list(range(4 * width))
        assert {row // width for row in rows} == set(heads[int(module.split(".")[1])].nonzero().flatten().tolist())
    assert not any(module.endswith("attn1.to_out.0") for module in [*temporal, *spatial])


def test_a_base_without_temporal_heads_is_not_split(tiny_wan, monkeypatch):
    monkeypatch.setattr(tiny_wan, "_heads", torch.zeros_like(tiny_wan.temporal_heads))
    width = 4 * tiny_wan.transformer.config.attention_head_dim
    for role in ("spatial", "temporal"):
        rows = [t.rows for t in tiny_wan.targets(role) if "attn1" in t.module]
        assert len(rows) == 6 and all(each == tuple(range(width)) for each in rows)
    assert len(tiny_wan.attention_layers("temporal")) == 2


def test_levels_are_shifted_as_wans_own():
    schedule = FlowSchedule(3.0)
    levels = schedule.levels(4)
    assert [round(float(level.s), 6) for level in levels] == [1.0, 0.9, 0.75, 0.5, 0.0]
    assert all(float(level.a + level.s) == pytest.approx(1) for level in levels)
    assert [float(level.t) for level in levels] == pytest.approx([1000, 900, 750, 500, 0])
    assert float(schedule.level_at(0.25).s) == 0.25
    drawn = schedule.random_level(4000, torch.Generator().manual_seed(0)).s
    assert float((drawn > 0.75).float().mean()) == pytest.approx(0.5, abs=0.05), "u over a half"
    with pytest.raises(ValueError, match="steps: got 0, allowed: 1 to 1000"):
        schedule.levels(0)
    assert isinstance(levels[0], NoiseLevel)


def test_a_prompt_that_is_too_long_is_refused(tiny_wan):
    with pytest.raises(ValueError, match="prompt: got 600 tokens, at most 511 fit"):
        tiny_wan.encode_prompt(["dog " * 600])


def test_the_padding_of_a_text_weighs_what_it_did():
    text = PaddedText(torch.zeros(2, 8, 4), torch.tensor([3, 5]))
    assert text.bias().exp().sum(-1).flatten().tolist() == pytest.approx([LENGTH, LENGTH], rel=1e-5)
    assert text.only_real().exp().sum(-1).flatten().tolist() == [3, 5]
    joined = PaddedText.concat([text, PaddedText(torch.ones(1, 16, 4), torch.tensor([9]))])
    assert joined.embeddings.shape == (3, 16, 4) and joined.counts.tolist() == [3, 5, 9]
    assert joined[1:2].counts.tolist() == [5]
