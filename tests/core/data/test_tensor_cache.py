"""Kept tensors: made once; a damaged file is made anew; nothing half is left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.data.tensor_cache import cached_tensor
from videomage_core.locks import LOCK, exclusive_lock


class Maker:
    """Counts how often it is asked; gives another tensor each time."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.calls, self.dtype = 0, dtype

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        return torch.full((2, 3), float(self.calls), dtype=self.dtype).T  # not contiguous


ignore = Callbacks(log=lambda _: None)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != LOCK)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_it_is_made_once_and_comes_back_the_same(tmp_path, dtype):
    make, path = Maker(dtype), tmp_path / "deep" / "folder" / "x.safetensors"
    made = cached_tensor(path, make, ignore)
    read = cached_tensor(path, make, ignore)
    assert make.calls == 1 and files(tmp_path) == ["x.safetensors"]
    assert torch.equal(made, read) and read.dtype == made.dtype == dtype and read.shape == (3, 2)


def test_a_folder_in_use_is_waited_for_until_the_host_stops(tmp_path):
    make, path, told = Maker(), tmp_path / "x.safetensors", []
    callbacks = Callbacks(lambda *event: told.append(event), cancelled=lambda: len(told) == 2)
    with exclusive_lock(tmp_path), pytest.raises(Cancelled):
        cached_tensor(path, make, callbacks)
    assert make.calls == 0 and told == [(0, 1, "waiting for another process")] * 2
    cached_tensor(path, make, ignore)
    with exclusive_lock(tmp_path):  # what is there is read at once
        cached_tensor(path, make, callbacks)
    assert make.calls == 1


def test_without_a_path_nothing_is_kept():
    make = Maker()
    cached_tensor(None, make, ignore)
    assert float(cached_tensor(None, make, ignore)[0, 0]) == 2


@pytest.mark.parametrize("damage", ["short", "empty", "text", "another"])
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    make, path, said = Maker(), tmp_path / "x.safetensors", []
    cached_tensor(path, make, ignore)
    whole = path.read_bytes()
    if damage == "another":
        save_file({"other": torch.zeros(2)}, path)
    else:
        path.write_bytes({"short": whole[:-4], "empty": b"", "text": b"no tensors at all"}[damage])
    assert float(cached_tensor(path, make, Callbacks(log=said.append))[0, 0]) == 2
    assert said == ["x.safetensors is damaged; computing it again"]
    assert float(cached_tensor(path, make, Callbacks(log=said.append))[0, 0]) == 2
    assert make.calls == 2 and len(path.read_bytes()) == len(whole)


def test_what_fails_to_be_made_leaves_nothing(tmp_path):
    def broken() -> torch.Tensor:
        raise RuntimeError("host")

    with pytest.raises(RuntimeError, match="host"):
        cached_tensor(tmp_path / "x.safetensors", broken, ignore)
    assert files(tmp_path) == []


def test_a_full_disk_is_told_and_leaves_nothing_half(tmp_path, monkeypatch):
    def full(_source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OSError, match=r"x\.safetensors could not be written .*make room or choose another folder"):
            cached_tensor(tmp_path / "x.safetensors", Maker(), ignore)
    assert files(tmp_path) == []
    assert torch.equal(cached_tensor(tmp_path / "x.safetensors", Maker(), ignore), Maker()())
