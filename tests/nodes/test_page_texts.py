"""What the page's scripts translate is in one table, in each language."""

from __future__ import annotations

import re
from pathlib import Path

JS = Path(__file__).parents[2] / "js"
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in JS.rglob("*.js")}
FILLED_IN = r"\{(\w+)\}"
STYLES = re.compile(r'"(?:12px sans-serif|var\([^"]*\))"')  # two words, but of CSS


def tables() -> dict[str, dict[str, str]]:
    """Texts by key, by language."""
    found = re.findall(r"^  (\w+): \{\n(.*?)^  \},$", SCRIPTS["texts.js"], re.MULTILINE | re.DOTALL)
    return {name: dict(re.findall(r'^    (\w+): "(.*)",$', body, re.MULTILINE)) for name, body in found}


def without_comments(script: str) -> str:
    return re.sub(r"/\*.*?\*/|(?<![:\"'`])//.*?$", "", script, flags=re.DOTALL | re.MULTILINE)


def test_each_text_is_there_in_each_language_with_the_same_names_to_fill_in() -> None:
    languages = tables()
    assert list(languages) == ["en", "zh"] and len(languages["en"]) > 30
    assert languages["zh"].keys() == languages["en"].keys()
    for key, english in languages["en"].items():
        chinese = languages["zh"][key]
        assert sorted(re.findall(FILLED_IN, chinese)) == sorted(re.findall(FILLED_IN, english)), key
        assert re.search(r"[\u3001-\u9fff\uff00-\uffef]", chinese) or not re.search(
            r"[a-z]{2}", re.sub(FILLED_IN, "", english)
        ), key


def test_each_text_is_used_and_none_is_missing() -> None:
    rest = "".join(without_comments(script) for name, script in SCRIPTS.items() if name != "texts.js")
    said = {part for call in re.findall(r"\btranslate\(([^`{]*?)[,)]", rest) for part in re.findall(r'"(\w+)"', call)}
    keys = {key for key in tables()["en"] if not key.startswith(("what_", "kind_"))}
    written = set(re.findall(r'"(\w+)"', rest))
    assert said <= keys
    assert keys - {"seconds", "minutes", "hours"} <= written


def test_all_that_a_training_reports_is_in_the_table() -> None:
    core = JS.parent / "videomage_core"
    scripts = [path.read_text(encoding="utf-8") for path in core.rglob("*.py")]
    reported = {what for script in scripts for what in re.findall(r'callbacks\.progress\(.*, f?"(.*)"\)', script)}
    assert {"training", "making {name} clips"} <= reported
    made = {name for script in scripts for name in re.findall(r'generate_clips\([^"]*?"(\w+)"', script)}
    assert made == {"auxiliary", "teacher", "background"}
    reported |= {f"making {name} clips" for name in made} | {"preparing"}
    elsewhere = {
        "making {name} clips", "making ahead: {tasks[0][0]}", "collaborative sampling", "benchmark",
    }  # fmt: skip
    keys = {f"what_{what.replace(' ', '_')}" for what in reported - elsewhere}
    assert {key for key in tables()["en"] if key.startswith("what_")} == keys


def test_no_text_is_typed_outside_the_table() -> None:
    for name, script in SCRIPTS.items():
        if name == "texts.js":
            continue
        code = STYLES.sub("", without_comments(script))
        strings = re.findall(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`', code)
        plain = [re.sub(r"\$\{[^}]*\}", "", text) for text in strings]
        words = [
            text
            for text in plain
            if re.search(r"[A-Za-z]{2,} +[A-Za-z]{2,}|[\u3001-\u9fff]|[A-Za-z][:!?]( |`|\")", text)
        ]
        assert not words, f"{name}: {words}; put it into texts.js"
        for call in re.findall(r"\bline\(.*|\.(?:label|textContent|alt|title) = .*", code):
            assert not re.search(r"\bline\(\w+, [\"`](?!\")|= [\"`](?!\$)", call), (
                f"{name}: {call}; put it into texts.js"
            )
