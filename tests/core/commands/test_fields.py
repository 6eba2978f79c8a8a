"""Names with the separators of a flag can be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from videomage_core.commands.common import file_and_strength
from videomage_core.commands.fields import cutout_of, split_fields, subjects_of_clips, trigger_of
from videomage_core.commands.segmenter_options import folder_names
from videomage_core.config import FusionConfig


@pytest.mark.parametrize(
    ("text", "separator", "fields"),
    [
        ("a.mp4, b.mp4", ",", ["a.mp4", "b.mp4"]),
        ('"a, b.mp4",c.mp4', ",", ["a, b.mp4", "c.mp4"]),
        ('<toy>="x=1.mp4"=m.mp4', "=", ["<toy>", "x=1.mp4", "m.mp4"]),
        ('"5"" cup.mp4",b', ",", ['5" cup.mp4', "b"]),
        (r"C:\data\a.mp4,b", ",", [r"C:\data\a.mp4", "b"]),
        ("it's.mp4,b", ",", ["it's.mp4", "b"]),
    ],
)
def test_fields(text, separator, fields):
    assert split_fields(text, separator, "--flag") == fields


@pytest.mark.parametrize("text", ['"a,b', '"a"b,c'])
def test_quotes_that_do_not_match_are_refused(text):
    with pytest.raises(ValueError, match=r"--flag: got .* whose double quotes do not go around one field each"):
        split_fields(text, ",", "--flag")


def test_the_flags_take_them():
    assert subjects_of_clips(['person="a,b=c.mp4",d.mp4'], 2) == [
        [("person", Path("a,b=c.mp4"))], [("person", Path("d.mp4"))],
    ]  # fmt: skip
    assert trigger_of('"r=8.safetensors"=sks cup=cup') == (Path("r=8.safetensors"), ("sks cup", "cup"))
    for read, flag in ((trigger_of, "--trigger"), (lambda text: cutout_of(text, FusionConfig()), "--cutout")):
        with pytest.raises(ValueError, match=f"{flag}: .*with an equals sign in it stands in double quotes"):
            read("r=8.safetensors=sks=cup")


def test_a_lora_and_its_strength(tmp_path):
    assert file_and_strength("a.safetensors:0.8") == (Path("a.safetensors"), 0.8)
    assert file_and_strength(r"C:\a.SAFETENSORS") == (Path(r"C:\a.SAFETENSORS"), 1.0)
    odd = tmp_path / "a.safetensors:1"
    odd.write_bytes(b"")
    assert file_and_strength(str(odd)) == (odd, 1.0)
    for number in ("nan", "inf", "-inf"):
        with pytest.raises(ValueError, match="the strength must be a finite number"):
            file_and_strength(f"a.safetensors:{number}")
    with pytest.raises(ValueError, match="write FILE or FILE:STRENGTH"):
        file_and_strength("a.safetensors:much")


def test_folders_of_masks_stay_inside_and_apart():
    assert folder_names(["stuffed animal", "dog"]) == ["stuffed_animal", "dog"]
    assert folder_names(["dog", "Dog", "con", "../x", "/", "狗"]) == ["dog_1", "Dog_2", "con_3", "x", "word", "狗"]
    assert folder_names(["a b", "a_b"]) == ["a_b_1", "a_b_2"]
