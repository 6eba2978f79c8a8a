"""The drawings on disk are those of the table."""

from __future__ import annotations

import re

from emoji_world.fixtures.render_art import FIRST_NAMES, PACKAGES, drawings_of
from emoji_world.world.characters import ART
from emoji_world.world.icons import ICONS, LEFT_OUT
from emoji_world.world.worlds import RICH, SMALL


def test_the_table_is_of_the_worlds_concepts_and_the_drawings_on_disk():
    assert set(ICONS) == set(RICH.concepts) and set(FIRST_NAMES) == set(SMALL.concepts)
    on_disk = {path for path in ART.glob("*/*.png")}
    assert on_disk == {c.path for c in RICH.drawings(tuple(PACKAGES))}


def test_the_notice_counts_the_drawings():
    notice = (ART.parents[1] / "NOTICE").read_text(encoding="utf-8")
    counts = {artist: len(list((ART / artist).glob("*.png"))) for artist in PACKAGES}
    counted = [
        int(number) for line in re.findall("    Drawings: (.*)", notice) for number in re.findall(r"(\d+)[ .]", line)
    ]
    assert sorted(counted) == sorted(counts.values())
    assert f"all {sum(counts.values())} drawings" in notice


def test_what_is_left_out_would_else_be_taken():
    named = {name for names in ICONS.values() for name in names}
    for artist, name in LEFT_OUT:
        assert artist in PACKAGES and name in named


def test_drawings_are_numbered_in_the_tables_order_each_picture_once():
    icons = {
        "icons": {"dog-face": {"body": "<a/>"}, "dog": {"body": "<b/>"}, "dogside": {"body": "<a/>"}},
        "aliases": {},
    }
    assert drawings_of(icons, "noto", "dog") == {1: "dog-face", 2: "dog"}
    alias = {"icons": {"dog": {"body": "<a/>"}}, "aliases": {"dog-face": {"parent": "dog"}}}
    assert drawings_of(alias, "noto", "dog") == {1: "dog-face"}


def test_what_the_small_world_does_not_have_is_never_a_first_drawing():
    icons = {"icons": {"pandaface": {"body": "<a/>"}}, "aliases": {}}
    assert drawings_of(icons, "fxemoji", "panda") == {2: "pandaface"}


def test_left_out_icons_are_not_drawn():
    icons = {"icons": {"koala": {"body": "<a/>"}}, "aliases": {}}
    assert drawings_of(icons, "noto-v1", "koala") == {} and drawings_of(icons, "noto", "koala") == {1: "koala"}
