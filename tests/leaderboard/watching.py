"""What Python tells its auditors of where a file of a stranger could run, fetch, write, or lead to another file."""

import os
import site
import sys
from pathlib import Path

import probebench
from probebench.registry.load import shipped_registry

_HARM = (
    *("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "urllib.", "ctypes."),
    *("pickle.find_class", "shutil.", "webbrowser.", "ftplib.", "http.client."),
)
# What verifying may read beside the files that it is given: Python and its libraries, this package and its registry.
OURS = (sys.prefix, sys.base_prefix, *site.getsitepackages(), Path(probebench.__file__).parent, shipped_registry())
_watched: list["Watch"] = []


class Watch:
    """Everything that could do harm while a test runs."""

    def __init__(self, *places: Path) -> None:
        self.seen: list[str] = []
        self.places = [os.path.realpath(str(one)) for one in (*OURS, *places)]

    def __enter__(self) -> "Watch":
        _watched.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        # An auditor cannot be taken away, only told to look elsewhere.
        _watched.remove(self)

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """Takes down what could do harm."""
        if event in ("open", "os.listdir", "os.scandir"):
            path = arguments[0]
            writes = event == "open" and bool(int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            outside = isinstance(path, str | bytes | os.PathLike) and not self._is_inside(os.fsdecode(path))
            if writes or outside:
                self.seen.append(f"{event} {path!r}")
        elif event.startswith(_HARM):
            self.seen.append(f"{event} {arguments}")

    def _is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return any(real == place or real.startswith(f"{place}{os.sep}") for place in self.places)


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    for watch in list(_watched):
        watch.hear(event, arguments)


sys.addaudithook(_audit)
