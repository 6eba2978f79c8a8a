"""Merge Subject LoRAs on a real ComfyUI: a tiny Wan of core's own classes, core's own patches and its *Load LoRA*.

Runs core in this process: COMFYUI_PATH, or ~/ComfyUI.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

PACK = Path(__file__).parents[3]
NAME = "custom_nodes_videomage_merge"
DIM, FFN, LAYERS, RANK = 256, 384, 2, 4
PARTS = [f"{kind}_attn.{which}" for kind in ("self", "cross") for which in "qkvo"] + ["ffn.0", "ffn.2"]


@pytest.fixture(scope="module")
def core() -> Any:
    """ComfyUI's package ``comfy``, on the CPU."""
    folder = Path(os.environ.get("COMFYUI_PATH", Path.home() / "ComfyUI"))
    if not (folder / "comfy").is_dir():
        pytest.skip("no ComfyUI found: set COMFYUI_PATH, or put one at ~/ComfyUI")
    pytest.importorskip("torchsde", reason="ComfyUI's requirements are not installed here: run `make test-comfyui`")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        import comfy.cli_args

        comfy.cli_args.args.cpu = True
        import comfy.lora
        import comfy.model_management
        import comfy.sd
        import comfy.utils
    finally:
        sys.argv = arguments
    return comfy


@pytest.fixture(scope="module")
def wan(core: Any) -> Any:
    """A MODEL: Wan 2.1's text-to-video network, two blocks of two heads, with random weights."""
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = WanModel(
            model_type="t2v", dim=DIM, ffn_dim=FFN, num_heads=DIM // 128, num_layers=LAYERS, in_dim=16, out_dim=16,
            dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init,
        )  # fmt: skip
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=0.02)
    model = core.sd.load_diffusion_model_state_dict(dict(network.state_dict()))
    assert type(model.model).__name__ == "WAN21"
    return model


@pytest.fixture
def loras(core: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models/loras."""
    import folder_paths

    folder = tmp_path / "loras"
    folder.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(folder)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return folder


@pytest.fixture
def node(core: Any) -> Any:
    """The node's class, of the pack as ComfyUI loads it."""
    if NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            NAME, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = module
    return importlib.import_module(f"{NAME}.nodes.native.merge_loras").MergeSubjectLoras


@pytest.fixture
def wan_lora(node: Any) -> Any:
    return importlib.import_module(f"{NAME}.videomage_core.data.wan_lora")


def factors(seed: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for block in range(LAYERS):
        for part in PARTS:
            inner, outer = {"ffn.0": (DIM, FFN), "ffn.2": (FFN, DIM)}.get(part, (DIM, DIM))
            pairs[f"blocks.{block}.{part}"] = (
                torch.randn(RANK, inner, generator=generator) * 0.1,
                torch.randn(outer, RANK, generator=generator) * 0.1,
            )
    return pairs


PEFT, KOHYA = (".lora_A.weight", ".lora_B.weight"), (".lora_down.weight", ".lora_up.weight")
# Rows -> (key of a layer, ends, alpha).  First those that core reads itself.
ROWS: dict[str, tuple[Callable[[str], str], tuple[str, str], float | None]] = {
    "musubi": (lambda n: "lora_unet_" + n.replace(".", "_"), KOHYA, 2.0),
    "wan_fun": (lambda n: "lora_unet__" + n.replace(".", "_"), KOHYA, 2.0),
    "ai_toolkit": (lambda n: f"diffusion_model.{n}", PEFT, None),
    "diffusion_pipe": (lambda n: f"diffusion_model.{n}", PEFT, float(RANK)),
    "save_lora": (lambda n: f"diffusion_model.{n}", KOHYA, 1.0),
    "lightx2v": (lambda n: f"diffusion_model.{n}", KOHYA, 8.0),
}
DIFFUSERS = (
    ("self_attn", "attn1"), ("cross_attn", "attn2"), ("attn1.o", "attn1.to_out.0"), ("attn2.o", "attn2.to_out.0"),
    *((f"attn{n}.{which}", f"attn{n}.to_{which}") for n in (1, 2) for which in "qkv"),
    ("ffn.0", "ffn.net.0.proj"), ("ffn.2", "ffn.net.2"),
)  # fmt: skip


def in_diffusers(name: str) -> str:
    for ours, theirs in DIFFUSERS:
        name = name.replace(ours, theirs)
    return name


UNREAD: dict[str, tuple[Callable[[str], str], tuple[str, str], float | None]] = {
    "diffusers": (lambda n: f"transformer.{in_diffusers(n)}", PEFT, None),
    "peft": (lambda n: f"base_model.model.{in_diffusers(n)}", PEFT, None),
    "bare": (in_diffusers, (".lora_A.default.weight", ".lora_B.default.weight"), None),
}


def write(path: Path, row: str, seed: int) -> None:
    name, (down, up), alpha = {**ROWS, **UNREAD}[row]
    tensors = {}
    for layer, (a, b) in factors(seed).items():
        tensors |= {f"{name(layer)}{down}": a, f"{name(layer)}{up}": b}
        if alpha is not None:
            tensors[f"{name(layer)}.alpha"] = torch.tensor(alpha)
    if row in ("save_lora", "lightx2v"):  # what extractors write beside the factors, without effect
        tensors["diffusion_model.blocks.0.norm3.diff"] = torch.zeros(DIM)
        tensors["diffusion_model.blocks.0.self_attn.q.diff_b"] = torch.zeros(DIM)
    save_file(tensors, path)
    if row in ("peft", "bare"):
        settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK}
        (path.parent / "adapter_config.json").write_text(json.dumps(settings))


def loaded_by_core(core: Any, model: Any, path: Path, strength: float = 1.0) -> Any:
    """What core's *Load LoRA* makes of a file."""
    return core.sd.load_lora_for_models(model, None, core.utils.load_torch_file(str(path)), strength, 0.0)[0]


def changes(core: Any, model: Any) -> dict[str, torch.Tensor]:
    """What core adds to each weight."""
    found = {}
    for key, patches in model.patches.items():
        weight = core.utils.get_attr(model.model, key).detach().double()
        # Core calculates in the weight's precision where it is asked to.
        changed = core.lora.calculate_weight(patches, weight.clone(), key, intermediate_dtype=torch.float64)
        found[key] = (changed - weight).float()
    return found


def assert_same(got: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert got.keys() == wanted.keys() and len(got) == LAYERS * len(PARTS)
    for key in wanted:
        assert float(wanted[key].abs().max()) > 1e-3
        torch.testing.assert_close(got[key], wanted[key], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("row", ROWS)
def test_each_readable_row_gives_the_same_change_here_and_in_core(core, wan, wan_lora, row, tmp_path):
    write(tmp_path / "x.safetensors", row, 0)
    theirs = changes(core, loaded_by_core(core, wan, tmp_path / "x.safetensors"))
    theirs = {key: change for key, change in theirs.items() if bool(change.any())}
    ours = wan_lora.read_wan_lora(tmp_path / "x.safetensors").experts[""]
    assert_same({f"diffusion_model.{layer}.weight": ours.delta(layer) for layer in ours.layers}, theirs)


@pytest.mark.parametrize("row", UNREAD)
def test_a_row_that_core_does_not_read_is_converted_for_it(core, wan, wan_lora, row, tmp_path):
    file = tmp_path / "adapter_model.safetensors"  # peft's settings lie beside a file of this name
    write(file, row, 0)
    (path,) = wan_lora.save_wan_lora(tmp_path / "ours.safetensors", wan_lora.read_wan_lora(file))
    scale = 1.0 if row == "diffusers" else 2.0
    wanted = {f"diffusion_model.{layer}.weight": scale * b @ a for layer, (a, b) in factors(0).items()}
    assert_same(changes(core, loaded_by_core(core, wan, path)), wanted)


def test_what_would_be_lost_of_a_speed_up_lora_is_refused(wan_lora, tmp_path):
    write(tmp_path / "x.safetensors", "lightx2v", 0)
    tensors = load_file(tmp_path / "x.safetensors")
    tensors["diffusion_model.blocks.0.norm3.diff"] = torch.ones(DIM)
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"blocks\.0\.norm3\.diff"):
        wan_lora.read_wan_lora(tmp_path / "x.safetensors")


def test_core_s_load_lora_reads_the_written_file_whole(core, wan, wan_lora, tmp_path, caplog):
    write(tmp_path / "x.safetensors", "musubi", 0)
    (path,) = wan_lora.save_wan_lora(tmp_path / "ours.safetensors", wan_lora.read_wan_lora(tmp_path / "x.safetensors"))
    with caplog.at_level(logging.WARNING):
        got = changes(core, loaded_by_core(core, wan, path))
    assert not [record for record in caplog.records if "not loaded" in record.getMessage().lower()]
    assert_same(got, changes(core, loaded_by_core(core, wan, tmp_path / "x.safetensors")))


def test_the_node_s_model_and_file_are_the_average_of_the_single_loras(core, wan, node, loras):
    rows = ["musubi", "ai_toolkit", "save_lora"]
    for seed, row in enumerate(rows):
        write(loras / f"{row}.safetensors", row, seed)
    single = [changes(core, loaded_by_core(core, wan, loras / f"{row}.safetensors")) for row in rows]
    shares = (0.5, 0.25, 0.25)
    wanted = {key: sum(s * one[key] for s, one in zip(shares, single, strict=True)) for key in single[0]}
    chosen = {f"lora_{i + 1}": f"{row}.safetensors" for i, row in enumerate(rows)}
    result = node.execute(
        model=wan, strength=2.0, file_name="both", expert="auto", dtype="fp32", **chosen, weight_1=2.0, weight_2=1.0,
        weight_3=1.0, lora_4="none", weight_4=1.0,
    )  # fmt: skip
    patched, path = result.result
    assert wan.patches == {} and patched.model is wan.model
    assert_same(changes(core, patched), {key: 2 * delta for key, delta in wanted.items()})
    assert Path(path) == loras / "videomage" / "both.safetensors"
    assert_same(changes(core, loaded_by_core(core, wan, Path(path))), wanted)
    again = node.execute(model=wan, strength=1.0, file_name="both", expert="auto", dtype="fp32", **chosen, weight_1=2.0)
    assert again.result[1] == path, "the same weights: no second file"
    other = node.execute(model=wan, strength=1.0, file_name="both", expert="auto", dtype="fp32", **chosen)
    assert Path(other.result[1]).name == "both_2.safetensors"


def test_the_patched_model_computes_as_one_whose_weights_were_changed_by_hand(core, wan, node, loras):
    for seed, row in enumerate(("musubi", "ai_toolkit")):
        write(loras / f"{row}.safetensors", row, seed)
    chosen = {"lora_1": "musubi.safetensors", "lora_2": "ai_toolkit.safetensors"}
    patched = node.execute(model=wan, strength=1.0, file_name="", expert="auto", dtype="fp32", **chosen).result[0]
    x = torch.randn(1, 16, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    text = torch.randn(1, 8, 4096, generator=torch.Generator().manual_seed(1))

    def run() -> torch.Tensor:
        with torch.no_grad():
            return wan.model.diffusion_model(x, torch.tensor([500.0]), text)

    before = run()
    delta = changes(core, patched)
    originals = {key: core.utils.get_attr(wan.model, key).detach().clone() for key in delta}
    try:
        for key, change in delta.items():
            core.utils.get_attr(wan.model, key).data.add_(change)
        wanted = run()
    finally:
        for key, weight in originals.items():
            core.utils.get_attr(wan.model, key).data.copy_(weight)
    core.model_management.load_models_gpu([patched])
    try:
        got = run()
    finally:
        patched.detach()
    assert not torch.allclose(before, wanted, atol=1e-3)
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(run(), before)


def test_both_experts_are_told_apart(core, wan, node, loras):
    for part, seed in (("transformer_1", 0), ("transformer_2", 1)):
        tensors = {}
        for layer, (a, b) in factors(seed).items():
            tensors |= {f"diffusion_model.{part}.{layer}{PEFT[0]}": a, f"diffusion_model.{part}.{layer}{PEFT[1]}": b}
        save_file(tensors, loras / f"{part}.safetensors")
    merged = {**load_file(loras / "transformer_1.safetensors"), **load_file(loras / "transformer_2.safetensors")}
    save_file(merged, loras / "unsplit.safetensors")
    settings = {"model": wan, "strength": 1.0, "file_name": "", "dtype": "fp32", "lora_1": "unsplit.safetensors"}
    with pytest.raises(ValueError, match="expert: got 'auto', these files hold high_noise and low_noise"):
        node.execute(expert="auto", **settings)
    for expert, seed in (("high_noise", 0), ("low_noise", 1)):
        got = changes(core, node.execute(expert=expert, **settings).result[0])
        wanted = {f"diffusion_model.{layer}.weight": b @ a for layer, (a, b) in factors(seed).items()}
        assert_same(got, wanted)


def test_what_does_not_fit_the_model_is_said(wan, node, loras):
    settings = {"model": wan, "strength": 1.0, "file_name": "", "expert": "auto", "dtype": "fp32"}
    with pytest.raises(ValueError, match="lora_1: choose at least one LoRA"):
        node.execute(**settings)
    key = "diffusion_model.blocks.9.self_attn.q"
    save_file({key + PEFT[0]: torch.ones(1, DIM), key + PEFT[1]: torch.ones(DIM, 1)}, loras / "deep.safetensors")
    with pytest.raises(ValueError, match=r"lacks 1 of the LoRAs' 1 layers, e\.g\. diffusion_model\.blocks\.9"):
        node.execute(**settings, lora_1="deep.safetensors")
    key = "diffusion_model.blocks.0.self_attn.q"
    save_file({key + PEFT[0]: torch.ones(1, 5120), key + PEFT[1]: torch.ones(5120, 1)}, loras / "wide.safetensors")
    with pytest.raises(ValueError, match=r"is 256x256 in the MODEL and 5120x5120 in the LoRAs"):
        node.execute(**settings, lora_1="wide.safetensors")
