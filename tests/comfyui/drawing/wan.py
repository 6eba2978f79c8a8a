"""The workflows on ComfyUI's own Wan: core's nodes, and SCS Guider among them."""

from __future__ import annotations

from typing import Any

from .nodes import START, Node, Workflow, needed, note


def load_wan(name: str, kind: str, file: str, directory: str, title: str = "") -> Node:
    """A loader of core's with the file it wants."""
    widget, more = {
        "UNETLoader": ("unet_name", {"weight_dtype": "default"}),
        "CLIPLoader": ("clip_name", {"type": "wan"}),
        "VAELoader": ("vae_name", {}),
    }[kind]
    return Node(
        name,
        kind,
        values={widget: file, **more},
        title=title,
        models=[needed(file, directory, "docs/wan.md")],
    )


def wan_lora(name: str, model: str, file: str, title: str) -> Node:
    values = {"lora_name": file, "strength_model": 1.0}
    return Node(name, "LoraLoaderModelOnly", {"model": (model, "MODEL")}, values, title=title)


def wan_guider(name: str, subjects: list[str], motion: str, title: str, **more: Any) -> Node:
    wires = {
        "model_subject": (subjects[0], "MODEL"),
        **{f"model_subject_{n}": (model, "MODEL") for n, model in enumerate(subjects[1:], start=2)},
        "model_motion": (motion, "MODEL"),
        "positive_subject": ("prompt", "subject"),
        "positive_motion": ("prompt", "motion"),
        "negative": ("prompt", "negative"),
    }
    return Node(name, "VideoMage_SCSGuider", wires, more, title=title)


def sampled(name: str, noise: str, guider: str, sigmas: tuple[str, str], latent: tuple[str, str], title: str) -> Node:
    wires = {
        "noise": (noise, "NOISE"), "guider": (guider, "guider"), "sampler": ("sampler", "SAMPLER"), "sigmas": sigmas,
        "latent_image": latent,
    }  # fmt: skip
    return Node(name, "SamplerCustomAdvanced", wires, title=title)


def shifted(name: str, model: str, title: str = "") -> Node:
    return Node(name, "ModelSamplingSD3", {"model": (model, "MODEL")}, {"shift": 8.0}, title=title)


def noise_and_steps(model: str, sampler: str, steps: int) -> list[Node]:
    """What SamplerCustomAdvanced wants beside the guider."""
    latent = {"width": 832, "height": 480, "length": 33, "batch_size": 1}
    steps_of = {"scheduler": "simple", "steps": steps, "denoise": 1.0}
    return [
        Node("noise", "RandomNoise", values={"noise_seed": 0, "control_after_generate": "fixed"}),
        Node("sampler", "KSamplerSelect", values={"sampler_name": sampler}),
        Node("steps", "BasicScheduler", {"model": (model, "MODEL")}, steps_of),
        Node("latent", "EmptyHunyuanLatentVideo", values=latent),
    ]


def wan_seen(latent: tuple[str, str], prefix: str) -> list[tuple[str, list[Node]]]:
    """The video, and where each subject was seen."""
    frames = ("frames", "IMAGE")
    return [
        ("See it", [
            Node("frames", "VAEDecode", {"samples": latent, "vae": ("vae", "VAE")}),
            Node("looked", "VideoMage_ShowAttention", {"images": frames, "guider": ("guider", "guider")}),
        ]),
        ("See it", [
            Node("video", "CreateVideo", {"images": frames}, {"fps": 16.0}),
            Node("attention", "CreateVideo", {"images": ("looked", "overlays")}, {"fps": 16.0}),
        ]),
        ("See it", [
            Node("save", "SaveVideo", {"video": ("video", "VIDEO")}, {"filename_prefix": f"videomage/{prefix}"}),
            Node("save attention", "SaveVideo", {"video": ("attention", "VIDEO")},
                 {"filename_prefix": f"videomage/{prefix}_attention"}, title="Save Video: where each subject was seen"),
        ]),
    ]  # fmt: skip


UMT5, WAN_VAE = "umt5_xxl_fp8_e4m3fn_scaled.safetensors", "wan_2.1_vae.safetensors"
TEXT_AND_VAE = [
    load_wan("clip", "CLIPLoader", UMT5, "text_encoders"),
    load_wan("vae", "VAELoader", WAN_VAE, "vae"),
]
WAN_PROMPT = Node(
    "prompt", "VideoMage_EncodePromptSCS", {"clip": ("clip", "CLIP")},
    {
        "prompt": "A happy ohwx dog and a sks cat are dancing side by side on a beach at sunset, full body.",
        "subjects": "ohwx dog = dog\nsks cat = cat",
        "negative": "blurry, distorted, extra limbs, still picture, text, watermark",
    },
)  # fmt: skip
WAN_WORDS = (
    "**Words**: write the trigger words of your LoRAs in the prompt, and a line for each in *subjects*. The motion "
    "branch gets the prompt in plain words, which the node shows.\n\n**One subject**: bypass the second LoRA and pull "
    "its wire off *model_subject_2*.\n\n"
)
WAN_FEW_STEPS = (
    "**4-step LoRAs** (lightx2v/Wan2.1-T2V-14B-StepDistill-CfgDistill-Lightx2v and their like): put one "
    "*LoraLoaderModelOnly* in front of all others, then {steps} steps, cfg 1, *tau* at most 2.\n\n"
)
NOT_RUN = (
    "Published weights have not been run with this pack; the figures are counted, not measured. docs/wan.md in the "
    "pack's repository says more."
)

WAN_21 = Workflow(
    "09 Wan 2.1, two subjects and a motion",
    "",
    [
        (START, [note(
            "# Two subjects, one motion, on Wan 2.1\n\n**Files** (Comfy-Org/Wan_2.1_ComfyUI_repackaged)\n\n"
            "* models/diffusion_models: wan2.1_t2v_1.3B_fp16.safetensors, or wan2.1_t2v_14B_fp8_scaled.safetensors: "
            "choose the size that your LoRAs were trained on\n* models/text_encoders: " + UMT5 + "\n"
            "* models/vae: " + WAN_VAE + "\n* models/loras: a LoRA for each subject and one for the motion, of any "
            "trainer that *Load LoRA* reads\n\n" + WAN_WORDS + WAN_FEW_STEPS.format(steps="4") +
            "**Memory**, counted: weights (1.3B fp16: 2.8 GB; 14B fp8: 14 GB) and beside them, for 33 frames of "
            "832x480, 2.0 GB (1.3B) or 6.5 GB (14B); for 81 frames 4.5 GB or 15 GB.\n\n" + NOT_RUN, 760),
        ]),
        ("Model files", [
            load_wan("base", "UNETLoader", "wan2.1_t2v_1.3B_fp16.safetensors", "diffusion_models"), *TEXT_AND_VAE]),
        ("Shift of the noise", [shifted("model", "base")]),
        ("Your LoRAs", [
            wan_lora("dog", "model", "my_dog.safetensors", "LoRA of the first subject"),
            wan_lora("cat", "model", "my_cat.safetensors", "LoRA of the second subject"),
            wan_lora("motion", "model", "my_motion.safetensors", "LoRA of the motion")]),
        ("What to show", [WAN_PROMPT]),
        ("Guide each other", [
            wan_guider("guider", ["dog", "cat"], "motion", "", cfg=6.0, tau=9)]),
        ("Make the video", noise_and_steps("model", "uni_pc", 30)),
        ("Make the video", [
            sampled("made", "noise", "guider", ("steps", "SIGMAS"), ("latent", "LATENT"), "")]),
        *wan_seen(("made", "output"), "wan21"),
    ],
)  # fmt: skip

WAN_22 = Workflow(
    "10 Wan 2.2, two subjects and a motion",
    "",
    [
        (START, [note(
            "# Two subjects, one motion, on Wan 2.2\n\nThe high-noise model decides who is where and how things move: "
            "its SCS Guider guides in the first *tau* steps. The low-noise model draws the details: its SCS Guider "
            "mixes the branches without guidance (*tau* 0).\n\n**Files** (Comfy-Org/Wan_2.2_ComfyUI_Repackaged; the "
            "autoencoder is Wan 2.1's)\n\n* models/diffusion_models: wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors "
            "and wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors\n* models/text_encoders: " + UMT5 +
            "\n* models/vae: " + WAN_VAE + "\n* models/loras: most trainers write two "
            "files a LoRA, high noise and low noise; with one file, choose it in both places\n\n" + WAN_WORDS +
            WAN_FEW_STEPS.format(steps="4 (split at 2)") +
            "**Memory**, counted: weights of one model at a time (14 GB in fp8) and beside them, for 33 frames of "
            "832x480, 6.5 GB; for 81 frames 15 GB.\n\n" + NOT_RUN, 860),
        ]),
        ("Model files", [
            load_wan("high file", "UNETLoader", "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "diffusion_models",
                     "Load Diffusion Model: high noise"),
            load_wan("low file", "UNETLoader", "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors", "diffusion_models",
                     "Load Diffusion Model: low noise"), *TEXT_AND_VAE]),
        ("Shift of the noise", [shifted("high", "high file"), shifted("low", "low file")]),
        ("Your LoRAs: high noise", [
            wan_lora("dog", "high", "my_dog_high_noise.safetensors", "First subject, high noise"),
            wan_lora("cat", "high", "my_cat_high_noise.safetensors", "Second subject, high noise"),
            wan_lora("motion", "high", "my_motion_high_noise.safetensors", "Motion, high noise")]),
        ("Your LoRAs: low noise", [
            wan_lora("dog low", "low", "my_dog_low_noise.safetensors", "First subject, low noise"),
            wan_lora("cat low", "low", "my_cat_low_noise.safetensors", "Second subject, low noise"),
            wan_lora("motion low", "low", "my_motion_low_noise.safetensors", "Motion, low noise")]),
        ("What to show", [WAN_PROMPT]),
        ("Guide each other", [
            wan_guider("guider", ["dog", "cat"], "motion", "SCS Guider: high noise", cfg=3.5, tau=6, end_percent=0.5),
            wan_guider("low guider", ["dog low", "cat low"], "motion low", "SCS Guider: low noise, no guidance",
                       cfg=3.5, tau=0, start_percent=0.5)]),
        ("Make the video", [
            *noise_and_steps("high", "euler", 20), Node("no noise", "DisableNoise")]),
        ("Make the video", [
            Node("split", "SplitSigmas", {"sigmas": ("steps", "SIGMAS")}, {"step": 10})]),
        ("Make the video", [
            sampled("half", "noise", "guider", ("split", "high_sigmas"), ("latent", "LATENT"),
                    "SamplerCustomAdvanced: high noise")]),
        ("Make the video", [
            sampled("made", "no noise", "low guider", ("split", "low_sigmas"), ("half", "output"),
                    "SamplerCustomAdvanced: low noise")]),
        *wan_seen(("made", "output"), "wan22"),
    ],
)  # fmt: skip
