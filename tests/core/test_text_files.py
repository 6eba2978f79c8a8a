"""Texts of every editor are read as they were written, or refused by name; and one function reads them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import videomage_core
from videomage_core.text_files import read_json, read_text, read_toml

TEXT = "A <toy> on grün grass: it’s “fine” — 狗\n"


def written(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "1.txt").write_bytes(content)
    return tmp_path / "1.txt"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_unicode_form_is_the_same_text(tmp_path, encoding):
    assert read_text(written(tmp_path, TEXT.encode(encoding))) == TEXT


def test_both_byte_orders(tmp_path):
    assert read_text(written(tmp_path, b"\xfe\xff" + TEXT.encode("utf-16-be"))) == TEXT
    assert read_text(written(tmp_path, b"\xff\xfe" + TEXT.encode("utf-16-le"))) == TEXT


def test_line_ends_of_every_system(tmp_path):
    assert read_text(written(tmp_path, b"a\r\nb\rc\n")) == "a\nb\nc\n"


@pytest.mark.parametrize(
    "text",
    ["it’s a toy", "“wow…” he said – loud — and left…”", "a café in Köln", "ÄÖÜß", "10 € × 2"],
)
def test_windows_1252_where_its_bytes_mean_one_thing(tmp_path, text):
    content = text.encode("cp1252")
    if text == "ÄÖÜß":  # letters in a row: Cyrillic would look so
        with pytest.raises(ValueError, match="means other letters in other encodings"):
            read_text(written(tmp_path, content))
    else:
        assert read_text(written(tmp_path, content)) == text


@pytest.mark.parametrize(
    ("text", "encoding", "byte"),
    [
        ("un été très long", "cp1252", "E8"),  # a c with a caron in Central Europe
        ("piękny kot", "cp1250", "EA"),
        ("собака", "cp1251", "F1"),
        ("一只狗", "gbk", "D2"),
        ("犬が走る", "shift_jis", "8C"),
        ("señor", "cp1252", "F1"),
    ],
)
def test_an_encoding_that_is_not_sure_is_refused_with_the_byte(tmp_path, text, encoding, byte):
    path = written(tmp_path, b"first\n" + text.encode(encoding))
    with pytest.raises(ValueError, match=rf"caption: .*1\.txt is not UTF-8, and byte 0x{byte} in line 2 .*as UTF-8"):
        read_text(path, "caption")


def test_what_is_no_text_is_told(tmp_path):
    with pytest.raises(ValueError, match="NUL bytes"):
        read_text(written(tmp_path, "a dog".encode("utf-16-le")))
    with pytest.raises(ValueError, match=r"begins as UTF-16 but is damaged at byte 4"):
        read_text(written(tmp_path, b"\xff\xfea\x00b"))


def test_json_and_toml_come_from_every_editor_too(tmp_path):
    assert read_json(written(tmp_path, '{"a": "’"}'.encode("utf-8-sig"))) == {"a": "’"}
    assert read_toml(written(tmp_path, "a = 'ü'\r\n".encode("utf-16"))) == {"a": "ü"}
    with pytest.raises(ValueError, match=r"grid: .*1\.txt is no JSON \(Expecting"):
        read_json(written(tmp_path, b"<html>"), "grid")
    with pytest.raises(ValueError, match=r"grid: .*1\.txt is no TOML"):
        read_toml(written(tmp_path, b"<html>"), "grid")
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(written(tmp_path, b"[" * 200_000), "grid")


@pytest.mark.parametrize(("read", "kind"), [(read_json, "JSON"), (read_toml, "TOML")])
def test_numbers_and_nesting_that_python_refuses_are_told_with_the_file(tmp_path, read, kind):
    start, end = ('{"a": ', "}") if kind == "JSON" else ("a = ", "")
    path = tmp_path / "x"
    for value in ("1" * 6000, "[" * 100_000):
        path.write_text(start + value + end)
        with pytest.raises(ValueError, match=rf"settings: .*x is no {kind}"):
            read(path, "settings")


def test_nothing_else_reads_texts():
    """Of the engine and the nodes; what reads no file of a user's is named."""
    own = {"text_files.py", "engine_version.py", "memory.py"}  # our own sources; the system's figures
    root = Path(videomage_core.__file__).parent
    reading = re.compile(r"\.read_text\(|json\.load\(|tomllib\.load|(?<!\.)open\([^)]*\"r\"|\.decode\(\"utf-?8")
    others = [
        str(path.relative_to(root.parent))
        for folder in (root, root.parent / "nodes")
        for path in folder.rglob("*.py")
        if path.name not in own and "lora" not in path.name and reading.search(path.read_text(encoding="utf-8"))
    ]
    assert not others
