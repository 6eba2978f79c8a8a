"""LoRAs: exactly where they belong, switched without side effects, gone without a trace."""

from __future__ import annotations

import pytest
import torch

from tests.core.model.random_lora import random_lora
from videomage_core.config import LoraTrainingConfig
from videomage_core.model import lora
from videomage_core.model.backbone import Target
from videomage_core.model.lora_forward import adapted_layers
from videomage_core.model.lora_weights import LoraWeights, average


def predict(base, x):
    return base.predict(x, base.levels(4)[1], base.encode_prompt(["a dog is jumping on grass"]))


@pytest.fixture(autouse=True)
def clean(emoji_base):
    """Each test ends with the base as it found it; the base's own fixture compares the bits."""
    with lora.restore_adapters(emoji_base):
        yield


def test_a_new_lora_is_the_base(emoji_base, latents):
    plain = predict(emoji_base, latents)
    lora.add(emoji_base, "new", emoji_base.targets("spatial"), rank=4)
    with lora.use_adapters(emoji_base, {"new": 1.0}):
        assert torch.equal(predict(emoji_base, latents), plain)


@pytest.mark.parametrize("role", ["spatial", "temporal"])
def test_an_active_lora_is_the_base_with_merged_weights(emoji_base, latents, role):
    plain, weights = predict(emoji_base, latents), random_lora(emoji_base, role, 0)
    lora.load(emoji_base, "x", weights)
    assert torch.equal(predict(emoji_base, latents), plain)
    with torch.no_grad(), lora.use_adapters(emoji_base, {"x": 0.5}):
        switched = predict(emoji_base, latents)
    lora.remove(emoji_base, "x")
    layers = {module: emoji_base.network.get_submodule(module).weight for module in weights.layers}
    kept = {module: weight.detach().clone() for module, weight in layers.items()}
    with torch.no_grad():
        for module, weight in layers.items():
            weight += 0.5 * weights.delta(module)
        merged = predict(emoji_base, latents)
        for module, weight in layers.items():
            weight.copy_(kept[module])
    assert torch.allclose(switched, merged, atol=1e-3)
    assert not torch.allclose(switched, plain, atol=1e-2)


def test_several_loras_add_up_on_one_base(emoji_base, latents):
    one, two = random_lora(emoji_base, "spatial", 1), random_lora(emoji_base, "spatial", 2)
    lora.load(emoji_base, "one", one)
    lora.load(emoji_base, "two", two)
    both = {
        m: (torch.cat([one.layers[m][0], two.layers[m][0]]), torch.cat([one.layers[m][1], two.layers[m][1]], dim=1))
        for m in one.layers
    }
    lora.load(emoji_base, "both", LoraWeights(both, scale=2.0))
    with torch.no_grad():
        with lora.use_adapters(emoji_base, {"one": 1, "two": 1}):
            added = predict(emoji_base, latents)
        with lora.use_adapters(emoji_base, {"both": 1}):
            assert torch.allclose(predict(emoji_base, latents), added, atol=1e-3)


def test_weights_come_back_as_they_were_loaded(emoji_base):
    weights = random_lora(emoji_base, "temporal", 3)
    lora.load(emoji_base, "x", weights)
    again = lora.weights(emoji_base, "x")
    assert again.scale == weights.scale and again.rank == 3
    assert all(torch.equal(again.layers[m][i], weights.layers[m][i]) for m in weights.layers for i in (0, 1))


def test_gradients_survive_a_switch_to_the_bare_base_before_backward(emoji_base, latents):
    parameters = lora.add(emoji_base, "x", emoji_base.targets("temporal"), rank=2)
    with lora.use_adapters(emoji_base, {"x": 1}):
        output = predict(emoji_base, latents)
        with lora.use_adapters(emoji_base, {}), torch.no_grad():
            teacher = predict(emoji_base, latents)
        loss = (output - teacher - 1).square().mean()
    loss.backward()
    assert all(p.requires_grad and p.grad is not None for p in parameters)
    assert any(p.grad.abs().max() > 0 for p in parameters)
    own = {id(p) for p in parameters}
    assert all(p.grad is None for p in emoji_base.network.parameters() if id(p) not in own)


def test_only_the_rows_of_a_target_are_trained(emoji_base, latents):
    module = emoji_base.targets("spatial")[0].module
    parameters = lora.add(emoji_base, "x", [Target(module, rows=(1, 3))], rank=2)
    with lora.use_adapters(emoji_base, {"x": 1}):
        predict(emoji_base, latents).square().mean().backward()
    gradient = parameters[1].grad
    assert gradient[[1, 3]].abs().min() > 0
    assert gradient[[0, 2, *range(4, len(gradient))]].abs().max() == 0


def test_nothing_is_left_after_an_error(emoji_base, latents):
    plain = predict(emoji_base, latents)
    with pytest.raises(RuntimeError, match="boom"), lora.restore_adapters(emoji_base):
        lora.load(emoji_base, "x", random_lora(emoji_base, "spatial", 4))
        with lora.use_adapters(emoji_base, {"x": 1}):
            raise RuntimeError("boom")
    assert lora.names(emoji_base) == []
    assert torch.equal(predict(emoji_base, latents), plain)


def test_nothing_is_left_where_memory_runs_out_halfway(emoji_base, latents, monkeypatch):
    from peft.tuners.lora import LoraModel

    before, made = list(emoji_base.network.named_modules()), []
    create = LoraModel._create_new_module

    def full(*given, **named):
        made.append(create(*given, **named))
        if len(made) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return made[-1]

    monkeypatch.setattr(LoraModel, "_create_new_module", staticmethod(full))
    with pytest.raises(torch.OutOfMemoryError), lora.restore_adapters(emoji_base):
        lora.add(emoji_base, "x", emoji_base.targets("spatial"), rank=2)
    assert list(emoji_base.network.named_modules()) == before
    assert not hasattr(emoji_base.network, "peft_config")
    monkeypatch.undo()
    with lora.restore_adapters(emoji_base):
        assert lora.add(emoji_base, "x", emoji_base.targets("spatial"), rank=2)


def test_the_same_adapters_in_another_order_are_put_in_that_order(emoji_base):
    """Their outputs are added in that order, and sums round."""
    with lora.restore_adapters(emoji_base):
        for name in "ab":
            lora.add(emoji_base, name, emoji_base.targets("spatial"), rank=1)
        layer = next(iter(adapted_layers(emoji_base).values()))
        for order in ("ab", "ba", "ab"):
            with lora.use_adapters(emoji_base, dict.fromkeys(order, 1.0)):
                assert layer.active_adapters == list(order)


def test_the_seed_decides_where_a_lora_begins(emoji_base):
    targets = emoji_base.targets("spatial")
    state = torch.random.get_rng_state()
    for name, seed in (("one", 5), ("again", 5), ("other", 6)):
        lora.add(emoji_base, name, targets, rank=2, seed=seed)
    assert torch.equal(state, torch.random.get_rng_state())
    one, again, other = (lora.weights(emoji_base, n).layers[targets[0].module][0] for n in ("one", "again", "other"))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_bad_names_and_misfits_are_refused(emoji_base):
    lora.add(emoji_base, "x", emoji_base.targets("spatial")[:1], rank=2)
    with pytest.raises(ValueError, match="got 'x', which is on this base already"):
        lora.add(emoji_base, "x", emoji_base.targets("spatial")[:1], rank=2)
    with (
        pytest.raises(ValueError, match="strengths: got y, on this base are x"),
        lora.use_adapters(emoji_base, {"y": 1}),
    ):
        pass
    with pytest.raises(ValueError, match="got 'y', on this base are x"):
        lora.weights(emoji_base, "y")
    with pytest.raises(ValueError, match=r"has no linear layer 'nowhere\.to_q'; it is for another base"):
        lora.load(emoji_base, "z", LoraWeights({"nowhere.to_q": (torch.zeros(2, 8), torch.zeros(8, 2))}, 2))
    module = emoji_base.targets("spatial")[0].module
    with pytest.raises(ValueError, match=r"is 8x8 in the file and .* it is for another base"):
        lora.load(emoji_base, "z", LoraWeights({module: (torch.zeros(2, 8), torch.zeros(8, 2))}, 2))
    with pytest.raises(ValueError, match="targets: got none"):
        lora.add(emoji_base, "z", [], rank=2)


def test_layers_may_differ_in_rank(emoji_base, latents):
    weights = random_lora(emoji_base, "spatial", 7)
    first = next(iter(weights.layers))
    a, b = weights.layers[first]
    padded = (torch.cat([a, a * 3]), torch.cat([b, torch.zeros_like(b)], dim=1))
    lora.load(emoji_base, "even", weights)
    lora.load(emoji_base, "mixed", LoraWeights({**weights.layers, first: padded}, weights.scale))
    with torch.no_grad():
        with lora.use_adapters(emoji_base, {"even": 1}):
            even = predict(emoji_base, latents)
        with lora.use_adapters(emoji_base, {"mixed": 1}):
            assert torch.allclose(predict(emoji_base, latents), even, atol=1e-3)


def test_dropout_is_off_until_a_trainer_turns_it_on(emoji_base, latents):
    parameters = lora.add(emoji_base, "x", emoji_base.targets("spatial"), rank=2, dropout=0.5)
    with torch.no_grad():
        for parameter in parameters:
            parameter.fill_(0.05)
        with lora.use_adapters(emoji_base, {"x": 1}):
            assert torch.equal(predict(emoji_base, latents), predict(emoji_base, latents))


def test_a_wrong_layer_is_refused_before_anything_is_changed(emoji_base):
    targets = [*emoji_base.targets("spatial")[:1], Target("nowhere"), Target("conv_in")]
    with pytest.raises(ValueError, match="has no linear layer 'nowhere' and 1 more"):
        lora.add(emoji_base, "x", targets, rank=2)
    assert lora.names(emoji_base) == []


def test_factors_of_two_ranks_are_refused(emoji_base):
    module, (a, b) = next(iter(random_lora(emoji_base, "spatial", 8).layers.items()))
    with pytest.raises(ValueError, match="has A of rank 3 and B of rank 1; the file is broken"):
        lora.load(emoji_base, "x", LoraWeights({module: (a, b[:, :1])}))


def test_dropout_is_as_it_was_after_its_context(emoji_base, latents):
    parameters = lora.add(emoji_base, "x", emoji_base.targets("spatial"), rank=2, dropout=0.5)
    with torch.no_grad(), lora.use_adapters(emoji_base, {"x": 1}):
        for parameter in parameters:
            parameter.fill_(0.05)
        still = predict(emoji_base, latents)
        with lora.dropout(emoji_base, "x", on=True):
            assert not torch.equal(predict(emoji_base, latents), still)
            with lora.dropout(emoji_base, "x", on=False):
                assert torch.equal(predict(emoji_base, latents), still)
            assert not torch.equal(predict(emoji_base, latents), still)
        assert torch.equal(predict(emoji_base, latents), still)
        with pytest.raises(RuntimeError, match="boom"), lora.dropout(emoji_base, "x", on=True):
            raise RuntimeError("boom")
        assert torch.equal(predict(emoji_base, latents), still)


def test_a_layer_with_the_average_puts_out_the_average_of_the_outputs(emoji_base):
    loras = {n: random_lora(emoji_base, "temporal", i, rank=i + 1, scale=1.0 + i) for i, n in enumerate("abc")}
    module = next(iter(loras["a"].layers))
    for name, weights in {**loras, "mean": average(list(loras.values()))}.items():
        lora.load(emoji_base, name, weights)
    layer = emoji_base.network.get_submodule(module)
    x = torch.randn(5, layer.in_features, generator=torch.Generator().manual_seed(0))

    def output(name: str) -> torch.Tensor:
        with torch.no_grad(), lora.use_adapters(emoji_base, {name: 1.0}):
            return layer(x)

    wanted = torch.stack([output(name) for name in loras]).mean(0)
    torch.testing.assert_close(output("mean"), wanted, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(output("mean"), output("a"), atol=1e-2)


@pytest.mark.parametrize("trainable", [False, True])
def test_loaded_weights_are_trained_only_if_asked(emoji_base, latents, trainable):
    weights = random_lora(emoji_base, "spatial", 3)
    parameters = lora.load(emoji_base, "x", weights, trainable=trainable)
    assert list(parameters) == [f"{module}.{factor}" for module in weights.layers for factor in "AB"]
    with (
        lora.use_adapters(emoji_base, {"x": 1}),
        lora.use_adapters(emoji_base, {}),
        lora.use_adapters(emoji_base, {"x": 1}),
    ):
        assert all(p.requires_grad is trainable for p in parameters.values())
        output = predict(emoji_base, latents)
    assert output.requires_grad is trainable
    if trainable:
        gradients = torch.autograd.grad(output.square().sum(), list(parameters.values()))
        assert all(float(gradient.abs().max()) > 0 for gradient in gradients)


def test_a_training_begins_from_given_weights(emoji_base, latents):
    weights, plain = random_lora(emoji_base, "spatial", 3), predict(emoji_base, latents)
    lora.load(emoji_base, "same", weights)
    with lora.use_adapters(emoji_base, {"same": 1}):
        wanted = predict(emoji_base, latents)
    with lora.trainable_adapter(emoji_base, "new", [], LoraTrainingConfig(), weights) as got:
        torch.testing.assert_close(predict(emoji_base, latents).detach(), wanted, atol=1e-4, rtol=0)
        assert all(p.requires_grad and p.dtype == torch.float32 for p in got.values())
    assert not torch.allclose(plain, wanted, atol=1e-2)
    assert lora.names(emoji_base) == ["same"] and torch.equal(predict(emoji_base, latents), plain)


def test_merged_loras_act_as_the_layers_do_and_leave_nothing(emoji_base, latents):
    one, two = random_lora(emoji_base, "spatial", 4), random_lora(emoji_base, "temporal", 3)
    before = {name: weight.clone() for name, weight in emoji_base.network.state_dict().items()}
    level, text = emoji_base.levels(10)[4], emoji_base.encode_prompt(["a dog"])
    sets = ({}, {"one": 1.0}, {"two": 0.5}, {"one": 0.25, "two": 2.0})

    def outputs() -> list[torch.Tensor]:
        made = []
        for strengths in sets:
            with lora.use_adapters(emoji_base, strengths):
                x = latents.clone().requires_grad_()
                output = emoji_base.predict(x, level, text)
            made += [output.detach(), torch.autograd.grad(output.square().mean(), x)[0]]
        return made

    with lora.restore_adapters(emoji_base):
        lora.load(emoji_base, "one", one)
        lora.load(emoji_base, "two", two)
        plain = outputs()
        with lora.merged(emoji_base):
            fast = outputs()
        again = outputs()
    for wanted, got, after in zip(plain, fast, again, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
        assert torch.equal(after, wanted), "outside, the layers compute as before"
    assert all(torch.equal(weight, before[name]) for name, weight in emoji_base.network.state_dict().items())
