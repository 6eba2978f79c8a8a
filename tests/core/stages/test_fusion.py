"""Fusing subject LoRAs on the built-in base (Eq. 6-8)."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.core.stages.small_fusion import CONFIG, factors, fuse
from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import SamplingConfig
from videomage_core.data.lora_file import apply_loras, load_lora, save_lora
from videomage_core.data.masks import GivenMasks
from videomage_core.model import lora
from videomage_core.model.lora_weights import average, compress
from videomage_core.stages import fusion, fusion_data
from videomage_core.stages.fusion import check_subjects

# what is fused


def test_one_subject_is_its_own_fusion(emoji_base, subjects, tmp_path):
    fused = fuse(emoji_base, subjects[:1], tmp_path / "f")
    assert fused.lora_model is subjects[0]
    assert fused.pair is fused.maps is fused.sample is None and fused.history.losses == {}
    assert not (tmp_path / "f").exists()


def test_it_begins_as_the_exact_average(emoji_base, subjects, tmp_path):
    """With a learning rate of zero it stays there, whatever is lost on the way."""
    fused = fuse(emoji_base, subjects, tmp_path, dataclasses.replace(CONFIG, learning_rate=0.0, steps=2))
    start = average([lora_model.weights for lora_model in subjects])
    assert fused.lora_model.weights.rank == 3 and fused.compression_error == 0
    assert torch.equal(factors(fused.lora_model.weights), factors(start))
    assert all(min(losses) > 0 for losses in fused.history.losses.values())


def test_a_lower_rank_begins_as_the_nearest_to_the_average(emoji_base, subjects, tmp_path):
    config = dataclasses.replace(CONFIG, learning_rate=0.0, steps=1, rank=1, lambda2=0.0)
    fused = fuse(emoji_base, subjects, tmp_path / "one", config)
    nearest, error = compress(average([lora_model.weights for lora_model in subjects]), 1)
    assert fused.lora_model.weights.rank == 1 and fused.compression_error == error > 0
    assert torch.equal(factors(fused.lora_model.weights), factors(nearest))
    assert fused.lora_model.details["compression_error"] == round(error, 4)
    said: list[str] = []
    higher = dataclasses.replace(config, rank=8)
    whole = fuse(emoji_base, subjects, tmp_path / "all", higher, callbacks=Callbacks(log=said.append))
    assert whole.lora_model.weights.rank == 3 and whole.compression_error == 0
    assert "rank: 8 is more than the average has; it keeps its own, 3" in said


def test_it_learns_the_spatial_layers_and_keeps_all_tokens(emoji_base, subjects, tmp_path):
    fused = fuse(emoji_base, subjects, tmp_path)
    start = average([lora_model.weights for lora_model in subjects])
    got = fused.lora_model.weights
    assert set(got.layers) == {target.module for target in emoji_base.targets("spatial")}
    moved = [not torch.equal(got.layers[m][i], start.layers[m][i]) for m in start.layers for i in (0, 1)]
    assert all(moved)
    assert fused.lora_model.kind == "fusion" and set(fused.history.losses) == {"L_fusion", "L_attn", "loss"}
    for token, lora_model in zip(fused.lora_model.tokens, subjects, strict=True):
        assert token.name == lora_model.tokens[0].name and torch.equal(token.vectors, lora_model.tokens[0].vectors)
    assert fused.pair.masks.shape == (2, 2, 24, 24) and fused.maps.shape == (2, 2, 24, 24)
    assert 0 <= float(fused.maps.min()) < float(fused.maps.max()) <= 1
    save_lora(tmp_path / "out" / "fused.safetensors", fused.lora_model)
    again = load_lora(tmp_path / "out" / "fused.safetensors")
    assert again.kind == "fusion" and len(again.tokens) == 2
    assert all(torch.equal(again.weights.layers[m][i], got.layers[m][i]) for m in got.layers for i in (0, 1))


def test_three_subjects_with_samples(emoji_base, subjects, make_lora_model, tmp_path):
    three = [*subjects, make_lora_model(emoji_base, 3, "<cat>", "black cat")]
    seen: list[torch.Tensor] = []
    sampling = SamplingConfig(frames=2, height=16, width=16, steps=1)
    config = dataclasses.replace(CONFIG, steps=2, sample_every_n_steps=1, batch_size=2)
    fused = fuse(emoji_base, three, tmp_path, config, sampling=sampling, callbacks=Callbacks(preview=seen.append))
    assert [token.name for token in fused.lora_model.tokens] == ["<toy>", "<pet>", "<cat>"]
    assert fused.lora_model.weights.rank == 5 and len(seen) == 2
    assert fused.sample.shape == (3, 2, 16, 16) and fused.lora_model.thumbnail is not None
    assert fusion.pair_prompt(["<toy>", "<pet>", "<cat>"]) == "A <toy> and a <pet> and a <cat>"


# Eq. 8


def test_lambda2_weighs_l_attn(emoji_base, subjects, tmp_path):
    one = dataclasses.replace(CONFIG, steps=1)
    full = fuse(emoji_base, subjects, tmp_path / "a", dataclasses.replace(one, lambda2=1.0)).history.losses
    part = fuse(emoji_base, subjects, tmp_path / "b", dataclasses.replace(one, lambda2=0.25)).history.losses
    assert part["L_attn"][0] == pytest.approx(full["L_attn"][0] / 4, rel=1e-4)
    assert part["L_fusion"][0] == pytest.approx(full["L_fusion"][0], rel=1e-4)
    assert full["loss"][0] == pytest.approx(full["L_attn"][0] + full["L_fusion"][0])


def test_lambda2_zero_is_without_l_attn(emoji_base, subjects, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("asked for L_attn")

    for module, name in ((fusion, "pair_maps"), (fusion, "sample_cutmix_pair"), (fusion_data, "cut_out")):
        monkeypatch.setattr(module, name, refuse)
    segmenter = type("Refusing", (), {"segment": refuse})()
    config = dataclasses.replace(CONFIG, lambda2=0.0, steps=1)
    fused = fuse(emoji_base, subjects, tmp_path, config, segmenter=segmenter)
    assert set(fused.history.losses) == {"L_fusion", "loss"} and fused.pair is fused.maps is None
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "generated").glob("[!.]*")) == ["teacher", "teacher"]
    with pytest.raises(AssertionError, match="asked for L_attn"):
        fuse(emoji_base, subjects, tmp_path / "on", dataclasses.replace(config, lambda2=0.1))


# the training


def test_a_stop_and_a_second_call_give_what_one_call_gives(emoji_base, subjects, tmp_path):
    wanted = fuse(emoji_base, subjects, tmp_path / "whole")
    trained: list[int] = []
    callbacks = Callbacks(progress=lambda done, _, what: trained.append(done) if what == "training" else None,
              cancelled=lambda: len(trained) == 1)  # fmt: skip
    with pytest.raises(Cancelled):
        fuse(emoji_base, subjects, tmp_path / "two", callbacks=callbacks)
    assert not lora.names(emoji_base)
    resumed = fuse(emoji_base, subjects, tmp_path / "two")
    assert resumed.history.resumed_at == 1 and resumed.history.losses == wanted.history.losses
    assert torch.equal(factors(resumed.lora_model.weights), factors(wanted.lora_model.weights))
    assert torch.equal(resumed.maps, wanted.maps)


def test_a_stop_while_teachers_are_made_and_a_damaged_file_change_nothing(emoji_base, subjects, tmp_path):
    wanted = fuse(emoji_base, subjects, tmp_path / "whole")
    told: list[tuple[int, int, str]] = []
    first = CONFIG.teacher_steps * (CONFIG.teacher_videos + CONFIG.cutmix_videos)  # steps of the first subject's clips
    callbacks = Callbacks(progress=lambda *step: told.append(step), cancelled=lambda: len(told) > first)
    with pytest.raises(Cancelled):
        fuse(emoji_base, subjects, tmp_path / "two", callbacks=callbacks)
    assert told[-1] == (1, first, "making teacher clips") and not lora.names(emoji_base)
    (kept,) = (tmp_path / "two" / "generated").glob("[!.]*")
    kept.write_bytes(kept.read_bytes()[:100])
    said: list[str] = []
    again = fuse(emoji_base, subjects, tmp_path / "two", callbacks=Callbacks(log=said.append))
    assert f"{kept.name} is damaged; computing it again" in said
    assert torch.equal(factors(again.lora_model.weights), factors(wanted.lora_model.weights))


@pytest.mark.parametrize("mode", ["medium", "low"])
def test_memory_modes_change_nothing_but_memory(emoji_base, subjects, tmp_path, mode, in_mode):
    config = dataclasses.replace(CONFIG, steps=2)
    one = fuse(emoji_base, subjects, tmp_path / "a", config)
    with in_mode(mode):
        two = fuse(emoji_base, subjects, tmp_path / "b", config)
    torch.testing.assert_close(factors(one.lora_model.weights), factors(two.lora_model.weights), atol=1e-5, rtol=1e-4)
    assert one.history.losses["L_attn"] == pytest.approx(two.history.losses["L_attn"], rel=1e-4)


def test_an_error_in_the_middle_leaves_the_base_alone(emoji_base, subjects, tmp_path):
    def explode(_done, _total, what):
        if what == "training":
            raise RuntimeError("host")

    with pytest.raises(RuntimeError, match="host"):
        fuse(emoji_base, subjects, tmp_path, callbacks=Callbacks(progress=explode))
    assert not lora.names(emoji_base)


def test_what_is_fused_of_something_else_does_not_go_on_with_this_ones_checkpoint(
    emoji_base, subjects, make_lora_model, tmp_path
):
    fuse(emoji_base, subjects, tmp_path)
    longer = fuse(emoji_base, subjects, tmp_path, dataclasses.replace(CONFIG, steps=4))
    assert longer.history.resumed_at == 3
    whole = GivenMasks(torch.ones(1, 2, 24, 24) * torch.linspace(0, 1, 24))
    others = [subjects[0], make_lora_model(emoji_base, 7, "<pet>", "dog", rank=1)]
    for given, more in (
        (others, {}),
        (subjects[::-1], {}),
        (subjects, {"segmenter": whole}),
        (subjects, {"prompts": fusion_data.FusionPrompts(teacher=("The {subject}",))}),
        (subjects, {"config": dataclasses.replace(CONFIG, lambda2=0.5)}),
    ):
        with pytest.raises(ValueError, match="holds the checkpoint of another training"):
            fuse(emoji_base, given, tmp_path, **more)


def test_a_checkpoint_is_known_by_what_was_given_not_by_what_networks_made_of_it(
    emoji_base, subjects, tmp_path, monkeypatch
):
    fuse(emoji_base, subjects, tmp_path)
    for name in ("decode_video", "encode_prompt"):
        stock = getattr(type(emoji_base), name)
        monkeypatch.setattr(type(emoji_base), name, lambda *given, _stock=stock: _stock(*given) * (1 + 1e-6))
    assert fuse(emoji_base, subjects, tmp_path).history.resumed_at == 3


def test_other_loras_on_the_base_do_not_count(emoji_base, subjects, make_lora_model, tmp_path):
    config = dataclasses.replace(CONFIG, steps=1)
    wanted = fuse(emoji_base, subjects, tmp_path / "a", config)
    with apply_loras(emoji_base, [(make_lora_model(emoji_base, 9, "<cat>", "cat"), 1.0)]):
        got = fuse(emoji_base, subjects, tmp_path / "b", config)
        assert lora.names(emoji_base) == ["subject_0"]
    assert got.history.losses["L_fusion"] == pytest.approx(wanted.history.losses["L_fusion"], rel=1e-3)
    assert got.history.losses["L_attn"] == pytest.approx(wanted.history.losses["L_attn"], rel=1e-3)


# bad input


def test_what_cannot_be_fused_is_refused(emoji_base, subjects, make_lora_model, tmp_path):
    toy, pet = subjects
    mark = dataclasses.replace(pet.fingerprint, architecture="another")
    stranger, motion = (
        dataclasses.replace(pet, fingerprint=mark, base="zeroscope"),
        make_lora_model(emoji_base, 3, None),
    )
    for given, message in (
        ([], "subjects: got none, give at least one subject LoRA"),
        ([toy, motion], "the LoRA 2 of 2 is a motion; fuse subjects only, and give the motion to the sampler"),
        ([motion], "subjects: the LoRA 1 of 1 is a motion"),
        (
            [toy, dataclasses.replace(pet, kind="fusion")],
            "the LoRA 2 of 2 is a fusion of 1 already; fuse the subjects' own LoRAs, all at once",
        ),
        ([toy, dataclasses.replace(pet, tokens=())], "the LoRA 2 of 2 has no token, so no prompt can name it"),
        (
            [toy, pet, dataclasses.replace(stranger, tokens=toy.tokens)],
            "the LoRA 3 of 3 was trained on 'zeroscope', the first on 'emoji_base'; fuse LoRAs of one base",
        ),
        ([toy, dataclasses.replace(pet, tokens=toy.tokens)], "tokens: <toy> is in more than one of these LoRAs"),
    ):
        with pytest.raises(ValueError, match=message):
            check_subjects(given)
        with pytest.raises(ValueError, match=message):
            fuse(emoji_base, given, tmp_path / "t")
    for given in ([stranger], [stranger, dataclasses.replace(stranger, tokens=toy.tokens)]):
        with pytest.raises(ValueError, match="was trained on the base 'zeroscope' and does not fit 'emoji_base'"):
            fuse(emoji_base, given, tmp_path / "t")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"cross_attention_layers": "mid_block, nowhere"},
            "of which nowhere names no layer; write 'all', or beginnings",
        ),
        ({"height": 26}, r"got 26x24 pixels .* multiples of 4"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_made(emoji_base, subjects, tmp_path, change, message):
    for given in (subjects, subjects[:1]):
        with pytest.raises(ValueError, match=message):
            fuse(emoji_base, given, tmp_path / "t", dataclasses.replace(CONFIG, **change))
    assert not (tmp_path / "t").exists()
