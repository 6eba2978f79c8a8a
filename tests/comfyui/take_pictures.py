"""Take the README's pictures of ComfyUI's page anew: docs/images/comfyui_*.png.

    make pictures

They are cut out of shipped workflows, run as they are; of the one that cuts out by words, which needs weights that no
test has, only the nodes are shown.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from conftest import new_home
from page import Page, read_workflow
from server import PACK, Server

IMAGES = PACK / "docs" / "images"
VIEW = {"width": 2400, "height": 1700}
# Bring nodes in sight, whole and in full size; -> their box on the screen.
_SHOW = """titles => {
  const nodes = titles.map(title => app.graph.nodes.find(n => n.title === title));
  const boxes = nodes.map(n => [n.pos[0] - 12, n.pos[1] - 66, n.pos[0] + n.size[0] + 12, n.pos[1] + n.size[1] + 12]);
  const [left, top, right, bottom] = [Math.min, Math.min, Math.max, Math.max].map((f, i) => f(...boxes.map(b => b[i])));
  const { ds, canvas } = app.canvas, view = canvas.getBoundingClientRect(), corner = [160, 160];
  ds.scale = 1;
  ds.offset[0] = corner[0] - left;
  ds.offset[1] = corner[1] - top;
  app.canvas.setDirty(true, true);
  return { x: view.left + corner[0], y: view.top + corner[1], width: right - left, height: bottom - top }; }"""
_CURVE = """([title, points]) => app.graph.nodes.find(n => n.title === title).widgets
  .some(w => w.element?.querySelector('.videomage-curve')?.dataset.points >= points)"""


def take(page: Page, name: str, *titles: str) -> None:
    """A picture of the nodes of these titles, in 256 colours, which is what a page needs."""
    page.run(_SHOW, list(titles))
    page.page.wait_for_timeout(1500)
    picture = Image.open(io.BytesIO(page.page.screenshot(clip=page.run(_SHOW, list(titles)))))
    path = IMAGES / f"comfyui_{name}.png"
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"took {path.name}: {picture.width}x{picture.height}, {path.stat().st_size // 1024} KB", flush=True)


def open_workflow(page: Page, number: int) -> None:
    (path,) = (PACK / "workflows").glob(f"{number:02d} *.json")
    page.load(read_workflow(path))
    page.page.wait_for_timeout(1500)


def run(page: Page) -> None:
    page.run("async () => { await app.queuePrompt(0); }")


def ended(page: Page, server: Server) -> None:
    page.page.wait_for_timeout(2000)
    while any(server.get("/queue").values()):
        page.page.wait_for_timeout(1000)
    page.page.wait_for_timeout(2000)


def learnt(page: Page, title: str, points: int) -> None:
    page.page.wait_for_function(f"({_CURVE})(['{title}', {points}])", timeout=3_600_000)


_LORA_NODES = """() => { const add = (type, pos, size) => { const node = LiteGraph.createNode(type);
            app.graph.add(node); Object.assign(node, { pos }); node.setSize(size); return node; };
            const load = add('VideoMage_LoadLora', [0, 0], [340, 230]);
            load.widgets[0].value = 'videomage/dog.safetensors'; load.widgets[1].value = '<dog>=<rex>';
            const info = add('VideoMage_LoraInfo', [400, 0], [420, 290]);
            const save = add('VideoMage_SaveLora', [0, 320], [340, 130]);
            save.widgets[0].value = 'rex';
            load.connect(0, info, 0); load.connect(0, save, 0); }"""


def take_all(page: Page, server: Server) -> None:
    page.page.set_viewport_size(VIEW)
    open_workflow(page, 1)
    take(page, "base", "Load Video Base")
    run(page)
    learnt(page, "Train Subject LoRA: dog", 12)
    take(page, "training", "Train Subject LoRA: dog")
    ended(page, server)
    take(page, "motion", "Train Motion LoRA")
    take(page, "fuse", "Fuse Subject LoRAs")
    take(page, "first_run", "SCS Sampler", "Save Video", "Contact Sheet")

    page.open()
    open_workflow(page, 4)
    take(page, "sampler", "Load VideoMage LoRA: riding", "SCS Sampler")
    page.clear()
    page.run(_LORA_NODES)
    run(page)
    ended(page, server)
    take(page, "lora", "Load VideoMage LoRA", "LoRA Info", "Save VideoMage LoRA")

    open_workflow(page, 6)
    run(page)
    ended(page, server)
    take(page, "sample", "Sample Video: all LoRAs in one model")
    take(page, "sheet", "Contact Sheet")
    open_workflow(page, 8)
    run(page)
    ended(page, server)
    take(page, "evaluate", "Evaluate")
    open_workflow(page, 7)
    take(page, "segment", "Load Segmenter", "Segment by Words")


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        server = Server(new_home(Path(home))).start()
        try:
            with Page(server.url) as page:
                take_all(page, server)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
