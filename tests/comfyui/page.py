"""ComfyUI's page in a headless Chromium: what a user sees, and the most faithful way from workflow to prompt."""

from __future__ import annotations

import atexit
import json
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


VIEW = {"width": 1600, "height": 1000}
NEWER = Path(sys.prefix) / "newer-page" / "comfyui_frontend_package" / "static"
NODES_2 = {"Comfy.VueNodes.Enabled": True}


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@cache
def playwright() -> Any:
    """The one that all windows of this process share: a second one can't be started beside it."""
    from playwright.sync_api import sync_playwright

    started = sync_playwright().start()
    atexit.register(started.stop)
    return started


class Page:
    """One browser window on a server's page; a context manager."""

    def __init__(self, url: str, settings: dict[str, Any] | None = None) -> None:
        self.url, self.name = url, ""
        self.settings = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False, **(settings or {})}
        self.errors: list[str] = []

    def __enter__(self) -> Page:
        self._profile = tempfile.mkdtemp(prefix="videomage-page-")
        self._browser = playwright().chromium.launch_persistent_context(
            self._profile, executable_path=find_chromium(), args=OPTIONS, headless=True, viewport=VIEW
        )
        self.page = self._browser.pages[0]
        self.page.on("pageerror", self._note_error)
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def _note_error(self, error: Any) -> None:
        if "/extensions/" in (error.stack or ""):  # those of ComfyUI's own page are not ours
            self.errors.append(f"{error}\n{error.stack}")

    def open(self) -> None:
        """Load the page, or load it anew, and wait until the graph is there."""
        self.page.request.post(f"{self.url}/settings", data=self.settings)
        self.page.goto(self.url, timeout=120_000)
        self.page.wait_for_function("window.app?.graph && window.app.extensionManager", timeout=120_000)
        self.page.wait_for_timeout(1500)  # the page opens its own default workflow last

    def run(self, script: str, argument: Any = None) -> Any:
        """The value of a JavaScript function of one argument, awaited."""
        return self.page.evaluate(script, argument)

    def clear(self) -> None:
        self.load({"last_node_id": 0, "last_link_id": 0, "nodes": [], "links": [], "version": 0.4})

    def load(self, workflow: dict[str, Any]) -> None:
        self.run("async (workflow) => { await app.loadGraphData(workflow); }", workflow)
        self.page.wait_for_timeout(500)

    def open_template(self, pack: str, title: str) -> None:
        """Choose a workflow in the template browser, as a user does."""
        self.clear()  # in Nodes 2.0 each node of the pack bears its name too
        self.run("async () => { await app.extensionManager.command.execute('Comfy.BrowseTemplates'); }")
        self.page.get_by_text(pack, exact=True).first.click(timeout=20_000)
        self.page.get_by_text(title, exact=True).first.click(timeout=20_000)
        self.page.wait_for_function("app.graph.nodes.some(n => n.type.startsWith('VideoMage_'))", timeout=30_000)
        self.page.wait_for_timeout(1500)

    def prompt(self) -> dict[str, Any]:
        """The open workflow as the page would queue it."""
        return dict(self.run("async () => (await app.graphToPrompt()).output"))

    def missing(self) -> list[str]:
        """Types of nodes that the page does not know: it shows them red."""
        return list(
            self.run("() => app.graph.nodes.filter(n => !LiteGraph.registered_node_types[n.type]).map(n => n.type)")
        )

    def node_boxes(self) -> dict[int, list[float]]:
        """What each node covers below its title: left, top, right and bottom on the canvas, by the node's id."""
        self.run(_FIT)
        self.page.wait_for_timeout(1500)
        return {int(key): box for key, box in self.run(_BOXES).items()}

    def outside_their_frames(self) -> list[str]:
        """The nodes that no frame of the workflow holds whole."""
        frames = self.run("() => app.graph.groups.map((g) => [...g.pos, g.pos[0] + g.size[0], g.pos[1] + g.size[1]])")
        titles = dict(self.run("() => app.graph.nodes.map((n) => [n.id, n.title])"))
        return [
            f"{titles[key]}: {box}, frames: {frames}"
            for key, box in self.node_boxes().items()
            if not any(holds(frame, box) for frame in frames)
        ]

    def picture(self, path: Path, fit: bool = True) -> Path:
        """A screenshot, the whole workflow in sight."""
        if fit:
            self.run(_FIT)
            self.page.wait_for_timeout(700)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path))
        return path


_FIT = """() => {
  const boxes = app.graph.nodes.map(n => [n.pos[0], n.pos[1] - 40, n.pos[0] + n.size[0], n.pos[1] + n.size[1]]);
  if (!boxes.length) return;
  const [left, top] = [0, 1].map(i => Math.min(...boxes.map(b => b[i])));
  const [right, bottom] = [2, 3].map(i => Math.max(...boxes.map(b => b[i])));
  const view = app.canvas.canvas.getBoundingClientRect();
  const scale = Math.min(1.5, 0.92 * view.width / (right - left), 0.86 * view.height / (bottom - top));
  app.canvas.ds.scale = scale;
  app.canvas.ds.offset[0] = -left + (view.width / scale - (right - left)) / 2;
  app.canvas.ds.offset[1] = -top + (view.height / scale - (bottom - top)) / 2 + 20;
  app.canvas.setDirty(true, true);
}"""

_BOXES = """() => {
  const view = app.canvas.canvas.getBoundingClientRect(), { scale, offset } = app.canvas.ds;
  const end = (node) => {
    if (!LiteGraph.vueNodesMode) return [node.pos[0] + node.size[0], node.pos[1] + node.size[1]];
    const seen = document.querySelector(`[data-node-id="${node.id}"]`).getBoundingClientRect();
    return [(seen.right - view.left) / scale - offset[0], (seen.bottom - view.top) / scale - offset[1]];
  };
  return Object.fromEntries(app.graph.nodes.map((node) => [node.id, [...node.pos, ...end(node)]])); }"""


def holds(frame: list[float], box: list[float]) -> bool:
    """Whether the frame (left, top, right, bottom) holds the whole box, to a pixel."""
    return all(frame[i] <= box[i] + 1 and box[i + 2] <= frame[i + 2] + 1 for i in (0, 1))


def read_workflow(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
