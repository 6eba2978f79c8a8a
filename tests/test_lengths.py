"""No Python file is past 300 lines, no function past 40: longer ones do more than one thing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "emoji_world", "nodes", "tests", "videomage_core")
MOST_LINES, MOST_OF_A_FUNCTION = 300, 40

# Longer for now: entries go as their code is split, and none is added.
LONG_FILES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()


def long_functions(source: str) -> Iterator[str]:
    """The names of the functions of a module that are too long, decorators not counted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > MOST_OF_A_FUNCTION:
                yield node.name


def sources() -> Iterator[tuple[str, str]]:
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_no_file_is_past_its_length() -> None:
    found = {name for name, source in sources() if len(source.splitlines()) > MOST_LINES}
    assert not found - LONG_FILES, "split these where a concern ends"
    assert not LONG_FILES - found, "these are short now: take them off the list"


def test_no_function_is_past_its_length() -> None:
    found = {f"{name}::{function}" for name, source in sources() for function in long_functions(source)}
    assert not found - LONG_FUNCTIONS, "split these, a function for each thing they do"
    assert not LONG_FUNCTIONS - found, "these are short now: take them off the list"


@pytest.mark.parametrize(("lines", "long"), [(40, []), (41, ["f"])])
def test_a_function_is_as_long_as_its_lines(lines: int, long: list[str]) -> None:
    body = "\n".join(f"        x{n} = {n}" for n in range(lines - 1))
    assert list(long_functions(f"class C:\n    @property\n    def f(self):\n{body}\n")) == long
