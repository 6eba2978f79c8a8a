"""No Python file is past 300 lines, no function past 40 beside its docstring: longer ones do more than one thing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "emoji_world", "nodes", "tests", "videomage_core")
MOST_LINES, MOST_OF_A_FUNCTION = 300, 40
MOST_OF_A_SCHEMA = 80  # ``define_schema`` is one declaration, most of it the widgets' texts


def lengths(source: str) -> Iterator[tuple[str, int]]:
    """The functions of a module and their lines, without decorators and docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = node.body[0] if ast.get_docstring(node) is not None else None
            yield node.name, _lines(node) - (_lines(docstring) if docstring else 0)


def _lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def sources() -> Iterator[tuple[str, str]]:
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_no_file_is_past_its_length() -> None:
    files = {name: len(source.splitlines()) for name, source in sources()}
    assert len(files) > 300
    assert not {name: n for name, n in files.items() if n > MOST_LINES}


def limit_of(name: str) -> int:
    return MOST_OF_A_SCHEMA if name.endswith("::define_schema") else MOST_OF_A_FUNCTION


def test_no_function_is_past_its_length() -> None:
    functions = [(f"{name}::{function}", n) for name, source in sources() for function, n in lengths(source)]
    assert len(functions) > 2000
    assert not [(name, n) for name, n in functions if n > limit_of(name)]


def test_a_function_is_as_long_as_its_lines() -> None:
    source = "class C:\n    @property\n    def f(self):\n        'What.'\n        def g(): ...\n\n        return g\n"
    assert list(lengths(source)) == [("f", 4), ("g", 1)]
