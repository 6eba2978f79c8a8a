"""The command fuse on the folder of a Wan."""

from __future__ import annotations

import pytest

from tests.core.model.random_lora import random_lora
from tests.tiny_wan import write_tiny_wan
from videomage_core.cli import main
from videomage_core.data.lora_file import LoraModel, load_lora, save_lora
from videomage_core.model.fingerprint import fingerprint
from videomage_core.model.text import SpecialToken
from videomage_core.model.wan_loading import load_wan


@pytest.mark.parametrize("lambda2", ["0", "0.6"])
def test_fuse_on_a_wan_folder(tmp_path, capsys, lambda2):
    folder = write_tiny_wan(tmp_path / "tiny_wan")
    base = load_wan(folder, device="cpu")
    files = []
    for seed, (name, superclass) in enumerate((("<toy>", "robot"), ("<pet>", "dog"))):
        token = SpecialToken(name, base.initial_vectors(superclass, 1), superclass)
        made = LoraModel(
            "subject", random_lora(base, "spatial", seed), (token,), base.name, fingerprint(base.network)
        )  # fmt: skip
        files.append(tmp_path / f"{superclass}.safetensors")
        save_lora(files[-1], made)
    fused = tmp_path / "both.safetensors"
    few = ["--steps", "1", "--teacher-videos", "1", "--teacher-steps", "1", "--cutmix-videos", "1", "--frames", "5"]
    size = ["--height", "32", "--width", "32", "--lambda2", lambda2, "--device", "cpu"]
    code = main(["fuse", *map(str, files), "--base", str(folder), "--output", str(fused), *few, *size])
    said = capsys.readouterr()
    if lambda2 == "0":
        assert code == 0, said.err
        assert [token.name for token in load_lora(fused).tokens] == ["<toy>", "<pet>"]
    else:  # what random weights make has no plain background to cut a subject out of
        assert code == 2 and "set lambda2 to 0" in said.err
