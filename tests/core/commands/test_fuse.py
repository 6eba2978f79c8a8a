"""The command fuse."""

from __future__ import annotations

from tests.core.commands.small_trainings import toy
from videomage_core.cli import main
from videomage_core.data.lora_file import load_lora


def test_fuse_and_sample_a_motion(tmp_path, photos, motion, capsys):
    files = [toy(tmp_path, photos, name) for name in ("ann", "bob")]
    fused = tmp_path / "both.safetensors"
    few = ["--steps", "2", "--teacher-videos", "1", "--teacher-steps", "1", "--lambda2", "0"]
    assert main(["fuse", *map(str, files), "--output", str(fused), *few]) == 0
    assert "2 steps" in capsys.readouterr().out
    assert [t.name for t in load_lora(fused).tokens] == ["<ann>", "<bob>"]
    video, overlays = tmp_path / "video.mp4", tmp_path / "overlays.png"
    sample = ["sample", "a <ann> is chasing a <bob>", "--lora", str(fused), "--motion", f"{motion}:0.8"]
    sample += ["--clip", str(tmp_path / "clip"), "--attention-overlays", str(overlays), "--output", str(video)]
    assert main([*sample, "--steps", "3", "--tau", "1", "--ddim-inversion-steps", "2"]) == 0
    assert video.stat().st_size > 500 and overlays.stat().st_size > 500
    assert "guidance moved x_sub by" in capsys.readouterr().out
    assert main(["sample", "a <ann> is rising", *sample[2:], "--steps", "3", "--tau", "1"]) == 2
    assert "does not name <bob>" in capsys.readouterr().err


def test_fuse_with_a_clip_of_the_users(tmp_path, photos, motion, capsys):
    from PIL import Image

    files = [toy(tmp_path, photos, name) for name in ("ann", "bob")]
    masks = tmp_path / "masks"
    masks.mkdir()
    for f in range(8):
        mask = Image.new("L", (48, 48))
        mask.paste(255, (4 * f, 20, 15 + 4 * f, 35))
        mask.save(masks / f"{f}.png")
    fuse = ["fuse", *map(str, files), "--output", str(tmp_path / "both.safetensors"), "--steps", "2"]
    fuse += ["--teacher-videos", "1", "--teacher-steps", "1"]
    cut = [text for name in ("ann", "bob") for text in ("--cutout", f"<{name}>={tmp_path / 'clip'}={masks}")]
    assert main([*fuse, *cut]) == 0
    assert "2 steps" in capsys.readouterr().out
    assert main([*fuse, "--cutout", f"<eve>={tmp_path / 'clip'}={masks}"]) == 2
    assert "--cutout: got a clip of <eve>, the LoRAs have <ann>, <bob>" in capsys.readouterr().err
    assert main([*fuse, "--cutout", "<ann>"]) == 2
    assert "write TOKEN=CLIP=MASKS" in capsys.readouterr().err


def test_two_loras_with_one_token_and_the_way_out(tmp_path, photos, capsys):
    first = toy(tmp_path, photos, "ann")
    second = tmp_path / "again.safetensors"
    second.write_bytes(first.read_bytes())
    few = ["--steps", "2", "--teacher-videos", "1", "--teacher-steps", "1", "--lambda2", "0"]
    fuse = ["fuse", str(first), str(second), "--output", str(tmp_path / "both.safetensors"), *few]
    assert main(fuse) == 2
    assert "videomage_core rename FILE '<ann>' '<ann_2>'" in capsys.readouterr().err
    assert main(["rename", str(second), "<ann>", "<ann_2>"]) == 0
    renamed = tmp_path / "again_ann_2.safetensors"
    assert [t.name for t in load_lora(renamed).tokens] == ["<ann_2>"]
    fuse[2] = str(renamed)
    assert main(fuse) == 0
    assert main(["rename", str(second), "<bob>", "<ann_3>"]) == 2
    assert "this LoRA has <ann>" in capsys.readouterr().err
