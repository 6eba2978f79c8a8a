"""Cancel, kill and go on, queue, and what is refused before anything runs."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path

import pytest
from conftest import new_home
from PIL import Image
from prompts import BASE, subject_prompt
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
    prompt_id = server.queue(subject_prompt(500, "cancelled"))
    wait_for_steps(server, "cancelled", 3)
    asked = time.monotonic()
    server.read("/interrupt", {})
    entry = server.outcome(prompt_id, 60)
    took = time.monotonic() - asked
    assert entry["status"]["status_str"] == "error"
    assert "execution_interrupted" in [message[0] for message in entry["status"]["messages"]]
    state = server.get("/videomage/training?kind=subject&name=cancelled&node=3")
    assert state["live"] is False and 3 <= state["steps"] < 500
    assert took < 10  # a step takes under a second; writing the checkpoint comes on top
    server.run(subject_prompt(2, "after_cancel"))


def test_a_finished_training_is_not_trained_again(server: Server) -> None:
    server.run(subject_prompt(3, "once"))
    before = server.get("/videomage/training?kind=subject&name=once&node=3")
    began = time.monotonic()
    server.run({**subject_prompt(3, "once"), "9": {"class_type": "VideoMage_LoraInfo", "inputs": {"lora": ["3", 0]}}})
    assert time.monotonic() - began < 10
    assert server.get("/videomage/training?kind=subject&name=once&node=3")["losses"] == before["losses"]
    assert len(list((server.home / "models" / "loras" / "videomage").glob("once*.safetensors"))) == 1


def test_two_prompts_queue(server: Server) -> None:
    first, second = (server.queue(subject_prompt(2, name)) for name in ("first", "second"))
    for prompt_id in (first, second):
        assert server.outcome(prompt_id)["status"]["status_str"] == "success"
    names = server.get("/object_info/VideoMage_LoadLora")["VideoMage_LoadLora"]["input"]["required"]["lora_name"]
    listed = names[1]["options"] if names[0] == "COMBO" else names[0]
    assert {"videomage/first.safetensors", "videomage/second.safetensors"} <= set(listed)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"token": "my dog"}, "angle brackets"),
        ({"superclass": " "}, "kind of thing"),
        ({"prompt": "A dog"}, "does not hold <dog>"),
        ({"file_name": "../dog"}, "no folder"),
        ({"rank": 0}, "rank"),
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
    assert "2 lines for 4 pictures" in json.dumps(entry["status"]["messages"])


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
    finally:
        server.stop()


def test_loras_copied_to_a_second_comfyui_give_the_same_frames(server: Server, tmp_path: Path) -> None:
    server.run(subject_prompt(5, "shared"))
    name = "videomage/shared.safetensors"
    second = Server(new_home(tmp_path))
    target = second.home / "models" / "loras" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes((server.home / "models" / "loras" / name).read_bytes())
    second.start()
    try:
        pictures = [frames_of_node(one, sampled(name), "4") for one in (server, second)]
    finally:
        second.stop()
    assert len(pictures[0]) == 8
    assert pictures[0] == pictures[1]


def frames_of_node(server: Server, prompt: dict[str, object], node: str) -> list[bytes]:
    """The pixels of the pictures that a node shows, without the metadata in their files."""
    shown = server.run(prompt)[node]["images"]
    return [Image.open(io.BytesIO(server.file(one))).tobytes() for one in shown]


def sampled(lora: str) -> dict[str, object]:
    settings = {
        "frames": 8, "height": 48, "width": 48, "fps": 8.0, "steps": 8, "guidance_scale": 5.0, "negative_prompt": "",
        "clip_share": 0.3, "inversion_steps": 10,
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
