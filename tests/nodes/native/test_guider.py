"""What SCS Guider takes and refuses, with stand-ins of the core's models; the real ones: tests/comfyui/native."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from copy import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from videomage_core.config import GuiderConfig

SPANS = [{"word": "<toy>", "start": 0, "end": 2}]
KEY = "diffusion_model.blocks.0.q.weight"


class Linear(nn.Linear):
    weight_function: list[Any] = []  # noqa: RUF012  # as the core has it


class WanModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({"q": Linear(4, 3)}) for _ in range(6))


class Patcher:
    """A MODEL: clones share what is in ``model``."""

    def __init__(self, network: nn.Module) -> None:
        self.model = nn.Module()
        self.model.diffusion_model = network
        self.patches: dict[str, list[Any]] = {}
        self.patches_uuid: Any = None
        self.model_options: dict[str, Any] = {"transformer_options": {}}
        self.object_patches: dict[str, Any] = {}
        self.injections: dict[str, Any] = {}

    def clone(self) -> Patcher:
        other = copy(self)
        for name in ("patches", "model_options", "object_patches", "injections"):
            setattr(other, name, dict(getattr(self, name)))
        return other

    def with_patch(self, what: Any, strength: float = 1.0, key: str = KEY, of_weight: float = 1.0) -> Patcher:
        other = self.clone()
        other.patches[key] = [*self.patches.get(key, ()), (strength, what, of_weight, None, None)]
        return other


def lora(seed: int, alpha: float | None = None, dora: Any = None, name: str = "lora") -> Any:
    generator = torch.Generator().manual_seed(seed)
    up, down = torch.randn(3, 2, generator=generator), torch.randn(2, 4, generator=generator)
    return SimpleNamespace(name=name, weights=(up, down, alpha, None, dora, None))


def prompt(spans: Any = SPANS, **options: Any) -> Any:
    return [[torch.zeros(1, 8, 4), {**({"videomage_spans": spans} if spans else {}), **options}]]


@pytest.fixture
def native(nodes: dict[str, Any]) -> Callable[[str], Any]:
    """A module of nodes/native as the pack has it."""
    package = nodes["VideoMage_SCSGuider"].__module__.rsplit(".", 1)[0]
    return lambda name: sys.modules[f"{package}.{name}"]


@pytest.fixture
def base() -> Patcher:
    return Patcher(WanModel())


def refusal(native: Any, models: dict[str, Any], one: Any = None, two: Any = None, **config: Any) -> str:
    with pytest.raises(ValueError) as error:
        native("guider").build_guider(models, one or prompt(), two or prompt(), prompt(None), GuiderConfig(**config))
    return str(error.value)


def pair(subject: Any, motion: Any) -> dict[str, Any]:
    return {"model_subject": subject, "model_motion": motion}


def test_its_widgets_are_the_cores_settings_and_its_wires_the_hosts(nodes: dict[str, Any]) -> None:
    schema = nodes["VideoMage_SCSGuider"].define_schema()
    inputs = {given.id: given for given in schema.inputs}
    for field in dataclasses.fields(GuiderConfig):
        assert inputs[field.name].about["default"] == getattr(GuiderConfig(), field.name)
    wires = [name for name in inputs if name not in {field.name for field in dataclasses.fields(GuiderConfig)}]
    assert wires == [
        "model_subject", "model_motion", "positive_subject", "positive_motion", "negative",
        "model_subject_2", "model_subject_3", "model_subject_4",
    ]  # fmt: skip
    assert [inputs[name].optional for name in wires] == [False] * 5 + [True] * 3
    assert (GuiderConfig().tau, GuiderConfig().step_size) == (15, 0.01)


def test_settings_that_contradict_each_other_are_refused_when_queued(nodes: dict[str, Any]) -> None:
    node = nodes["VideoMage_SCSGuider"]
    assert node.validate_inputs(0.5, 0.5, 0.0, 1.0) is True
    assert node.validate_inputs(0.5, 0.6, 0.0, 1.0) == "beta_subject, beta_motion: got 0.5 and 0.6, must add up to 1"
    assert "start_percent, end_percent: got 0.5 and 0.5" in str(node.validate_inputs(0.5, 0.5, 0.5, 0.5))


def test_models_that_cannot_be_guided_are_refused(native: Any, base: Patcher) -> None:
    class LTXVModel(nn.Module):
        pass

    assert "model_motion: got a LTXVModel, SCS Guider works with Wan" in refusal(
        native, pair(base, Patcher(LTXVModel()))
    )
    windows, several = base.clone(), base.clone()
    windows.model_options["context_handler"] = object()
    several.model_options["multigpu_clones"] = {"cuda:1": object()}
    assert "model_subject: has context windows" in refusal(native, pair(windows, base))
    cached = base.clone()
    cached.model_options["transformer_options"] = {"easycache": object()}
    assert "model_subject: has EasyCache or LazyCache on it" in refusal(native, pair(cached, base))
    assert "model_motion: is spread over several GPUs" in refusal(native, pair(base, several))


def test_models_of_two_bases_are_refused(native: Any, base: Patcher) -> None:
    said = refusal(native, pair(base, Patcher(WanModel())))
    assert "model_motion: its base is not model_subject's; connect both to the same Load Diffusion Model" in said
    shifted, other = base.clone(), base.clone()
    shifted.object_patches["model_sampling"] = SimpleNamespace(shift=3.0)
    assert "model_sampling is set on model_motion or model_subject alone" in refusal(native, pair(shifted, base))
    wrapped = base.clone()
    wrapped.model_options["sampler_post_cfg_function"] = [len]
    assert "sampler_post_cfg_function is set on model_motion or model_subject alone" in refusal(
        native, pair(base, wrapped)
    )
    other.object_patches["model_sampling"] = SimpleNamespace(shift=5.0)
    assert "model_motion: its shift is 5.0, model_subject's is 3.0" in refusal(native, pair(shifted, other))


def test_differences_that_are_no_plain_lora_are_refused(native: Any, base: Patcher) -> None:
    cases = [
        (base.with_patch(lora(1, name="lokr")), "model_subject: has a LoKr on diffusion_model.blocks.0.q.weight"),
        (base.with_patch(lora(1, dora=torch.ones(3, 1))), "has a DoRA on"),
        (base.with_patch(("diff", (torch.zeros(3, 4),))), "has a full difference (.diff) on"),
        (base.with_patch(lora(1), of_weight=0.5), "has a LoRA of a shape of its own, or a merge on"),
        (
            base.with_patch(lora(1), key="diffusion_model.blocks.0.q.bias"),
            "has a LoRA on a layer that is not linear on",
        ),
    ]
    for subject, wanted in cases:
        assert wanted in refusal(native, pair(subject, base))
        assert "convert it to a plain LoRA" in refusal(native, pair(subject, base))
    bypass = base.clone()
    bypass.injections["bypass_lora"] = [object()]
    assert "model_subject: has parts injected into its layers (bypass_lora)" in refusal(native, pair(bypass, base))


def test_prompts_that_cannot_be_compared_are_refused(native: Any, base: Patcher) -> None:
    models = pair(base, base)
    assert "positive_motion: does not say where the subjects stand" in refusal(native, models, None, prompt(None))
    assert "positive_subject: got 2 combined prompts" in refusal(native, models, prompt() + prompt())
    assert "positive_subject: has start_percent set" in refusal(native, models, prompt(start_percent=0.5))
    assert "name 2 and 1 subjects" in refusal(native, models, prompt(SPANS * 2))
    outside = [{"word": "<toy>", "start": 6, "end": 9}]
    assert "is not within the prompt's 8 tokens" in refusal(native, models, prompt(outside))
    assert "recorded_blocks: got '6'; write auto, all, or blocks of 0 to 5" in refusal(
        native, models, recorded_blocks="6"
    )


def test_blocks_by_name(native: Any) -> None:
    chosen = native("recording").chosen_blocks
    assert chosen("auto", 30) == [5, 6, 7, 8, 9] and chosen("auto", 2) == [0] and chosen("all", 3) == [0, 1, 2]
    assert chosen("3, 5-7,1", 8) == [1, 3, 5, 6, 7]
    for bad in ("", "x", "3-", "2-y", "8", "-1"):
        with pytest.raises(ValueError, match="recorded_blocks: got"):
            chosen(bad, 8)


# what branches have in common, and what not


def test_what_differs_is_a_path_of_its_own_with_strength_and_alpha(native: Any, base: Patcher) -> None:
    speed, toy, ride = lora(1), lora(2, alpha=1.0), lora(3)
    fast = base.with_patch(speed, 0.7)
    models = pair(fast.with_patch(toy, 0.5).with_patch(ride, 2.0), fast.with_patch(ride, 1.0))
    branches = native("branches").branches_of_models(models)
    assert [patch[1] for patch in branches.shared.patches[KEY]] == [speed]
    assert branches.shared.patches_uuid is not None and branches.shared.model is base.model
    x = torch.randn(5, 4)
    subject, motion = (paths["diffusion_model.blocks.0.q"] for paths in branches.paths)
    wanted = x @ (0.5 * 0.5 * toy.weights[0] @ toy.weights[1] + 2.0 * ride.weights[0] @ ride.weights[1]).T
    torch.testing.assert_close(subject(x), wanted)
    torch.testing.assert_close(motion(x), x @ (ride.weights[0] @ ride.weights[1]).T)


def test_one_file_loaded_twice_is_shared(native: Any, base: Patcher) -> None:
    models = pair(base.with_patch(lora(1)), base.with_patch(lora(1)))
    branches = native("branches").branches_of_models(models)
    assert branches.paths == [{}, {}] and len(branches.shared.patches[KEY]) == 1
    branches = native("branches").branches_of_models(pair(base.with_patch(lora(1)), base.with_patch(lora(1), 0.9)))
    assert not branches.shared.patches and all(branches.paths)


def test_a_full_difference_that_both_have_is_shared(native: Any, base: Patcher) -> None:
    speed = base.with_patch(("diff", (torch.ones(3, 4),)))
    branches = native("branches").branches_of_models(pair(speed.with_patch(lora(1)), speed))
    assert branches.shared.patches[KEY][0][1][0] == "diff" and [len(paths) for paths in branches.paths] == [1, 0]
