"""The real server on a free port: what it shows, what it refuses."""

from __future__ import annotations

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.core.study.small_study import METHODS, make_study
from videomage_core.study.answers import QUESTIONS, Answers, read_answers
from videomage_core.study.server import StudyServer
from videomage_core.study.trials import load_study

LEFT = dict.fromkeys(QUESTIONS, "left")


@pytest.fixture
def server(tmp_path):
    study = load_study(make_study(tmp_path / "study"), "VideoMage")
    with StudyServer(study, Answers(tmp_path / "answers.csv")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, path: str, body: object = None, **headers: str):
    """(status, headers, body) of one request, its path sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            headers.setdefault("Content-Type", "application/json")
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, data, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def trial_of(server, participant: str = "ann"):
    status, _, body = ask(server, f"/trial?participant={participant}")
    assert status == 200
    return json.loads(body)


def answer(server, participant: str, trial: str, **more):
    return ask(server, "/answer", {"participant": participant, "trial": trial, "answers": {**LEFT, **more}})


def test_it_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"


def test_the_page_loads_nothing_from_elsewhere(server):
    status, headers, body = ask(server, "/")
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert b"http://" not in body and b"https://" not in body


def test_a_participant_goes_through_and_comes_back(server, tmp_path):
    state = trial_of(server)
    assert (state["done"], state["total"]) == (0, 4)
    seen = []
    while state["trial"] is not None:
        assert trial_of(server) == state  # a reload shows the same
        trial = state["trial"]
        videos = [ask(server, f"/media/{trial[side]}")[2].decode() for side in ("left", "right")]
        seen.append(videos)
        assert ask(server, f"/media/{trial['images'][0]}")[1]["Content-Type"] == "image/png"
        assert ask(server, f"/media/{trial['clip']}")[1]["Content-Type"] == "image/gif"
        status, _, body = answer(server, "ann", trial["key"])
        assert status == 200
        state = json.loads(body)
    assert state["done"] == 4 and trial_of(server, "bob")["done"] == 0
    rows = read_answers(tmp_path / "answers.csv")
    assert [row["position"] for row in rows] == ["1", "2", "3", "4"]
    for row, (left, right) in zip(rows, seen, strict=True):
        assert {left, right} == {f"{row['method']} {row['cell']}", f"{row['comparison']} {row['cell']}"}
        assert left == f"{row['left']} {row['cell']}"
        assert all(row[question] == row["left"] for question in QUESTIONS)


def test_the_page_never_learns_a_methods_name(server):
    said = json.dumps(trial_of(server)) + ask(server, "/")[2].decode()
    assert not any(method in said for method in METHODS)


def test_a_second_answer_is_refused(server, tmp_path):
    key = trial_of(server)["trial"]["key"]
    assert answer(server, "ann", key)[0] == 200
    assert answer(server, "ann", key, video_quality="right")[0] == 409
    assert answer(server, "bob", key)[0] == 200
    assert len(read_answers(tmp_path / "answers.csv")) == 2


def test_of_answers_at_once_one_counts(server, tmp_path):
    key = trial_of(server)["trial"]["key"]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: answer(server, "ann", key)[0], range(8)))
    assert sorted(statuses) == [200] + [409] * 7
    assert (tmp_path / "answers.csv").read_text().count("\n") == 2


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.mp4", "/media/../secret.mp4", "/media/..%2f..%2fsecret.mp4", "/media/%2e%2e/secret.mp4",
        "/media//etc/passwd", "//etc/passwd", "/etc/passwd", "/media/", "/media/VideoMage/dog_riding.mp4",
        "/VideoMage/dog_riding.mp4", "/answers.csv", "/media/answers.csv", "/media/..\\secret.mp4", "/media",
    ],
)  # fmt: skip
def test_nothing_is_served_by_its_path(server, tmp_path, path):
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    status, _, body = ask(server, path)
    assert status == 404 and b"there is nothing of that name" in body


def test_a_file_that_became_a_link_out_is_not_served(server, tmp_path):
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    video = server.study.videos["Merged", "dog_riding"]
    name = server.names[video]
    assert ask(server, f"/media/{name}")[0] == 200
    video.unlink()
    video.symlink_to(tmp_path / "secret.mp4")
    status, _, body = ask(server, f"/media/{name}")
    assert status == 404 and b"secret" not in body


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.nip:{port}"]
)
def test_other_hosts_are_refused(server, host, tmp_path):
    name = host.format(port=server.server_port)
    key = trial_of(server)["trial"]["key"]
    assert ask(server, "/", Host=name)[0] == 403
    assert ask(server, f"/media/{next(iter(server.files))}", Host=name)[0] == 403
    body = {"participant": "ann", "trial": key, "answers": LEFT}
    assert ask(server, "/answer", body, Host=name)[0] == 403
    assert not (tmp_path / "answers.csv").exists()
    assert ask(server, "/", Host=f"localhost:{server.server_port}")[0] == 200


def test_other_sites_pages_cannot_answer(server, tmp_path):
    body = {"participant": "ann", "trial": trial_of(server)["trial"]["key"], "answers": LEFT}
    assert ask(server, "/answer", body, Origin="http://evil.example")[0] == 403
    plain = {"Content-Type": "text/plain"}  # the kind a form can send without asking first
    assert ask(server, "/answer", body, **plain)[0] == 415
    assert not (tmp_path / "answers.csv").exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"[" * 9000, 400),
        (b"x" * 20_000, 413),
        ({"participant": "ann"}, 400),
        ({"participant": "a,b", "trial": "x", "answers": LEFT}, 400),
        ({"participant": "ann", "trial": [], "answers": {}}, 400),
        ({"participant": "ann", "trial": "x", "answers": LEFT}, 400),
    ],
)
def test_what_is_no_answer_is_refused(server, tmp_path, body, status):
    assert ask(server, "/answer", body)[0] == status
    assert ask(server, "/other", body)[0] == 404
    assert not (tmp_path / "answers.csv").exists()


@pytest.mark.parametrize("name", ["", "a b", "=1", "a" * 41, "a%0ab", "-a"])
def test_names_that_will_not_do(server, name):
    status, _, body = ask(server, f"/trial?participant={name.replace(' ', '%20')}")
    assert status == 400 and b"1 to 40 letters" in body


def test_letters_of_any_script_are_a_name(server):
    assert trial_of(server, "%E5%BC%A0_3")["done"] == 0


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-4", 206, slice(0, 5)), ("bytes=3-", 206, slice(3, None)), ("bytes=-4", 206, slice(-4, None)),
        ("bytes=2-9999", 206, slice(2, None)), ("bytes=9999-", 416, None), ("bytes=-", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
    ],
)  # fmt: skip
def test_parts_of_a_video(server, asked, status, part):
    name = server.names[server.study.videos["Merged", "dog_riding"]]
    got, headers, body = ask(server, f"/media/{name}", Range=asked)
    whole = b"Merged dog_riding"
    assert got == status
    if part is not None:
        assert body == whole[part] and headers["Content-Type"] == "video/mp4"
    if status == 206:
        start = whole.index(body)
        assert headers["Content-Range"] == f"bytes {start}-{start + len(body) - 1}/{len(whole)}"
