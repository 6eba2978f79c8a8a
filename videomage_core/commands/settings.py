"""Flags and settings files, read from the configs: a setting is declared once."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..text_files import read_toml


def add_settings(
    parser: argparse.ArgumentParser, config: type, values: str = "[values] are the preset paper's; emoji has others"
) -> None:
    """A flag for each field of a config; left out, the field keeps its default.  ``values`` says whose those are."""
    group = parser.add_argument_group("settings", values)
    for field in dataclasses.fields(config):
        flag = f"--{field.name.replace('_', '-')}"
        allowed = f"; one of {', '.join(field.metadata['choices'])}" if field.metadata["choices"] else ""
        text = f"{field.metadata['help']}{allowed} [{field.default}]".replace("%", "%%")
        if isinstance(field.default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
            continue
        kind: Callable[[str], Any] = type(field.default)
        group.add_argument(
            flag, type=kind, default=None, choices=field.metadata["choices"], metavar=field.name.upper(), help=text
        )


def read_settings(options: argparse.Namespace, default: Any) -> Any:
    """``default`` with the settings file's values, and over them the flags that were given."""
    fields = {field.name: field for field in dataclasses.fields(default)}
    values = _read_toml(options.settings, fields) if options.settings is not None else {}
    flags = {name: getattr(options, name) for name in fields}
    values.update({name: value for name, value in flags.items() if value is not None})
    return dataclasses.replace(default, **values)


def _read_toml(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    read = read_toml(path, "--settings")
    values = {name.replace("-", "_"): value for name, value in read.items()}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(f"--settings: {path} has {', '.join(unknown)}; known are {', '.join(fields)}")
    for name, value in values.items():
        kind = type(fields[name].default)
        if type(value) is int and kind is float:
            values[name] = float(value)
        elif type(value) is not kind:
            raise ValueError(f"--settings: {name} in {path} is {value!r}, must be a {kind.__name__}")
    return values
