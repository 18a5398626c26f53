"""What a recipe names on the hub is fetched from it, pinned, and nothing else: the real client, a hub of our own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.runs import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
#: A data set and a model, with things beside them that nobody asked for.
FILES = {
    "/datasets/someone/corpus": {
        "data/a.jsonl": b'{"instruction": "Name a bone.", "output": "The femur."}\n',
        "data/b.jsonl": b"{}\n",
    },
    "/someone/tiny": {
        "config.json": b'{"model_type": "llama"}',
        "tokenizer.json": b"{}",
        "model.safetensors": b"weights",
        "pytorch_model.bin": b"a pickle",
        "modeling_tiny.py": b"raise SystemExit",
    },
}


@contextmanager
def hub() -> Iterator[tuple[str, list[str], set[str]]]:
    """Address, the paths asked for, and what the programs that asked told of themselves."""
    asked: list[str] = []
    agents: set[str] = set()

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(f"{self.command} {path}")
            agents.add(self.headers["User-Agent"])
            status, body, headers = 404, b"", {"X-Error-Code": "EntryNotFound"}
            for repository, files in FILES.items():
                if path == f"/api/models{repository}/revision/{COMMIT}":
                    body = json.dumps({"id": repository[1:], "sha": COMMIT, "siblings": []}).encode()
                    status, headers = 200, {"Content-Type": "application/json"}
                if path == f"/api/models{repository}/tree/{COMMIT}":
                    rows = [{"type": "file", "path": name, "size": len(f), "oid": hashlib.sha1(f).hexdigest()} for name, f in files.items()]  # fmt: skip
                    status, body, headers = (
                        200,
                        json.dumps(rows).encode(),
                        {"Content-Type": "application/json"},
                    )
                name = path.removeprefix(f"{repository}/resolve/{COMMIT}/")
                if name != path and name in files:
                    status, body = 200, files[name]
                    headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(body).hexdigest()}"'}
            self.send_response(status)
            for header, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked, agents
        finally:
            server.shutdown()


def told(script: str, cache: Path, *arguments: str, **environment: str) -> list[str]:
    """What a process of its own prints: the client reads its settings when it is imported."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "DO_NOT"))}
    own |= {"HF_HOME": str(cache), "PYTHONPATH": str(ROOT / "src"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", script, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, env=own | environment, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


CORPUS = f"""if True:
    import sys
    from pathlib import Path
    from mulmed.corpus.files import resolve
    from mulmed.errors import MulmedError
    for name in sys.argv[1:]:
        try:
            (path,) = resolve(Path("."), ("hub:someone/corpus@{COMMIT}/data/" + name + ".jsonl",), "corpus.sources.a.path")
            print(path.read_text().strip())
        except MulmedError as error:
            print(str(error).splitlines()[0])
"""


def test_one_file_of_a_data_set_is_fetched_once(tmp_path: Path) -> None:
    with hub() as (address, asked, agents):
        lines = told(CORPUS, tmp_path, "a", "absent", HF_ENDPOINT=address)
    row = FILES["/datasets/someone/corpus"]["data/a.jsonl"].decode().strip()
    assert lines == [
        row,
        "The hub did not give data/absent.jsonl of someone/corpus: RemoteEntryNotFoundError.",
    ]
    file = f"/datasets/someone/corpus/resolve/{COMMIT}/data"
    assert {path.split()[1] for path in asked} == {f"{file}/a.jsonl", f"{file}/absent.jsonl"}
    (agent,) = agents
    assert agent.startswith("unknown/None; hf_hub/")
    assert "torch" not in agent  # which the client tells unless it is told not to
    # The hub is gone now.
    assert told(CORPUS, tmp_path, "a", HF_ENDPOINT=address) == [row]


MODEL = f"""if True:
    import sys
    from pathlib import Path
    from mulmed.base.resolve import _hub_folder
    folder = _hub_folder("someone/tiny", "{COMMIT}", print, "base")
    print(*sorted(path.name for path in folder.iterdir()))
"""


def test_of_a_model_only_weights_and_settings_are_fetched(tmp_path: Path) -> None:
    """Neither pickles nor code."""
    with hub() as (address, asked, _):
        lines = told(MODEL, tmp_path, HF_ENDPOINT=address)
    assert lines == [
        f"Fetching someone/tiny at {COMMIT} from the Hugging Face hub, as the recipe asks.",
        "config.json model.safetensors tokenizer.json",
    ]
    assert not any("pytorch_model" in path or ".py" in path for path in asked)
    assert told(MODEL, tmp_path, HF_ENDPOINT=address) == lines[1:]
