import subprocess
import sys
from pathlib import Path

import pytest

from videomage_core.model import base_names
from videomage_core.model.base_folder import EMOJI_BASE
from videomage_core.model.base_names import EMOJI_WAN, is_wan_folder, named_base, refuse_wan


def test_the_built_in_bases_have_names(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert named_base("emoji_base") == EMOJI_BASE
    assert named_base("zeroscope") == Path("zeroscope")
    (tmp_path / "emoji_base").mkdir()
    assert named_base("emoji_base") == Path("emoji_base")  # the user's own folder comes first


def test_a_name_is_a_base_only_where_the_package_holds_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base_names, "_ASSETS", tmp_path / "assets")
    assert named_base(EMOJI_WAN.name) == Path("emoji_wan")
    (tmp_path / "assets" / "emoji_wan").mkdir(parents=True)
    assert named_base(EMOJI_WAN.name) == tmp_path / "assets" / "emoji_wan"


@pytest.mark.parametrize("text", [None, "not json", "[1]", '{"_class_name": "TextToVideoSDPipeline"}'])
def test_only_a_wan_pipeline_is_one(tmp_path, text):
    if text is not None:
        (tmp_path / "model_index.json").write_text(text, encoding="utf-8")
    assert not is_wan_folder(tmp_path)
    refuse_wan(tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "WanPipeline"}', encoding="utf-8")
    assert is_wan_folder(tmp_path)
    with pytest.raises(ValueError, match="is a Wan base; allowed here is one with a UNet3DConditionModel"):
        refuse_wan(tmp_path)


def test_names_need_no_torch():
    code = "import sys; sys.modules['torch'] = None; import videomage_core.model.base_names"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
