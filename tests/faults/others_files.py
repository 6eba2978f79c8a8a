"""What LoRA files by other programs were tried, and what came of it: a table of docs/faults.md.

"Real": written by that library itself in the test.  "By hand": written in the test after what the program's own source
writes, as the program is not installed here.
"""

from __future__ import annotations

HEADING = "What LoRA files by other programs were tried"

_SCALE, _LAYERS = "tests/core/data/test_lora_scale.py::", "tests/core/data/test_lora_layers.py::"
_WAN, _CORE = "tests/core/data/test_wan_lora.py::", "tests/comfyui/native/test_merge_loras.py::"
_FILE = "tests/core/data/test_safetensors_file.py::"
_KINDS, _BROKEN = _LAYERS + "test_what_it_is_is_named", _LAYERS + "test_broken_files_are_named_with_their_key"
_PLACES = _SCALE + "test_where_a_scale_can_stand"
_ROWS = _WAN + "test_every_trainer_s_file_gives_the_original_names_and_the_right_change"
_CONFLICTS = _SCALE + "test_what_contradicts_itself_or_cannot_be_known_is_refused"

# (program and file, how it was made, what comes of it, the test)
TRIED = [
    ("peft `save_pretrained`: alpha, rsLoRA, patterns of rank and alpha, regular expressions", "real",
     "read; scale from `adapter_config.json`", _SCALE + "test_a_folder_that_peft_saved_means_what_it_means_to_peft"),
    ("diffusers `save_lora_weights` with adapter metadata, U-Net and transformer, the same settings", "real",
     "read; scale from the header",
     _SCALE + "test_a_file_that_diffusers_saved_with_its_metadata_means_what_it_means_to_peft"),
    ("diffusers' Wan, trained with peft, rsLoRA", "real", "read; scale from the header",
     _WAN + "test_a_lora_trained_on_diffusers_wan_with_peft_gives_the_change_that_peft_applies"),
    ("peft, renamed or without its `adapter_config.json`", "by hand", "refused: says what to put where", _CONFLICTS),
    ("kohya, musubi-tuner (`.alpha`)", "by hand; diffusers reads the same scale",
     "read; scale from `.alpha`",
     _SCALE + "test_what_diffusers_takes_for_the_scale_of_a_kohya_file_is_what_is_read"),
    ("kohya without `.alpha`", "by hand", "read; scale from the header's `ss_network_alpha`", _PLACES),
    ("kohya, resized (`Dynamic`), other ranks in some layers, LyCORIS `rs_lora`", "by hand",
     "read; scale from `.alpha`", _PLACES),
    ("kohya or musubi, converted to `lora_A` and `lora_B`", "by hand", "read; the scale is in the factors", _PLACES),
    ("musubi, Wan-Fun, ai-toolkit, diffusion-pipe, ComfyUI SaveLoRA, lightx2v, diffusers, DiffSynth for Wan", "by hand",
     "read into the original names", _ROWS),
    ("musubi, Wan-Fun, ai-toolkit, SaveLoRA for Wan, against ComfyUI's own loader", "by hand",
     "the same change of weights",
     _CORE + "test_each_readable_row_gives_the_same_change_here_and_in_core"),
    ("ai-toolkit and diffusers, both experts of Wan 2.2 in one file", "by hand", "read apart, written as two files",
     _WAN + "test_both_experts_of_wan_2_2_are_merged_apart_and_written_apart"),
    ("diffusers 0.1x and 0.2x, text-encoder and mochi spellings, 1x1 convolutions", "by hand", "read",
     _LAYERS + "test_every_spelling_gives_the_same_layer"),
    ("`.diff` and `.diff_b` of zeros (lightx2v)", "by hand", "read",
     _WAN + "test_the_zero_differences_of_a_speed_up_lora_are_read_and_others_refused"),
    ("a scale in the header that is NaN, infinite, negative or no number", "by hand", "refused: the entry is named",
     _SCALE + "test_a_number_in_the_header_that_is_none_is_refused"),
    ("two places that say another scale, or a rank that is not the tensors'", "by hand", "refused: both are named",
     _CONFLICTS),
    ("`adapter_config.json` that is broken, of another program, DoRA, PiSSA, or with an endless pattern", "by hand",
     "refused: what is wrong is named", _SCALE + "test_a_broken_or_strange_config_is_named"),
    ("NaN, infinity, integers, a missing half, factors that do not fit, a layer twice, stray keys", "by hand",
     "refused: file and key are named", _BROKEN),
    ("LoHa, LoKr, GLoRA, OFT, LoCon, DoRA, whole differences, text encoders", "by hand", "refused by name", _KINDS),
    ("textual inversion embeddings, whole models", "by hand", "refused by name", _KINDS),
    ("GGUF, Git LFS pointers, web pages, JSON, cut files", "by hand", "refused by name",
     _FILE + "test_other_files_are_named"),
    ("pickles (`.pth`, `.ckpt`, or renamed to `.safetensors`), old and new", "real (torch)",
     "never opened; refused by name",
     _FILE + "test_pickles_are_never_opened"),
]  # fmt: skip


def table() -> list[str]:
    """The section's lines."""
    lines = [f"## {HEADING}", ""]
    lines += ["| file | made how | what comes of it | test |", "|---|---|---|---|"]
    lines += [f"| {what} | {how} | {outcome} | `{test.rpartition('::')[2]}` |" for what, how, outcome, test in TRIED]
    return [*lines, ""]
