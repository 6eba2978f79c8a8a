"""The command merge."""

from __future__ import annotations

import torch

from tests.core.data.wan_lora_files import LAYERS, factors, write
from videomage_core.cli import main
from videomage_core.data.wan_lora import read_wan_lora


def test_the_command_merges_and_says_what_it_read(tmp_path, capsys):
    for seed, who in enumerate(("musubi, kohya", "ai-toolkit")):
        write(tmp_path / f"{seed}.safetensors", who, factors(seed))
    files = [str(tmp_path / f"{seed}.safetensors") for seed in (0, 1)]
    output = str(tmp_path / "both.safetensors")
    assert main(["merge", *files, "--weight", "3", "--weight", "1", "--output", output]) == 0
    text = capsys.readouterr().out
    assert "0.safetensors: scale 0.5 from its .alpha tensor" in text and f"wrote {output}: rank 8" in text
    got = read_wan_lora(tmp_path / "both.safetensors").experts[""]
    a, b = factors(0)[LAYERS[0]], factors(1)[LAYERS[0]]
    torch.testing.assert_close(
        got.delta(LAYERS[0]), 0.75 * 0.5 * (a[1] @ a[0]) + 0.25 * (b[1] @ b[0]), atol=1e-5, rtol=1e-5
    )
    assert main(["merge", *files, "--weight", "3", "--output", output]) == 2
    assert main(["merge", *files, "--output", files[0]]) == 2
    assert "must end in .safetensors and be another file" in capsys.readouterr().err
