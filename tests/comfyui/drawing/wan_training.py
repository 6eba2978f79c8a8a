"""The workflow that trains on ComfyUI's own Wan, and composes what it has trained."""

from __future__ import annotations

from .nodes import START, Node, Workflow, note
from .parts import BASE, CLIP, SEGMENTER_MODELS, found, fuse, images, preview, scs, train_motion
from .wan import TEXT_AND_VAE, UMT5, WAN_VAE, load_wan

FROM_MODEL = "wan_of_model"  # as the page calls the base
MODEL_FILE = "wan2.1_t2v_1.3B_fp16.safetensors"


def subject(name: str, words: str) -> Node:
    wires = {**BASE, "images": (f"{name} images", "images"), "segmenter": ("found", "segmenter")}
    values = {"token": f"<{words}>", "superclass": name, "file_name": f"wan_{name}"}
    return Node(f"train {name}", "VideoMage_TrainSubject", wires, values, "subject", f"Train Subject LoRA: {name}")


WAN_TRAINED = Workflow(
    "11 Wan, train, fuse, compose",
    FROM_MODEL,
    [
        (START, [note(
            "# Train on ComfyUI's own Wan\n\nTwo subjects, a motion, their fusion, and a video of all three. **Put "
            "your own photos and clip in the place of the examples first**, and your words in Segment by Words, the "
            "trainings and the prompt.\n\n**Files** (Comfy-Org/Wan_2.1_ComfyUI_repackaged)\n\n"
            "* models/diffusion_models: " + MODEL_FILE + "\n* models/text_encoders: " + UMT5 + "\n* models/vae: " +
            WAN_VAE + "\n* GroundingDINO and SAM 2: the help page of Load Segmenter says which and where\n\n"
            "**Trigger words**: the token <ohwx_dog> stands for the words *ohwx dog*. Write <ohwx_dog> in the prompts "
            "of this pack's nodes, and *ohwx dog* with core's nodes.\n\n**The files** are models/loras/videomage/"
            "wan_dog and its like. *Load LoRA* and *LoraLoaderModelOnly* load them: use them in template 09 too.\n\n"
            "**Wan 2.2**: run it once for each model, with *expert* high_noise and low_noise.\n\n**Memory**, counted: "
            "see docs/wan.md. Published weights have not been trained with this pack yet.", 760),
        ]),
        ("Model files", [load_wan("file", "UNETLoader", MODEL_FILE, "diffusion_models"), *TEXT_AND_VAE]),
        ("A base to train on", [
            Node("model", "ModelSamplingSD3", {"model": ("file", "MODEL")}, {"shift": 3.0}),
            Node("base", "VideoMage_BaseFromModel",
                 {"model": ("model", "MODEL"), "clip": ("clip text", "CLIP"), "vae": ("vae", "VAE")})]),
        ("Put your own here", [images("dog"), images("panda"), CLIP, SEGMENTER_MODELS]),
        ("Find who performs it", found()),
        ("Learn the subjects", [subject("dog", "ohwx_dog")]),
        ("Learn the subjects", [subject("panda", "sks_panda")]),
        ("Learn the motion", [train_motion({"file_name": "wan_riding"}, by_words=True)]),
        ("Put the subjects together", [fuse(("train dog", "LoRA"), ("train panda", "LoRA"),
                                            {"file_name": "wan_dog_and_panda"},
                                            {"segmenter": ("found", "segmenter")})]),
        ("Make the video", [scs(("fused", "LoRA"), ("train riding", "LoRA"),
                                prompt="a <ohwx_dog> is riding a <sks_panda> on grass", frames=33)]),
        ("See it", [Node("save", "SaveVideo", {"video": ("made", "video")}, {"filename_prefix": "videomage/wan"}),
                    preview("looked", ("made", "attention overlays"), "Where each token looked")]),
    ],
)  # fmt: skip
# "clip" is the example motion's name here, so that of the text encoder is another.
for _, nodes in WAN_TRAINED.columns:
    nodes[:] = [
        Node("clip text", one.type, one.wires, one.values, title=one.title, models=one.models)
        if one.type == "CLIPLoader"
        else one
        for one in nodes
    ]
