"""Encode Prompt (SCS) among the modules of a real core, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from server import PACK, find_comfyui


def test_prompts_in_core() -> None:
    where = {"COMFYUI_PATH": str(find_comfyui()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(PACK)]
    script = Path(__file__).with_name("core_prompts.py")
    done = subprocess.run(
        [*command, str(script)], cwd=PACK, env={**os.environ, **where}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
