"""docs/faults.md, from what pytest said of the fault suite.

python tests/faults/report.py TIMES PROMPTS core.xml [comfyui.xml]
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

DOCS = Path(__file__).parents[2] / "docs"
# Test -> what is done, how often ({times} or {prompts}, on each of its cases), what must come of it.
FAULTS = {
    "test_killed": (
        "kill -9 at a random moment",
        "{times}",
        "the next run goes on; the same LoRA bit for bit; no torn file",
    ),
    "test_cancelled": (
        "cancelled at a random moment",
        "{times}",
        "the base as it was; the next run ends bit for bit the same",
    ),
    "test_disk_full": (
        "no room for the n-th file",
        "{times}",
        "told; nothing half written; the next run ends the same",
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
        "refused with a reason or run; the server goes on; nothing is written outside its folders",
    ),
    "test_names_that_lead_out_are_refused_when_queued": (
        "file names that lead out: `..`, absolute, UNC, devices, look-alikes, NUL",
        "1",
        "refused before anything runs",
    ),
    "test_files_of_strangers_in_the_loader": (
        "changed LoRA files through the card's route and the loader node",
        "1 of each way",
        "an answer, and a clear error",
    ),
}
DETERMINISM = """## What is deterministic

| what | on one machine | why |
|---|---|---|
| a training, same inputs, settings and number of threads | same bytes | all that is random comes from (seed, step) |
| the same, stopped, killed or resumed | same bytes | a step depends on nothing else; checkpoints hold the optimiser |
| a video, same seed | same bytes | the start noise is drawn on the CPU, whatever the device |
| the memory modes | to rounding | a sum may be taken in another order |
| guidance's halves in one batch or one by one | to rounding | as above |
| LoRAs merged into weights (sampling, fp32) or beside them | to rounding | W x + B A x against (W + B A) x |
| another number of threads, device or precision | to its rounding | as above; a checkpoint is accepted |
| a GPU | not measured | some of PyTorch's kernels there add in any order |
"""


def main() -> None:
    times, prompts, *files = sys.argv[1:]
    cases: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            kinds = {child.tag for child in case}
            outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            name = re.sub(r"\[.*", "", case.get("name", ""))
            cases[name].append((outcome, float(case.get("time", 0))))
    counts = {"times": times, "prompts": prompts, "tenth": str(max(1, int(times) // 5))}
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
        found = [said for said, _ in cases.get(name, []) if said != "skipped"]
        passed = f"{found.count('passed')} of {len(found)}" if found else "not run"
        minutes = sum(seconds for _, seconds in cases.get(name, [])) / 60
        lines.append(f"| {fault} | {len(found)} | {often.format(**counts)} | {outcome} | {passed} | {minutes:.1f} |")
    text = "\n".join([*lines, "", DETERMINISM])
    (DOCS / "faults.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
