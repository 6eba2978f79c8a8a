"""Cancel, kill and go on, queue, and what is refused before anything runs."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import new_home
from PIL import Image
from prompts import BASE, collaborative_prompt, motion_prompt, node, subject_prompt
from server import Server


def wait_for_steps(server: Server, name: str, steps: int, seconds: float = 120) -> int:
    """The steps done in a training, as its state says, once there are so many."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        state = server.get(f"/videomage/training?kind=subject&name={name}&node=3")
        if state and state["live"] and state["steps"] >= steps:
            return int(state["steps"])
        time.sleep(0.1)
    raise TimeoutError(server.tail())


def test_a_cancelled_training_ends_within_a_step_and_the_next_prompt_runs(server: Server) -> None:
    steps: list[int] = []  # done, as the progress bar says
    asked: list[int] = []  # the one at which the user pressed cancel

    def cancel_at_the_third(event: str, data: dict[str, Any]) -> None:
        bar = data["nodes"].get("3", {}) if event == "progress_state" else {}
        if bar.get("max") == 500:
            steps.append(int(bar["value"]))
            if steps[-1] >= 3 and not asked:
                asked.append(steps[-1])
                server.read("/interrupt", {})

    events = server.told(subject_prompt(500, "cancelled"), cancel_at_the_third)
    assert events[-1][0] == "execution_interrupted"
    assert steps[-1] <= asked[0] + 1
    assert server.get("/videomage/training?kind=subject&name=cancelled&node=3")["live"] is False
    server.run(subject_prompt(asked[0] + 4, "cancelled"))
    resumed = re.findall(r"resumed at step (\d+)", server.tail(20_000))
    assert asked[0] <= int(resumed[-1]) <= asked[0] + 1


def test_a_finished_training_is_not_trained_again(server: Server) -> None:
    server.run(subject_prompt(3, "once"))
    before = server.get("/videomage/training?kind=subject&name=once&node=3")
    example = {"class_type": "VideoMage_ExampleSubject", "inputs": {"subject": "dog"}}
    server.run({"1": example, "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}})
    # ComfyUI forgets what a prompt does not hold: from here on it is ours to know.
    assert what_a_training_tells(server, subject_prompt(3, "once")) == ["finished"]
    after = server.get("/videomage/training?kind=subject&name=once&node=3")
    assert after["losses"] == before["losses"] and after["time"] > before["time"]
    assert files_called(server, "once") == ["once.safetensors"]


def what_a_training_tells(server: Server, prompt: dict[str, Any]) -> list[str]:
    return [data["what"] for event, data in server.told(prompt) if event == "videomage.training"]


def files_called(server: Server, name: str) -> list[str]:
    return [path.name for path in (server.home / "models" / "loras" / "videomage").glob(f"{name}*.safetensors")]


def test_another_pack_works_as_before(server: Server) -> None:
    """Flags, loggers, environment and classes of others are those that it saw when it was imported."""
    server.run(subject_prompt(2, "neighbour"))
    said = server.run({"1": {"class_type": "NeighbourChanges", "inputs": {"word": "hello"}}})
    assert said["1"]["text"] == ["hello"]


def test_two_prompts_queue(server: Server) -> None:
    first, second = (server.queue(subject_prompt(2, name)) for name in ("first", "second"))
    for prompt_id in (first, second):
        assert server.outcome(prompt_id)["status"]["status_str"] == "success"
    assert {"videomage/first.safetensors", "videomage/second.safetensors"} <= set(names_of_loras(server))


def names_of_loras(server: Server) -> list[str]:
    names = server.get("/object_info/VideoMage_LoadLora")["VideoMage_LoadLora"]["input"]["required"]["lora_name"]
    return list(names[1]["options"] if names[0] == "COMBO" else names[0])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"token": "my dog"}, "angle brackets"),
        ({"superclass": " "}, "kind of thing"),
        ({"prompt": "A dog"}, "does not hold <dog>"),
        ({"file_name": "../dog"}, "no folder"),
        ({"rank": 0}, "rank"),
        ({"width": 0}, "width: got 0, allowed is at least 8"),
        ({"lr_warmup_steps": 2}, "lr_warmup_steps: got 2, must be fewer than steps (2)"),
        ({"height": 50}, "height: got 50, allowed are multiples of 8; nearest: 48"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(server: Server, values: dict[str, object], said: str) -> None:
    status, body = server.read("/prompt", {"prompt": subject_prompt(2, **{"file_name": "bad", **values})})
    assert status == 400
    assert said in json.dumps(json.loads(body)["node_errors"])


def test_what_is_only_known_while_running_is_said_clearly(server: Server) -> None:
    prompt = subject_prompt(2, "wrong", prompt="A <dog>\nA <dog> on grass")
    entry = server.outcome(server.queue(prompt))
    assert entry["status"]["status_str"] == "error"
    assert "2 lines for 4 images" in json.dumps(entry["status"]["messages"])


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("TrainMotion", {"lr_warmup_steps": 900}, "lr_warmup_steps: got 900"),
        ("TrainMotion", {"subjects": ""}, "got no subjects"),
        ("FuseSubjects", {"lr_warmup_steps": 900}, "lr_warmup_steps: got 900"),
        ("FuseSubjects", {"cutmix_prompt": "A dog"}, "must hold {subject}"),
        ("SCSSampler", {"beta_subject": 0.9}, "must add up to 1"),
        ("SCSSampler", {"tau": -1}, "tau: got -1"),
        ("SCSSampler", {"guidance_scale": 101.0}, "bigger than max of 100"),  # ComfyUI's own check, still there
        ("SampleVideo", {"width": 20}, "width: got 20, allowed are multiples of 8"),
        ("SampleVideo", {"strength_1": 5.0}, "bigger than max of 4"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_before_anything_runs(
    server: Server, kind: str, values: dict[str, object], said: str
) -> None:
    lora = {
        "class_type": "VideoMage_LoadLora",
        "inputs": {"lora_name": (names_of_loras(server) or [""])[0], "rename": ""},
    }
    wires = {
        "TrainMotion": {"clip": ["2", 0]}, "FuseSubjects": {"lora_1": ["3", 0], "lora_2": ["3", 0]},
        "SCSSampler": {"subject": ["3", 0], "motion": ["3", 0]}, "SampleVideo": {},
    }  # fmt: skip
    prompt = {
        "1": {"class_type": "VideoMage_LoadBase", "inputs": BASE},
        "2": {"class_type": "VideoMage_ExampleMotion", "inputs": {}},
        "3": lora,
        "8": node(server, f"VideoMage_{kind}", base=["1", 0], **{**wires[kind], **values}),
        "9": {"class_type": "PreviewImage", "inputs": {"images": ["8", 1 if kind[0] in "TF" else 0]}},
    }
    status, body = server.read("/prompt", {"prompt": prompt})
    assert status == 400
    assert said in json.dumps(json.loads(body)["node_errors"]["8"])


def test_a_training_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    server = Server(new_home(tmp_path)).start()
    try:
        server.queue(subject_prompt(60, "killed"))
        done = wait_for_steps(server, "killed", 7)
        server.kill()
        server.start()
        state = server.get("/videomage/training?kind=subject&name=killed&node=3")
        assert state["live"] is False and state["steps"] >= 7
        server.run(subject_prompt(done + 5, "killed"))
        assert re.search(r"resumed at step (\d+)", server.tail(20_000)) is not None
        assert server.get("/videomage/training?kind=subject&name=killed&node=3")["steps"] == done + 5
        server.kill()
        server.start()
        assert what_a_training_tells(server, subject_prompt(done + 5, "killed")) == ["finished"]
        assert files_called(server, "killed") == ["killed.safetensors"]
    finally:
        server.stop()


def test_loras_copied_to_a_second_comfyui_give_the_same_frames(server: Server, tmp_path: Path) -> None:
    """A subject alone, and a subject with a motion through the SCS Sampler."""
    server.run(subject_prompt(5, "shared"))
    server.run(motion_prompt(server, "shared_motion"))
    names = [f"videomage/{name}.safetensors" for name in ("shared", "shared_motion")]
    second = Server(new_home(tmp_path))
    for name in names:
        target = second.home / "models" / "loras" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((server.home / "models" / "loras" / name).read_bytes())
    prompts = [sampled(names[0]), collaborative_prompt(server, *names)]
    second.start()
    try:
        pictures = [[frames_of_node(one, prompt, "4") for prompt in prompts] for one in (server, second)]
    finally:
        second.stop()
    assert [len(frames) for frames in pictures[0]] == [8, 8]
    assert pictures[0] == pictures[1]
    assert pictures[0][0] != pictures[0][1]


def frames_of_node(server: Server, prompt: dict[str, object], node: str) -> list[bytes]:
    """The pixels of the pictures that a node shows, without the metadata in their files."""
    shown = server.run(prompt)[node]["images"]
    return [Image.open(io.BytesIO(server.file(one))).tobytes() for one in shown]


def sampled(lora: str) -> dict[str, object]:
    settings = {
        "frames": 8, "height": 48, "width": 48, "fps": 8.0, "steps": 8, "guidance_scale": 5.0, "negative_prompt": "",
        "noise_prior": 0.3, "ddim_inversion_steps": 10,
    }  # fmt: skip
    strengths = {f"strength_{i}": 1.0 for i in range(1, 5)}
    return {
        "1": {"class_type": "VideoMage_LoadBase", "inputs": BASE},
        "2": {"class_type": "VideoMage_LoadLora", "inputs": {"lora_name": lora, "rename": ""}},
        "3": {
            "class_type": "VideoMage_SampleVideo",
            "inputs": {
                "base": ["1", 0], "lora_1": ["2", 0], "prompt": "a <dog> on grass", "seed": 5,
                "method": "all LoRAs in one model", **settings, **strengths,
            },
        },
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }  # fmt: skip
