"""A mark of the code that makes LoRAs and videos, so that a benchmark never shows what older code made.

Settings count by themselves, and comments, docstrings and messages of the code around them do not: only
the statements of the modules named here.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

_CORE = Path(__file__).parents[1]
_READERS = [f"data/{name}.py" for name in ("cutmix", "examples", "frames", "images", "masks", "media", "augmentation")]
_METRICS = [
    f"evaluation/{name}.py" for name in ("tracked_metrics", "tracking", "trajectories", "mobilenet", "learned_metrics")
]
_MAKERS = ("model", "stages", "sampling.py", "training", *_READERS)


def engine_version() -> str:
    """16 hexadecimal digits; another mark means that videos may differ."""
    return _version_of(_MAKERS)


def metrics_version() -> str:
    """The same of what scores them."""
    return _version_of(tuple(_METRICS))


@cache
def _version_of(names: tuple[str, ...]) -> str:
    mark = hashlib.sha256()
    for name in names:
        place = _CORE / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            mark.update(path.relative_to(_CORE).as_posix().encode())
            mark.update(_statements(path.read_text(encoding="utf-8")).encode())
    return mark.hexdigest()[:16]


def _statements(source: str) -> str:
    """A module without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
