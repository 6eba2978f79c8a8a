from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import comfy_stub
import pytest
import torch

from videomage_core.data.lora_file import LoraModel, save_lora


@pytest.fixture
def toy(host: comfy_stub.Host, shared_emoji_base: Any, make_concept: Callable[..., LoraModel]) -> LoraModel:
    """A subject LoRA in models/loras/videomage/toy.safetensors."""
    made = make_concept(shared_emoji_base, 1)
    (host.home / "models" / "loras" / "videomage").mkdir()
    save_lora(host.home / "models" / "loras" / "videomage" / "toy.safetensors", made)
    return made


def test_load_rename_save_and_tell(nodes: dict[str, Any], host: comfy_stub.Host, toy: LoraModel) -> None:
    load, save, info = (nodes[f"VideoMage_{name}"] for name in ("LoadLora", "SaveLora", "LoraInfo"))
    name = "videomage/toy.safetensors"
    assert load.validate_inputs(name) is True
    loaded = load.execute(name, "<toy>=<bear>").result[0]
    assert [token.name for token in loaded.tokens] == ["<bear>"]
    assert "<bear>" in info.execute(loaded).result[0]
    folder = host.home / "models" / "loras" / "videomage"
    save.execute(loaded, "mine")
    save.execute(loaded, "mine")  # the same LoRA: no second file
    assert sorted(path.name for path in folder.iterdir()) == ["mine.safetensors", "toy.safetensors"]
    save.execute(load.execute(name, "").result[0], "mine")  # another one: not over the first
    assert (folder / "mine_2.safetensors").is_file()


def test_a_missing_file_is_said_before_anything_runs(nodes: dict[str, Any]) -> None:
    said = nodes["VideoMage_LoadLora"].validate_inputs("videomage/gone.safetensors")
    assert "not in models/loras" in said


@pytest.mark.parametrize("value", ["../x", 7, True, {}, ["1", 0, 2], "x" * 20_000])
@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("LoraInfo", "lora"), ("SaveLora", "lora"), ("TrainSubject", "base"), ("TrainSubject", "images"),
        ("TrainMotion", "mask_1"), ("FuseSubjects", "lora_8"), ("SCSSampler", "motion"), ("SampleVideo", "lora_1"),
        ("SegmentByWords", "segmenter"), ("SubjectClip", "lora"), ("Evaluate", "video"), ("ContactSheet", "row_1"),
    ],
)  # fmt: skip
def test_a_value_where_a_wire_belongs_is_refused(nodes: dict[str, Any], name: str, wire: str, value: object) -> None:
    node = nodes[f"VideoMage_{name}"]
    assert wire in {given.id for given in node.define_schema().inputs}
    with pytest.raises(ValueError, match=f"^{wire}: got .{{,80}}, wire a node's output to it$"):
        node.execute(**{wire: value})


def test_names_are_the_same_on_every_system(
    nodes: dict[str, Any], host: comfy_stub.Host, toy: LoraModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows ComfyUI's own list has backslashes; workflows name files with slashes, those saved there may not."""
    listed = "videomage\\toy.safetensors"
    monkeypatch.setattr(sys.modules["folder_paths"], "get_filename_list", lambda _: [listed])
    full = str(host.home / "models" / "loras" / "videomage" / "toy.safetensors")
    monkeypatch.setattr(sys.modules["folder_paths"], "get_full_path", lambda _, name: full if name == listed else None)
    load = nodes["VideoMage_LoadLora"]
    assert load.define_schema().inputs[0].positional[0] == ["videomage/toy.safetensors"]
    for name in ("videomage/toy.safetensors", listed):
        assert load.validate_inputs(name) is True
        assert load.execute(name, "").result[0].kind == "subject"
    assert "not in models/loras" in load.validate_inputs("toy.safetensors")


def _error(node: Any, *given: Any) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        node.execute(*given)
    return str(caught.value)


def test_a_wrong_rename_is_said(nodes: dict[str, Any], toy: LoraModel) -> None:
    assert "write OLD=NEW" in _error(nodes["VideoMage_LoadLora"], "videomage/toy.safetensors", "<bear>")
    assert "<cow>" in _error(nodes["VideoMage_LoadLora"], "videomage/toy.safetensors", "<cow>=<bear>")
    check = nodes["VideoMage_LoadLora"].validate_inputs
    assert "write OLD=NEW" in check("videomage/toy.safetensors", "<toy>=<bear>, <cow>")
    assert "got 'bear', allowed are letters" in check(None, "<toy>=bear")
    assert check("videomage/toy.safetensors", "<toy>=<bear>,") is True and check(None, None) is True


def test_a_wired_name_is_left_to_the_run(nodes: dict[str, Any], toy: LoraModel) -> None:
    mark = nodes["VideoMage_LoadLora"].fingerprint_inputs
    assert mark(lora_name=None, rename="<toy>=<bear>")[1] == "<toy>=<bear>"
    assert mark(lora_name="videomage/toy.safetensors", rename=None)[0] > 0


@pytest.mark.parametrize("name", ["../toy.safetensors", "/etc/passwd", "videomage/../../secret.safetensors"])
def test_no_path_but_a_listed_name_is_read(nodes: dict[str, Any], toy: LoraModel, name: str) -> None:
    assert "not in models/loras" in _error(nodes["VideoMage_LoadLora"], name, "")


def packs(module: str) -> ModuleType:
    """A module of the pack as ComfyUI imported it: its classes are not those that tests import."""
    return next(m for name, m in sys.modules.items() if name.endswith(f"-videomage.{module}"))


def test_bases_are_found_in_every_diffusers_folder(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    from videomage_core.model.base_folder import EMOJI_BASE

    (host.home / "models" / "diffusers" / "deep").mkdir()
    (host.home / "models" / "diffusers" / "deep" / "zeroscope").symlink_to(EMOJI_BASE)
    other = host.home / "models" / "diffusers" / "sd15" / "unet"
    other.mkdir(parents=True)
    (other / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    choice = nodes["VideoMage_LoadBase"].define_schema().inputs[0]
    assert choice.positional[0] == ["emoji base (built in)", "deep/zeroscope"]
    with pytest.raises(FileNotFoundError, match=r"'gone' is not in models/diffusers"):
        nodes["VideoMage_LoadBase"].execute("gone", "auto", "auto")


def test_a_base_that_is_not_there_is_said_when_queued(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    check = nodes["VideoMage_LoadBase"].validate_inputs
    assert check("emoji base (built in)") is True and check(None) is True and check() is True
    said = check("zeroscope_v2_576w")
    assert "'zeroscope_v2_576w' is not in models/diffusers" in said
    assert all(part in said for part in ("cerspense/zeroscope_v2_576w on Hugging Face", "CC-BY-NC-4.0", "unet, vae"))
    for part in ("unet", "text_encoder"):
        (host.home / "models" / "diffusers" / "zeroscope_v2_576w" / part).mkdir(parents=True)
    assert "lacks vae, tokenizer, scheduler" in check("zeroscope_v2_576w")
    assert "is not in models/diffusers" in check("../diffusers/zeroscope_v2_576w")


@pytest.mark.parametrize(("memory", "modes"), [("auto", "high medium low"), ("low", "low low low")])
def test_a_base_works_in_the_mode_that_is_asked_for_or_fits(
    nodes: dict[str, Any], host: comfy_stub.Host, memory: str, modes: str
) -> None:
    base = nodes["VideoMage_LoadBase"].execute("emoji base (built in)", "fp32", memory).result[0]
    required_memory, workloads_for, modes_of = (
        vars(packs("videomage_core.model.memory"))[n] for n in ("required_memory", "workloads_for", "MODES")
    )
    asked = {"method": "the base alone", "steps": 1, "frames": 8, "height": 48, "width": 48, "guidance_scale": 5.0}
    workloads = workloads_for(base.preset.sampling)
    made = []
    for name, mode in zip(("high", "medium", "low"), modes.split(), strict=True):
        host.free_memory = required_memory(base.backbone, workloads, modes_of[name])
        host.loaded.clear()
        made.append(nodes["VideoMage_SampleVideo"].execute(base, "a dog", seed=0, **asked).result[0])
        assert base.backbone.memory.name == mode
        assert [patcher.model.part for patcher in host.loaded] == base.backbone.resident(base.backbone.memory)
    assert all(torch.allclose(video, made[0], atol=1 / 255) for video in made)


def test_contact_sheet_labels_and_sizes(nodes: dict[str, Any]) -> None:
    sheet = nodes["VideoMage_ContactSheet"].execute(
        "one\ntwo", 2, row_1=torch.rand(3, 20, 30, 3), row_3=torch.rand(5, 8, 8, 3)
    )
    assert sheet.result[0].shape[0] == 1 and sheet.result[0].shape[2] > 3 * 60


def test_evaluate_scores_one_video_or_two(nodes: dict[str, Any]) -> None:
    frames, *_ = nodes["VideoMage_ExampleMotion"].execute().result
    pictures, _ = nodes["VideoMage_ExampleSubject"].execute("panda").result
    given = {"prompt": "", "labels": "one", "clip_folder": "", "dino_folder": ""}
    evaluate = nodes["VideoMage_Evaluate"].execute
    whole = evaluate(video=frames, pictures_1=pictures, plain_background=False, **given)
    assert "one" in whole.result[0] and len(whole.result[0].splitlines()) == 3
    assert whole.result[1].shape[0] == 1 and whole.result[1].shape[2] == 640
    both = evaluate(video=frames, other=frames, pictures_1=pictures, plain_background=True, **given)
    _, identity, consistency = both.result[0].splitlines()
    assert identity.split()[-1] == identity.split()[-2] and consistency.split()[-1] == consistency.split()[-2]
    assert identity.split()[-1] not in whole.result[0], "cut out, another likeness"


def test_evaluate_refuses_a_folder_that_is_no_model(nodes: dict[str, Any], tmp_path: Path) -> None:
    pictures = torch.rand(1, 8, 8, 3)
    with pytest.raises(FileNotFoundError, match=r"CLIP: .* lacks config\.json"):
        nodes["VideoMage_Evaluate"].execute(pictures, "", "", False, str(tmp_path), "", pictures_1=pictures)


def test_evaluate_shows_progress_and_stops_when_asked(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    frames = torch.rand(2, 16, 16, 3)
    given = {"prompt": "", "labels": "", "plain_background": False, "clip_folder": "", "dino_folder": ""}
    evaluate = nodes["VideoMage_Evaluate"].execute
    evaluate(video=frames, other=frames, pictures_1=frames, **given)
    assert [(done, total) for done, total, _ in host.progress] == [(0, 2), (1, 2), (2, 2)]
    host.progress.clear()
    host.interrupt_at = 1
    with pytest.raises(comfy_stub.Interrupted):
        evaluate(video=frames, other=frames, pictures_1=frames, **given)
    assert len(host.progress) == 1


def test_evaluates_folders_are_looked_at_when_queued(nodes: dict[str, Any], tmp_path: Path) -> None:
    check = nodes["VideoMage_Evaluate"].validate_inputs
    assert check("", " ") is True and check(None, None) is True
    said = check(str(tmp_path), "nowhere")
    assert "lacks config.json" in said and "dino_folder: nowhere is not a folder" in said


def test_examples_are_whole(nodes: dict[str, Any]) -> None:
    images, prompts = nodes["VideoMage_ExampleSubject"].execute("panda").result
    assert len(images) == len(prompts.splitlines()) == 4
    frames, *masks, prompt, subjects = nodes["VideoMage_ExampleMotion"].execute().result
    assert [mask.shape for mask in masks] == [frames.shape[:3]] * 2
    assert all(who in prompt for who in subjects.split(", "))


def test_a_path_of_home_is_understood(nodes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    pictures = next(module for name, module in sys.modules.items() if name.endswith(".nodes.conversions"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pictures.folder("~", "images_folder") == tmp_path
    assert pictures.folder("  ", "images_folder") is None


def test_comfyui_is_asked_for_the_memory_of_the_work(nodes: dict[str, Any], host: comfy_stub.Host) -> None:
    """More of a video takes more, "low" less; and a size that the base cannot make is said before it is loaded."""
    comfy_memory, engine = packs("nodes.comfy_memory"), packs("videomage_core.model.memory")
    low, high = (
        nodes["VideoMage_LoadBase"].execute("emoji base (built in)", "fp32", m).result[0] for m in ("low", "high")
    )

    def asked(base: Any, **change: Any) -> int:
        workloads = engine.workloads_for(dataclasses.replace(base.preset.motion, **change))
        with comfy_memory.on_device(base, "nothing", workloads):
            return host.memory_required[-1]

    longer, larger, usual = asked(high, frames=16), asked(high, height=96), asked(high, frames=8)
    assert usual < longer == larger < 2 * usual, "the margin on the weights stays"
    assert 0 < asked(low) < usual
    loads = len(host.memory_required)
    with pytest.raises(ValueError, match="multiples of 4"):
        asked(high, width=50)
    assert len(host.memory_required) == loads
    plain = {"method": "the base alone", "steps": 1, "frames": 8, "height": 48, "width": 48, "guidance_scale": 5.0}
    nodes["VideoMage_SampleVideo"].execute(high, "a dog", seed=0, **plain)
    assert 0 < host.memory_required[-1] < usual, "no gradients"


@pytest.mark.parametrize(
    "error",
    [
        comfy_stub.OutOfMemory("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_full_memory_is_said_with_what_to_lower(nodes: dict[str, Any], host: comfy_stub.Host, error: Exception) -> None:
    memory = packs("nodes.comfy_memory")

    def said(mode: str) -> str:
        base = nodes["VideoMage_LoadBase"].execute("emoji base (built in)", "fp32", mode).result[0]
        with pytest.raises(RuntimeError) as raised, memory.on_device(base, "frames", []):
            raise error
        return str(raised.value)

    assert said("high").endswith(
        "in the memory mode 'high'; everything was freed. Set the base's memory mode to 'medium' or 'low': a training "
        "then goes on from its last checkpoint. Or lower frames"
    )
    assert said("low").endswith("in the memory mode 'low'; everything was freed. Lower frames")
    load = sys.modules["comfy.model_management"].load_models_gpu

    def full(*_: Any, **__: Any) -> None:
        raise error

    sys.modules["comfy.model_management"].load_models_gpu = full  # before the base is in its mode
    try:
        assert "in the memory mode 'low'" in said("low")
    finally:
        sys.modules["comfy.model_management"].load_models_gpu = load
    assert host.freed
    freed = pytest.raises(RuntimeError, match=r"^VideoMage ran out of memory; everything was freed\. Lower it$")
    with freed, memory.reserve_memory(1, "Lower it"):
        raise error
    with pytest.raises(RuntimeError, match=r"^shapes"), memory.reserve_memory(1, "Lower it"):
        raise RuntimeError("shapes do not fit")


def test_an_ordinary_lora_is_a_subject_called_by_its_trigger_words(
    nodes: dict[str, Any], host: comfy_stub.Host, toy: LoraModel, shared_emoji_base: Any
) -> None:
    from types import SimpleNamespace

    from safetensors.torch import save_file

    module = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    layer = shared_emoji_base.unet.get_submodule(module)
    stem = f"lora_unet_{module.replace('.', '_')}"
    a, b = torch.ones(2, layer.in_features), torch.ones(layer.out_features, 2)
    tensors = {f"{stem}.lora_down.weight": a, f"{stem}.lora_up.weight": b, f"{stem}.alpha": torch.tensor(1.0)}
    save_file(tensors, host.home / "models" / "loras" / "cup.safetensors")
    load, base = nodes["VideoMage_LoadLora"], SimpleNamespace(backbone=shared_emoji_base)
    with torch.inference_mode():
        made = load.execute("cup.safetensors", "", "sks cup", "cup", base)
    concept = made.result[0]
    assert [(token.name, token.superclass) for token in concept.tokens] == [("<sks_cup>", "cup")]
    assert made.ui == {"text": "scale 0.5 from its .alpha tensor (alpha 1 / 2)"}
    assert torch.allclose(concept.weights.delta(module), 0.5 * b @ a)
    assert not concept.tokens[0].vectors.is_inference() and not concept.weights.layers[module][1].is_inference()
    assert (
        load.execute("cup.safetensors", "<sks_cup>=<mug>", "sks cup", "cup", base).result[0].tokens[0].name == "<mug>"
    )
    for given, message in (
        (("cup.safetensors", ""), "an ordinary LoRA needs its trigger words"),
        (("cup.safetensors", "", "sks cup", "cup"), "base: got none; wire a Load Video Base"),
        (("cup.safetensors", "", "sks cup", "", base), "superclass: got ''"),
        (("videomage/toy.safetensors", "", "sks toy", "robot", base), "was written by VideoMage"),
    ):
        with pytest.raises(ValueError, match=message):
            load.execute(*given)


def test_a_large_clip_is_shrunk_before_it_is_scored(nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []

    class Shape:
        def score(self, video: Any, prompt: str | None, references: Any) -> dict[str, float]:
            shapes.extend([video.shape, *(picture.shape for those in references.values() for picture in those)])
            return {"size": 1.0}

    module = sys.modules[nodes["VideoMage_Evaluate"].__module__]
    monkeypatch.setattr(module, "scorers", lambda *_: [Shape()])
    large = torch.rand(2, 2048, 3072, 3)
    nodes["VideoMage_Evaluate"].execute(large, "", "", False, "", "", pictures_1=large[:1])
    assert shapes == [(2, 1024, 1536, 3), (1024, 1536, 3)]


def test_a_clip_for_the_initial_noise_gives_the_frames_and_size_it_needs(nodes: dict[str, Any]) -> None:
    module = sys.modules[nodes["VideoMage_SCSSampler"].__module__]
    config = SimpleNamespace(frames=4, height=8, width=16, noise_prior=0.3)
    clip = torch.linspace(0, 1, 10)[:, None, None, None].expand(10, 64, 128, 3)
    pixels = module.motion_pixels(clip, config)
    assert pixels.shape == (3, 4, 16, 32)
    torch.testing.assert_close(pixels[0, :, 0, 0], torch.tensor([0, 3, 6, 9]) / 9 * 2 - 1)
    assert module.motion_pixels(None, config) is None
    assert module.motion_pixels(clip, SimpleNamespace(noise_prior=0)) is None
    with pytest.raises(ValueError, match="give a clip of at least 2 frames"):
        module.motion_pixels(clip[:1], config)
