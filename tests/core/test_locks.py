"""One in a folder at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from videomage_core.locks import LOCK, exclusive_lock, waiting_lock

ROOT = Path(__file__).parents[2]
HOLD = "import sys,time; from pathlib import Path; from videomage_core.locks import exclusive_lock\n"
HOLD += "with exclusive_lock(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"


def test_a_second_is_refused_until_the_first_is_out(tmp_path):
    with exclusive_lock(tmp_path):
        with pytest.raises(ValueError, match="another training is at work"), exclusive_lock(tmp_path):
            pass
        (tmp_path / "other").mkdir()
        with exclusive_lock(tmp_path / "other"):
            pass
    with exclusive_lock(tmp_path):
        pass
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"other", LOCK}, "nothing is left behind but an empty file"
    assert not (tmp_path / LOCK).exists() or not (tmp_path / LOCK).stat().st_size


def test_what_goes_wrong_inside_comes_out_and_frees_the_folder(tmp_path):
    for error in (OSError("disk full"), BlockingIOError("not ours")):
        with pytest.raises(type(error), match=str(error)), exclusive_lock(tmp_path):
            raise error
    with exclusive_lock(tmp_path):
        pass


def test_a_killed_process_holds_nothing(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    with pytest.raises(ValueError, match="another training"), exclusive_lock(tmp_path):
        pass
    process.kill()
    process.communicate()
    with exclusive_lock(tmp_path):
        pass


def test_others_wait_for_their_turn(tmp_path):
    order: list[str] = []

    def second() -> None:
        with waiting_lock(tmp_path, lambda: None):
            order.append("second")

    with waiting_lock(tmp_path, lambda: None):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.3)
        order.append("first")
    waiting.join(timeout=10)
    assert order == ["first", "second"]


def test_where_a_drive_has_no_locks_nobody_is_kept_out(tmp_path, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("videomage_core.locks.FileLock.acquire", refused)
    with exclusive_lock(tmp_path), waiting_lock(tmp_path, lambda: pytest.fail("waits for nobody")):
        pass
