"""A ComfyUI that serves the pack over HTTP, and a small client of it."""

import contextlib
import io
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import psutil
import torch
import websocket
from PIL import Image
from torch import Tensor

from tooling.hosts import ROOT, run_inside

PACK = "ilvr"  # the name of the pack's folder among the host's custom nodes
FLAGS = [
    "--cpu", "--listen", "127.0.0.1", "--disable-auto-launch", "--disable-api-nodes",
    "--preview-method", "latent2rgb", "--database-url", "sqlite:///:memory:", "--log-stdout",
]  # fmt: skip
START, ANSWER = 180, 120  # seconds: more than a busy machine needs
FOLDERS = ("custom_nodes", "input", "output", "temp", "models/adm", "models/vae")


@contextlib.contextmanager
def serving(host: Path, files: Path, pack: bool = True, others: Iterable[Path] = ()):
    """A Server of this host with its models, input and output in `files`, until the block ends.

    It has our pack, if `pack`, and other people's, each from its folder.
    """
    for folder in FOLDERS:
        (files / folder).mkdir(parents=True, exist_ok=True)
    folders = {PACK: ROOT} if pack else {}
    for name, folder in (folders | {path.name: path for path in others}).items():
        (files / "custom_nodes" / name).symlink_to(folder, target_is_directory=True)
    port, log = free_port(), files / "server.log"
    options = [*FLAGS, "--port", port, "--base-directory", files]
    with log.open("w") as output:
        process = run_inside(host, "main.py", *options, output=output, OMP_NUM_THREADS="1")
    try:
        server = Server(f"http://127.0.0.1:{port}", files, log, process)
        server.wait_until_ready()
        yield server
    finally:
        end(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end(process: subprocess.Popen):
    """Kills a process and what it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    process.kill()
    process.wait()


class Refused(Exception):
    """The server's answer to a bad request: status, and the body as JSON, None where it is none."""

    def __init__(self, status: int, body: bytes):
        super().__init__(f"{status}: {body.decode()[:2000]}")
        self.status, self.answer = status, None
        with contextlib.suppress(json.JSONDecodeError):
            self.answer = json.loads(body)

    def of_node(self, key: str) -> dict:
        """The first error at a node of the graph."""
        return self.answer["node_errors"][key]["errors"][0]


@dataclass
class Server:
    """Where a server is, its files, its log, and what can be asked of it."""

    url: str
    files: Path
    log_file: Path
    process: subprocess.Popen

    def wait_until_ready(self):
        end_of_patience = time.monotonic() + START
        while time.monotonic() < end_of_patience:
            if self.process.poll() is not None:
                raise RuntimeError(f"The server ended while it started:\n{self.log()[-4000:]}")
            with contextlib.suppress(OSError):
                return self.get("/system_stats")
            time.sleep(0.2)
        raise RuntimeError(f"No answer after {START} seconds:\n{self.log()[-4000:]}")

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def memory(self) -> float:
        """What the process holds, in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def get(self, path: str, **query) -> bytes:
        return self._answer(f"{path}?{urlencode(query)}")

    def post(self, path: str, **body) -> bytes:
        return self._answer(path, json.dumps(body).encode())

    def _answer(self, path, data=None):
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER) as reply:
                return reply.read()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read()) from None

    def queue(self, graph: dict) -> "Run":
        """Queues a graph {id: {class_type, inputs}}; raises Refused for one that is not valid."""
        return Run(self, graph)

    def run(self, graph: dict) -> "Run":
        """Queues a graph and waits for its end."""
        return Run(self, graph).wait()

    def pixels(self, graph: dict, node: str = "11") -> Tensor:
        """What a good graph paints, from the PNGs of one of its nodes: (B, 3, H, W) of 0..255."""
        return self.run(graph).pixels(node)


def picture(file: bytes) -> Tensor:
    """(1, 3, H, W) of 0..255."""
    array = np.array(Image.open(io.BytesIO(file)), np.float32)
    return torch.from_numpy(array).permute(2, 0, 1)[None]


class Run:
    """A queued graph: an iterator of what the server says about it, as (event, data).

    The binary frames are ("preview", bytes).
    """

    def __init__(self, server: Server, graph: dict):
        client = uuid.uuid4().hex
        address = f"{server.url.replace('http', 'ws', 1)}/ws?clientId={client}"
        self._server, self._events = server, []
        self._socket = websocket.create_connection(address, timeout=ANSWER)
        try:
            answer = server.post("/prompt", prompt=graph, client_id=client)
        except Refused:
            self._socket.close()
            raise
        self.id = json.loads(answer)["prompt_id"]

    def __iter__(self):
        while True:
            event = self._next()
            self._events.append(event)
            yield event
            if event[0] == "executing" and event[1]["node"] is None:
                return self._socket.close()

    def _next(self):
        message = self._socket.recv()
        if isinstance(message, bytes):
            return "preview", message
        message = json.loads(message)
        return message["type"], message["data"]

    def wait(self) -> "Run":
        for _ in self:
            pass
        return self

    def all(self, kind: str) -> list:
        """The data of every event of one kind so far."""
        return [data for event, data in self._events if event == kind]

    @property
    def error(self) -> dict | None:
        """What went wrong at which node: exception_type, exception_message, node_id, ..."""
        return next(iter(self.all("execution_error")), None)

    @property
    def executed(self) -> set[str]:
        """The nodes that were run, and not taken from the cache."""
        return {data["node"] for data in self.all("executing")} - {None}

    def pixels(self, node: str = "11") -> Tensor:
        assert self.error is None, self.error
        files = [self._server.get("/view", **image) for image in self.outputs()[node]["images"]]
        return torch.cat([picture(file) for file in files])

    def outputs(self) -> dict:
        return json.loads(self._server.get(f"/history/{self.id}"))[self.id]["outputs"]
