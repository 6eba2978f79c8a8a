"""What is learned from, read from disk: nothing lost, nothing mixed up, and a wrong folder says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from videomage_core.callbacks import Callbacks
from videomage_core.data.examples import (
    SubjectImage,
    add_masks,
    load_captioned_clips,
    load_motion_clip,
    load_subject_images,
)
from videomage_core.data.images import read_image
from videomage_core.data.media import save_video


def scenery(height: int = 6, width: int = 9, seed: int = 0) -> Image.Image:
    """An RGB image without any symmetry."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def half(height: int = 6, width: int = 9) -> Image.Image:
    """A mask, white on its left third."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 3, height))
    return mask


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five images, of several sizes, and something that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(5):
        scenery(6 + index, 9, seed=index).save(folder / f"{index}.png")
    (folder / "notes.md").write_text("mine")
    return folder


def test_a_folder_and_its_files_named_give_the_same(photos):
    files = [photos / f"{index}.png" for index in range(5)]
    for images in (load_subject_images(photos), load_subject_images(files)):
        assert len(images) == 5
        for image, file in zip(images, files, strict=True):
            assert torch.equal(image.pixels, read_image(file).pixels)
            assert image.mask is None and image.prompt is None


def test_a_text_beside_an_image_is_its_prompt(photos):
    (photos / "1.txt").write_text("  A <toy> on grün grass\n", encoding="utf-8")
    (photos / "2.txt").write_text(" \n")
    prompts = [image.prompt for image in load_subject_images(photos)]
    assert prompts == [None, "A <toy> on grün grass", None, None, None]


def test_masks_go_to_the_images_of_their_names(photos, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for index in range(5):
        mask = Image.new("L", (9, 6 + index))
        mask.putpixel((index, 0), 255)
        mask.convert("RGB" if index % 2 else "L").save(masks / f"{index}.bmp")
    half().save(masks / "unused.png")
    for index, image in enumerate(load_subject_images(photos, masks)):
        assert image.mask.shape == image.pixels.shape[1:]
        assert image.mask.nonzero().tolist() == [[0, index]] and float(image.mask[0, index]) == 1


def test_an_alpha_channel_is_a_mask_and_a_given_mask_comes_before_it(tmp_path):
    photo = scenery()
    photo.putalpha(half())
    (tmp_path / "photos").mkdir()
    photo.save(tmp_path / "photos" / "a.png")
    (image,) = load_subject_images(tmp_path / "photos")
    wanted = torch.zeros(6, 9)
    wanted[:, :3] = 1
    assert torch.equal(image.mask, wanted)
    (tmp_path / "masks").mkdir()
    Image.eval(half(), lambda value: 255 - value).save(tmp_path / "masks" / "a.png")
    (image,) = load_subject_images(tmp_path / "photos", tmp_path / "masks")
    assert torch.equal(image.mask, 1 - wanted)


def test_an_alpha_channel_that_hides_nothing_is_no_mask(tmp_path):
    opaque = scenery()
    opaque.putalpha(255)
    opaque.save(tmp_path / "a.png")
    (image,) = load_subject_images(tmp_path)
    assert image.mask is None


def test_a_mask_lies_on_an_image_as_it_is_seen(tmp_path):
    """A phone's image that lies on its side is turned by its tag, and its mask is of the turned one."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    scenery(6, 9).save(tmp_path / "photos" / "a.png", exif=exif)
    half(9, 6).save(tmp_path / "masks" / "a.png")
    (image,) = load_subject_images(tmp_path / "photos", tmp_path / "masks")
    assert image.pixels.shape == (3, 9, 6) and image.mask.shape == (9, 6)
    half(6, 9).save(tmp_path / "masks" / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is 6x9 pixels \(height x width\), a\.png 9x6"):
        load_subject_images(tmp_path / "photos", tmp_path / "masks")


def test_missing_masks_are_all_named(photos, tmp_path):
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match=r"^masks: .* holds no image"):
        load_subject_images(photos, tmp_path / "masks")
    half().save(tmp_path / "masks" / "0.png")
    half(8).save(tmp_path / "masks" / "2.png")
    with pytest.raises(FileNotFoundError, match=r"masks holds none for 1\.png, 3\.png, 4\.png; name a mask as"):
        load_subject_images(photos, tmp_path / "masks")


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_the_damaged_one_of_five_is_named(photos, damage):
    whole = (photos / "3.png").read_bytes()
    (photos / "3.png").write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"photos/3\.png cannot be read"):
        load_subject_images(photos)


def test_wrong_folders_of_images_are_told(photos, tmp_path):
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="bare holds no image"):
        load_subject_images(tmp_path / "bare")
    with pytest.raises(ValueError, match="bare holds no image"):
        load_subject_images(photos, tmp_path / "bare")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_subject_images(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"gone\.png does not exist"):
        load_subject_images([photos / "0.png", photos / "gone.png"])


def plain(frames: int, level: float, height: int = 16, width: int = 24) -> torch.Tensor:
    return torch.full((3, frames, height, width), level)


def test_clips_come_with_their_captions_at_the_size_wanted(tmp_path):
    for name, level in (("b", 0.5), ("a", -0.5)):
        save_video(plain(5, level), tmp_path / f"{name}.mp4", 8)
        (tmp_path / f"{name}.txt").write_text(f"clip {name}\n")
    (tmp_path / "notes.txt").write_text("mine")
    clips = load_captioned_clips(tmp_path, frames=3, height=8, width=8)
    assert [clip.caption for clip in clips] == ["clip a", "clip b"]
    assert all(clip.pixels.shape == (3, 3, 8, 8) for clip in clips)
    assert [round(float(clip.pixels.mean()), 1) for clip in clips] == [-0.5, 0.5]


def test_wrong_folders_of_clips_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"auxiliary clips: .*nowhere is not a folder"):
        load_captioned_clips(tmp_path / "nowhere", 3, 8, 8)
    with pytest.raises(ValueError, match=r"holds none; allowed: .*\.avi, .*\.mp4"):
        load_captioned_clips(tmp_path, 3, 8, 8)
    save_video(plain(5, 0.5), tmp_path / "a.mp4", 8)
    with pytest.raises(FileNotFoundError, match=r"a\.mp4 has no caption; write it to a\.txt"):
        load_captioned_clips(tmp_path, 3, 8, 8)
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(FileNotFoundError, match=r"a\.mp4 has no caption"):
        load_captioned_clips(tmp_path, 3, 8, 8)
    (tmp_path / "a.txt").write_text("a ship")
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"a\.mp4 cannot be read"):
        load_captioned_clips(tmp_path, 3, 8, 8)


FRAMES, HEIGHT, WIDTH = 9, 32, 160


def moving() -> torch.Tensor:
    """A white bar on black that is at 16 f in frame f: an image that is its own mask."""
    pixels = -torch.ones(3, FRAMES, HEIGHT, WIDTH)
    for f in range(FRAMES):
        pixels[:, f, :, 16 * f : 16 * f + 16] = 1
    return pixels


@pytest.fixture(params=["folder", "video"])
def masks(request, tmp_path: Path) -> Path:
    return written(moving(), tmp_path / "masks", request.param)


def written(pixels: torch.Tensor, path: Path, how: str) -> Path:
    if how == "video":
        save_video(pixels, path.with_suffix(".mp4"), 24)
        return path.with_suffix(".mp4")
    path.mkdir()
    for f, frame in enumerate(((pixels + 1) * 127.5).byte().unbind(1)):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(path / f"{f}.png")
    return path


@pytest.mark.parametrize("fps", [None, 8.0, 24.0])
@pytest.mark.parametrize("source", ["folder", "video"])
def test_masks_are_of_the_same_moments_as_the_frames(tmp_path, masks, source, fps):
    """Whatever kind of file each is, and whatever rate is asked for."""
    clip = load_motion_clip(written(moving(), tmp_path / "clip", source), {"bar": masks}, 3, fps)
    assert clip.pixels.shape == (3, 3, HEIGHT, WIDTH) and clip.masks.shape == (1, 3, HEIGHT, WIDTH)
    assert clip.subjects == ("bar",)
    assert float(((clip.pixels.mean(0) + 1) / 2 - clip.masks[0]).abs().mean()) < 0.02
    assert 0.08 < float(clip.masks.mean()) < 0.12, "the bar is a tenth of the image"


def test_masks_keep_the_order_of_their_subjects(tmp_path, masks):
    away = written(-moving(), tmp_path / "away", "folder")
    clip = load_motion_clip(written(moving(), tmp_path / "clip", "folder"), {"bar": masks, "rest": away}, 4)
    assert clip.subjects == ("bar", "rest") and clip.masks.shape == (2, 4, HEIGHT, WIDTH)
    assert float(clip.masks[0].mean()) < 0.2 < 0.8 < float(clip.masks[1].mean())


def test_a_clip_without_masks_names_its_subjects_only(tmp_path):
    path = written(moving(), tmp_path / "clip", "folder")
    clip = load_motion_clip(path, {"horse": None, "person": None}, 4)
    assert clip.subjects == ("horse", "person") and clip.masks is None
    assert load_motion_clip(path, {}, 4).subjects == ()


@pytest.mark.parametrize("how", ["folder", "video"])
@pytest.mark.parametrize("length", [1, 8, 10])
def test_masks_of_another_length_are_refused(tmp_path, how, length):
    """Spread over a clip of another length they would lie beside their subject."""
    pixels = torch.cat([moving(), moving()], dim=1)[:, :length]
    masks = written(pixels, tmp_path / "masks", how)
    path = written(moving(), tmp_path / "clip", "folder")
    with pytest.raises(ValueError, match=f"those of 'bar' are {length}, clip has 9 frames; give one for each"):
        load_motion_clip(path, {"bar": masks}, 4)


def test_wrong_masks_and_clips_are_told(tmp_path):
    path = written(moving(), tmp_path / "clip", "folder")
    masks = written(moving(), tmp_path / "masks", "folder")
    small = written(moving()[..., :16], tmp_path / "small", "folder")
    with pytest.raises(ValueError, match="masks: cat, dog has none; give masks for all subjects of clip, or for none"):
        load_motion_clip(path, {"cat": None, "bar": masks, "dog": None}, 4)
    with pytest.raises(ValueError, match="those of clip are of several sizes; make them as large as the clip"):
        load_motion_clip(path, {"bar": masks, "post": small}, 4)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_motion_clip(path, {"bar": tmp_path / "nowhere"}, 4)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_motion_clip(tmp_path / "nowhere", {}, 4)


class Finds:
    """A segmenter that finds its subject in images wider than high."""

    def segment(self, pixels, words):
        if pixels.shape[3] <= pixels.shape[2]:
            raise ValueError(f"words: {words[0]!r} was not found")
        return torch.full((1, *pixels.shape[1:]), 0.5)


def test_a_segmenter_masks_the_images_that_have_no_mask():
    own = torch.ones(4, 9)
    wide, masked_one, high = (SubjectImage(torch.zeros(3, 4, 9)), SubjectImage(torch.zeros(3, 4, 9), own),
                              SubjectImage(torch.zeros(3, 9, 4)))  # fmt: skip
    said = []
    found = add_masks([wide, masked_one, high], "cup", Finds(), Callbacks(log=said.append))
    assert float(found[0].mask.mean()) == 0.5 and found[1].mask is own and found[2].mask is None
    assert said == ["image 3: all of it counts (words: 'cup' was not found)"]
    assert add_masks([wide], "cup", None) == [wide]
    with pytest.raises(ValueError, match="the segmenter finds 'cup' in none of 2 images"):
        add_masks([high, high], "cup", Finds())
