"""Who hears how far a training is."""

from typing import Protocol


class Progress(Protocol):
    """Hears how far the training of a cell is, in images that went through the network."""

    def start(self, what: str, total: int, done: int) -> None:
        """A cell begins, which will take ``total`` images."""

    def advance(self, count: int) -> None:
        """``count`` more images went through."""

    def finish(self) -> None:
        """The cell is complete."""

    def note(self, message: str) -> None:
        """Something that the user should know: how an epoch ended, or what a cell will cost."""


class Silent:
    """Progress that nobody watches."""

    def start(self, what: str, total: int, done: int) -> None:
        """Says nothing."""

    def advance(self, count: int) -> None:
        """Says nothing."""

    def finish(self) -> None:
        """Says nothing."""

    def note(self, message: str) -> None:
        """Says nothing."""
