"""Composition by effects."""

from __future__ import annotations

import torch

from videomage_core.model.backbone import NoiseLevel
from videomage_core.sampling import classifier_free_guidance, to_x0_eps
from videomage_core.stages.effects import composed

SHAPE = (1, 2, 3, 4, 4)
GENERATOR = torch.Generator().manual_seed(1)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


def test_without_subjects_or_weight_it_is_the_base():
    guided, plain, one = (random(*SHAPE) for _ in range(3))
    assert torch.equal(composed(guided, plain, []), guided)
    assert torch.equal(composed(guided, plain, [one, one], 0.0), guided)


def test_subjects_that_change_nothing_leave_the_base_and_one_at_scale_one_is_itself():
    plain, one = random(*SHAPE), random(*SHAPE)
    guided = classifier_free_guidance(random(*SHAPE), plain, 3.0)
    torch.testing.assert_close(composed(guided, plain, [plain, plain]), guided)
    torch.testing.assert_close(composed(plain, plain, [one]), one)


def test_it_is_the_same_for_noise_and_clean_latents():
    x, at = random(*SHAPE), NoiseLevel(torch.tensor(1.0), *torch.tensor([0.6, 0.4], dtype=torch.float64))
    outputs = [random(*SHAPE) for _ in range(4)]
    pairs = [to_x0_eps(output, x, at, "flow") for output in outputs]
    whole = to_x0_eps(composed(outputs[0], outputs[1], outputs[2:], 0.7), x, at, "flow")
    for part in (0, 1):
        guided, plain, *subjects = (pair[part] for pair in pairs)
        torch.testing.assert_close(whole[part], composed(guided, plain, subjects, 0.7))
