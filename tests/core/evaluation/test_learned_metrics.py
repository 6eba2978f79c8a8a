"""The paper's metrics against cosines computed by hand, with tiny random models."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, interpolate

from videomage_core.cli import main
from videomage_core.data.media import save_video
from videomage_core.evaluation.learned_metrics import LearnedMetrics, check_folder

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
RNG = np.random.default_rng(0)
VIDEO = RNG.integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
DOG, CAT = RNG.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8), RNG.integers(0, 256, (1, 50, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "c</w>": 3, "a": 4, "c": 5}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16).save_pretrained(folder)
    text = {"vocab_size": 6, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "bos_token_id": 0,
            "num_attention_heads": 2, "max_position_embeddings": 16, "eos_token_id": 1, "pad_token_id": 1}  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 32, "patch_size": 8}  # fmt: skip
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
    preparation = {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32},
                   "image_mean": MEAN, "image_std": STD}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(preparation))
    return folder


@pytest.fixture(scope="module", params=["vit", "dinov2"])
def dino(request, tmp_path_factory):
    import transformers

    folder = tmp_path_factory.mktemp(request.param)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    torch.manual_seed(1)
    if request.param == "vit":
        config = transformers.ViTConfig(**size, intermediate_size=32)
        transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    else:
        transformers.Dinov2Model(transformers.Dinov2Config(**size)).save_pretrained(folder)
    preparation = {"size": {"height": 32, "width": 32}, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(preparation))
    return folder


def prepared(image: np.ndarray, squashed: bool = False) -> torch.Tensor:
    """By hand: the shorter side to 32, the middle, normalised; or all squashed to a square, as for DINO."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    scale = 32 / min(image.shape[:2])
    size = (32, 32) if squashed else tuple(round(side * scale) for side in image.shape[:2])
    pixels = interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = (size[0] - 32) // 2, (size[1] - 32) // 2
    pixels = pixels[:, :, top : top + 32, left : left + 32]
    return (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def mean_cosine(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
    return float(np.mean([float(cosine_similarity(a, b)) for a in first for b in second]))


@torch.no_grad()
def test_clip_scores_are_the_cosines_by_hand(clip):
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(clip).eval()

    def clip_features(image: np.ndarray) -> torch.Tensor:
        return model.visual_projection(model.vision_model(prepared(image)).pooler_output)

    frames, dog, cat = ([clip_features(image) for image in images] for images in (VIDEO, DOG, CAT))
    tokens = torch.tensor([[0, 2, 3, 1]])
    text = model.text_projection(model.text_model(tokens).pooler_output)
    scores = LearnedMetrics(clip, None).score(VIDEO, "a c", {"dog": DOG, "cat": CAT})
    assert set(scores) == {"CLIP-T", "CLIP-I", "T. Cons."}
    assert scores["CLIP-T"] == pytest.approx(mean_cosine(frames, [text]), abs=1e-5)
    by_hand = (mean_cosine(frames, dog) + mean_cosine(frames, cat)) / 2
    assert scores["CLIP-I"] == pytest.approx(by_hand, abs=1e-5)
    consecutive = [float(cosine_similarity(frames[i], frames[i + 1])) for i in range(2)]
    assert scores["T. Cons."] == pytest.approx(np.mean(consecutive), abs=1e-5)


@torch.no_grad()
def test_dino_scores_are_the_cosines_of_class_tokens(dino):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(dino).eval()

    def token(image: np.ndarray) -> torch.Tensor:
        return model(pixel_values=prepared(image, squashed=True)).last_hidden_state[:, 0]

    scores = LearnedMetrics(None, dino).score(VIDEO, "a c", {"dog": DOG})
    expected = mean_cosine([token(frame) for frame in VIDEO], [token(image) for image in DOG])
    assert scores == {"DINO-I": pytest.approx(expected, abs=1e-5)}


def test_a_video_of_its_own_image_is_itself(clip, dino):
    still = np.repeat(DOG[:1], 4, axis=0)
    scores = LearnedMetrics(clip, dino, batch=3).score(still, None, {"dog": DOG[:1]})
    assert scores == {name: pytest.approx(1, abs=1e-5) for name in ("CLIP-I", "DINO-I", "T. Cons.")}


def test_what_is_not_there_is_said(clip, dino, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder; give a folder in Hugging Face's layout"):
        check_folder(tmp_path / "none", "CLIP")
    with pytest.raises(FileNotFoundError, match=r"lacks config\.json"):
        LearnedMetrics(clip, tmp_path)
    with pytest.raises(ValueError, match="holds a model of type 'clip', allowed: vit, dinov2"):
        LearnedMetrics(None, clip)
    from safetensors.torch import load_file, save_file

    for path in clip.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("visual_projection.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks the weights visual_projection\.weight"):
        LearnedMetrics(tmp_path, None)


def test_the_command_scores_a_folder(clip, dino, tmp_path, capsys):
    from PIL import Image

    videos, dog = tmp_path / "videos", tmp_path / "dog"
    for folder in (videos, dog):
        folder.mkdir()
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for name in ("one", "two"):
        save_video(pixels, videos / f"{name}.mp4", 8)
    (videos / "one.txt").write_text("a c")
    Image.fromarray(DOG[0]).save(dog / "1.png")
    given = ["--clip", str(clip), "--dino", str(dino), "--references", f"dog={dog}"]
    assert main(["evaluate", str(videos), *given, "--output", str(tmp_path / "scores.json")]) == 0
    said = capsys.readouterr().out
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert {"CLIP-T", "CLIP-I", "DINO-I", "T. Cons."} <= set(scores["one.mp4"])
    assert "CLIP-T" not in scores["two.mp4"] and "not measured: CLIP-T where there is no prompt" in said
    assert "mean" in said and "spread" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere is not a folder"),
        (["{empty}"], "holds none; allowed: .3gp"),
        (["{videos}", "--references", "dog"], "write NAME=FOLDER"),
        (["{videos}", "--clip", "nowhere"], "CLIP: nowhere is not a folder"),
    ],
)
def test_bad_input_is_refused(arguments, said, tmp_path, capsys):
    for name in ("empty", "videos"):
        (tmp_path / name).mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"")
    places = {name: str(tmp_path / name) for name in ("empty", "videos")}
    assert main(["evaluate", *(argument.format(**places) for argument in arguments)]) == 2
    assert said in capsys.readouterr().err
