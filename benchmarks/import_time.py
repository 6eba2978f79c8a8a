"""How long ComfyUI's start waits for the pack, beyond torch, which ComfyUI imports anyway.

python benchmarks/import_time.py
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import tempfile
import time
from pathlib import Path

PACK = Path(__file__).parents[1]


def main() -> None:
    import numpy  # noqa: F401 - ComfyUI has these before any pack
    import PIL.Image  # noqa: F401
    import torch  # noqa: F401

    sys.path.insert(0, str(PACK / "tests" / "nodes"))
    from comfy_stub import Host, install

    with tempfile.TemporaryDirectory() as home:
        install(Host(Path(home)))
        spec = importlib.util.spec_from_file_location("p", PACK / "__init__.py", submodule_search_locations=[str(PACK)])
        assert spec is not None and spec.loader is not None
        pack = importlib.util.module_from_spec(spec)
        sys.modules["p"] = pack
        began, cpu, known = time.perf_counter(), time.process_time(), set(sys.modules)
        spec.loader.exec_module(pack)
        nodes = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
        for node in nodes:
            node.define_schema()
        seconds, busy = time.perf_counter() - began, time.process_time() - cpu
    others = sorted({name.split(".")[0] for name in set(sys.modules) - known} - {"p"})
    print(f"{len(nodes)} nodes imported and described in {seconds:.2f} s ({busy:.2f} s of the processor)")
    print(f"with them came: {', '.join(others)}")


if __name__ == "__main__":
    main()
