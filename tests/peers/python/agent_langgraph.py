"""A test agent of LangGraph's own server: `langgraph dev` with the graph of `langgraph_graph.py`.

The server is a child of this process. It keeps nothing on disk, and it ends with its stdin, whose
other end only this process holds: so it ends however this process does.
"""

import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOST = '127.0.0.1'
START_TIMEOUT_S = 60
# No traces, no analytics, no question for a newer version.
ENVIRONMENT = {
    'LANGSMITH_TRACING': 'false',
    'LANGGRAPH_CLI_NO_ANALYTICS': '1',
    'LANGGRAPH_NO_VERSION_CHECK': '1',
    'PYTHONPATH': str(HERE),
}


def wait_for_stdin() -> None:
    while os.read(0, 65536):
        pass


def serve(arguments: list[str]) -> None:
    """Runs `langgraph` in this process until stdin closes."""

    def watch() -> None:
        wait_for_stdin()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    sys.argv = ['langgraph', *arguments]
    runpy.run_module('langgraph_cli', run_name='__main__')


def start(folder: Path, port: int) -> subprocess.Popen:
    config = {
        'dependencies': ['.'],
        'graphs': {'echo': f'{HERE / "langgraph_graph.py"}:graph'},
        'disable_persistence': True,
    }
    (folder / 'langgraph.json').write_text(json.dumps(config))
    # The lock has no forbiddenfruit, which only the detection of blocking calls needs.
    options = ['--no-browser', '--no-reload', '--allow-blocking', '--n-jobs-per-worker', '4']
    address = ['--host', HOST, '--port', str(port)]
    return subprocess.Popen(
        [sys.executable, __file__, '--serve', 'dev', *options, *address],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.PIPE,
        stdout=sys.stderr,
    )


def wait_until_ready(origin: str, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        if server.poll() is not None:
            sys.exit(f'the server ended: {server.returncode}')
        if time.monotonic() > deadline:
            sys.exit(f'the server did not answer within {START_TIMEOUT_S} s')
        try:
            with urllib.request.urlopen(f'{origin}/ok', timeout=1):
                return
        except OSError:
            time.sleep(0.05)


def find_assistant(origin: str) -> str:
    request = urllib.request.Request(
        f'{origin}/assistants/search',
        data=json.dumps({'graph_id': 'echo'}).encode(),
        headers={'Content-Type': 'application/json'},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        [assistant] = json.load(response)
    return assistant['assistant_id']


def main() -> None:
    with tempfile.TemporaryDirectory(prefix='langgraph-') as folder, socket.socket() as reserved:
        # The server takes another port if this one is not free, which only its log says. Bound but
        # not listening, this socket keeps away everybody but the server, which asks for this port.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((HOST, 0))
        port = reserved.getsockname()[1]
        origin = f'http://{HOST}:{port}'
        server = start(Path(folder), port)
        try:
            wait_until_ready(origin, server)
            rpc = f'{origin}/a2a/{find_assistant(origin)}'
            ready = {'url': rpc, 'rpc': rpc, 'card': f'{rpc}/.well-known/agent-card.json'}
            print(json.dumps(ready), flush=True)
            wait_for_stdin()
        finally:
            server.kill()
            server.wait()


if __name__ == '__main__':
    if sys.argv[1:2] == ['--serve']:
        serve(sys.argv[2:])
    else:
        main()
