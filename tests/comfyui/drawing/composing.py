"""The workflows that begin from saved LoRA files."""

from __future__ import annotations

from .nodes import START, Node, Workflow, note
from .parts import CLIP, EMOJI, PROMPT, base, enlarged, fuse, images, load, preview, sample, scs, sheet

COMPOSE = Workflow(
    "04 Fuse and compose",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# From saved LoRAs to a video\n\nChoose two or more subjects and a motion from models/loras. The "
                    "files named here are made by *01 First run*, with few steps: run that before, or choose "
                    "better ones of 02 and 03.\n\n"
                    "Fuse takes 2 to 8 subjects: a new input appears as the last one is wired. For a single subject, "
                    "wire its LoRA to SCS Sampler without Fuse.\n\nName every subject's token in the prompt; the text "
                    "under it says what is missing. A motion of your own wants its own clip in the place of "
                    "*Example Motion*."
                ),
                base(EMOJI),
            ],
        ),
        ("Your LoRAs", [load("dog"), load("panda"), load("riding"), CLIP]),
        ("Put the subjects together", [fuse(("dog", "LoRA"), ("panda", "LoRA"), {})]),
        ("Make the video", [scs(("fused", "LoRA"), ("riding", "LoRA"))]),
        (
            "See it",
            [
                *enlarged(("made", "frames"), "composed"),
                preview("looked", ("made", "attention overlays"), "Where each token looked"),
            ],
        ),
    ],
)

_BOTH = [("dog_and_panda", "LoRA"), ("riding", "LoRA")]
COMPARE = Workflow(
    "06 Compare",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# The same noise, three ways\n\nSCS Sampler beside all LoRAs in one model (*without SCS*) and "
                    "the base alone. All begin from the same initial noise: the same seed, clip, size and frames on "
                    "each. Change prompt or seed on all three together.\n\nThe files named here are made by "
                    "*01 First run*."
                ),
                base(EMOJI),
            ],
        ),
        ("Your LoRAs", [load("dog_and_panda"), load("riding"), CLIP]),
        ("With SCS", [scs(*_BOTH)]),
        (
            "Without",
            [
                sample("merged", _BOTH, PROMPT, "Sample Video: all LoRAs in one model", add_cutout=True),
                sample(
                    "alone", _BOTH, PROMPT, "Sample Video: the base alone", add_cutout=True, method="the base alone"
                ),
            ],
        ),
        (
            "See them",
            [
                sheet(
                    [("made", "frames"), ("merged", "frames"), ("alone", "frames")],
                    ["SCS", "all LoRAs in one model", "the base alone"],
                ),
                *enlarged(("made", "frames"), "compared"),
            ],
        ),
    ],
)

EVALUATED = Workflow(
    "08 Compare two settings",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# Which setting is better?\n\nThe same video twice, from the same initial noise: on the "
                    "left its two "
                    "branches correct each other, on the right they do not (*tau* 0). *Evaluate* scores "
                    "both: likeness to the images, "
                    "consistency from frame to frame. Change any one setting on the right, and the seed on both. One "
                    "video tells little: try several seeds.\n\nWith folders of CLIP and DINO models, *Evaluate* gives "
                    "the paper's own metrics too. The LoRAs named here are made by *01 First run*."
                ),
                base(EMOJI),
            ],
        ),
        ("Your LoRAs", [load("dog_and_panda"), load("riding"), CLIP]),
        ("Their images", [images("dog"), images("panda")]),
        ("One setting", [scs(*_BOTH)]),
        ("Another", [scs(*_BOTH, name="other", title="SCS Sampler: tau 0", tau=0)]),
        (
            "Which is better?",
            [
                Node(
                    "scores",
                    "VideoMage_Evaluate",
                    {
                        "video": ("made", "frames"),
                        "other": ("other", "frames"),
                        "images_1": ("dog images", "images"),
                        "images_2": ("panda images", "images"),
                    },
                    {"prompt": "a dog is riding a panda on grass", "labels": "with guidance\nwithout"},
                ),
                sheet([("made", "frames"), ("other", "frames")], ["with guidance", "without"]),
            ],
        ),
        ("Keep the better one", enlarged(("made", "frames"), "better")),
    ],
)
