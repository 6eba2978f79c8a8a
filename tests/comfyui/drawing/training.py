"""The workflows that train: the first run, a subject, a motion, a motion with masks from words."""

from __future__ import annotations

from .nodes import START, Node, Workflow, note
from .parts import (
    CLIP,
    EMOJI,
    PROMPT,
    QUICK_FUSION,
    QUICK_MOTION,
    QUICK_SUBJECT,
    SEGMENTER_MODELS,
    base,
    enlarged,
    found,
    fuse,
    images,
    preview,
    sample,
    scs,
    sheet,
    train_motion,
    train_subject,
)

FIRST = Workflow(
    "01 First run",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# A first video\n\nPress **Run**. In a few minutes on a CPU this learns a dog and a panda from "
                    "four images each, and *riding* from a clip of a pig on a cat; then the dog rides the panda.\n\n"
                    "Nothing is downloaded: it runs on a tiny model that comes with the pack (8 frames of 48x48 "
                    "pixels).\n\n**To change**: the prompt and the seed of SCS Sampler. What is trained already is not "
                    "trained again. The built-in model knows few words: the help page of *Load Video Base* lists "
                    "its characters, motions and places.\n\n**Shrunk to be quick**, so look and motion are rougher "
                    "than they could be: training steps (subjects 300 → 120, motion 200 → 90, fusion 150 → 40), "
                    "inversion steps, auxiliary clips and teacher videos.\n\nThe LoRA files are in "
                    "models/loras/videomage.",
                    530,
                ),
                base(EMOJI),
            ],
        ),
        ("What to learn from", [images("dog"), images("panda"), CLIP]),
        ("Learn the subjects", [train_subject("dog", QUICK_SUBJECT)]),
        ("Learn the subjects", [train_subject("panda", QUICK_SUBJECT)]),
        ("Learn the motion", [train_motion(QUICK_MOTION)]),
        ("Put the subjects together", [fuse(("train dog", "LoRA"), ("train panda", "LoRA"), QUICK_FUSION)]),
        ("Make the video", [scs(("fused", "LoRA"), ("train riding", "LoRA"))]),
        (
            "See it",
            [
                *enlarged(("made", "frames"), "first_run"),
                sheet(
                    [("dog images", "images"), ("panda images", "images"), ("clip", "frames"), ("made", "frames")],
                    ["the dog", "the panda", "the clip", PROMPT],
                ),
            ],
        ),
    ],
)

SUBJECT = Workflow(
    "02 Train a subject",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# Learn a subject\n\nFrom 3 to 5 images of one character or thing. **Your own**: put *Load "
                    "Image* in the place of *Example Subject*, or type a folder of photos into *images_folder*; "
                    "give it a **token** of its own, e.g. `<my_cat>`, say in *superclass* what it is, and "
                    "name the token "
                    "in the prompt of *Sample Video* too.\n\n"
                    "Change of base? Press *use the settings that suit the base* on each node.\n\n"
                    "The LoRA is saved as models/loras/videomage/dog.safetensors (dog_2 where *01 First run* has made "
                    "a dog before): that file is all that others need."
                ),
                base(EMOJI),
            ],
        ),
        ("What to learn from", [images("dog")]),
        ("Learn it", [train_subject("dog", {"sample_every_n_steps": 100})]),
        (
            "Try it",
            [
                sample("tried", [("train dog", "LoRA")], "a <dog> is walking to the right on grass"),
                Node("about", "VideoMage_LoraInfo", {"lora": ("train dog", "LoRA")}),
            ],
        ),
        (
            "See it",
            [*enlarged(("tried", "frames"), "subject"), preview("seen", ("train dog", "samples"), "Sample at the end")],
        ),
    ],
)

MOTION = Workflow(
    "03 Train a motion",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# Learn a motion\n\nFrom one clip, without the appearance of who performs it. **Your own**: put "
                    "*Load Video* in the place of *Example Motion*; write in *prompt* what happens, in *subjects* who "
                    "does it, and wire a mask for each (white on the subject; one frame of it is enough).\n\n"
                    "omega is how strongly the performers' appearance is taken out.\n\nThe LoRA is saved as "
                    "models/loras/videomage/riding.safetensors (riding_2 where *01 First run* has made one before)."
                ),
                base(EMOJI),
            ],
        ),
        ("What to learn from", [CLIP]),
        ("Learn it", [train_motion({"sample_every_n_steps": 100})]),
        (
            "Try it on others",
            [sample("tried", [("train riding", "LoRA")], "a frog is riding a dog on grass", add_cutout=True)],
        ),
        (
            "See it",
            [
                *enlarged(("tried", "frames"), "motion"),
                sheet([("clip", "frames"), ("tried", "frames")], ["clip", "tried"]),
            ],
        ),
    ],
)

SEGMENTED = Workflow(
    "07 Masks from words",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# Cut out by words\n\nSay who performs the motion (here *Example Motion* does; unplug "
                    "*words* to type): "
                    "*Segment by Words* finds and follows them "
                    "through the clip, and *Train Motion LoRA* takes the masks and the words.\n\n**You need** "
                    "GroundingDINO (IDEA Research) in models/grounding-dino and SAM 2 (Meta) in models/sam2, as files "
                    "or as Hugging Face folders; the help page of *Load Segmenter* says which. Nothing is "
                    "downloaded.\n\n**Your own**: "
                    "*Load Video* in the place of *Example Motion*, and your words. Look at the overlay first: if a "
                    "word is not found, lower box_threshold; if the wrong thing is, raise it. The small drawings of "
                    "this example are no photos: the thresholds here are low.\n\nOther masks of yours wire into "
                    "mask_1, mask_2 ... just as well.",
                    520,
                ),
                base(EMOJI),
            ],
        ),
        ("What to learn from", [CLIP, SEGMENTER_MODELS]),
        ("Find who performs it", found(box_threshold=0.2, text_threshold=0.15, detector_image_size=128)),
        ("Learn the motion", [train_motion({"file_name": "riding_by_words", **QUICK_MOTION}, by_words=True)]),
        (
            "Try it on others",
            [sample("tried", [("train riding", "LoRA")], "a frog is riding a dog on grass", add_cutout=True)],
        ),
        ("See it", enlarged(("tried", "frames"), "by_words")),
    ],
)
