"""Encode Prompt (SCS) with core's own tokenizer, text encoder and conditioning; ``test_prompts.py`` runs it."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from in_core import WIDTH, pack_module, tiny_clip, use_core

use_core()
PROMPT = "a (ohwx dog:1.3) is riding a sks on \\(white\\) snow, and a sks sits"
SUBJECTS = "ohwx dog = dog\nsks = stuffed animal"


@pytest.fixture(scope="module")
def clip() -> Any:
    return tiny_clip()


@pytest.fixture(scope="module")
def node() -> Any:
    return pack_module("nodes.native.prompts").EncodePromptSCS


def run(node: Any, clip: Any, prompt: str = PROMPT, subjects: str = SUBJECTS, negative: str = "", **more: Any) -> Any:
    with torch.inference_mode():  # as ComfyUI runs nodes
        return node.execute(clip=clip, prompt=prompt, subjects=subjects, negative=negative, **more).result


def plain(clip: Any, prompt: str) -> Any:
    """What core's CLIPTextEncode gives."""
    with torch.inference_mode():
        return clip.encode_from_tokens_scheduled(clip.tokenize(prompt))


def processor(clip: Any) -> Any:
    return getattr(clip.tokenizer, clip.tokenizer.clip).tokenizer.tokenizer


def said(clip: Any, prompt: str, span: dict[str, Any]) -> str:
    """What core's own tokens say in a span's columns."""
    ids = [token for token, _ in clip.tokenize(prompt)["umt5xxl"][0]][span["start"] : span["end"]]
    return str(processor(clip).decode(ids))


def test_each_branch_is_what_core_encodes(node: Any, clip: Any) -> None:
    subject, motion, negative, motion_prompt = run(node, clip, negative="blurry, (ugly:1.2)")
    assert motion_prompt == "a (dog:1.3) is riding a stuffed animal on \\(white\\) snow, and a stuffed animal sits"
    for given, prompt in ((subject, PROMPT), (motion, motion_prompt), (negative, "blurry, (ugly:1.2)")):
        assert torch.equal(given[0][0], plain(clip, prompt)[0][0]) and given[0][0].shape == (1, 512, WIDTH)
    assert not torch.equal(subject[0][0], motion[0][0])


def test_the_spans_say_the_subjects_in_cores_own_tokens(node: Any, clip: Any) -> None:
    subject, motion, negative, motion_prompt = run(node, clip)
    spans, others = (given[0][1]["videomage_spans"] for given in (subject, motion))
    assert [span["word"] for span in spans] == ["ohwx dog", "sks", "sks"] == [span["word"] for span in others]
    assert [said(clip, PROMPT, span) for span in spans] == ["ohwx dog", "sks", "sks"]
    assert [said(clip, motion_prompt, span) for span in others] == ["dog", "stuffed animal", "stuffed animal"]
    assert "videomage_spans" not in negative[0][1]


def test_the_text_encoder_treats_those_columns_as_the_subjects(node: Any, clip: Any) -> None:
    """Another weight on a subject changes its columns of the conditioning and no other."""
    one = run(node, clip, "a (sks:1.0) rides", "sks = dog")[0]
    other = run(node, clip, "a (sks:1.5) rides", "sks = dog")[0]
    (span,) = one[0][1]["videomage_spans"]
    changed = (one[0][0] != other[0][0]).any(-1)[0].nonzero().flatten().tolist()
    assert changed == list(range(span["start"], span["end"]))


def test_samplers_keep_the_spans(node: Any, clip: Any) -> None:
    import comfy.sampler_helpers

    (kept,) = comfy.sampler_helpers.convert_cond(run(node, clip)[0])
    assert [span["word"] for span in kept["videomage_spans"]] == ["ohwx dog", "sks", "sks"]


def test_any_prompt_is_cut_as_core_cuts_it(clip: Any) -> None:
    """``WanText`` compares its own cutting with core's tokens and weights, and would refuse."""
    text = pack_module("nodes.native.text_encoder").WanText(clip)
    draw = random.Random(1)
    parts = [
        "(",
        ")",
        "((",
        "))",
        "\\(",
        "\\)",
        ":1.2",
        ":x",
        ":",
        "a dog",
        " rides ",
        "\n",
        "café",
        "狗",
        "🦊",
        ", ",
        "  ",
    ]
    for _ in range(300):
        prompt = "".join(draw.choices(parts, k=draw.randint(0, 14)))
        row = text._row(prompt, (), {})
        assert row == clip.tokenize(prompt)["umt5xxl"][0], prompt


def token_file(folder: Path, rows: torch.Tensor) -> Path:
    from safetensors.torch import save_file

    save_file({"lora_emb.toy": rows}, folder / "toy.safetensors")
    return folder / "toy.safetensors"


def test_vectors_of_a_words_own_tokens_encode_as_that_word(
    node: Any, clip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = processor(clip).encode("dog")[:-1]
    table = clip.cond_stage_model.umt5xxl.transformer.shared.weight
    file = token_file(tmp_path, table[ids].detach().clone())
    monkeypatch.setattr(pack_module("nodes.comfy_host"), "lora_file", lambda name: file)
    prompt, box = "a (<toy>:1.2) is riding a sks", "sks = cat\n<toy> = robot"
    subject, _, _, motion_prompt = run(node, clip, prompt, box, learned_tokens="toy.safetensors")
    assert torch.allclose(subject[0][0], plain(clip, "a (dog:1.2) is riding a sks")[0][0], atol=1e-6)
    assert motion_prompt == "a (robot:1.2) is riding a cat"
    spans = subject[0][1]["videomage_spans"]
    assert [(span["word"], said(clip, "a dog is riding a sks", span)) for span in spans] == [
        ("<toy>", "dog"), ("sks", "sks"),
    ]  # fmt: skip


def test_several_vectors_take_columns_of_their_own(
    node: Any, clip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = token_file(tmp_path, torch.randn(3, WIDTH))
    monkeypatch.setattr(pack_module("nodes.comfy_host"), "lora_file", lambda name: file)
    subject = run(node, clip, "a <toy> runs", "<toy> = dog", learned_tokens="toy.safetensors")[0]
    (span,) = subject[0][1]["videomage_spans"]
    assert span["end"] - span["start"] == 3 and subject[0][0].shape == (1, 512, WIDTH)
    assert not subject[0][0][0, span["end"] :].isnan().any()


def test_vectors_of_another_width_are_refused(
    node: Any, clip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = token_file(tmp_path, torch.randn(1, WIDTH + 1))
    monkeypatch.setattr(pack_module("nodes.comfy_host"), "lora_file", lambda name: file)
    with pytest.raises(ValueError, match=f"<toy> have width {WIDTH + 1}, those of this text encoder have {WIDTH}"):
        run(node, clip, "a <toy> runs", "<toy> = dog", learned_tokens="toy.safetensors")


def test_a_subject_beyond_what_wan_reads_is_refused(node: Any, clip: Any) -> None:
    with pytest.raises(ValueError, match=r"'sks' ends at token \d+, at most 511 fit"):
        run(node, clip, "a dog, " * 300 + "sks", "sks = dog")


def test_another_text_encoder_is_refused(node: Any) -> None:
    import comfy.sd1_clip

    class Clip:
        tokenizer = comfy.sd1_clip.SD1Tokenizer()

        def tokenize(self, text: str) -> Any:
            return self.tokenizer.tokenize_with_weights(text)

    with pytest.raises(ValueError, match=r"got the text encoder l, must be Wan's UMT5; wire a 'Load CLIP' of type wan"):
        run(node, Clip())
    with pytest.raises(ValueError, match="clip: got nothing; wire a 'Load CLIP'"):
        run(node, None)


def test_the_schema_is_one_that_this_core_takes(node: Any) -> None:
    overlay = pack_module("nodes.native.overlay").ShowAttention
    assert [output.io_type for output in node.define_schema().outputs] == ["CONDITIONING"] * 3 + ["STRING"]
    assert [given.io_type for given in overlay.define_schema().inputs] == ["IMAGE", "GUIDER", "FLOAT"]
