"""Laws of ``videomage_core/data/media.py``."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from videomage_core.data import media
from videomage_core.data.media import choose_frames, count_frames, load_clip, load_frames, save_video, to_uint8

CAT = Path(__file__).parents[4] / "shared" / "data" / "motion" / "muybridge_cat"


def ramp(frames: int, height: int = 16, width: int = 16) -> torch.Tensor:
    """A video [3, F, H, W] whose frame i has brightness i / (F - 1)."""
    return torch.linspace(-1, 1, frames).view(1, -1, 1, 1).expand(3, -1, height, width)


def shown(pixels: torch.Tensor, frames: int) -> list[int]:
    """Which frames of ``ramp(frames)`` a clip [3, F, H, W] shows."""
    return ((pixels.mean(dim=(0, 2, 3)) + 1) / 2 * (frames - 1)).round().int().tolist()


def smooth(frames: int, height: int, width: int) -> torch.Tensor:
    """A coloured, moving video without sharp edges, [3, F, H, W]."""
    t, y, x = torch.meshgrid(*(torch.linspace(0, 1, n) for n in (frames, height, width)), indexing="ij")
    return torch.stack([torch.sin(3 * (x + t)), torch.cos(2 * (y - t)), torch.sin(2 * x * y + t)]) * 0.8


def write_at(path: Path, milliseconds: list[int], codec: str = "libx264") -> None:
    """A ramp whose frame i is shown at a moment of its own."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1000)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for moment, image in zip(milliseconds, to_uint8(ramp(len(milliseconds))), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = moment, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_images(folder: Path, frames: int) -> Path:
    folder.mkdir()
    for index, image in enumerate(to_uint8(ramp(frames))):
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


@pytest.mark.parametrize("fps", [8.0, 24.0, 29.97, 12.5])
@pytest.mark.parametrize("size", [(48, 48), (32, 56)])
def test_mp4_round_trip(tmp_path: Path, fps: float, size: tuple[int, int]) -> None:
    video = smooth(8, *size)
    save_video(video, tmp_path / "new" / "video.mp4", fps)
    clip = load_clip(tmp_path / "new" / "video.mp4", 8)
    assert clip.pixels.shape == video.shape
    assert clip.fps == pytest.approx(fps, rel=1e-3)
    assert (clip.pixels - video).abs().mean() < 0.03
    with av.open(str(tmp_path / "new" / "video.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.frames == 8
        assert float(stream.average_rate) == pytest.approx(fps, rel=1e-3)


def test_reading_a_video_as_it_is_changes_nothing(tmp_path: Path) -> None:
    save_video(ramp(12), tmp_path / "video.mp4", 8)
    as_it_is = load_clip(tmp_path / "video.mp4", 12)
    again = load_clip(tmp_path / "video.mp4", 12, fps=8, size=(16, 16))
    torch.testing.assert_close(as_it_is.pixels, again.pixels)
    assert shown(as_it_is.pixels, 12) == list(range(12))


@pytest.mark.parametrize(("height", "width"), [(7, 9), (1, 1), (16, 15)])
def test_odd_sizes_gain_a_copy_of_their_edge(tmp_path: Path, height: int, width: int) -> None:
    save_video(ramp(4, height, width), tmp_path / "odd.mp4", 8)
    clip = load_clip(tmp_path / "odd.mp4", 4)
    assert clip.pixels.shape == (3, 4, height + height % 2, width + width % 2)
    assert shown(clip.pixels, 4) == [0, 1, 2, 3]


def test_scale_makes_blocks(tmp_path: Path) -> None:
    video = torch.full((3, 2, 12, 12), -1.0)
    video[:, :, 3:9, 3:9] = 1
    save_video(video, tmp_path / "large.mp4", 8, scale=4)
    large = load_clip(tmp_path / "large.mp4", 2).pixels
    assert large.shape == (3, 2, 48, 48)
    assert (large - video.repeat_interleave(4, 2).repeat_interleave(4, 3)).abs().mean() < 0.03


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_video(ramp(4), tmp_path / "video.mp4", 8)
    before = (tmp_path / "video.mp4").read_bytes()

    def fails(images: np.ndarray, path: Path, *_: object) -> None:
        path.write_bytes(b"half a video")
        raise OSError("disk full")

    monkeypatch.setattr(media, "_encode", fails)
    with pytest.raises(OSError, match="disk full"):
        save_video(ramp(5), tmp_path / "video.mp4", 8)
    assert (tmp_path / "video.mp4").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]


def test_frames_are_the_nearest_to_their_times(tmp_path: Path) -> None:
    save_video(ramp(48), tmp_path / "video.mp4", 24)
    clip = load_clip(tmp_path / "video.mp4", 8, fps=8)
    assert shown(clip.pixels, 48) == [0, 3, 6, 9, 12, 15, 18, 21]
    assert clip.fps == 8
    whole = load_clip(tmp_path / "video.mp4", 8)
    assert shown(whole.pixels, 48) == [round(i * 47 / 7) for i in range(8)]
    assert whole.fps == pytest.approx(7 / (47 / 24), rel=1e-3)
    slower = load_clip(tmp_path / "video.mp4", 8, fps=48)
    assert shown(slower.pixels, 48)[::2] == [0, 1, 2, 3]


def test_a_clip_that_is_too_short_is_spread_and_keeps_its_speed(tmp_path: Path) -> None:
    save_video(ramp(5), tmp_path / "video.mp4", 10)
    clip = load_clip(tmp_path / "video.mp4", 9, fps=8)
    assert [shown(clip.pixels, 5)[i] for i in (0, 2, 4, 6, 8)] == [0, 1, 2, 3, 4]
    assert clip.fps == pytest.approx(20, rel=1e-3)


def test_a_varying_rate_is_read_by_its_timestamps(tmp_path: Path) -> None:
    write_at(tmp_path / "phone.mp4", [0, 20, 40, 60, 500, 1000, 1500, 2000])
    clip = load_clip(tmp_path / "phone.mp4", 5, fps=2)
    assert shown(clip.pixels, 8) == [0, 4, 5, 6, 7]
    assert shown(load_clip(tmp_path / "phone.mp4", 5).pixels, 8) == [0, 4, 5, 6, 7]


@pytest.mark.parametrize("name", ["clip.webm", "clip.mov", "clip.mkv"])
def test_other_containers(tmp_path: Path, name: str) -> None:
    codec = "libvpx" if name.endswith("webm") else "libx264"
    write_at(tmp_path / name, [100 * i for i in range(10)], codec)
    clip = load_clip(tmp_path / name, 5, fps=5)
    assert shown(clip.pixels, 10) == [0, 2, 4, 6, 8]


def test_animated_gif_with_transparency(tmp_path: Path) -> None:
    frames = [Image.new("RGBA", (16, 16), (0, 0, 0, 0)) for _ in range(4)]
    for index, frame in enumerate(frames):
        frame.paste((255, 0, 0, 255), (0, 0, 4 * (index + 1), 16))
    path = tmp_path / "clip.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, disposal=2)
    clip = load_clip(path, 4, background=(0, 0, 255))
    assert clip.fps == pytest.approx(10)
    red = (clip.pixels[0] > 0).sum(dim=(1, 2)) / 16
    assert red.tolist() == [4, 8, 12, 16]
    assert (clip.pixels[2, 0, :, 8:] > 0.9).all()


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_phones_that_turn_their_video(tmp_path: Path, degrees: int) -> None:
    upright = smooth(4, 16, 32)
    stored = torch.rot90(upright, degrees // 90, (2, 3))  # counter-clockwise
    save_video(stored, tmp_path / "phone.mp4", 8)
    # The track header's matrix says: turn by this clockwise to show it (ISO/IEC 14496-12, 8.3.2).
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    rows = (cosine, sine, 0, -sine, cosine, 0, 0, 0)
    matrix = b"".join((value * 65536).to_bytes(4, "big", signed=True) for value in rows)
    data = bytearray((tmp_path / "phone.mp4").read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: 40 bytes stand before the matrix
    data[at : at + len(matrix)] = matrix
    (tmp_path / "phone.mp4").write_bytes(data)
    clip = load_clip(tmp_path / "phone.mp4", 4)
    assert clip.pixels.shape == upright.shape
    assert (clip.pixels - upright).abs().mean() < 0.03


def test_a_folder_of_images_has_the_rate_it_is_given(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "frames", 12)
    clip = load_clip(folder, 8, fps=8)
    assert (shown(clip.pixels, 12), clip.fps) == (list(range(8)), 8)
    assert shown(load_clip(folder, 4, fps=8, folder_fps=24).pixels, 12) == [0, 3, 6, 9]
    whole = load_clip(folder, 12)
    assert (shown(whole.pixels, 12), whole.fps) == (list(range(12)), pytest.approx(8))


def test_sizes_and_fit_reach_every_frame(tmp_path: Path) -> None:
    save_video(smooth(4, 20, 40), tmp_path / "video.mp4", 8)
    assert load_clip(tmp_path / "video.mp4", 3, size=(48, 32)).pixels.shape == (3, 3, 48, 32)
    padded = load_clip(tmp_path / "video.mp4", 3, size=(40, 40), fit="pad").pixels
    assert (padded[:, :, :8] == 1).all()


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "frames", 3)
    Image.new("RGB", (20, 16)).save(folder / "1.png")
    with pytest.raises(ValueError, match=r"frames of several sizes.*give a size"):
        load_clip(folder, 3)
    assert load_clip(folder, 3, size=(8, 8)).pixels.shape == (3, 3, 8, 8)


@pytest.mark.parametrize("count", [2, 3, 24, 97])
@pytest.mark.parametrize("frames", [1, 2, 8, 24])
def test_evenly_means_first_and_last_and_never_backwards(count: int, frames: int) -> None:
    chosen, rate = choose_frames(np.arange(count) / 30 + 5, frames, None)
    assert len(chosen) == frames
    assert chosen == sorted(chosen)
    assert chosen[0] == 0
    assert frames == 1 or chosen[-1] == count - 1
    assert rate > 0


def test_broadcast_rates_count_as_long_enough() -> None:
    times = np.arange(30) / 30.01  # a hair shorter than one second
    assert choose_frames(times, 10, 10) == (list(range(0, 30, 3)), 10)


def test_a_still_is_no_clip(tmp_path: Path) -> None:
    save_video(ramp(2)[:, :1], tmp_path / "still.mp4", 8)
    for source in (tmp_path / "still.mp4", write_images(tmp_path / "frames", 1)):
        with pytest.raises(ValueError, match=r"has 1 frame\(s\) and so no motion, give a clip of at least 2"):
            load_clip(source, 8, fps=8)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4 does not exist, give a video file or a folder"):
        load_clip(tmp_path / "gone.mp4", 8)
    (tmp_path / "text.mp4").write_text("this is no video " * 100)
    with pytest.raises(ValueError, match=r"text\.mp4 cannot be read.*save it anew as mp4"):
        load_clip(tmp_path / "text.mp4", 8)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match=r"sound\.mp4 holds no video"):
        load_clip(tmp_path / "sound.mp4", 8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no image"):
        load_clip(tmp_path / "empty", 8)


def test_wrong_arguments_are_told_together(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "frames", 3)
    with pytest.raises(ValueError, match=r"frames: got 0, must be at least 1; fps: got -1"):
        load_clip(folder, 0, fps=-1)
    with pytest.raises(ValueError, match=r"must end in \.mp4"):
        save_video(ramp(2), tmp_path / "video.avi", 8)
    with pytest.raises(ValueError, match=r"fps: got nan.*scale: got 0"):
        save_video(ramp(2), tmp_path / "video.mp4", float("nan"), scale=0)
    with pytest.raises(ValueError, match=r"got shape \(1, 3, 2, 4, 4\), must be \[3, F, H, W\]"):
        save_video(torch.zeros(1, 3, 2, 4, 4), tmp_path / "video.mp4", 8)
    with pytest.raises(ValueError, match="not finite"):
        save_video(torch.full((3, 2, 4, 4), torch.nan), tmp_path / "video.mp4", 8)


def test_to_uint8_is_exact_and_clips() -> None:
    levels = torch.arange(256).view(1, 1, 16, 16).expand(3, 2, 16, 16)
    assert np.array_equal(to_uint8(levels / 127.5 - 1), levels.permute(1, 2, 3, 0).numpy())
    assert set(to_uint8(torch.tensor([-7.0, 7.0]).expand(3, 1, 1, 2)).flatten().tolist()) == {0, 255}


def test_the_real_cat() -> None:
    """A bonus where the clip is at hand."""
    if not CAT.is_dir():
        pytest.skip("no shared/data/motion beside the repository: the real clip not read")
    clip = load_clip(CAT, 8, size=(48, 48))
    assert clip.pixels.shape == (3, 8, 48, 48)
    assert (clip.pixels[:, 1:] - clip.pixels[:, :-1]).abs().mean() > 0.01, "it moves"


@pytest.mark.parametrize("fps", [None, 3.0])
@pytest.mark.parametrize("source", ["folder", "video"])
def test_a_clip_tells_which_frames_it_took(tmp_path: Path, source: str, fps: float | None) -> None:
    if source == "folder":
        path = write_images(tmp_path / "clip", 9)
    else:
        path = tmp_path / "clip.mp4"
        save_video(ramp(9), path, 8.0)
    assert count_frames(path) == 9
    clip = load_clip(path, 4, fps, size=(8, 8), folder_fps=8.0)
    assert list(clip.indices) == shown(clip.pixels, 9)
    assert torch.equal(load_frames(path, clip.indices, (8, 8)), clip.pixels)
    assert shown(load_frames(path, (7, 0, 7)), 9) == [7, 0, 7]
