"""SCS Guider against core's CFGGuider, on a tiny Wan."""

from __future__ import annotations

import dataclasses
from typing import Any

import comfy.samplers
import pytest
import tiny_wan as tiny
import torch
from videomage_pack.nodes.native import collaborative_guider, guided_steps, guider, recording
from videomage_pack.videomage_core.config import GuiderConfig

CONFIG = GuiderConfig(cfg=3.0, tau=0)
POSITIVE, PLAIN, NEGATIVE = (
    tiny.conditioning(1, tiny.SPANS),
    tiny.conditioning(2, tiny.PLAIN_SPANS),
    tiny.conditioning(3),
)


def built(subject: Any, motion: Any, config: GuiderConfig = CONFIG, **more: Any) -> Any:
    models = {"model_subject": subject, **more, "model_motion": motion}
    return guider.build_guider(models, POSITIVE, PLAIN, NEGATIVE, config)


def close(one: torch.Tensor, two: torch.Tensor, share: float = 1e-5) -> bool:
    return bool(one.isfinite().all()) and float((one - two).norm() / two.norm()) < share


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m", "uni_pc"])
def check_one_branch_without_guidance_is_core_s_guider(subject, motion, sampler):
    for share, model, positive in ((1.0, subject, POSITIVE), (0.0, motion, PLAIN)):
        config = dataclasses.replace(CONFIG, beta_subject=share, beta_motion=1 - share)
        got = tiny.run(built(subject, motion, config), sampler)
        assert close(got, tiny.run(tiny.cfg_guider(model, positive, NEGATIVE, 3.0), sampler))


@pytest.mark.parametrize("sampler", ["euler", "uni_pc"])
def check_four_steps_at_cfg_1(subject, motion, sampler):
    for share, model, positive in ((1.0, subject, POSITIVE), (0.0, motion, PLAIN)):
        config = dataclasses.replace(CONFIG, beta_subject=share, beta_motion=1 - share, cfg=1.0)
        got = tiny.run(built(subject, motion, config), sampler, steps=4)
        assert close(got, tiny.run(tiny.cfg_guider(model, positive, NEGATIVE, 1.0), sampler, steps=4))


@pytest.mark.parametrize("step_size", [0.0, 1e-9])
def check_guided_steps_that_move_nothing_are_euler(subject, motion, step_size):
    config = dataclasses.replace(CONFIG, tau=4, step_size=step_size)
    assert close(tiny.run(built(subject, motion, config)), tiny.run(built(subject, motion)))


def check_several_subjects_are_composed_by_their_effects(wan, subject, motion):
    """With one's LoRA all zeros it is the base with the other's effect, written out."""
    other = tiny.with_lora(wan, tiny.lora_patches(wan, 5), 0.6)
    config = dataclasses.replace(CONFIG, beta_subject=1.0, beta_motion=0.0, effect_weight=0.8)

    class Written(comfy.samplers.CFGGuider):
        def predict_noise(self, x, timestep, model_options={}, seed=None):  # noqa: B006  # as the core has it
            def of(patcher: Any, positive: Any) -> torch.Tensor:
                patcher.patch_model()
                try:
                    conds = [self.conds[positive]]
                    return comfy.samplers.calc_cond_batch(self.inner_model, conds, x, timestep, model_options)[0]
                finally:
                    patcher.unpatch_model()

            plain, without = of(wan, "plain"), of(wan, "negative")
            effects = sum(of(patcher, "positive") - plain for patcher in (subject, other))
            return without + 3.0 * (plain - without) + 0.8 * effects

    written = Written(wan)
    written.inner_set_conds({"positive": POSITIVE, "plain": PLAIN, "negative": NEGATIVE})
    got = tiny.run(built(subject, motion, config, model_subject_2=other), steps=3)
    assert close(got, tiny.run(written, steps=3))


def check_a_guided_video_is_finite_another_one_and_says_where_subjects_were_seen(subject, motion):
    config = dataclasses.replace(CONFIG, tau=3, step_size=0.05)
    one = built(subject, motion, config)
    calls: list[tuple[int, int]] = []
    got = tiny.run(one, "dpmpp_2m", callback=lambda i, x0, x, total: calls.append((i, total)))
    plain = tiny.run(built(subject, motion), "dpmpp_2m")
    assert bool(got.isfinite().all()) and not close(got, plain, 1e-3)
    assert calls == [(i, 6) for i in range(6)]
    assert [word for word, _ in one.attention_maps] == ["<toy>", "<pet>"]
    for _, seen in one.attention_maps:
        assert seen.shape == (3, 2, 3) and 0 <= float(seen.min()) < float(seen.max()) <= 1
    assert torch.equal(got, tiny.run(one, "dpmpp_2m"))  # a guider may be used again
    all_guided = dataclasses.replace(config, tau=50)
    assert bool(tiny.run(built(subject, motion, all_guided)).isfinite().all())


def check_a_linear_schedule_begins_with_motion_and_ends_with_the_subject(subject, motion):
    config = dataclasses.replace(CONFIG, beta_schedule="linear")
    one = built(subject, motion, config)
    seen: list[tuple[float, float]] = []
    betas = one.betas
    one.betas = lambda sigma: seen.append(betas(sigma)) or seen[-1]
    tiny.run(one, steps=5)
    assert [round(s, 6) for s, _ in seen] == [0, 0.25, 0.5, 0.75, 1] and all(s + m == 1 for s, m in seen)
    half = built(subject, motion, dataclasses.replace(config, start_percent=0.5))
    half._sigmas = [1.0, 0.8, 0.5, 0.0]
    assert [round(half.progress(sigma), 6) for sigma in (1.0, 0.8, 0.65, 0.5, 0.1)] == [0.5, 0.75, 0.875, 1, 1]


def check_a_mask_keeps_what_it_covers(subject, motion):
    latent, mask = tiny.random(*tiny.LATENTS, seed=4), torch.zeros(1, 1, 3, 4, 6)
    mask[..., :3] = 1
    config = dataclasses.replace(CONFIG, tau=2, step_size=0.05)
    got = tiny.run(built(subject, motion, config), "heun", latent=latent, denoise_mask=mask)
    torch.testing.assert_close(got[..., 3:], latent[..., 3:], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(got[..., :3], latent[..., :3], atol=1e-2)
    nothing = dataclasses.replace(config, step_size=1e-9)
    plain = tiny.run(built(subject, motion), latent=latent, denoise_mask=mask)
    assert close(tiny.run(built(subject, motion, nothing), latent=latent, denoise_mask=mask), plain)


def check_a_video_of_a_batch_is_what_it_is_alone(subject, motion):
    config = dataclasses.replace(CONFIG, tau=3, step_size=0.05)
    noise = torch.cat([tiny.random(*tiny.LATENTS, seed=seed) for seed in (9, 10)])
    together = tiny.run(built(subject, motion, config), latent=torch.zeros_like(noise), noise=noise)
    for video, alone in zip(together.split(1), noise.split(1), strict=True):
        assert close(video, tiny.run(built(subject, motion, config), noise=alone))


def check_the_step_size_is_that_of_what_a_mask_leaves_to_sampling(subject, motion, monkeypatch):
    shares: list[float] = []
    update = guided_steps.guided_update

    def measured(x: torch.Tensor, gradient: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        moved = update(x, gradient, alpha)
        shares.append(float((moved - x)[..., :1].norm() / x[..., :1].norm()))
        assert torch.equal(moved[..., 1:], x[..., 1:])
        return moved

    monkeypatch.setattr(guided_steps, "guided_update", measured)
    mask = torch.zeros(1, 1, 3, 4, 6)
    mask[..., :1] = 1
    config = dataclasses.replace(CONFIG, tau=2, step_size=0.05, alpha_decay="none")
    tiny.run(built(subject, motion, config), latent=tiny.random(*tiny.LATENTS, seed=4), denoise_mask=mask)
    assert shares == pytest.approx([0.05] * 4, rel=1e-4)


class Noise:
    """What RandomNoise gives."""

    seed = 5

    def generate_noise(self, latent: Any) -> torch.Tensor:
        return tiny.random(*tiny.LATENTS, seed=9)


def check_core_s_own_sampler_node_runs_it_and_cancels_it(subject, motion):
    import comfy.model_management as management
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    node = getattr(SamplerCustomAdvanced, "sample", None) or SamplerCustomAdvanced.execute
    sample = node.__get__(SamplerCustomAdvanced()) if node is vars(SamplerCustomAdvanced).get("sample") else node
    one = built(subject, motion, dataclasses.replace(CONFIG, tau=2, step_size=0.02))
    sigmas, sampler = tiny.sigmas_of(one.model_patcher, 4), comfy.samplers.sampler_object("uni_pc")
    latent = {"samples": torch.zeros(tiny.LATENTS)}
    with torch.inference_mode():
        made = sample(Noise(), one, sampler, sigmas, latent)
        made = getattr(made, "result", made)
        assert close(made[0]["samples"], tiny.run(one, "uni_pc", 4)) and bool(made[1]["samples"].isfinite().all())
        management.interrupt_current_processing()
        with pytest.raises(management.InterruptProcessingException):
            sample(Noise(), one, sampler, sigmas, latent)
    assert not any("forward" in vars(module) for module in one.model_patcher.model.modules())


def check_image_to_video_records_the_text_s_attention_after_the_picture_s(monkeypatch):
    keys: set[int] = set()
    record = recording.cross_maps
    monkeypatch.setattr(recording, "cross_maps", lambda q, k, *more: keys.add(k.shape[2]) or record(q, k, *more))
    base = tiny.tiny_wan(kind="i2v")
    pair = [tiny.with_lora(base, tiny.lora_patches(base, seed), 0.8) for seed in (1, 2)]
    picture = {
        "concat_latent_image": tiny.random(*tiny.LATENTS, seed=6), "concat_mask": torch.ones(1, 4, 3, 4, 6),
        "clip_vision_output": type("Seen", (), {"penultimate_hidden_states": tiny.random(1, 257, 1280, seed=7)})(),
    }  # fmt: skip
    prompts = [[[text, {**options, **picture}]] for ((text, options),) in (POSITIVE, PLAIN, NEGATIVE)]
    collaborative_guider._CHECKED.clear()
    models = {"model_subject": pair[0], "model_motion": pair[1]}
    one = guider.build_guider(models, *prompts, dataclasses.replace(CONFIG, tau=2, step_size=0.02))
    got = tiny.run(one)
    assert bool(got.isfinite().all()) and len(collaborative_guider._CHECKED) == 1 and len(one.attention_maps) == 2
    assert keys == {tiny.TOKENS}


def check_one_frame_is_refused_before_anything_is_loaded(wan, subject, motion, monkeypatch):
    monkeypatch.setattr(type(wan), "load", lambda *_, **__: pytest.fail("it was loaded"))
    one = built(subject, motion, dataclasses.replace(CONFIG, tau=2))
    with pytest.raises(ValueError, match=r"latents: got the shape .* needs a video of at least 2 latent frames"):
        tiny.run(one, latent=torch.zeros(1, 16, 1, 4, 6), noise=torch.zeros(1, 16, 1, 4, 6))
