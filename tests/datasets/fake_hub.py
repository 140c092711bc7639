"""A Hub of one repository on this machine: as much of its interface as Hugging Face datasets asks for.

Run as a program, it opens the texts that it is given, once with the Hub and once without, and prints what it got.
"""

import hashlib
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

API, FILES = "/api/datasets/owner/name", "/datasets/owner/name/resolve/"
COMMIT = "a1b2c3d4" * 5


class Hub(BaseHTTPRequestHandler):
    """Answers from a folder."""

    folder: Path

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        names = sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file())
        if "/gone/" in f"{path}/":
            self.say("", 404, X_Error_Code="RevisionNotFound")
        elif path == API or path.startswith(f"{API}/revision/"):
            self.say(json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}))
        elif path.startswith(f"{API}/tree/{COMMIT}"):
            inside = path.removeprefix(f"{API}/tree/{COMMIT}").strip("/")
            self.say(json.dumps([self.entry(name) for name in names if str(Path(name).parent) == (inside or ".")]))
        elif path.startswith(FILES) and (self.folder / path.removeprefix(FILES).split("/", 1)[1]).is_file():
            content = (self.folder / path.removeprefix(FILES).split("/", 1)[1]).read_bytes()
            self.say(content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=COMMIT)
        else:
            self.say("", 404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)

    do_HEAD = do_GET

    def entry(self, name: str) -> dict[str, object]:
        content = (self.folder / name).read_bytes()
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def say(self, content: str | bytes, code: int = 200, **headers: str) -> None:
        body = content.encode() if isinstance(content, str) else content
        self.send_response(code)
        for name, value in {**headers, "Content_Length": str(len(body)), "Content_Type": "application/json"}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main(folder: Path, home: Path, texts: list[str]) -> None:
    Hub.folder = folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    os.environ |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(home / "hf")}

    # On a busy machine the import alone takes longer than what is timed below.
    import datasets  # noqa: F401

    from probebench.datasets.sources.huggingface.open import open_hf
    from probebench.errors import ProbebenchError

    for online in (True, False):
        for text in texts:
            began = time.monotonic()
            try:
                opened = open_hf(text, home / "datasets")
                found = [opened.id, *(split.ids[0] for split in opened.splits.values())]
            except ProbebenchError as error:
                found = [str(error)]
            print(json.dumps([online, text, found, time.monotonic() - began]), flush=True)
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
