"""Where the time of an extraction goes, as the loop that drives it sees it."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator

STAGES = ("decode", "forward", "disk")


class Clock:
    """Adds up the seconds that the loop waits for decoded images, for the network, and for the disk.

    While it waits for one stage, the other two are idle or ahead; so the stage that it waits for longest limits the
    rate.

    Attributes:
        seconds: Time by stage.
    """

    # Weight of the latest wait in what "now" means: about the last ten batches.
    _RECENT = 0.1

    def __init__(self) -> None:
        """Starts at nothing."""
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self._lately: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def waiting_for(self, stage: str) -> Iterator[None]:
        """Times a wait."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, time.perf_counter() - began)

    def share(self, spent: float, elsewhere: dict[str, float]) -> None:
        """Divides a wait of ``spent`` seconds for workers elsewhere between stages as they spent their time."""
        whole = sum(elsewhere.values()) or 1.0
        for stage, seconds in elsewhere.items():
            self._add(stage, spent * seconds / whole)

    def _add(self, stage: str, spent: float) -> None:
        self.seconds[stage] += spent
        self._lately[stage] += self._RECENT * (spent - self._lately[stage])

    @property
    def limit(self) -> str:
        """The stage that was waited for longest, lately."""
        return max(STAGES, key=lambda stage: self._lately[stage])
