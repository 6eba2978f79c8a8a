"""What is no safetensors file is named for what it is, by every reader."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors.torch import save

from videomage_core.data.lora_file import load_lora, read_header
from videomage_core.data.lora_layers import read_external_lora

READERS = [load_lora, read_header, read_external_lora]


def pickled(path, legacy):
    torch.save({"unet.x.lora_A.weight": torch.zeros(1)}, path, _use_new_zipfile_serialization=not legacy)
    return path.read_bytes()


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GGUF\x03\0\0\0" + b"\0" * 40, "is a GGUF file, which holds a quantised model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html>", "is a web page.*login"),
        (b"<html><body>", "is a web page"),
        (b'{"r": 4}', "is a JSON text"),
        (b"", "is not a whole safetensors file"),
        (b"\x10\0\0\0\0\0\0\0{", "is not a whole safetensors file"),
    ],
)
def test_other_files_are_named(read, content, message, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=rf"LoRA: x\.safetensors {message}"):
        read(tmp_path / "x.safetensors")


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["x.pth", "x.ckpt", "x.safetensors"])
def test_pickles_are_never_opened(read, legacy, name, tmp_path):
    pickled(tmp_path / name, legacy)
    with pytest.raises(ValueError, match=rf"LoRA: {name} is a PyTorch pickle .*; convert it to \.safetensors"):
        read(tmp_path / name)


@pytest.mark.parametrize("read", READERS)
def test_a_folder_and_nothing_are_no_file(read, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not there, it is a folder"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors is not there; give"):
        read(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("read", READERS)
def test_a_key_that_stands_twice_in_the_header_is_refused(read, tmp_path):
    """safetensors itself takes one of them."""
    whole = save({"unet.a.lora_A.weight": torch.zeros(1, 1), "unet.a.lora_B.weight": torch.zeros(1, 1)})
    length = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + length])
    entries = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in header.items()]
    entries.append(f"{json.dumps('unet.a.lora_A.weight')}: {json.dumps(header['unet.a.lora_A.weight'])}")
    text = ("{" + ", ".join(entries) + "}").encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + length :])
    with pytest.raises(ValueError, match=r"(names 'unet\.a\.lora_A\.weight' twice|is not a whole safetensors file)"):
        read(tmp_path / "x.safetensors")
