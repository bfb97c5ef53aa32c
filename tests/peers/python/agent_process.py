"""What the two test agents share as processes: a port, a ready line, and an end.

A test agent must neither collide with another one nor outlive the test that started it. So the
system chooses its ports, one JSON line on stdout tells the test where it listens, and the end of
stdin ends the process, also when the test was killed and could not tidy up.
"""

import json
import os
import socket
import threading

import uvicorn

HOST = '127.0.0.1'


def bind() -> socket.socket:
    """Returns a bound socket on a port chosen by the system."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind((HOST, 0))
    return sock


def origin_of(sock: socket.socket) -> str:
    return f'http://{HOST}:{sock.getsockname()[1]}'


def ready_line(origin: str, grpc_port: int) -> dict[str, str]:
    """Returns the addresses of an agent, in the shape that the Rust harness reads."""
    return {
        'url': origin,
        'jsonrpc': f'{origin}/a2a/jsonrpc',
        'rest': f'{origin}/a2a/rest',
        'grpc': f'{HOST}:{grpc_port}',
    }


class _Server(uvicorn.Server):
    """A server that says where it listens as soon as it accepts connections."""

    def __init__(self, app, ready: dict[str, str]) -> None:
        super().__init__(uvicorn.Config(app, log_level='warning', access_log=False))
        self._ready = ready

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        print(json.dumps(self._ready), flush=True)


async def serve(app, sock: socket.socket, ready: dict[str, str]) -> None:
    """Serves `app` until stdin closes, which ends the whole process."""
    threading.Thread(target=_exit_with_stdin, daemon=True).start()
    await _Server(app, ready).serve(sockets=[sock])


def _exit_with_stdin() -> None:
    """Ends the process at the end of stdin.

    The exit is immediate: an agent keeps nothing, and waiting for open streams would be waiting
    for the very test that has gone.
    """
    while os.read(0, 65536):
        pass
    os._exit(0)
