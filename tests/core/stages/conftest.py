"""Fixtures of the stages' tests."""

from __future__ import annotations

import dataclasses

import pytest

from tests.core.stages.small_sampling import CONFIG, PROMPT
from videomage_core.model import lora
from videomage_core.model.lora_weights import average
from videomage_core.stages.algorithm1 import (
    MOTION,
    SUBJECT,
    branches_of,
)


@pytest.fixture
def subjects(emoji_base, make_lora_model):
    return [make_lora_model(emoji_base, 1), make_lora_model(emoji_base, 2, "<pet>", "dog", rank=1)]


@pytest.fixture
def both(emoji_base, make_lora_model):
    """Two subjects in one LoRA."""
    toy, pet = make_lora_model(emoji_base, 1), make_lora_model(emoji_base, 2, "<pet>", "dog")
    weights = average([toy.weights, pet.weights])
    return dataclasses.replace(toy, kind="fusion", weights=weights, tokens=(*toy.tokens, *pet.tokens))


@pytest.fixture
def motion(emoji_base, make_lora_model):
    return make_lora_model(emoji_base, 3, None)


@pytest.fixture
def branches(emoji_base, both, motion):
    """Both LoRAs on the base, and the two branches."""
    with lora.restore_adapters(emoji_base):
        lora.load(emoji_base, SUBJECT, both.weights)
        lora.load(emoji_base, MOTION, motion.weights)
        yield branches_of(emoji_base, PROMPT, list(both.tokens), CONFIG)


@pytest.fixture
def attention_layers(emoji_base):
    return emoji_base.attention_layers("cross"), emoji_base.attention_layers("temporal")
