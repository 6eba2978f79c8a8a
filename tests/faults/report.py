"""docs/faults.md, from what pytest said of the fault suite.

python tests/faults/report.py TIMES PROMPTS core.xml [comfyui.xml]

Ends with 1 if anything failed, or a file is missing.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).parent))
from others_files import HEADING, table

DOCS = Path(__file__).parents[2] / "docs"
# Test -> what is done, how often ({times} or {prompts}, on each of its cases), what must come of it.
FAULTS = {
    "test_killed": (
        "kill -9 at a random moment",
        "{times}",
        "the next run resumes; the same LoRA bit for bit; no torn file",
    ),
    "test_cancelled": (
        "cancelled at a random moment",
        "{times}",
        "the base as it was; the next run ends bit for bit the same",
    ),
    "test_disk_full": (
        "no room for the n-th file",
        "{times}",
        "reported; nothing half written; the next run ends the same",
    ),
    "test_out_of_memory": (
        "no memory at the n-th pass through a point",
        "{tenth}",
        "no LoRA left on the base, no byte more alive than before; the next run ends the same",
    ),
    "test_not_a_number": (
        "NaN at a random step",
        "{times}",
        "stops with the step and the causes; the last checkpoint is kept",
    ),
    "test_the_base_changed_under_a_resumed_run": (
        "another base under a resumed run",
        "1",
        "refused; the checkpoint is kept",
    ),
    "test_two_trainings_on_one_output": (
        "two trainings on one output",
        "1",
        "the second is refused, the first unharmed",
    ),
    "test_a_checkpoint_that_cannot_be_gone_on_from": (
        "a checkpoint that is torn, empty, of an older version, or no checkpoint",
        "1",
        "refused with what to do; the file is kept",
    ),
    "test_the_same_seed_gives_the_same_bytes": ("nothing", "1", "the same bytes twice"),
    "test_a_changed_file_is_refused_or_right": (
        "LoRA files changed in one of 18 ways: lengths, dtypes, shapes, megabytes of metadata, odd keys",
        "12",
        "a clear error or a right LoRA; no hang, no other file written",
    ),
    "test_changed_workflows_are_refused_or_run": (
        "workflows changed in one thing, through a real ComfyUI",
        "{prompts}",
        "refused with a reason or run; the server runs on; nothing is written outside its folders",
    ),
    "test_names_that_lead_out_are_refused_when_queued": (
        "file names that lead out: `..`, absolute, UNC, devices, look-alikes, NUL",
        "1",
        "refused before anything runs",
    ),
    "test_wired_names_that_lead_out_write_nothing": (
        "such file names, wired, so that they are known while it runs only",
        "1",
        "refused before anything is written",
    ),
    "test_lora_names_that_lead_out_are_refused": (
        "such names of LoRA files to load, and a LoRA where some of them lead",
        "1",
        "refused before anything runs, and by the card's route",
    ),
    "test_nothing_is_written_through_links_that_lead_out": (
        "links out of the folder under the name of a new LoRA",
        "1",
        "the link's target is as it was; the LoRA is a file of its own",
    ),
    "test_a_value_where_a_wire_belongs_is_said": (
        "values where wires belong",
        "1",
        "a clear error",
    ),
    "test_files_of_strangers_in_the_loader": (
        "changed LoRA files through the card's route and the loader node",
        "1 of each way",
        "an answer, and a clear error",
    ),
}
# Test -> why it fails, as was found out, and what comes next; shown where it fails.
CAUSES: dict[str, str] = {}

# What -> how far it is the same on one machine, why, and the tests that prove it.
DETERMINISM = [
    (
        "a training, same inputs, settings and number of threads", "same bytes",
        "all that is random comes from (seed, step)",
        ["tests/faults/test_disturbed.py::test_the_same_seed_gives_the_same_bytes"],
    ),
    (
        "the same, stopped, killed or resumed", "same bytes",
        "a step depends on nothing else; checkpoints hold the optimiser",
        [
            "tests/faults/test_disturbed.py::test_killed", "tests/faults/test_disturbed.py::test_cancelled",
            "tests/core/training/test_loop.py::test_ten_steps_equal_some_a_cancel_and_the_rest",
        ],
    ),
    (
        "a video, same seed", "same bytes", "the initial noise is drawn on the CPU, whatever the device",
        [
            "tests/faults/test_disturbed.py::test_the_same_seed_gives_the_same_bytes",
            "tests/core/test_sampling.py::test_the_initial_noise_is_the_seeds_alone",
        ],
    ),
    (
        "the memory modes", "to rounding, but for seams of the autoencoder's tiles in low",
        "a sum may be taken in another order; frames larger than those it was trained on are tiled and blended",
        [
            "tests/core/model/test_memory.py::test_a_mode_changes_memory_and_nothing_else",
            "tests/core/stages/test_subject_lora.py::test_memory_modes_change_nothing_but_memory",
            "tests/core/stages/test_motion_lora.py::test_memory_modes_change_nothing_but_memory",
            "tests/core/stages/test_collaborative_sampling.py::test_memory_modes_change_nothing_but_memory",
        ],
    ),
    (
        "guidance's halves, or any videos, in one batch or one by one", "to rounding", "as above",
        [
            "tests/faults/test_disturbed.py::test_batch_layouts_agree_to_rounding",
            "tests/core/model/test_memory.py::test_guidance_halves_go_one_after_the_other_in_low",
            "tests/core/test_sampling.py::test_sampling_depends_on_prompt_and_seed_only",
        ],
    ),
    (
        "a batch, or as many forwards summed up", "to rounding", "as above",
        ["tests/core/training/test_loop.py::test_accumulated_halves_equal_one_batch"],
    ),
    (
        "one process or two", "to rounding", "as above",
        ["tests/core/test_distributed.py::test_two_processes_train_what_one_does"],
    ),
    (
        "LoRAs merged into weights (sampling, fp32) or beside them", "to rounding",
        "W x + B A x against (W + B A) x",
        ["tests/core/model/test_lora.py::test_merged_loras_act_as_the_layers_do_and_leave_nothing"],
    ),
    (
        "another number of threads or precision", "to its rounding", "as above; a checkpoint is accepted",
        [
            "tests/faults/test_disturbed.py::test_another_number_of_threads_gives_the_same_to_rounding",
            "tests/core/model/test_unet3d.py::test_half_precision_predicts_nearly_the_same",
            "tests/core/training/test_checkpoint.py::test_a_checkpoint_of_another_base_is_refused_but_not_of_another_precision",
        ],
    ),
    ("a GPU", "not measured", "some of PyTorch's kernels there add in any order", []),
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One test of one fault: its name with what it was tried on, "passed", "failed" or "skipped", and what it said."""

    name: str
    outcome: str
    seconds: float
    said: str = ""


def read(files: Sequence[Path]) -> dict[str, list[Case]]:
    """Test -> its cases."""
    cases: dict[str, list[Case]] = defaultdict(list)
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            bad = [child for child in case if child.tag in ("failure", "error")]
            skipped = any(child.tag == "skipped" for child in case)
            said = next(iter(bad[0].get("message", "").strip().splitlines()), "no message") if bad else ""
            name = case.get("name", "")
            outcome = "failed" if bad else "skipped" if skipped else "passed"
            cases[re.sub(r"\[.*", "", name)].append(Case(name, outcome, float(case.get("time", 0)), said))
    return cases


_WRITTEN = ("What failed", HEADING, "What is deterministic")  # headings


def report(cases: dict[str, list[Case]], times: int, prompts: int, missing: Sequence[str] = ()) -> str:
    """The whole of docs/faults.md."""
    counts = {"times": times, "prompts": prompts, "tenth": max(1, times // 5)}
    lines = [
        "# Faults",
        "",
        "Written by `make faults`. Each fault is tried on each of its cases (a stage, a place, a kind of change) so",
        "many times, at moments drawn at random from a fixed seed.",
        "",
        "| fault | cases | times each | what must come of it | passed | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for name, (fault, often, outcome) in FAULTS.items():
        found = [case for case in cases.get(name, []) if case.outcome != "skipped"]
        good = sum(case.outcome == "passed" for case in found)
        passed = f"{good} of {len(found)}" if found else "not run"
        minutes = sum(case.seconds for case in found) / 60
        lines.append(f"| {fault} | {len(found)} | {often.format(**counts)} | {outcome} | {passed} | {minutes:.1f} |")
    lines += ["", *failures(cases, missing), *table(), "## What is deterministic", ""]
    lines += ["| what | on one machine | why | proved by |", "|---|---|---|---|"]
    for what, how_far, why, tests in DETERMINISM:
        proofs = ", ".join(dict.fromkeys(f"`{test.rpartition('::')[2]}`" for test in tests))
        lines.append(f"| {what} | {how_far} | {why} | {proofs} |")
    return "\n".join([*lines, ""])


def by_hand(page: str) -> str:
    """The sections at the page's end that were not written here, with a blank line before them."""
    parts = page.split("\n## ")
    first = next((n for n, part in enumerate(parts) if n and not part.startswith(_WRITTEN)), len(parts))
    return "".join(f"\n## {part}" for part in parts[first:])


def failures(cases: dict[str, list[Case]], missing: Sequence[str] = ()) -> list[str]:
    """A line for each case that failed, with what it said and what is known of it; no line at all if none did."""
    lines = [f"* `{file}` was not written: pytest ended before." for file in missing]
    for test, found in cases.items():
        bad = [case for case in found if case.outcome == "failed"]
        lines += [f"* `{case.name}`: {case.said[:300]}" for case in bad]
        if bad and test in CAUSES:
            lines.append(f"  {CAUSES[test]}")
    return ["## What failed", "", *lines, ""] if lines else []


def main() -> int:
    times, prompts, *names = sys.argv[1:]
    files = [Path(name) for name in names]
    missing = [file.name for file in files if not file.is_file()]
    cases = read([file for file in files if file.is_file()])
    text = report(cases, int(times), int(prompts), missing)
    page = DOCS / "faults.md"
    page.write_text(text + by_hand(page.read_text(encoding="utf-8") if page.is_file() else ""), encoding="utf-8")
    print(text)
    return 1 if failures(cases, missing) else 0


if __name__ == "__main__":
    sys.exit(main())
