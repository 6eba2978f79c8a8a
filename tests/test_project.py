"""Laws of the project's own files: what is written twice agrees."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from videomage_core.presets import EMOJI, PAPER

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_both_lists_of_requirements_agree() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {line.strip().replace('"', "'") for line in lines if line.strip() and not line.startswith("#")}
    assert listed == {line.replace('"', "'") for line in PROJECT["project"]["dependencies"]}


def test_no_requirement_has_an_upper_bound() -> None:
    assert not [line for line in PROJECT["project"]["dependencies"] if any(sign in line for sign in ("==", "~=", "<="))]


@pytest.mark.parametrize("artist", sorted(p.name for p in (ROOT / "emoji_world" / "art").iterdir() if p.is_dir()))
def test_every_artist_is_named_in_the_notice(artist: str) -> None:
    assert f"emoji_world/art/{artist}\n" in (ROOT / "NOTICE").read_text(encoding="utf-8")


def test_the_docs_tell_the_settings_that_the_presets_have() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)\.(\w+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert len(rows) > 30
    for group, name, paper, emoji in rows:
        wanted = tuple(str(getattr(getattr(preset, group), name)) for preset in (PAPER, EMOJI))
        assert (paper, emoji) == wanted, f"{group}.{name} in docs/settings.md"
