"""A real ComfyUI on the CPU, in a folder of its own, with this pack among its custom nodes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PACK = Path(__file__).parents[2]
PACK_FOLDER = "comfyui-videomage"  # with a hyphen, as users' folders have: no module can be imported by that name
ENDS = ("execution_success", "execution_error", "execution_interrupted")
LEFT_OUT = ("__pycache__", ".*", "runs", "outputs", "*.egg-info")


def find_comfyui() -> Path | None:
    """COMFYUI_PATH, else ~/ComfyUI, else the ComfyUI among whose custom nodes the pack stands."""
    places = [os.environ.get("COMFYUI_PATH"), Path.home() / "ComfyUI", PACK.parents[1]]
    for place in places:
        if place and (Path(place) / "main.py").is_file() and (Path(place) / "comfy").is_dir():
            return Path(place).resolve()
    return None


class Server:
    """One ComfyUI; ``home`` has its models, input, output, custom nodes and user settings."""

    def __init__(self, home: Path, options: tuple[str, ...] = ()) -> None:
        self.home, self.options = home, options
        self.pack = home / "custom_nodes" / PACK_FOLDER
        if not self.pack.exists():
            shutil.copytree(PACK, self.pack, ignore=shutil.ignore_patterns(*LEFT_OUT))
        for name in ("models/diffusers", "models/loras", "input", "output"):
            (home / name).mkdir(parents=True, exist_ok=True)
        self.log = home / "comfyui.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> Server:
        comfyui = find_comfyui()
        assert comfyui is not None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, str(Path(__file__).with_name("start_comfyui.py")), str(comfyui)]
        command += ["--cpu", "--port", str(port), "--base-directory", str(self.home), "--disable-auto-launch"]
        command += ["--database-url", "sqlite:///:memory:", "--disable-api-nodes", *self.options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=comfyui)
        self._wait_until_up()
        return self

    def _wait_until_up(self) -> None:
        until = time.monotonic() + 600
        while time.monotonic() < until:
            assert self.process is not None
            if self.process.poll() is not None:
                break
            try:
                self.get("/system_stats")
                return
            except OSError:
                time.sleep(0.5)
        self.stop()
        raise RuntimeError(f"ComfyUI did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def kill(self) -> None:
        """As a power cut would."""
        self.stop(signal.SIGKILL)

    # --- HTTP

    def read(self, path: str, data: Any = None) -> tuple[int, bytes]:
        """Status and body of a GET, or of a POST of ``data`` as JSON."""
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.url + path, data=body, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self, path: str) -> Any:
        status, body = self.read(path)
        assert status == 200, f"{path}: {status} {body[:300]!r}"
        return json.loads(body)

    def queue(self, prompt: dict[str, Any]) -> str:
        """Queue a prompt; its id."""
        status, body = self.read("/prompt", {"prompt": prompt, "client_id": "test"})
        answer = json.loads(body)
        assert status == 200 and not answer.get("node_errors"), json.dumps(answer, indent=1)[:3000]
        return str(answer["prompt_id"])

    def outcome(self, prompt_id: str, seconds: float = 600) -> dict[str, Any]:
        """What the history says of a prompt once it has ended: status_str is "success" or "error"."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry and entry["status"]["completed"] | (entry["status"]["status_str"] == "error"):
                return dict(entry)
            assert self.process is not None and self.process.poll() is None, self.tail()
            time.sleep(0.2)
        raise TimeoutError(f"{prompt_id} did not end within {seconds} s:\n{self.tail()}")

    def run(self, prompt: dict[str, Any], seconds: float = 600) -> dict[str, Any]:
        """The outputs of a prompt, by node id."""
        entry = self.outcome(self.queue(prompt), seconds)
        assert entry["status"]["status_str"] == "success", self.tail(6000)
        return dict(entry["outputs"])

    def told(
        self, prompt: dict[str, Any], hear: Callable[[str, dict[str, Any]], None] = lambda *_: None
    ) -> list[tuple[str, dict[str, Any]]]:
        """The events (name, data) that a page is sent while a prompt runs; each goes to ``hear`` as it comes."""
        with ThreadPoolExecutor(1) as pool:  # this thread may have playwright's loop
            return pool.submit(asyncio.run, self._told(prompt, hear)).result()

    async def _told(
        self, prompt: dict[str, Any], hear: Callable[[str, dict[str, Any]], None]
    ) -> list[tuple[str, dict[str, Any]]]:
        import aiohttp

        events = []
        address = f"{self.url}/ws?clientId=test"
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
            prompt_id = self.queue(prompt)
            async for message in socket:
                if message.type == aiohttp.WSMsgType.TEXT:
                    said = json.loads(message.data)
                    event, data = said["type"], said["data"]
                    events.append((event, data))
                    hear(event, data)
                    if event in ENDS and data["prompt_id"] == prompt_id:
                        return events
        raise RuntimeError(f"the connection ended before the prompt:\n{self.tail()}")

    def tail(self, characters: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-characters:]

    def file(self, shown: dict[str, str]) -> bytes:
        """A picture or video that a node shows."""
        query = urllib.parse.urlencode({k: shown[k] for k in ("filename", "subfolder", "type")})
        status, body = self.read(f"/view?{query}")
        assert status == 200
        return body
