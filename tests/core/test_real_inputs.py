"""Real photos and a real clip, in every shape and form they come in, go through both trainings.

A bonus where ``shared/data`` lies beside the repository; nothing else needs it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps

from videomage_core.config import MotionConfig, SubjectConfig
from videomage_core.data.examples import load_captioned_clips, load_motion_clip, load_subject_images
from videomage_core.data.images import list_images
from videomage_core.data.masks import PlainBackground
from videomage_core.data.media import load_clip, save_video
from videomage_core.stages.motion_lora import train_motion
from videomage_core.stages.subject_lora import train_subject

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def at_hand() -> None:
    if not DATA.is_dir():
        pytest.skip("no shared/data beside the repository: real photos and clips not read")


def flat(trained) -> torch.Tensor:
    """All that was learned; finite, and no layer was left out."""
    layers = trained.lora_model.weights.layers.values()
    assert all(float(b.abs().max()) > 0 for _, b in layers)
    learned = torch.cat(
        [*(f.flatten() for pair in layers for f in pair), *(t.vectors[0] for t in trained.lora_model.tokens)]
    )
    losses = torch.tensor([loss for term in trained.history.losses.values() for loss in term])
    assert bool(learned.isfinite().all()) and bool(losses.isfinite().all())
    return learned


def learn_subject(base, folder: Path, work: Path, masks: Path | None = None, clips=(), **settings) -> torch.Tensor:
    defaults = {"height": 48, "width": 48, "steps": 2, "batch_size": 2, "lambda1": 0.25 if clips else 0.0}
    config = SubjectConfig(**{**defaults, **settings})
    images = load_subject_images(folder, masks)
    return flat(train_subject(base, images, "<it>", "animal", config, work, auxiliary=clips))


def learn_motion(base, source: Path, masks: Path | None, work: Path, fps: float | None = None, **settings):
    defaults = {"height": 48, "width": 48, "frames": 8, "steps": 2, "textual_inversion_steps": 2}
    config = MotionConfig(**{**defaults, **settings})
    clip = load_motion_clip(source, {"cat": masks}, config.frames, fps)
    return flat(train_motion(base, [clip], "a cat is walking", config, work))


@pytest.mark.parametrize(
    ("name", "height", "width", "fit"),
    [("dog6", 48, 48, "crop"), ("cat2", 32, 64, "pad"), ("robot_toy", 64, 40, "crop"), ("bear_plushie", 20, 52, "pad")],
)
def test_photos_train_at_every_size(emoji_base, tmp_path, name, height, width, fit):
    folder = DATA / "subjects" / name
    learn_subject(
        emoji_base,
        folder,
        tmp_path,
        height=height,
        width=width,
        resize_mode=fit,
        random_flip=True,
        min_crop_scale=0.7,
        num_augmentations=2,
    )


def test_a_real_clip_keeps_the_motion_prior(emoji_base, tmp_path):
    """L_reg on a clip and caption that somebody has."""
    save_video(load_clip(DATA / "motion" / "muybridge_cat", 12).pixels, tmp_path / "clips" / "cat.mp4", 8)
    (tmp_path / "clips" / "cat.txt").write_text("a cat is walking")
    clips = load_captioned_clips(tmp_path / "clips", frames=8, height=48, width=48)
    dog = DATA / "subjects" / "dog6"
    add_cutout = learn_subject(emoji_base, dog, tmp_path / "with", clips=clips)
    assert not torch.equal(add_cutout, learn_subject(emoji_base, dog, tmp_path / "without"))


@pytest.mark.parametrize("size", [(640, 30), (31, 640), (5, 7)])
def test_a_panorama_a_strip_and_a_thumbnail_train(emoji_base, tmp_path, size):
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, path in enumerate(list_images(DATA / "subjects" / "dog6")[:2]):
        Image.open(path).resize(size).save(photos / f"{index}.png")
    for fit in ("crop", "pad"):
        learn_subject(emoji_base, photos, tmp_path / fit, resize_mode=fit)


def as_photos(folder: Path, change) -> Path:
    """Two real photos, changed, without loss."""
    folder.mkdir()
    for index, path in enumerate(list_images(DATA / "subjects" / "cat2")[:2]):
        image, options = change(Image.open(path).convert("RGB"))
        image.save(folder / f"{index}.png", **options)
    return folder


def turned(image: Image.Image):
    """Lying on its side, with the tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return image.transpose(Image.Transpose.ROTATE_90), {"exif": exif}


def opaque(image: Image.Image):
    image.putalpha(255)
    return image, {}


@pytest.mark.parametrize(
    ("change", "plain"),
    [
        (turned, lambda image: (image, {})),
        (opaque, lambda image: (image, {})),
        (lambda image: (image.convert("L"), {}), lambda image: (image.convert("L").convert("RGB"), {})),
        (lambda image: (image.convert("P"), {}), lambda image: (image.convert("P").convert("RGB"), {})),
    ],
    ids=["turned", "opaque", "grey", "palette"],
)
def test_what_a_photo_is_kept_as_does_not_matter(emoji_base, tmp_path, change, plain):
    one = learn_subject(emoji_base, as_photos(tmp_path / "a", change), tmp_path / "one")
    two = learn_subject(emoji_base, as_photos(tmp_path / "b", plain), tmp_path / "two")
    assert torch.equal(one, two)


def box(image: Image.Image) -> Image.Image:
    """A mask, white on the middle of an image."""
    width, height = image.size
    mask = Image.new("L", image.size)
    mask.paste(255, (width // 4, height // 4, 3 * width // 4, 3 * height // 4))
    return mask


def test_cut_out_photos_train_as_photos_with_masks(emoji_base, tmp_path):
    def cut_out(image: Image.Image):
        image.putalpha(box(image))
        return image, {}

    def on_white(image: Image.Image):
        return ImageOps.invert(Image.composite(ImageOps.invert(image), Image.new("RGB", image.size), box(image))), {}

    white = as_photos(tmp_path / "white", on_white)
    masks = as_photos(tmp_path / "masks", lambda image: (box(image), {}))
    by_alpha = learn_subject(emoji_base, as_photos(tmp_path / "cut", cut_out), tmp_path / "one")
    by_masks = learn_subject(emoji_base, white, tmp_path / "two", masks)
    assert torch.equal(by_alpha, by_masks)
    assert not torch.equal(by_alpha, learn_subject(emoji_base, white, tmp_path / "three"))


def as_clip(folder: Path, change) -> Path:
    folder.mkdir()
    for path in list_images(DATA / "motion" / "muybridge_cat"):
        change(Image.open(path)).save(folder / path.name)
    return folder


@pytest.mark.parametrize(("height", "width", "frames"), [(48, 48, 8), (32, 64, 5), (64, 24, 2)])
def test_the_cat_trains_at_every_size(emoji_base, tmp_path, height, width, frames):
    masks = as_clip(tmp_path / "masks", box)
    cat = DATA / "motion" / "muybridge_cat"
    learn_motion(emoji_base, cat, masks, tmp_path / "work", height=height, width=width, frames=frames)


def test_the_cat_is_found_without_masks(emoji_base, tmp_path):
    """In its first frame, before a wall with a grid: its trunk, and not the wall above it."""
    cat = DATA / "motion" / "muybridge_cat"
    found = PlainBackground().segment(load_clip(cat, 2).pixels[:, :1], ["cat"])[0, 0]  # [208,320]
    assert float(found[90:120, 110:210].mean()) > 0.9 and float(found[8:60, 110:250].mean()) < 0.1
    learn_motion(emoji_base, cat, None, tmp_path)


def test_the_debiased_objective_takes_the_cat(emoji_base, tmp_path):
    learn_motion(emoji_base, DATA / "motion" / "muybridge_cat", None, tmp_path, objective="motion_director")


def test_what_a_clip_is_kept_as_does_not_matter(emoji_base, tmp_path):
    masks = as_clip(tmp_path / "masks", box)
    grey = as_clip(tmp_path / "grey", lambda image: image.convert("L"))
    coloured = as_clip(tmp_path / "coloured", lambda image: image.convert("L").convert("RGBA"))
    one = learn_motion(emoji_base, grey, masks, tmp_path / "one")
    assert torch.equal(one, learn_motion(emoji_base, coloured, masks, tmp_path / "two"))


def test_a_video_with_masks_as_images_trains(emoji_base, tmp_path):
    """At a rate of its own: 24 frames at 24 a second, of which 8 a second are taken."""
    masks = as_clip(tmp_path / "masks", box)
    save_video(load_clip(DATA / "motion" / "muybridge_cat", 24).pixels, tmp_path / "cat.mp4", 24)
    learn_motion(emoji_base, tmp_path / "cat.mp4", masks, tmp_path / "work", fps=8.0)


def test_a_corrupt_photo_among_real_ones_is_named(tmp_path):
    photos = Path(shutil.copytree(DATA / "subjects" / "dog6", tmp_path / "photos"))
    whole = (photos / "03.jpg").read_bytes()
    (photos / "03.jpg").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ValueError, match=r"03\.jpg cannot be read"):
        load_subject_images(photos)
