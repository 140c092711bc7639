import numpy as np
import pytest

from probebench.plots.confusion import CLASSES, draw_confusion, drawn_classes


@pytest.mark.parametrize(("form", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_figure_is_the_same_bytes_again(form: str, begins: bytes) -> None:
    matrix = np.array([[9.0, 1.0], [4.0, 6.0]])
    drawn = draw_confusion(matrix, ["a cat", "a dog"], "a title", form)
    assert drawn.startswith(begins) and drawn == draw_confusion(matrix, ["a cat", "a dog"], "a title", form)


def test_of_many_classes_the_worst_are_drawn_and_what_they_are_taken_for() -> None:
    matrix = np.diag(np.full(200, 10.0))
    matrix[150, 150], matrix[150, 7] = 1, 9
    kept = drawn_classes(matrix)
    assert len(kept) <= CLASSES and {150, 7} <= set(kept) and kept == sorted(kept)
    assert drawn_classes(matrix[:30, :30]) == list(range(30))
    assert draw_confusion(matrix, [f"class number {label}, of a long name" for label in range(200)], "x", "png")
