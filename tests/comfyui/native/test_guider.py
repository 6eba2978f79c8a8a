"""SCS Guider on tiny Wan models of the core's own classes: the checks of ``checks/``, run inside each core found.

Cores: COMFYUI_PATH or ~/ComfyUI with this Python, and those in VIDEOMAGE_CORES: folder=python, joined as a PATH is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from server import find_comfyui

CHECKS = Path(__file__).parent / "checks"


def cores() -> list[tuple[str, str]]:
    """(folder, its Python) of each core."""
    others = [entry.split("=") for entry in os.environ.get("VIDEOMAGE_CORES", "").split(os.pathsep) if entry]
    own = find_comfyui()
    return [*([(str(own), sys.executable)] if own else []), *((folder, python) for folder, python in others)]


@pytest.mark.parametrize("file", sorted(path.name for path in CHECKS.glob("check_*.py")))
@pytest.mark.parametrize(("core", "python"), cores() or [("none", sys.executable)])
def test_checks_pass_inside_the_core(core: str, python: str, file: str) -> None:
    command = [
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "in_core_plugin", "-c", os.devnull,
        "--rootdir", str(CHECKS), "--confcutdir", str(CHECKS),
        "-o", "python_files=check_*.py", "-o", "python_functions=check_*", str(CHECKS / file),
    ]  # fmt: skip
    own = {"VIDEOMAGE_CORE": core, "PYTHONPATH": str(CHECKS), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **own}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
