"""The study's page, served to this machine alone, with the standard library's server.

* It listens on 127.0.0.1 and answers only to that name or localhost: another site's page cannot reach it by a
  name of its own that points here (DNS rebinding).
* Files are asked for by random names that were given out for the study's own; no path ever comes from the page,
  and a method's name never goes to it.
* The page loads nothing from elsewhere.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .answers import AnsweredAlready, Answers
from .trials import Study, Trial

PAGE = Path(__file__).parents[1] / "assets" / "study" / "page.html"
PARTICIPANT = re.compile(r"\w[\w-]{0,39}")
_LONGEST = 10_000  # bytes of an answer
_CHUNK = 1 << 16
_TYPES = {
    ".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif", ".png": "image/png", ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg", ".webp": "image/webp",
}  # fmt: skip
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Refused(Exception):
    """A request that is not answered, and why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class StudyServer(ThreadingHTTPServer):
    """Serves one study; ``serve_forever`` and ``shutdown`` as any server of the standard library.

    Args:
        study: what is shown.
        answers: where answers go.
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, study: Study, answers: Answers, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.study, self.answers = study, answers
        files = [*study.videos.values(), *(f for cell in study.cells.values() for f in (*cell.images, cell.clip))]
        self.names = {path: f"{secrets.token_hex(8)}{path.suffix.lower()}" for path in files}
        self.files = {name: path for path, name in self.names.items()}
        self.trials = {secrets.token_hex(8): trial for trial in study.order_for("")}
        self.keys = {trial: key for key, trial in self.trials.items()}

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://127.0.0.1:{self.server_port}/"

    def next_trial(self, participant: str) -> dict[str, Any]:
        """What the page shows next: how far this participant is, and a trial, or None after the last."""
        order = self.study.order_for(participant)
        left = [trial for trial in order if not self.answers.answered(self.study, participant, trial)]
        return {"done": len(order) - len(left), "total": len(order), "trial": self._shown(participant, left[:1])}

    def _shown(self, participant: str, trials: list[Trial]) -> dict[str, Any] | None:
        if not trials:
            return None
        (trial,) = trials
        cell = self.study.cells[trial.cell]
        left, right = (self.study.videos[m, trial.cell] for m in self.study.sides(participant, trial))
        return {
            "key": self.keys[trial],
            "prompt": cell.prompt,
            "images": [self.names[path] for path in cell.images],
            "clip": self.names[cell.clip],
            "left": self.names[left],
            "right": self.names[right],
        }


class _Handler(BaseHTTPRequestHandler):
    server: StudyServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "study", ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, act: Callable[[], None]) -> None:
        try:
            self._require_this_machine()
            act()
        except Refused as refused:
            self.close_connection = True  # what it may have sent besides was not read
            self._send(json.dumps({"error": str(refused)}).encode(), "application/json", refused.status)
        except (BrokenPipeError, ConnectionResetError):  # the page went away, or has seen enough of a video
            self.close_connection = True

    def _require_this_machine(self) -> None:
        port = self.server.server_port
        hosts = [f"127.0.0.1:{port}", f"localhost:{port}"]
        if self.headers.get("Host") not in hosts:
            raise Refused(HTTPStatus.FORBIDDEN, f"this page is served as {' or '.join(hosts)} alone")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in hosts]:
            raise Refused(HTTPStatus.FORBIDDEN, "another site's page may not ask here")

    def _get(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/":
            self._send(PAGE.read_bytes(), "text/html; charset=utf-8")
        elif url.path == "/trial":
            participant = _participant(parse_qs(url.query).get("participant", [""])[0])
            self._send(json.dumps(self.server.next_trial(participant)).encode(), "application/json")
        else:
            path = self.server.files.get(url.path.removeprefix("/media/"))
            if path is None or not url.path.startswith("/media/"):
                raise Refused(HTTPStatus.NOT_FOUND, "there is nothing of that name")
            self._send_file(path)

    def _post(self) -> None:
        if urlsplit(self.path).path != "/answer":
            raise Refused(HTTPStatus.NOT_FOUND, "answers go to /answer")
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "answers come as application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LONGEST:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"an answer says its length, at most {_LONGEST} bytes")
        try:
            said = json.loads(self.rfile.read(int(length)))
            participant, trial = _participant(said["participant"]), self.server.trials[said["trial"]]
            self.server.answers.add(self.server.study, participant, trial, said["answers"])
        except AnsweredAlready as error:
            raise Refused(HTTPStatus.CONFLICT, str(error)) from error
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, f"no answer to a trial: {error}") from error
        except OSError as error:
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"the answer could not be written ({error})") from error
        self._send(json.dumps(self.server.next_trial(participant)).encode(), "application/json")

    def _send_file(self, path: Path) -> None:
        inside = self.server.study.folder.resolve()
        if not path.is_file() or not path.resolve().is_relative_to(inside):  # since the study was read
            raise Refused(HTTPStatus.NOT_FOUND, "the file is gone")
        size = path.stat().st_size
        part = _range(self.headers.get("Range"), size)
        first, last = part or (0, size - 1)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK)
        if part:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self._headers(_TYPES[path.suffix.lower()], last - first + 1)
        with open(path, "rb") as file:
            file.seek(first)
            missing = last - first + 1
            while missing and (read := file.read(min(_CHUNK, missing))):
                self.wfile.write(read)
                missing -= len(read)

    def _send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self._headers(kind, len(body))
        self.wfile.write(body)

    def _headers(self, kind: str, length: int) -> None:
        headers = {
            "Content-Type": kind, "Content-Length": str(length), "Accept-Ranges": "bytes", "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
        }  # fmt: skip
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the terminal is for what the study's owner has to know."""


def _participant(name: object) -> str:
    if not isinstance(name, str) or not PARTICIPANT.fullmatch(name):
        raise Refused(HTTPStatus.BAD_REQUEST, "a participant's name is 1 to 40 letters, digits, - or _")
    return name


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range, or None for all; Refused beyond the end."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or match.group(1) == match.group(2) == "":
        return None
    begin, end = match.groups()
    if not begin:
        return max(0, size - int(end)), size - 1
    first, last = int(begin), min(int(end or size), size - 1)
    if first > last:
        raise Refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"the file has {size} bytes")
    return first, last
