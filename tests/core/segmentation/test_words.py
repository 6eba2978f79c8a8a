"""Words: how they are read, where their tokens stand, and whose each box is."""

from __future__ import annotations

import pytest
import torch

from videomage_core.segmentation.words import boxes_of_words, caption_of, spans, split_words


def tokens(text: str) -> list[int]:
    """A token a word, a full stop for itself, one at each end."""
    return [1, *(0 if part == "." else 10 + len(part) for part in text.split()), 2]


def test_words_are_read_with_commas_or_line_by_line():
    assert split_words("dog, stuffed  animal\n cat.\n,") == ["dog", "stuffed animal", "cat"]
    assert split_words(" ,\n. ") == []


def test_the_caption_is_the_detectors():
    assert caption_of(["Dog", "stuffed animal"]) == "dog . stuffed animal ."
    assert caption_of(["dog", "dog"]) == "dog ."
    assert caption_of(["st. bernard?"]) == "st bernard ."
    with pytest.raises(ValueError, match=r"words: got \['dog', ' '\], give at least one"):
        caption_of(["dog", " "])
    with pytest.raises(ValueError, match="give at least one"):
        caption_of([])


def test_each_words_tokens_are_found():
    assert spans(["dog", "stuffed animal", "cat"], tokens) == [(1, 2), (3, 5), (6, 7)]
    assert spans(["cat", "dog", "cat"], tokens) == [(1, 2), (3, 4), (1, 2)]


def test_too_many_words_are_told():
    with pytest.raises(ValueError, match="they are 402 tokens together, the detector reads 256; give fewer"):
        spans([f"thing{i}" for i in range(200)], tokens)


BOXES = torch.tensor([[0.0, 0, 10, 10], [1, 0, 10, 10], [30, 30, 50, 50], [60, 0, 90, 40], [61, 1, 90, 40]])


def found(words, scores, box=0.3, text=0.2, every=False):
    return boxes_of_words(words, spans(words, tokens), torch.tensor(scores), BOXES, box, text, every)


def test_the_best_box_of_each_word():
    scores = [[0, 0.5, 0, 0.1, 0, 0], [0, 0.6, 0, 0.1, 0, 0], [0, 0.1, 0, 0.9, 0, 0], [0] * 6, [0] * 6]
    dog, cat = found(["dog", "cat"], scores)
    assert dog.boxes.tolist() == [BOXES[1].tolist()] and cat.boxes.tolist() == [BOXES[2].tolist()]
    assert float(dog.scores) == pytest.approx(0.6) and cat.best == pytest.approx(0.9)


def test_all_boxes_of_a_word_none_of_them_twice():
    scores = [[0, s, 0, 0] for s in (0.5, 0.6, 0.4, 0.35, 0.31)]
    (dog,) = found(["dog"], scores, every=True)
    assert dog.boxes.tolist() == [BOXES[i].tolist() for i in (1, 2, 3)]


def test_two_of_a_kind_get_a_box_each():
    scores = [[0, s, 0, 0] for s in (0.5, 0.6, 0.4, 0.1, 0.1)]
    first, second = found(["dog", "dog"], scores)
    assert first.boxes.tolist() == [BOXES[1].tolist()] and second.boxes.tolist() == [BOXES[2].tolist()]


def test_a_box_is_one_words_alone():
    scores = [[0, 0.5, 0, 0.6, 0, 0], [0] * 6, [0] * 6, [0] * 6, [0] * 6]
    dog, cat = found(["dog", "cat"], scores)
    assert len(dog.boxes) == 0 and dog.best == pytest.approx(0.5)
    assert cat.boxes.tolist() == [BOXES[0].tolist()]


def test_all_tokens_of_a_word_count():
    """A box that is an animal, but nothing stuffed, is under the text threshold."""
    scores = [[0, 0.02, 0.4, 0, 0], [0] * 5, [0, 0.3, 0.4, 0, 0], [0] * 5, [0] * 5]
    (toy,) = found(["stuffed animal"], scores, text=0.25, every=True)
    assert toy.boxes.tolist() == [BOXES[2].tolist()]


def test_nothing_over_the_threshold_is_nothing_found():
    (dog,) = found(["dog"], [[0, 0.2, 0, 0]] * 5)
    assert dog.boxes.shape == (0, 4) and dog.best == pytest.approx(0.2)
