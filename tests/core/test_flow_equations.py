"""The paper's equations, which are of noise, under flow matching: the same to rounding, in float64.

With x = (1 - s) x0 + s eps and a network that predicts v = eps - x0, eps = x + (1 - s) v.
"""

from __future__ import annotations

import torch

from videomage_core.model.backbone import NoiseLevel
from videomage_core.model.flow_schedule import FlowSchedule
from videomage_core.sampling import (
    add_noise,
    classifier_free_guidance,
    inverse_step,
    step,
    to_x0_eps,
    training_target,
)
from videomage_core.stages.algorithm1 import mix
from videomage_core.stages.motion_lora import appearance_free

SHAPE = (2, 4, 3, 5, 6)
OMEGA = 0.5


def random(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def level_of(s: float) -> NoiseLevel:
    share = torch.tensor(s, dtype=torch.float64)
    return NoiseLevel(share * 1000, 1 - share, share)


X0, EPS, OUTPUT, STATIC = (random(seed) for seed in range(4))
LEVEL = level_of(0.7)
X = add_noise(X0, EPS, LEVEL)


def eps_of(output: torch.Tensor, x: torch.Tensor = X) -> torch.Tensor:
    return to_x0_eps(output, x, LEVEL, "flow")[1]


def close(one: torch.Tensor, two: torch.Tensor) -> None:
    torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_eq_1_is_the_loss_of_noise_over_a_squared():
    """|| v - v* ||^2 = || eps - eps* ||^2 / a^2: the same minimum, weighed as flow matching weighs it."""
    target = training_target(X0, EPS, LEVEL, "flow")
    close(eps_of(target), EPS)
    close((OUTPUT - target).square().sum(), (eps_of(OUTPUT) - EPS).square().sum() / LEVEL.a**2)


def test_eq_5_has_the_same_target():
    """(1 + omega) v - omega v_ap is the flow whose noise is (1 + omega) eps - omega eps_ap, as its coefficients sum to
    1."""
    target = appearance_free(training_target(X0, EPS, LEVEL, "flow"), STATIC, OMEGA)
    close(eps_of(target), (1 + OMEGA) * EPS - OMEGA * eps_of(STATIC))
    wanted = (eps_of(OUTPUT) - ((1 + OMEGA) * EPS - OMEGA * eps_of(STATIC))).square().mean() / LEVEL.a**2
    close((OUTPUT - target).square().mean(), wanted)


def test_eq_6_is_the_same_distance_over_a_squared():
    close((OUTPUT - STATIC).square().mean(), (eps_of(OUTPUT) - eps_of(STATIC)).square().mean() / LEVEL.a**2)


def test_eq_9_under_guidance_is_guidance_of_the_noises():
    guided = eps_of(classifier_free_guidance(STATIC, OUTPUT, 5.0))
    close(guided, classifier_free_guidance(eps_of(STATIC), eps_of(OUTPUT), 5.0))


def test_line_13_mixes_the_noises_each_at_its_own_latents():
    """After Eq. 11 the branches stand at different latents: eps_s and eps_m are mixed, and so are their x0."""
    latents, betas = (X, X + 0.1 * random(7)), (0.3, 0.7)
    mixed = to_x0_eps(*mix((OUTPUT, STATIC), latents, betas), LEVEL, "flow")
    pairs = [to_x0_eps(o, x, LEVEL, "flow") for o, x in zip((OUTPUT, STATIC), latents, strict=True)]
    for got, subject, motion in zip(mixed, *pairs, strict=True):
        close(got, betas[0] * subject + betas[1] * motion)


def test_the_step_is_eulers_and_ddims_with_the_noise():
    following = level_of(0.4)
    got = step(OUTPUT, X, LEVEL, following, "flow")
    close(got, X + (following.s - LEVEL.s) * OUTPUT)
    close(got, step(eps_of(OUTPUT), X, LEVEL, following, "epsilon"))
    close(inverse_step(OUTPUT, got, LEVEL, following, "flow"), X)


def test_nothing_is_divided_by_zero_at_pure_noise():
    first, second = FlowSchedule(3.0).levels(4)[:2]
    assert float(first.a) == 0
    got = step(*mix((OUTPUT, STATIC), (EPS, 1.1 * EPS), (0.5, 0.5)), first, second, "flow")
    assert bool(got.isfinite().all())
