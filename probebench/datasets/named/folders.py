"""Sets that have a name and a test part alone: folders of classes, for probes of another set with these classes."""

import os

from probebench.datasets.formats import is_image
from probebench.datasets.named.layout import Layout, SplitsByName
from probebench.datasets.named.loader import loader


@loader("class_folders")
def class_folders(layout: Layout) -> SplitsByName:
    """Opens class folders below the one that the entry names; all their images are the test split.

    Folders are called by the entry's classes, or by the numbers of these where ``options.folders`` is "numbers".
    """
    base, classes = layout.place / str(layout.option("images")), layout.spec.classes
    numbered = layout.spec.options.get("folders") == "numbers"
    folders = {str(label) if numbered else name: label for label, name in enumerate(classes)}
    with layout.reading():
        found = [entry.name for entry in os.scandir(base) if entry.is_dir() and not entry.name.startswith(".")]
    if numbered:
        found = [classes[folders[name]] if name in folders else name for name in found]
    layout.check_classes(sorted(found))
    names, labels = list[str](), list[int]()
    for folder, label in folders.items():
        with layout.reading():
            names_here = [entry.name for entry in os.scandir(base / folder)]
        inside = sorted(name for name in names_here if is_image(name) and not name.startswith("."))
        names += [f"{folder}/{name}" for name in inside]
        labels += [label] * len(inside)
    return {"test": layout.split(base, names, labels, "test")}
