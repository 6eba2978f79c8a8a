"""Draw the shipped workflows in ComfyUI's own page and save what it saves; write the English locale file.

    make workflows

A workflow is a list of columns of nodes, read from left to right.  Whoever changes a node's inputs
draws them anew.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from english_locale import english
from page import Page
from server import PACK, Server
from wan_workflows import WAN_21, WAN_22
from workflow_nodes import START, Node, Workflow, note

EMOJI = "emoji base (built in)"
ZEROSCOPE = "zeroscope_v2_576w"
SEGMENTER = {
    "detector": "grounding-dino-tiny",
    "sam2": "sam2.1_hiera_tiny.pt",
    "bert": "none: the detector is a folder",
}
QUICK_SUBJECT = {"steps": 120, "auxiliary_clips": 4, "sample_every_n_steps": 60}
QUICK_MOTION = {"steps": 90, "textual_inversion_steps": 70, "sample_every_n_steps": 45}
QUICK_FUSION = {"steps": 40, "teacher_videos": 2, "cutmix_videos": 1}
PROMPT = "a <dog> is riding a <panda> on grass"
CLIP_PROMPT = "a pig is riding a cat on a plain background"


def base(name: str) -> Node:
    return Node("base", "VideoMage_LoadBase", values={"base": name})


BASE = {"base": ("base", "base")}


def train_subject(name: str, more: dict[str, Any]) -> Node:
    values = {"token": f"<{name}>", "superclass": name, "file_name": name, **more}
    wires = {**BASE, "images": (f"{name} pictures", "images"), "prompt": (f"{name} pictures", "prompts")}
    return Node(f"train {name}", "VideoMage_TrainSubject", wires, values, "subject", f"Train Subject LoRA: {name}")


def pictures(name: str) -> Node:
    return Node(
        f"{name} pictures", "VideoMage_ExampleSubject", values={"subject": name}, title=f"Example Subject: {name}"
    )


def train_motion(more: dict[str, Any], by_words: bool = False) -> Node:
    wires = {**BASE, "clip": ("clip", "frames"), "prompt": ("clip", "prompt")}
    wires |= (
        {"mask_1": ("found", "mask 1"), "mask_2": ("found", "mask 2"), "subjects": ("found", "subjects")}
        if by_words
        else {"mask_1": ("clip", "pig"), "mask_2": ("clip", "cat"), "subjects": ("clip", "subjects")}
    )
    return Node("train riding", "VideoMage_TrainMotion", wires, {"file_name": "riding", **more}, "motion")


def found(**thresholds: float) -> list[Node]:
    """The clip's performers, cut out by words."""
    wires = {"segmenter": ("models", "segmenter"), "clip": ("clip", "frames"), "words": ("clip", "subjects")}
    return [
        Node("found", "VideoMage_SegmentByWords", wires, thresholds),
        preview("seen", ("found", "overlay"), "What was found"),
    ]


CLIP = Node("clip", "VideoMage_ExampleMotion")
SEGMENTER_MODELS = Node("models", "VideoMage_LoadSegmenter", values=SEGMENTER)


def load(name: str) -> Node:
    file = f"videomage/{name}.safetensors"
    return Node(name, "VideoMage_LoadLora", values={"lora_name": file}, title=f"Load VideoMage LoRA: {name}")


def fuse(
    dog: tuple[str, str],
    panda: tuple[str, str],
    more: dict[str, Any],
    wires: dict[str, tuple[str, str]] | None = None,
) -> Node:
    wires = {**BASE, "lora_1": dog, "lora_2": panda, **(wires or {})}
    return Node("fused", "VideoMage_FuseSubjects", wires, {"file_name": "dog_and_panda", **more}, "fusion")


def scs(subject: tuple[str, str], motion: tuple[str, str], name: str = "made", title: str = "", **more: Any) -> Node:
    wires = {**BASE, "subject": subject, "motion": motion, "clip": ("clip", "frames")}
    values = {"prompt": PROMPT, "control_after_generate": "fixed", **more}
    return Node(name, "VideoMage_SCSSampler", wires, values, "collaborative", title)


def sample(name: str, loras: list[tuple[str, str]], prompt: str, title: str = "", **more: Any) -> Node:
    wires = {**BASE, **{f"lora_{i + 1}": lora for i, lora in enumerate(loras)}}
    wires |= {"clip": ("clip", "frames")} if more.pop("add_cutout", False) else {}
    values = {"prompt": prompt, "control_after_generate": "fixed", **more}
    return Node(name, "VideoMage_SampleVideo", wires, values, "sampling", title)


def enlarged(source: tuple[str, str], prefix: str) -> list[Node]:
    """Save the built-in base's 48 pixels large enough to see."""
    return [
        Node("large", "ImageScaleBy", {"image": source}, {"upscale_method": "nearest-exact", "scale_by": 8.0}),
        Node("video", "CreateVideo", {"images": ("large", "IMAGE")}, {"fps": 8.0}),
        Node("save", "SaveVideo", {"video": ("video", "VIDEO")}, {"filename_prefix": f"videomage/{prefix}"}),
    ]


def sheet(rows: list[tuple[str, str]], labels: list[str]) -> Node:
    wires = {f"row_{i + 1}": row for i, row in enumerate(rows)}
    return Node("sheet", "VideoMage_ContactSheet", wires, {"labels": "\n".join(labels), "scale": 3})


def preview(name: str, source: tuple[str, str], title: str) -> Node:
    return Node(name, "PreviewImage", {"images": source}, title=title, height=220)


FIRST = Workflow(
    "1 First run",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# A first video\n\nPress **Run**. In a few minutes on a CPU this learns a dog and a panda from "
                    "four pictures each, and *riding* from a clip of a pig on a cat; then the dog rides the panda.\n\n"
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
        ("What to learn from", [pictures("dog"), pictures("panda"), CLIP]),
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
                    [("dog pictures", "images"), ("panda pictures", "images"), ("clip", "frames"), ("made", "frames")],
                    ["the dog", "the panda", "the clip", PROMPT],
                ),
            ],
        ),
    ],
)

SUBJECT = Workflow(
    "2 Train a subject",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# Learn a subject\n\nFrom 3 to 5 pictures of one character or thing. **Your own**: put *Load "
                    "Image* in the place of *Example Subject*, or type a folder of photos into *images_folder*; "
                    "give it a **token** of its own, e.g. `<my_cat>`, say in *superclass* what it is, and "
                    "name the token "
                    "in the prompt of *Sample Video* too.\n\n"
                    "Change of base? Press *use the settings that suit the base* on each node.\n\nThe LoRA is saved "
                    "as models/loras/videomage/dog.safetensors (dog_2 where *1 First run* has made a dog before): that "
                    "file is all that others need."
                ),
                base(EMOJI),
            ],
        ),
        ("What to learn from", [pictures("dog")]),
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
    "3 Train a motion",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# Learn a motion\n\nFrom one clip, without the looks of who performs it. **Your own**: put "
                    "*Load Video* in the place of *Example Motion*; write in *prompt* what happens, in *subjects* who "
                    "does it, and wire a mask for each (white on the subject; one frame of it is enough).\n\n"
                    "omega is how strongly the performers' looks are taken out.\n\nThe LoRA is saved as "
                    "models/loras/videomage/riding.safetensors (riding_2 where *1 First run* has made one before)."
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

COMPOSE = Workflow(
    "4 Fuse and compose",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# From saved LoRAs to a video\n\nChoose two or more subjects and a motion from models/loras. The "
                    "files named here are made by *1 First run*, with few steps: run that before, or choose "
                    "better ones of 2 and 3.\n\n"
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

PAPER = Workflow(
    "5 The paper's settings on ZeroScope",
    ZEROSCOPE,
    [
        (
            START,
            [
                note(
                    "# The paper's settings\n\n**Not for the built-in base, and not for the example pictures**: "
                    "put your own photos and clip in their places first (*Load Image* or a folder; *Load Video*), "
                    "and write your words in Segment by Words, the two trainings and the prompt.\n\n**You need** a "
                    "GPU; **ZeroScope v2 576w** (cerspense/zeroscope_v2_576w on Hugging Face; licence "
                    "CC-BY-NC-4.0: not for commercial use), its whole folder with unet, vae, text_encoder, "
                    "tokenizer and scheduler in models/diffusers/zeroscope_v2_576w; **GroundingDINO and SAM 2**, "
                    "which cut the performers out of the clip and the subjects out of what their LoRAs make (the "
                    "help page of Load Segmenter says which and where). Then refresh the page.\n\nThe published "
                    "weights of ZeroScope have not been tried with this pack yet. If memory runs out, set *memory* "
                    "of Load Video Base to low.\n\nThe settings are the paper's: 24 frames of 576x320, 300 steps, "
                    "rank 4, lambda1 0.25, omega 0.5, lambda2 0.6, tau 15, alpha 10000, noise_prior (beta) 0.3.",
                    640,
                ),
                base(ZEROSCOPE),
            ],
        ),
        ("Put your own here", [pictures("dog"), pictures("panda"), CLIP, SEGMENTER_MODELS]),
        ("Find who performs it", found()),
        ("Learn the subjects", [train_subject("dog", {"file_name": "zeroscope_dog"})]),
        ("Learn the subjects", [train_subject("panda", {"file_name": "zeroscope_panda"})]),
        ("Learn the motion", [train_motion({"file_name": "zeroscope_riding"}, by_words=True)]),
        ("Put the subjects together", [fuse(("train dog", "LoRA"), ("train panda", "LoRA"),
                                            {"file_name": "zeroscope_dog_and_panda"},
                                            {"segmenter": ("found", "segmenter")})]),
        ("Make the video", [scs(("fused", "LoRA"), ("train riding", "LoRA"))]),
        ("See it", [Node("save", "SaveVideo", {"video": ("made", "video")}, {"filename_prefix": "videomage/zeroscope"}),
                    preview("looked", ("made", "attention overlays"), "Where each token looked")]),
    ],
)  # fmt: skip

_BOTH = [("dog_and_panda", "LoRA"), ("riding", "LoRA")]
COMPARE = Workflow(
    "6 Compare",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# The same noise, three ways\n\nSCS Sampler beside all LoRAs in one model (*without SCS*) and "
                    "the base alone. All begin from the same initial noise: the same seed, clip, size and frames on "
                    "each. Change prompt or seed on all three together.\n\nThe files named here are made by "
                    "*1 First run*."
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

SEGMENTED = Workflow(
    "7 Masks from words",
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

EVALUATED = Workflow(
    "8 Compare two settings",
    EMOJI,
    [
        (
            START,
            [
                note(
                    "# Which setting is better?\n\nThe same video twice, from the same initial noise: on the "
                    "left its two "
                    "branches correct each other, on the right they do not (*tau* 0). *Evaluate* scores "
                    "both: likeness to the pictures, "
                    "consistency from frame to frame. Change any one setting on the right, and the seed on both. One "
                    "video tells little: try several seeds.\n\nWith folders of CLIP and DINO models, *Evaluate* gives "
                    "the paper's own metrics too. The LoRAs named here are made by *1 First run*."
                ),
                base(EMOJI),
            ],
        ),
        ("Your LoRAs", [load("dog_and_panda"), load("riding"), CLIP]),
        ("Their pictures", [pictures("dog"), pictures("panda")]),
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
                        "pictures_1": ("dog pictures", "images"),
                        "pictures_2": ("panda pictures", "images"),
                    },
                    {"prompt": "a dog is riding a panda on grass", "labels": "with guidance\nwithout"},
                ),
                sheet([("made", "frames"), ("other", "frames")], ["with guidance", "without"]),
            ],
        ),
        ("Keep the better one", enlarged(("made", "frames"), "better")),
    ],
)

WORKFLOWS = [FIRST, SUBJECT, MOTION, COMPOSE, PAPER, COMPARE, SEGMENTED, EVALUATED, WAN_21, WAN_22]

_DRAW = """async ({columns, settings}) => {
  const made = {};
  const gap = 60, top = 120;
  // What a node shows once it has run makes it grow by so much.
  const pictures = {SaveVideo: 330, VideoMage_ContactSheet: 260, VideoMage_Evaluate: 260};
  for (const name of ['TrainSubject', 'TrainMotion', 'FuseSubjects', 'SCSSampler', 'SampleVideo'])
    pictures[`VideoMage_${name}`] = 240;
  const frames = [];
  let x = 0;
  for (const [title, nodes] of columns) {
    let y = top, width = 0;
    const own = [];
    for (const wish of nodes) {
      const node = LiteGraph.createNode(wish.type);
      if (!node) throw new Error(`no node type ${wish.type}`);
      if (wish.title) node.title = wish.title;
      if (wish.models.length) node.properties.models = wish.models;
      app.graph.add(node);
      const values = {...(wish.stage ? settings[wish.stage] : {}), ...wish.values};
      for (const [name, value] of Object.entries(values)) {
        const widget = name ? node.widgets.find(w => w.name === name) : node.widgets[0];
        if (!widget && wish.values[name] !== undefined) throw new Error(`${wish.type} has no ${name}`);
        if (widget) widget.value = value;
      }
      for (const [input, [from, output]] of Object.entries(wish.wires)) {
        const source = made[from];
        const slot = source.outputs.findIndex(o => o.name === output);
        const target = node.inputs.findIndex(i => i.name === input);
        if (slot < 0 || target < 0) throw new Error(`no wire ${from}.${output} -> ${wish.type}.${input}`);
        source.connect(slot, node, target);
        await new Promise(done => setTimeout(done, 30));
      }
      made[wish.name] = node;
      own.push([node, wish]);
    }
    await new Promise(done => setTimeout(done, 700));
    for (const [node, wish] of own) {
      const least = node.computeSize();
      const panel = node.widgets?.some(w => w.element && w.serialize === false) ? 6 : 0;
      node.setSize([Math.max(least[0], 320), Math.max(least[1] + panel, wish.height)]);
      node.pos = [x, y];
      y += node.size[1] + gap + (pictures[wish.type] ?? 0);
      width = Math.max(width, node.size[0]);
    }
    const before = frames.at(-1);
    if (before?.title === title) {
      before.size = [x - 20 + width + 40 - before.pos[0], Math.max(before.size[1], y - gap - top + 120)];
    } else {
      const frame = new LiteGraph.LGraphGroup(title);
      frame.pos = [x - 20, top - 90];
      frame.size = [width + 40, y - gap - top + 120];
      frames.push(frame);
    }
    x += width + 90;
  }
  for (const frame of frames) app.graph.add(frame);
  const saved = app.graph.serialize();
  saved.extra = {};
  return JSON.stringify(saved); // as the page writes it to a file: what is undefined is left out
}"""


def draw(page: Page, workflow: Workflow) -> dict[str, Any]:
    page.clear()
    address = "/videomage/presets?base=" + (workflow.base if workflow.base == EMOJI else "")
    settings = page.run(
        "async (address) => { const a = await app.api.fetchApi(address); return a.ok ? a.json() : {}; }", address
    )
    columns = [(title, [vars(node) for node in nodes]) for title, nodes in workflow.columns]
    return dict(json.loads(page.run(_DRAW, {"columns": columns, "settings": settings})))


def write_english(server: Server) -> None:
    own = {name: about for name, about in server.get("/object_info").items() if name.startswith("VideoMage_")}
    path = PACK / "locales" / "en" / "nodeDefs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(english(own), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    only = sys.argv[1:]
    with tempfile.TemporaryDirectory() as home:
        server = Server(Path(home)).start()
        try:
            write_english(server)
            with Page(server.url) as page:
                for workflow in WORKFLOWS:
                    if only and workflow.title.split()[0] not in only:
                        continue
                    saved = draw(page, workflow)
                    path = PACK / "workflows" / f"{workflow.title}.json"
                    path.write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
                    page.picture(Path("outputs") / "workflows" / f"{workflow.title}.png")
                    print(f"drew {path.name}: {len(saved['nodes'])} nodes; errors: {page.errors}")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
