"""Prompts and files from strangers: refused with a reason or run, never a dead server or a write outside its folder."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from prompts import BASE, Prompt, node, subject_prompt, with_few_steps
from server import PACK, Server

COUNT = int(os.environ.get("FAULTS_PROMPTS", "40"))  # `make faults` asks for 200
PATHS = (
    "../../escaped", "/tmp/escaped", "C:\\escaped", "\\\\host\\share\\escaped", "CON", "nul.txt", "a/b", "a\\b",
    "..\u2024/escaped", "\uff0e\uff0e\uff0fescaped", "escaped\x00.png", "~/escaped", "$HOME/escaped", ".", "..", " ",
)  # fmt: skip
ODD = (None, True, -1, 0, 2**63, 1e308, "nan", "", "x" * 20_000, [], {}, [[]], ["999", 0], ["1", 99], ["1"], [1, 2, 3])


def mutated(prompt: Prompt, number: int) -> tuple[str, Prompt]:
    """A prompt with one thing wrong; the same for the same number."""
    chance, changed = random.Random(number), copy.deepcopy(prompt)
    ours = [key for key, of in changed.items() if of["class_type"].startswith("VideoMage_") and of["inputs"]]
    key = chance.choice(sorted(ours))
    inputs = changed[key]["inputs"]
    name = chance.choice(sorted(inputs))
    kind = ("value", "path", "missing", "link", "class", "extra", "inputs", "circle")[number % 8]
    if kind == "value":
        inputs[name] = chance.choice(ODD)
    elif kind == "path":
        texts = [n for n, v in inputs.items() if isinstance(v, str)] or [name]
        inputs[chance.choice(sorted(texts))] = chance.choice(PATHS)
    elif kind == "missing":
        del inputs[name]
    elif kind == "link":
        inputs[name] = [chance.choice(sorted(changed)), chance.choice([0, 1, 2, 7, -1])]
    elif kind == "class":
        changed[key]["class_type"] = chance.choice(["VideoMage_None", "", "SaveVideo", "VideoMage_SCSSampler", "os"])
    elif kind == "extra":
        inputs[chance.choice(["lora_9", "mask_9", "__class__", "images_folder", "x"])] = chance.choice([*ODD, *PATHS])
    elif kind == "inputs":
        # Inputs that are no table end ComfyUI's own worker thread (0.3.64), before it asks any node.
        changed[key]["inputs"] = chance.choice([{}, {"a": "b"}, {name: inputs[name]}])
    else:
        inputs[name] = [key, 0]
    return f"{number}: {kind} of {changed[key]['class_type']}.{name}", changed


def files_of(home: Path) -> set[str]:
    """All files of a ComfyUI's folder but where nodes and ComfyUI itself may write."""
    free = ("output/", "temp/", "user/", "input/", "models/loras/videomage/", "comfyui.log", "custom_nodes/")
    found = (path.relative_to(home).as_posix() for path in home.rglob("*"))
    return {path for path in found if not f"{path}/".startswith(free)}


def settled(server: Server, prompt_id: str, seconds: float) -> dict[str, Any] | None:
    """What became of a prompt; one that still runs is interrupted."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        entry = server.get(f"/history/{prompt_id}").get(prompt_id)
        if entry:
            return dict(entry)
        time.sleep(0.05)
    server.read("/interrupt", {})
    return None


def test_changed_workflows_are_refused_or_run(server: Server, prompts: dict[str, Prompt]) -> None:
    titles, before = sorted(prompts), files_of(server.home)
    parent = {path.name for path in server.home.parent.iterdir()}
    for number in range(COUNT):
        what, prompt = mutated(with_few_steps(prompts[titles[number % len(titles)]]), number)
        status, body = server.read("/prompt", {"prompt": prompt, "client_id": "test"})
        answer = json.loads(body)
        assert status in (200, 400), f"{what}: {status} {body[:300]!r}"
        if status == 400:
            assert answer["error"]["message"] or answer["node_errors"], what
            continue
        entry = settled(server, answer["prompt_id"], 1.5)
        server.read("/queue", {"clear": True})
        for message, details in (entry or {"status": {"messages": []}})["status"]["messages"]:
            if message == "execution_error" and details["node_type"].startswith("VideoMage_"):
                kind, said = details["exception_type"], details["exception_message"]
                assert kind.split(".")[-1] in ("ValueError", "FileNotFoundError", "OSError"), (
                    f"{what}: {kind} {said} {details['traceback']}"
                )
                assert said.strip(), what
    assert server.process is not None and server.process.poll() is None
    until = time.monotonic() + 60
    while any(server.get("/queue").values()) and time.monotonic() < until:
        server.read("/interrupt", {})
        time.sleep(0.2)
    assert files_of(server.home) == before
    assert {path.name for path in server.home.parent.iterdir()} == parent
    assert not Path("/tmp/escaped").exists() and not (Path.home() / "escaped").exists()
    server.run(subject_prompt(2, "after_all_that"))


@pytest.mark.parametrize("name", PATHS)
def test_names_that_lead_out_are_refused_when_queued(server: Server, name: str) -> None:
    save = node(server, "VideoMage_SaveLora", lora=["2", 0], file_name=name)
    prompt = {
        "1": {"class_type": "VideoMage_LoadBase", "inputs": BASE},
        "2": subject_prompt(2, "inside")["3"] | {},
        "3": save,
    }
    prompt["2"]["inputs"] |= {"base": ["1", 0], "images": ["4", 0], "file_name": name}
    prompt["4"] = {"class_type": "VideoMage_ExampleSubject", "inputs": {"subject": "dog"}}
    status, body = server.read("/prompt", {"prompt": prompt, "client_id": "test"})
    errors = json.loads(body).get("node_errors", {})
    assert status == 400 and {"2", "3"} <= errors.keys(), body[:500]
    assert "file name: got" in json.dumps(errors["2"]) and "allowed are letters" in json.dumps(errors["2"])


def test_wired_names_that_lead_out_write_nothing(server: Server) -> None:
    """What is wired is only known while running: it is refused there, before anything is kept or told."""
    server.run(subject_prompt(2, "good"))
    written = {path for path in server.home.parent.rglob("*") if "temp" not in path.parts}
    for name in PATHS:
        train = subject_prompt(2)
        train["3"]["inputs"]["file_name"] = ["5", 0]
        lora = {"lora_name": "videomage/good.safetensors", "rename": ""}
        save = {
            "2": {"class_type": "VideoMage_LoadLora", "inputs": lora},
            "3": {"class_type": "VideoMage_SaveLora", "inputs": {"lora": ["2", 0], "file_name": ["5", 0]}},
        }
        for prompt in (train, save):
            prompt["5"] = {"class_type": "PrimitiveString", "inputs": {"value": name}}
            messages = dict(server.outcome(server.queue(prompt), 60)["status"]["messages"])
            assert messages["execution_error"]["exception_type"] == "ValueError"
            assert "file name: got" in messages["execution_error"]["exception_message"]
    after = {path for path in server.home.parent.rglob("*") if "temp" not in path.parts}
    assert sorted(after - written) == []
    assert not Path("/tmp/escaped").exists() and not list(Path("/tmp").glob("escaped.*"))


@pytest.mark.parametrize("value", [7, "a LoRA", {"a": "table"}])
def test_a_value_where_a_wire_belongs_is_said(server: Server, value: object) -> None:
    prompt = {"1": {"class_type": "VideoMage_LoraInfo", "inputs": {"lora": value}}}
    details = dict(server.outcome(server.queue(prompt), 60)["status"]["messages"])["execution_error"]
    assert details["exception_type"] == "ValueError", details
    assert details["exception_message"].strip().endswith("wire a node's output to it")


def test_lora_names_that_lead_out_are_refused(server: Server) -> None:
    """Though there is a LoRA where some of them lead."""
    server.run(subject_prompt(2, "good"))
    good = server.home / "models" / "loras" / "videomage" / "good.safetensors"
    beyond = server.home / "models" / "escaped.safetensors"
    shutil.copy(good, beyond)
    for name in (*PATHS, "../escaped.safetensors", "..\\escaped.safetensors", str(beyond), "videomage", "videomage/"):
        load = {"1": {"class_type": "VideoMage_LoadLora", "inputs": {"lora_name": name, "rename": ""}}}
        load["2"] = {"class_type": "VideoMage_LoraInfo", "inputs": {"lora": ["1", 0]}}
        status, body = server.read("/prompt", {"prompt": load, "client_id": "test"})
        assert status == 400 and "is not in models/loras" in body.decode(), f"{name!r}: {status} {body[:300]!r}"
        said = server.get(f"/videomage/lora?{urllib.parse.urlencode({'name': name})}")
        assert said.keys() == {"error"} and "is not in models/loras" in said["error"], f"{name!r}: {said}"
    beyond.unlink()


def test_nothing_is_written_through_links_that_lead_out(server: Server) -> None:
    """A stranger's archive may bring links; where one has the name of a new LoRA, its target is left alone."""
    outside, folder = server.home.parent / "outside", server.home / "models" / "loras" / "videomage"
    outside.mkdir()
    (outside / "kept").write_text("kept", encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    links = {"to_nothing": outside / "made_by_us", "to_a_file": outside / "kept"}
    for name, target in links.items():
        (folder / f"{name}.safetensors").symlink_to(target)
        (folder / f"{name}.partial").symlink_to(target)  # a stranger's, like any other
        server.run(subject_prompt(2, name))
    assert {path.name: path.read_text(encoding="utf-8") for path in outside.iterdir()} == {"kept": "kept"}
    saved = sorted(path for path in folder.glob("to_*") if not path.is_symlink())
    assert len(saved) == len(links), "each LoRA is a file of its own"
    assert {path.name for path in folder.glob("*.partial")} == {f"{name}.partial" for name in links}, "left alone"
    for path in (*folder.glob("to_*"), outside / "kept"):
        path.unlink()
    outside.rmdir()


def test_files_of_strangers_in_the_loader(server: Server) -> None:
    """The hostile files of the core's own suite, through the card's route and the loader node."""
    import sys

    sys.path.insert(0, str(PACK))
    from tests.faults.hostile_files import CHANGES
    from tests.faults.hostile_files import mutated as changed

    server.run(subject_prompt(2, "good"))
    folder = server.home / "models" / "loras"
    good = (folder / "videomage" / "good.safetensors").read_bytes()
    for number in range(len(CHANGES)):
        (folder / f"bad_{number}.safetensors").write_bytes(changed(good, number)[1])
    for number in range(len(CHANGES)):
        name = f"bad_{number}.safetensors"
        status, body = server.read(f"/videomage/lora?name={name}&base={'emoji base (built in)'.replace(' ', '%20')}")
        assert status == 200 and isinstance(json.loads(body), dict)
        load = {"1": {"class_type": "VideoMage_LoadLora", "inputs": {"lora_name": name, "rename": ""}}}
        load["2"] = {"class_type": "VideoMage_LoraInfo", "inputs": {"lora": ["1", 0]}}
        status, body = server.read("/prompt", {"prompt": load, "client_id": "test"})
        if status == 200:
            entry = server.outcome(json.loads(body)["prompt_id"], 60)
            for message, details in entry["status"]["messages"]:
                if message == "execution_error":
                    assert details["exception_type"] == "ValueError", f"{CHANGES[number][0]}: {details}"
    for path in folder.glob("bad_*"):
        path.unlink()
