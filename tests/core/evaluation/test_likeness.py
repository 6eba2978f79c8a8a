"""A drawn character is most like its own images, and who is who is found out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emoji_world.world.characters import Character
from emoji_world.world.scene import Scene, draw
from videomage_core.evaluation import mobilenet
from videomage_core.evaluation.likeness import (
    centred,
    direction,
    embedding,
    likeness,
    mean_of_nearest,
    reference_features,
    similarity,
    who_is_who,
)


@pytest.fixture(autouse=True)
def weights() -> None:
    try:
        mobilenet.weights_path()
    except ImportError as error:
        pytest.skip(str(error))


def image(artist: str, concept: str, seed: int = 0) -> np.ndarray:
    return draw(Scene((Character(artist, concept),), "standing still", "plain", seed), frames=1).frames[0]


def test_true_renders_are_nearest_to_their_own_images_in_either_order():
    own = {name: [image("noto", name, seed) for seed in range(3)] for name in ("dog", "panda")}
    rivals = {name: [image(artist, name) for artist in ("twemoji", "emojione")] for name in own}
    references = reference_features(own, rivals)
    for first, second in (("dog", "panda"), ("panda", "dog")):
        drawing = draw(Scene((Character("noto", first), Character("noto", second)), "next to", "grass", 8))
        likenesses, tracks = likeness(drawing.frames, references)
        assert all(likenesses[name].rank == 1 and likenesses[name].of == 3 for name in own)
        assert all(likenesses[name].similarity > 0.5 for name in own)
        for name, track in zip(own, tracks, strict=True):
            true = drawing.masks[(first, second).index(name)] > 0.5
            assert (true & track.masks).sum() > 0.7 * true.sum()
    others, _ = likeness(
        draw(Scene((Character("twemoji", "dog"), Character("twemoji", "panda")), "next to", "grass", 8)).frames,
        references,
    )
    assert all(others[name].rank > 1 for name in own)


def test_an_image_without_a_character_is_refused():
    with pytest.raises(ValueError, match="no character stands out"):
        reference_features({"dog": [np.full((48, 48, 3), 200, dtype=np.uint8)]}, {"dog": [image("noto", "dog")]})


def test_an_embedding_is_the_direction_of_the_mean_feature():
    raw = torch.randn(5, mobilenet.WIDTH, generator=torch.Generator().manual_seed(0)).double()
    mean = raw.mean(0)
    apart = raw - mean
    units = apart / apart.norm(dim=1, keepdim=True)
    torch.testing.assert_close(centred(raw, mean), units)
    total = units[:2].sum(0)
    torch.testing.assert_close(direction(units[:2]), total / total.norm())
    assert similarity(units[:2], total / total.norm()) == pytest.approx(1)
    assert similarity(units[:2], units[3]) == pytest.approx(float(total @ units[3] / total.norm()))


def test_nobody_has_an_embedding_of_zeros_and_anybody_one_of_unit_length():
    assert not embedding(torch.zeros(0, 3, 8, 8)).any()
    assert float(embedding(torch.rand(2, 3, 8, 8)).norm()) == pytest.approx(1)


def test_the_pairing_that_is_most_alike_in_all_decides_who_is_who():
    table = [[0.9, 0.8, 0.0], [0.8, 0.1, 0.0], [0.2, 0.3, 0.1]]  # the first is nearest to itself, but one must give way
    assert who_is_who(3, lambda subject, character: table[subject][character]) == (1, 0, 2)
    assert who_is_who(1, lambda subject, character: -1.0) == (0,)


def test_only_the_three_nearest_count():
    assert mean_of_nearest(torch.tensor([0.1, 0.9, 0.5, 0.7])) == pytest.approx(0.7)
    assert mean_of_nearest(torch.tensor([0.4])) == pytest.approx(0.4)
