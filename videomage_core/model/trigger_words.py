"""A subject's first token: one that is learned, or one that stands for its trigger words.

Where no gradient reaches the text encoder, a token's vectors are the base's own for the words of its name: "<ohwx_dog>"
is "ohwx dog" in prompts of every program, and the LoRA alone learns (ours; the paper learns the token too).
"""

from __future__ import annotations

from .backbone import Backbone
from .text import SpecialToken, check_token


def words_of(token: str) -> str:
    """The trigger words of a token: "<ohwx_dog>" -> "ohwx dog"."""
    return " ".join(token.strip("<>").replace("_", " ").split())


def first_token(backbone: Backbone, name: str, superclass: str, count: int) -> SpecialToken:
    """The token with which a training starts, its vectors [k, D] on the CPU or the base's device.

    Args:
        backbone: the base.
        name: e.g. "<toy>".
        superclass: its class in plain words, with whose vectors a learned token starts.
        count: vectors of a learned token.

    Raises:
        ValueError: a name that is no token's, or no superclass.
    """
    check_token(name, superclass)
    if backbone.text_gradients:
        return SpecialToken(name, backbone.initial_vectors(superclass, count), superclass)
    words = words_of(name)
    positions = backbone.word_spans(words, words)[0].positions
    return SpecialToken(name, backbone.initial_vectors(words, len(positions)), superclass)
