"""MotionDirector's two paths on the built-in base."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import MotionConfig
from videomage_core.model import lora
from videomage_core.model.active_adapters import adapter_state
from videomage_core.stages import motion_director
from videomage_core.stages.motion_director import (
    APPEARANCE,
    MOTION,
    appearance_lora,
    debiased,
    dual_path_loss,
    layers_of,
    settled,
)
from videomage_core.stages.motion_lora import MotionClip, train_motion

CONFIG = MotionConfig(
    steps=4, frames=4, height=24, width=24, learning_rate=1e-2, save_every_n_steps=2, objective="motion_director",
    dropout=0.1, target_modules="all",
)  # fmt: skip


@pytest.fixture
def always(monkeypatch):
    """No step leaves the spatial path out."""
    monkeypatch.setattr(motion_director, "SKIPPED", 0.0)


def clip() -> MotionClip:
    return MotionClip(torch.rand(3, 4, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1)


class Collected:
    """Stands for the training loop's ``backward``: keeps terms, and adds up gradients."""

    def __init__(self) -> None:
        self.terms: dict[str, torch.Tensor] = {}

    def __call__(self, terms, parameters=None) -> None:
        sum(terms.values()).backward(inputs=parameters)
        self.terms.update({name: term.detach() for name, term in terms.items()})


def gradients(base, config: MotionConfig, seed: int):
    """(terms, gradients by LoRA and name) of one step, the factors moved from zero alike."""
    x0 = base.encode_video(clip().pixels[None])
    text = base.encode_prompt(["a dog is running"])
    still = dataclasses.replace(config, dropout=0.0)
    with (
        lora.trainable_adapter(base, MOTION, base.targets("temporal"), still) as motion,
        appearance_lora(base, still) as appearance,
    ):
        moved(motion, appearance)
        parts = list(appearance.values()), list(motion.values())
        collected = Collected()
        dual_path_loss(base, x0, text, *parts, torch.Generator().manual_seed(seed), collected)
        both = {"appearance": appearance, "motion": motion}
        return collected.terms, {
            (n, m): None if p.grad is None else p.grad.clone() for n, g in both.items() for m, p in g.items()
        }


def moved(*groups: dict[str, torch.nn.Parameter]) -> None:
    generator = torch.Generator().manual_seed(1)
    for group in groups:
        for name, factor in group.items():
            if name.endswith("B"):
                torch.nn.init.normal_(factor, std=0.05, generator=generator)


def phi(video: torch.Tensor, anchor: int) -> torch.Tensor:
    return 2**0.5 * video - video[:, :, [anchor]]


def test_both_paths_by_hand(emoji_base, always):
    """Plain forwards and one ``backward`` each, the other LoRA frozen, say the same."""
    terms, got = gradients(emoji_base, CONFIG, seed=3)
    base, generator = emoji_base, torch.Generator().manual_seed(3)
    x0 = base.encode_video(clip().pixels[None])
    text = base.encode_prompt(["a dog is running"])
    level = base.random_level(1, generator)
    eps = torch.randn(x0.shape, generator=generator)
    torch.rand((), generator=generator)
    frame, anchor = (int(i) for i in torch.randint(4, (2,), generator=generator))
    x_t = level.a.view(1, 1, 1, 1, 1) * x0 + level.s.view(1, 1, 1, 1, 1) * eps

    with lora.restore_adapters(base):
        groups = {}
        for name, role in ((MOTION, "temporal"), (APPEARANCE, "spatial")):
            targets = base.targets(role)
            factors = lora.add(base, name, targets, CONFIG.rank, seed=CONFIG.seed)
            groups[name] = dict(zip((f"{t.module}.{f}" for t in targets for f in "AB"), factors, strict=True))
        moved(groups[MOTION], groups[APPEARANCE])
        for factor in groups[MOTION].values():
            factor.requires_grad_(False)
        with lora.use_adapters(base, {APPEARANCE: 1.0}):
            spatial = (base.predict(x_t[:, :, [frame]], level, text) - eps[:, :, [frame]]).square().mean()
            spatial.backward()
        for name, learns in ((MOTION, True), (APPEARANCE, False)):
            for factor in groups[name].values():
                factor.requires_grad_(learns)
        with lora.use_adapters(base, {MOTION: 1.0, APPEARANCE: 1.0}):
            output = base.predict(x_t, level, text)
            plain, apart = (output - eps).square().mean(), (phi(output, anchor) - phi(eps, anchor)).square().mean()
            (plain + apart).backward()
        wanted = {(n, m): p.grad for n, group in groups.items() for m, p in group.items()}
    for name, value in (("L_spatial", spatial), ("L_mot", plain), ("L_debiased", apart)):
        torch.testing.assert_close(terms[name], value.detach())
    assert got.keys() == wanted.keys()
    for key in wanted:
        torch.testing.assert_close(got[key], wanted[key], atol=1e-6, rtol=1e-4)
        assert float(wanted[key].abs().sum()) > 0


def test_each_term_reaches_its_own_lora_alone(emoji_base, always):
    x0, text = emoji_base.encode_video(clip().pixels[None]), emoji_base.encode_prompt(["a dog"])
    with (
        lora.trainable_adapter(emoji_base, MOTION, emoji_base.targets("temporal"), CONFIG) as motion,
        appearance_lora(emoji_base, CONFIG) as appearance,
    ):
        moved(motion, appearance)
        parts = list(appearance.values()), list(motion.values())
        seen: list[set[str]] = []

        def backward(terms, parameters=None) -> None:
            sum(terms.values()).backward(inputs=parameters)
            seen.append(set(terms))
            own, other = (appearance, motion) if "L_spatial" in terms else (motion, appearance)
            assert all(p.grad is None for p in other.values())
            assert all(float(p.grad.abs().sum()) > 0 for p in own.values())
            for parameter in own.values():
                parameter.grad = None

        dual_path_loss(emoji_base, x0, text, *parts, torch.Generator().manual_seed(3), backward)
        assert seen == [{"L_spatial"}, {"L_mot", "L_debiased"}]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_recomputing_changes_nothing_but_memory(emoji_base, monkeypatch, share, in_mode):
    """Although every path needs other adapters in the backward pass."""
    monkeypatch.setattr(motion_director, "SKIPPED", share)
    terms, plain = gradients(emoji_base, CONFIG, seed=5)
    with in_mode("medium"):
        again, recomputed = gradients(emoji_base, CONFIG, seed=5)
    for name in terms:
        torch.testing.assert_close(terms[name], again[name])
    for key, gradient in plain.items():
        if share == 1 and key[0] == "appearance":
            assert gradient is None and recomputed[key] is None
        else:
            torch.testing.assert_close(gradient, recomputed[key], atol=1e-6, rtol=1e-4)


def test_a_fifth_of_the_steps_leave_the_spatial_lora_out(emoji_base, monkeypatch):
    """It then acts in no forward; in the others it acts in both, and the motion's in the second alone."""
    seen: list[tuple[int, frozenset[str]]] = []

    def predict(x, level, text):
        seen.append((x.shape[2], frozenset(adapter_state(emoji_base)[0])))
        return x * sum(p.sum() for p in emoji_base.network.parameters() if p.requires_grad)

    monkeypatch.setattr(emoji_base, "predict", predict)
    x0, text = torch.randn(1, 4, 4, 6, 6), torch.zeros(1, 77, 96)
    skipped, steps = 0, 100
    with (
        lora.trainable_adapter(emoji_base, MOTION, emoji_base.targets("temporal")[:1], CONFIG) as motion,
        lora.trainable_adapter(emoji_base, APPEARANCE, emoji_base.targets("spatial")[:1], CONFIG) as appearance,
    ):
        parts = list(appearance.values()), list(motion.values())
        for step in range(steps):
            seen.clear()
            collected = Collected()
            dual_path_loss(emoji_base, x0, text, *parts, torch.Generator().manual_seed(step), collected)
            if float(collected.terms["L_spatial"]) == 0:
                skipped += 1
                assert seen == [(4, frozenset({MOTION}))]
            else:
                assert seen == [(1, frozenset({APPEARANCE})), (4, frozenset({MOTION, APPEARANCE}))]
    assert 0.1 < skipped / steps < 0.3


def train(base, folder, config: MotionConfig = CONFIG, **more):
    return train_motion(base, [clip()], "a dog is running", config, folder, **more)


def flat(trained) -> torch.Tensor:
    return torch.cat([f.flatten() for pair in trained.lora_model.weights.layers.values() for f in pair])


def test_the_appearance_lora_learns_along_and_is_thrown_away(emoji_base, tmp_path):
    trained = train(emoji_base, tmp_path)
    own = settled(CONFIG)
    temporal, spatial = ({t.module for t in layers_of(emoji_base, role, own)} for role in ("temporal", "spatial"))
    assert set(trained.lora_model.weights.layers) == temporal
    assert lora.names(emoji_base) == []
    assert set(trained.history.losses) == {"L_spatial", "L_mot", "L_debiased", "loss"}
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["parameters"]
    assert set(kept) == {"lora", "appearance"}
    assert {name.rpartition(".")[0] for name in kept["appearance"]} == spatial
    assert any(float(factor.abs().sum()) > 0 for name, factor in kept["appearance"].items() if name.endswith("B"))


def test_resumed_is_the_same_as_straight(emoji_base, tmp_path):
    """Bit for bit, both LoRAs."""
    whole = train(emoji_base, tmp_path / "whole")
    calls: list[int] = []

    def stop() -> bool:
        calls.append(1)
        return len(calls) > 3

    with pytest.raises(Cancelled):
        train(emoji_base, tmp_path / "two", callbacks=Callbacks(cancelled=stop))
    assert lora.names(emoji_base) == []
    resumed = train(emoji_base, tmp_path / "two")
    assert resumed.history.resumed_at == 3
    assert torch.equal(flat(resumed), flat(whole))
    one, two = (torch.load(tmp_path / f / "checkpoint.pt", weights_only=True)["parameters"] for f in ("whole", "two"))
    assert all(torch.equal(one["appearance"][name], two["appearance"][name]) for name in one["appearance"])


@pytest.mark.parametrize("mode", ["medium", "low"])
def test_memory_modes_train_the_same(emoji_base, tmp_path, mode, in_mode):
    one = train(emoji_base, tmp_path / "a")
    with in_mode(mode):
        two = train(emoji_base, tmp_path / "b")
    torch.testing.assert_close(flat(one), flat(two), atol=1e-5, rtol=1e-4)


def test_samples_are_made_with_the_motion_alone(emoji_base, tmp_path, monkeypatch):
    from videomage_core.config import SamplingConfig
    from videomage_core.stages import lora_training

    active = []

    def look(*_):
        active.append(adapter_state(emoji_base)[0])
        return torch.zeros(3, 4, 24, 24)

    monkeypatch.setattr(lora_training, "sample_video", look)
    config = dataclasses.replace(CONFIG, steps=2, sample_every_n_steps=1)
    train(emoji_base, tmp_path, config, sampling=SamplingConfig(frames=4, height=24, width=24))
    assert active and all(strengths == {MOTION: 1.0} for strengths in active)


def test_debiased_takes_out_what_all_frames_share():
    """phi(eps + c) - phi(eps) = (sqrt 2 - 1) c for a constant c, as MotionDirector's Eq. 4 gives."""
    eps, shared = torch.randn(1, 6, 8, 3, 3), torch.randn(1, 6, 1, 3, 3)
    apart = debiased(eps + shared, 3) - debiased(eps, 3)
    torch.testing.assert_close(apart, ((2**0.5 - 1) * shared).expand_as(apart), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(debiased(eps, 3)[:, :, 3], (2**0.5 - 1) * eps[:, :, 3], atol=1e-5, rtol=1e-4)


def test_the_baseline_has_its_own_layers_start_and_dropout_unless_others_are_chosen():
    auto = MotionConfig(objective="motion_director")
    assert (settled(auto).target_modules, settled(auto).dropout) == ("motion_director", 0.1)
    assert settled(dataclasses.replace(auto, dropout=0.3)).dropout == 0.3
    chosen = settled(dataclasses.replace(auto, target_modules="attention"))
    assert (chosen.target_modules, chosen.dropout) == ("attention", 0.0)
    ours = settled(MotionConfig())
    assert (ours.target_modules, ours.dropout) == ("all", 0.0)
    assert settled(ours) == ours


def test_both_loras_are_trained_on_the_baseline_s_layers(emoji_base, tmp_path):
    config = dataclasses.replace(CONFIG, target_modules="auto", dropout=0.0, steps=1)
    trained = train(emoji_base, tmp_path, config)
    own = settled(config)
    temporal, spatial = ({t.module for t in layers_of(emoji_base, role, own)} for role in ("temporal", "spatial"))
    assert set(trained.lora_model.weights.layers) == temporal < {t.module for t in emoji_base.targets("temporal")}
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["parameters"]["appearance"]
    assert {name.rpartition(".")[0] for name in kept} == spatial
    assert not any("attn2" in name or "proj_in" in name or "proj_out" in name for name in spatial)
    assert any("attn2" in name for name in temporal) and any(".ff." in name for name in spatial)
    assert trained.lora_model.details["settings"]["dropout"] == 0.1


def test_its_factors_begin_with_a_standard_deviation_of_one_over_the_rank(emoji_base):
    config = settled(dataclasses.replace(CONFIG, target_modules="auto", rank=8))
    with appearance_lora_alone(emoji_base, config) as parameters:
        drawn = torch.cat([p.detach().flatten() for name, p in parameters.items() if name.endswith("A")])
        assert all(not bool(p.any()) for name, p in parameters.items() if name.endswith("B"))
    assert float(drawn.std()) == pytest.approx(1 / 8, rel=0.02) and abs(float(drawn.mean())) < 2e-3


def appearance_lora_alone(base, config: MotionConfig):
    return lora.trainable_adapter(base, APPEARANCE, layers_of(base, "spatial", config), config)
