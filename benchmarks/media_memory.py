"""How much memory reading large photos and clips takes over the base: peak RSS of a process that does nothing else.

    python -m benchmarks.media_memory

Five photos of 48 megapixels, and a 4K clip of 24 frames with two mask videos, as train-subject and train-motion read
them at the paper's size; and that clip alone as Train Motion LoRA reads a VIDEO of ComfyUI's.  Needs about 100 MB of
disk in the temporary folder.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOS, WIDTH, HEIGHT = 5, 8000, 6000
FRAMES, CLIP_WIDTH, CLIP_HEIGHT = 24, 3840, 2160


def write_photos(folder: Path) -> None:
    """Smooth images, as quick to write as they are large."""
    ramp = np.linspace(0, 255, WIDTH).astype(np.uint8)
    for index in range(PHOTOS):
        image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        image[..., 0], image[..., 1], image[..., 2] = ramp, ramp[::-1], 40 * index
        Image.fromarray(image).save(folder / f"{index}.jpg", quality=80)


def write_clip(path: Path, moving: bool = True) -> None:
    """A bright box on grey that moves to the right; as a mask, white on black."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = CLIP_WIDTH, CLIP_HEIGHT, "yuv420p"
        for index in range(FRAMES):
            image = np.full((CLIP_HEIGHT, CLIP_WIDTH, 3), 90 if moving else 0, np.uint8)
            image[800:1400, 100 + 60 * index : 700 + 60 * index] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def peak() -> float:
    """Peak RSS of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def read(what: str, folder: Path) -> float:
    """MiB over what the engine's import takes, for what a training reads and keeps."""
    from videomage_core.cache_key import cache_key
    from videomage_core.config import MotionConfig, SubjectConfig
    from videomage_core.data.augmentation import needed_size
    from videomage_core.data.examples import load_motion_clip, load_subject_images, make_motion_clip
    from videomage_core.data.video_decoding import DecodedFrames

    before = peak()
    if what == "photos":
        images = load_subject_images(folder, min_size=needed_size(SubjectConfig()))
        cache_key(*(part for image in images for part in image.key_parts()))
    elif what == "VIDEO":
        config = MotionConfig()
        frames = DecodedFrames(folder / "clip.mp4")
        cache_key(*make_motion_clip(frames, (), None, config.frames, needed_size(config)).key_parts())
    else:
        subjects = [("box", folder / "mask_1.mp4"), ("box", folder / "mask_2.mp4")]
        config = MotionConfig()
        clip = load_motion_clip(folder / "clip.mp4", subjects, config.frames, None, needed_size(config))
        cache_key(*clip.key_parts())
    return peak() - before


def main() -> None:
    """Write the files, and measure each kind in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        write_photos(folder / "photos")
        for file in ("clip", "mask_1", "mask_2"):
            write_clip(folder / f"{file}.mp4", moving=file == "clip")
        for what, where in (("photos", folder / "photos"), ("clip", folder), ("VIDEO", folder)):
            command = [sys.executable, "-m", "benchmarks.media_memory", what, str(where)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            print(f"{what}: {float(said):.0f} MiB over the base")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(read(sys.argv[1], Path(sys.argv[2])))
    else:
        main()
