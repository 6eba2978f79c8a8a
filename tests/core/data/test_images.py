"""Laws of ``videomage_core/data/images.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from videomage_core.data.images import list_images, load_image, load_images, read_image

PHOTOS = Path(__file__).parents[4] / "shared" / "data" / "subjects"


def scenery(height: int = 6, width: int = 9) -> np.ndarray:
    """An RGB image without any symmetry, uint8 [H, W, 3]."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_pixels(image: np.ndarray) -> torch.Tensor:
    """uint8 [H, W, 3] -> [3, H, W] in -1..1, by the definition."""
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32)) / 127.5 - 1


def saved(folder: Path, image: Image.Image, name: str = "image.png", **options: object) -> Path:
    image.save(folder / name, **options)
    return folder / name


def test_rgb_arrives_bit_by_bit(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(scenery()))
    pixels = load_image(path)
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels, as_pixels(scenery()))
    assert read_image(path).alpha is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_equals_the_upright_image(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(scenery())
    # What a camera stores so that a viewer's turn, the EXIF standard's, makes it upright again.
    turns = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    turn = turns[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, upright if turn is None else upright.transpose(turn), exif=exif)
    torch.testing.assert_close(load_image(path), as_pixels(scenery()))


def test_transparency_is_composited_and_told(tmp_path: Path) -> None:
    alpha = np.linspace(0, 255, 54).astype(np.uint8).reshape(6, 9)
    path = saved(tmp_path, Image.fromarray(np.dstack([scenery(), alpha])))
    loaded = read_image(path, background=(10, 200, 30))
    share = torch.from_numpy(alpha).float() / 255
    ground = torch.tensor([10, 200, 30]).view(3, 1, 1) / 127.5 - 1
    expected = share * as_pixels(scenery()) + (1 - share) * ground
    assert loaded.alpha is not None
    torch.testing.assert_close(loaded.alpha, share)
    torch.testing.assert_close(loaded.pixels, expected, atol=2 / 127.5, rtol=0)
    assert (load_image(path)[:, 0, 0] == 1).all(), "white unless told otherwise"


def test_hidden_colours_of_transparent_pixels_do_not_bleed_when_resized(tmp_path: Path) -> None:
    image = np.zeros((32, 32, 4), dtype=np.uint8)  # transparent black around
    image[8:24, 8:24] = 255  # a white square
    assert load_image(saved(tmp_path, Image.fromarray(image)), (9, 9)).min() > 0.99


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK"])
def test_every_mode_equals_its_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(scenery(16, 16)).convert(mode)
    path = saved(tmp_path, image, "image.tif" if mode == "CMYK" else "image.png")
    torch.testing.assert_close(load_image(path), as_pixels(np.array(image.convert("RGB"))))


def test_transparent_palette_has_alpha(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 0)
    loaded = read_image(saved(tmp_path, image, transparency=0))
    assert loaded.alpha is not None
    assert loaded.alpha[0, 0] == 0
    assert loaded.alpha[1:].eq(1).all()
    assert loaded.pixels[:, 0, 0].tolist() == [1, 1, 1]


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels = load_image(saved(tmp_path, Image.fromarray(values)))
    expected = torch.from_numpy(values.astype(np.float32)) / 32767.5 - 1
    torch.testing.assert_close(pixels, expected.expand(3, -1, -1), atol=1 / 127.5, rtol=0)


@pytest.mark.parametrize("shape", [(7, 200), (200, 7), (1, 1), (48, 48), (33, 65)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_any_aspect_comes_to_size(tmp_path: Path, shape: tuple[int, int], fit: str) -> None:
    path = saved(tmp_path, Image.fromarray(scenery(*shape)))
    pixels = load_image(path, (24, 40), fit)  # type: ignore[arg-type]
    assert pixels.shape == (3, 24, 40)
    assert pixels.abs().max() <= 1


def test_crop_takes_the_middle_and_pad_keeps_all(tmp_path: Path) -> None:
    image = np.full((10, 30, 3), 0, dtype=np.uint8)  # black, the middle third red
    image[:, 10:20] = (255, 0, 0)
    path = saved(tmp_path, Image.fromarray(image))
    torch.testing.assert_close(load_image(path, (10, 10)), as_pixels(image[:, 10:20]))
    padded = load_image(path, (30, 30), "pad", background=(0, 0, 255))
    torch.testing.assert_close(padded[:, 10:20], as_pixels(image))
    assert (padded[2, :10] == 1).all()
    assert (padded[2, 20:] == 1).all()


def test_padding_of_a_transparent_image_is_transparent(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGBA", (10, 30), (255, 0, 0, 255)))
    alpha = read_image(path, (30, 30), "pad").alpha
    assert alpha is not None
    assert alpha[:, 10:20].eq(1).all()
    assert alpha.sum() == 300


def test_making_smaller_averages(tmp_path: Path) -> None:
    board = np.indices((64, 64)).sum(0) % 2 * 255
    path = saved(tmp_path, Image.fromarray(board.astype(np.uint8)))
    assert load_image(path, (8, 8))[:, 1:-1, 1:-1].abs().max() < 0.02


def test_folders_are_read_as_a_person_counts(tmp_path: Path) -> None:
    for index in (10, 9, 1, 2, 100):
        saved(tmp_path, Image.new("L", (2, 2), index), f"frame {index}.png")
    saved(tmp_path, Image.new("L", (2, 2)), ".hidden.png")
    (tmp_path / "notes.txt").write_text("not an image")
    assert [path.name for path in list_images(tmp_path)] == [f"frame {i}.png" for i in (1, 2, 9, 10, 100)]
    levels = [round((float(image[0, 0, 0]) + 1) * 127.5) for image in load_images(tmp_path)]
    assert levels == [1, 2, 9, 10, 100]


@pytest.mark.parametrize("damage", ["cut off", "text", "empty"])
def test_the_damaged_one_of_five_is_named(tmp_path: Path, damage: str) -> None:
    paths = [saved(tmp_path, Image.fromarray(scenery(64, 64)), f"{i}.png") for i in range(5)]
    whole = paths[3].read_bytes()
    paths[3].write_bytes({"cut off": whole[: len(whole) // 2], "text": b"<html>no image</html>", "empty": b""}[damage])
    for source in (tmp_path, paths):
        why = {"cut off": "save it anew as PNG or JPEG", "text": "it is a web page", "empty": "it is empty"}[damage]
        with pytest.raises(ValueError, match=rf"3\.png cannot be read.*{why}"):
            load_images(source)


def test_wrong_places_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.png does not exist, give an image file"):
        load_image(tmp_path / "gone.png")
    with pytest.raises(ValueError, match="is a folder, give one image file"):
        load_image(tmp_path)
    with pytest.raises(FileNotFoundError, match="gone does not exist, give a folder"):
        load_images(tmp_path / "gone")
    with pytest.raises(ValueError, match="holds no image"):
        load_images(tmp_path)
    with pytest.raises(ValueError, match="is a file, give a folder"):
        load_images(saved(tmp_path, Image.new("L", (1, 1))))
    with pytest.raises(ValueError, match="empty list"):
        load_images([])


def test_all_wrong_arguments_in_one_message(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("L", (1, 1)))
    with pytest.raises(ValueError, match=r"size: got \(0, 8\).*fit: got 'stretch', allowed: 'crop', 'pad'"):
        load_image(path, (0, 8), "stretch")  # type: ignore[arg-type]


def test_real_photos() -> None:
    """A bonus where the photos are at hand."""
    if not PHOTOS.is_dir():
        pytest.skip("no shared/data/subjects beside the repository: real photos not read")
    for folder in sorted(PHOTOS.iterdir()):
        images = load_images(folder, (48, 48))
        assert len(images) == 5
        assert all(image.shape == (3, 48, 48) and image.std() > 0.1 for image in images)


@pytest.mark.parametrize("form", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_image_is_shrunk_while_it_is_read(tmp_path: Path, form: str, orientation: int) -> None:
    """To the smallest of its aspect that covers the size, upright; a small one stays bit for bit."""
    y, x = np.mgrid[0:900, 0:1600]
    smooth = np.stack([x / 1600, y / 900, np.full_like(x, 0.5, dtype=float)], axis=-1) * 255
    image = Image.fromarray(smooth.astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = image.transpose(Image.Transpose.ROTATE_90) if orientation == 6 else image
    path = saved(tmp_path, stored, f"a.{form}", exif=exif)
    loaded = read_image(path, min_size=(50, 60))
    assert loaded.pixels.shape == (3, 50, 89) and loaded.source_size == (900, 1600)
    whole = read_image(path).pixels[None]
    expected = torch.nn.functional.interpolate(whole, (50, 89), mode="area")[0]
    assert float((loaded.pixels - expected).abs().max()) < 0.03
    assert torch.equal(read_image(path, min_size=(900, 2000)).pixels, whole[0])


def test_a_large_transparent_image_shrinks_without_a_rim(tmp_path: Path) -> None:
    image = np.zeros((400, 400, 4), dtype=np.uint8)
    image[100:300, 100:300] = 255
    loaded = read_image(saved(tmp_path, Image.fromarray(image)), min_size=(20, 20))
    assert loaded.pixels.shape == (3, 20, 20) and loaded.alpha is not None
    assert float(loaded.pixels.min()) > 0.98 and abs(float(loaded.alpha.mean()) - 0.25) < 0.01


def test_too_many_pixels_are_told_with_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.new("L", (2000, 1000)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500_000)
    with pytest.raises(ValueError, match=r"image\.png has 2 megapixels, at most 1 are read; save a smaller copy"):
        load_image(path)


@pytest.mark.filterwarnings("error")
def test_a_phones_photo_of_108_megapixels_is_no_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.new("L", (1500, 1000)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    assert load_image(path).shape == (3, 1000, 1500)


def test_files_that_are_something_else_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read: it is a Git LFS pointer"):
        load_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    if "HEIF" not in Image.OPEN:
        with pytest.raises(ValueError, match=r"a\.jpg cannot be read: it is HEIC, which needs pillow-heif"):
            load_image(tmp_path / "a.jpg")


def test_a_postscript_under_an_images_name_starts_no_program(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match=r"a\.png cannot be read \(cannot identify image file"):
        load_image(tmp_path / "a.png")


def test_floating_point_pixels_are_not_called_damaged(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "depth.tiff")
    with pytest.raises(ValueError, match=r"depth\.tiff holds floating-point numbers.*save it anew as PNG$"):
        read_image(tmp_path / "depth.tiff")
