"""The token columns that the report gives to SCS Guider."""

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from emoji_world.reports.core_report import spans_of
from videomage_core.model.prompt_spans import mark_prompt, read_subjects


def test_the_columns_are_those_of_the_subjects_words():
    words = ["a", "red", "dog", "chases", "frog", "animal", "on", "beach"]
    model = Tokenizer(WordLevel({word: n for n, word in enumerate(["?", *words])}, unk_token="?"))
    model.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, unk_token="?")
    marked = mark_prompt("a red dog chases a frog on a beach", read_subjects("red dog = animal\nfrog = frog"))
    assert spans_of(tokenizer, marked.subject, marked.subject_places) == [
        {"word": "red dog", "start": 1, "end": 3}, {"word": "frog", "start": 5, "end": 6},
    ]  # fmt: skip
    assert spans_of(tokenizer, marked.motion, marked.motion_places) == [
        {"word": "red dog", "start": 1, "end": 2}, {"word": "frog", "start": 4, "end": 5},
    ]  # fmt: skip
