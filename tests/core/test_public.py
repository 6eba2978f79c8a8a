"""The public surface: small, sorted, and light to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import videomage_core


def test_what_is_public_exists_and_is_documented():
    for name in videomage_core.__all__:
        member = getattr(videomage_core, name)
        assert not callable(member) or member.__doc__


def test_importing_the_engine_loads_no_heavy_library():
    heavy = ("torch", "diffusers", "transformers", "peft", "av", "comfy")
    code = f"import sys, videomage_core, videomage_core.cli; print([n for n in {heavy} if n in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
