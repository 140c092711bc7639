"""What a stranger could send, with the reason that each is refused for."""

import io
import json
import tomllib
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import tomli_w

from tests.leaderboard import tampering
from tests.leaderboard.tampering import MODEL, Submission, Tamper

SHOTS = (1, 5, 10, "full")
HIDDEN = "holds invisible signs or such as turn the direction of reading"
LETTERS = "Latin letters, digits and signs"


def entry(**changes: Any) -> Tamper:
    """Changes the entry, and the facts in its results with it; a table's keys are changed one by one."""

    def tamper(one: Submission) -> None:
        path = one.folder / f"{one.folder.name}.toml"
        values = tomllib.loads(path.read_text())
        for name, change in changes.items():
            values[name] = values[name] | change if isinstance(change, dict) else change
        path.write_text(tomli_w.dumps(values))
        training = values["pretraining"]
        facts = {
            name: training[name] for name in ("method", "objective", "sources", "samples_seen", "labels", "curation")
        }
        facts |= {"title": values["title"], "features": values["output"]["features"]}
        for shots in SHOTS:
            one.edit(shots, checkpoint=one.values(shots)["checkpoint"] | facts)

    return tamper


def environment(**changes: Any) -> Tamper:
    return lambda one: one.edit(environment=one.values()["environment"] | changes)


def in_the_text(old: str, new: str, name: str = "") -> Tamper:
    """Changes what a file says before anything parses it."""

    def tamper(one: Submission) -> None:
        path = one.folder / name if name else one.json()
        path.write_text(path.read_text().replace(old, new, 1))
        if not name:
            one.seal()

    return tamper


def archive(change: Callable[[dict[str, bytes]], object], more: tuple[tuple[str, bytes], ...] = ()) -> Tamper:
    """Packs the members anew."""

    def tamper(one: Submission) -> None:
        with zipfile.ZipFile(one.npz()) as old:
            members = {name: old.read(name) for name in old.namelist()}
        change(members)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
            for name, content in (*members.items(), *more):
                new.writestr(name, content)
        one.replace_npz(buffer.getvalue())

    return tamper


def header(shape: tuple[int, ...], descr: str = "<i8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def a_folder_as(name: str) -> Tamper:
    def tamper(one: Submission) -> None:
        (one.folder / name).unlink(missing_ok=True)
        (one.folder / name).mkdir()

    return tamper


def shorts(*short: dict[str, int], **changes: Any) -> Tamper:
    return lambda one: one.edit(5, short_classes=list(short), **changes)


def written(name: str, text: str) -> Tamper:
    def tamper(one: Submission) -> None:
        (one.folder / name).write_text(text)
        one.seal()

    return tamper


def readme(text: str) -> Tamper:
    return written("README.md", text)


def linked_to_itself(one: Submission) -> None:
    file = one.npz()
    file.unlink()
    file.symlink_to(file.name)


def in_capitals(one: Submission) -> None:
    (one.folder / "digits").rename(one.folder / "Digits")
    one.seal()


# Of a submission of a checkpoint that the registry holds.
KNOWN: dict[str, tuple[Tamper, str]] = {
    "a changed score": (tampering.change_score, "draw 0: test_score is 0.990000, and the predictions give 0.460512"),
    "every number improved": (tampering.improve_everything, "mean is 0.970000, and the predictions give"),
    "a changed mean": (lambda one: one.edit(mean=0.9), "mean is 0.900000, and the predictions give 0.530812"),
    "a narrower interval": (lambda one: one.edit(ci95=[0.53, 0.54]), "the interval's low end is 0.530000"),
    "an interval that covers less": (lambda one: one.edit(ci95_covers="test images only"), "5 draws cover draws and"),
    "swapped predictions": (tampering.swap_predictions, "draw 0: test_score"),
    "changed predictions": (lambda one: one.npz().write_bytes(one.npz(5).read_bytes()), "its sha256 is not the one in"),
    "missing predictions": (tampering.without_predictions, "is missing, so nothing can be scored again"),
    "a foreign draw": (tampering.a_foreign_draw, "draw 2 is not the registry's: its digest is abababab"),
    "a test id in a draw": (tampering.a_test_id_in_a_draw, "draw 0 is not the registry's"),
    "the same draw twice": (
        lambda one: one.trial(number=1, draw_digest=one.values()["trials"][0]["draw_digest"]),
        "two draws are the same",
    ),
    "another weights digest": (tampering.another_weights_digest, "its weights digest differs from that of 3 other"),
    "other weights in the manifest": (lambda one: one.manifest(weights_digest="ef" * 32), "its weights digest is not"),
    "a version that never was": (lambda one: one.edit(protocol_version=0), "protocol_version"),
    "an older protocol": (lambda one: one.edit(protocol_version=1), "incomplete: digits at 1 shot is missing"),
    "a future protocol": (lambda one: one.edit(protocol_version=99), "unknown version 99 of protocol default"),
    "an unknown protocol": (lambda one: one.edit(protocol="mine"), "protocol 'mine' is not in the registry"),
    "a layer that there is not": (
        lambda one: one.edit(checkpoint=one.values()["checkpoint"] | {"layer": "cls"}),
        "layer is 'cls', and efficientnet_lite0_in1k offers pooled, block:0 to block:4",
    ),
    "what is no layer": (
        lambda one: one.edit(checkpoint=one.values()["checkpoint"] | {"layer": "head"}),
        "layer is 'head', and efficientnet_lite0_in1k offers pooled",
    ),
    "a layer of another width": (
        lambda one: one.edit(checkpoint=one.values()["checkpoint"] | {"layer": "block:3"}),
        "features is 1280, and layer block:3 of efficientnet_lite0_in1k says 112",
    ),
    "a layer whose features these are not": (
        lambda one: one.edit(checkpoint=one.values()["checkpoint"] | {"layer": "block:3", "features": 112}),
        "train features are not those of the entry efficientnet_lite0_in1k on these images",
    ),
    "a duplicated row": (tampering.a_duplicate, "is a duplicate: the same cell as"),
    "a member outside": (tampering.a_member_outside, "its member '../../outside.npy' points outside"),
    "a link outside": (tampering.a_link_outside, "is a symbolic link to /etc/passwd"),
    "a linked folder": (tampering.a_linked_folder, "digits: is a symbolic link"),
    "a pickle": (tampering.a_pickle, "holds pickled objects, which could run code"),
    "a bomb": (tampering.a_bomb, "is not as long as its header says"),
    "a truncated file": (tampering.truncated, "is damaged or no .npz file"),
    "a huge file": (tampering.a_huge_file, "is too large: 34.6 MB"),
    "wrong test labels": (tampering.other_labels, "test labels are not the data set's"),
    "easy test images": (tampering.an_easy_part_of_the_test_images, "test images and 0 skipped, of 899"),
    "skipped hard images": (tampering.skipping_hard_images, "was left out, and can be read here"),
    "a missing draw": (tampering.a_trial_less, "draws [1, 2, 3, 4], where 0, 1, ... belong"),
    "a missing cell": (
        tampering.without_a_cell,
        "incomplete: digits at 1 shot is missing",
    ),
    "an edited entry": (tampering.an_edited_entry, "differs from the registry's entry in pretraining"),
    "edited facts": (
        lambda one: one.edit(checkpoint=one.values()["checkpoint"] | {"method": "image-image"}),
        "method is 'image-image', and the entry",
    ),
    "an extra file": (tampering.an_extra_file, "does not belong here: only .json, .md, .npz, .toml files do"),
    "a file not in the manifest": (lambda one: (one.folder / "README.md").write_text("hi"), "is not in the manifest"),
    "a file the manifest has otherwise": (
        lambda one: one.json().write_text(json.dumps(one.values())),
        "its sha256 is not the manifest's",
    ),
    "no manifest": (lambda one: (one.folder / "manifest.json").unlink(), "is missing: make submissions with"),
    "a manifest of an older evaluator": (lambda one: one.manifest(evaluator_version=1), "gathered under evaluator 1"),
    "a manifest with a path outside": (
        lambda one: one.manifest(model="../efficientnet"),
        "manifest.json: is damaged or of another schema (model",
    ),
    "results of an older evaluator": (tampering.an_older_evaluator, "made by an older evaluator or otherwise"),
    "features of other preprocessing": (tampering.another_key, "its test features are not those of the entry"),
    "NaN": (tampering.not_a_number, "mean: "),
    "a score above 1": (lambda one: one.edit(mean=1.5), "less than or equal to 1"),
    "a class that is none": (tampering.out_of_range, "predictions run from 0 to 12, and the data set has 10 classes"),
    "a model outside": (lambda one: one.edit(model="../x"), "is of model '../x', which its folder is not"),
    "predictions outside": (
        lambda one: one.edit(predictions=one.values()["predictions"] | {"file": "../../x.npz"}),
        "names the predictions '../../x.npz'",
    ),
    "a published row": (lambda one: one.edit(provenance="published"), "the leaderboard holds measured results only"),
    "another metric": (lambda one: one.edit(metric="mean-per-class"), "metric is mean-per-class, and digits is scored"),
    "another data set": (lambda one: one.edit(dataset_fingerprint="12" * 32), "fingerprint is not that of the"),
    "a data set of one's own": (lambda one: one.edit(dataset="folder:mine"), "is not in the registry"),
    "other training images": (lambda one: one.edit(train_fingerprint="12" * 32), "its train fingerprint is not that"),
    "selection on test": (lambda one: one.edit(selection="test"), "selection is test, and protocol default selects"),
    "unchosen called chosen": (lambda one: one.trial(validation=0), "selection is validation with 0 validation images"),
    "fewer labels told": (lambda one: one.edit(labels_spent=10), "10 labels spent, and draw 0 has 10 + 10"),
    "a failed trial": (lambda one: one.trial(test_score=None, error="x"), "draw 0 failed, so there is no score"),
    "arguments that run": (tampering.arguments_that_run, "an entry may not give timm 'pretrained_image_path': only"),
    "a README that runs": (tampering.a_readme_that_runs, "README.md: is a pickle by its content"),
    "an entry of dots": (tampering.an_entry_of_dots, "nested too deeply: a key of 30001 parts"),
    "a pipe as the entry": (tampering.a_pipe_as(f"{MODEL}.toml"), f"{MODEL}.toml: is no plain file"),
    "a pipe as the manifest": (tampering.a_pipe_as("manifest.json"), "manifest.json: is no plain file"),
    "a pipe as a result": (tampering.a_pipe_as(".json"), "json: is no plain file"),
    "a pipe as predictions": (tampering.a_pipe_as(".npz"), "npz: is no plain file"),
    "many small predictions": (tampering.many_small_predictions, "has 899 ids, 899 labels and 20000000 images"),
    "many wrong values": (tampering.many_wrong_values, "500,000 values, where 50,000 are the most"),
    "a newer schema": (tampering.of_a_newer_schema, "is of schema 2, and this version of probebench knows 1: upgrade"),
    "a newer manifest": (lambda one: one.manifest(schema_version=3), "is of schema 3, and this version of"),
    "an empty mode": (lambda one: one.edit(mode=""), "mode is '', and protocol default has logistic"),
    "a choice beside the grid": (
        lambda one: one.trial(chosen={"C": 2.0}),
        "draw 0: C = 2 is not on the grid of protocol default",
    ),
    "a gap above the tolerance": (lambda one: one.trial(gap=0.1), "draw 0: converged with a gap of 0.1"),
    "TOML folded deeply": (tampering.folded_deeply, "nested too deeply"),
    "JSON folded deeply": (tampering.json_folded_deeply, "is damaged or of another schema"),
}

TITLE = "EfficientNet-Lite1, ImageNet-1k, supervised"
# Of a newcomer's submission, whose entry the registry does not hold.
NEW: dict[str, tuple[Tamper, str]] = {
    "an environment that is no number": (in_the_text('"environment": {', '"environment": {"x": NaN, '), "out of range"),
    "an endless environment": (in_the_text('"environment": {', '"environment": {"x": 1e999, '), "out of range"),
    "a long number": (in_the_text('"environment": {', f'"environment": {{"x": {"9" * 4000}, '), "out of range: 99999"),
    "an environment folded deeply": (
        in_the_text('"environment": {', '"environment": {"x": ' + "[" * 99 + "]" * 99 + ", "),
        "more than 5 inside one another",
    ),
    "an environment that reads backwards": (environment(note="\u202ex"), "which is no line of text"),
    "an environment of a novel": (environment(note="x" * 3000), "which is no line of text"),
    "versions that are none": (environment(versions=["a"]), "environment says ['a'] for versions"),
    "an extraction that is none": (environment(extraction="x"), "environment says 'x' for extraction"),
    "dirty that is a word": (environment(dirty="no"), "environment says 'no' for dirty"),
    "a mean told twice": (in_the_text('"mean":', '"mean": 0.99, "mean":'), "says 'mean' twice"),
    "a mode told twice": (in_the_text('"mode":', '"mode": "best", "mode":'), "says 'mode' twice"),
    "a model told twice": (in_the_text('"model":', '"model": "x", "model":', "manifest.json"), "says 'model' twice"),
    "a short class that is none": (shorts({"label": 0, "train": 0, "validation": 0}), "class 0 has 90 training"),
    "a short class twice": (
        shorts(*[{"label": 0, "train": 0, "validation": 0}] * 2),
        "short_classes name a class twice",
    ),
    "a short class of many": (shorts({"label": 0, "train": 10**30, "validation": 0}), "more images than their classes"),
    "fewer classes": (shorts(classes=2), "2 classes, and digits has 10"),
    "no train fingerprint": (lambda one: one.edit(train_fingerprint=None), "train_fingerprint is missing"),
    "a title of no width": (entry(title="\u200b\u2060"), HIDDEN),
    "a title of signs": (entry(title="..."), LETTERS),
    "a title that reads backwards": (entry(title="\u202etoor"), HIDDEN),
    "a title of marks": (entry(title="Z\u0337\u0321a\u0337lgo"), LETTERS),
    "a title of two lines": (entry(title="a\nb"), LETTERS),
    "a title of a page": (entry(title="W" * 2000), "one line of at most 200"),
    "a title with hidden tags": (entry(title="my net\U000e0041"), LETTERS),
    "a title that is HTML": (entry(title="<img src=x onerror=alert(1)>"), LETTERS),
    "a title in Armenian letters": (entry(title=TITLE.replace("n", "\u0578")), LETTERS),
    "a title in Cherokee letters": (entry(title=TITLE.replace("E", "\u13ac")), LETTERS),
    "a title in small capitals": (entry(title=TITLE.replace("i", "\u026a")), LETTERS),
    "a title without dots": (
        entry(title=TITLE.replace("i", "\u0131")),
        "its title reads like that of efficientnet_lite1",
    ),
    "an objective that looks alike": (entry(pretraining={"objective": "crоss-entropy"}), LETTERS),
    "an objective in capitals": (entry(pretraining={"objective": "Cross-Entropy"}), "reads like 'cross-entropy'"),
    "labels that are HTML": (entry(pretraining={"labels": "<b>human</b>"}), LETTERS),
    "a curation that reads backwards": (entry(pretraining={"curation": "\u2067namuh"}), HIDDEN),
    "a source that looks alike": (
        entry(pretraining={"sources": [{"name": "lmageNet-1k", "samples": 1281167}]}),
        "source 'lmageNet-1k' reads like 'ImageNet-1k'",
    ),
    "a source of more than there is": (
        entry(pretraining={"sources": [{"name": "X", "samples": 10**400}]}),
        "pretraining.sources.0.samples: ",
    ),
    "samples beyond all": (entry(pretraining={"samples_seen": 10**17}), "samples_seen: Input should be less than"),
    "a run beyond all": (entry(pretraining={"run": 10**400}), "pretraining.run: "),
    "epochs beyond all": (entry(pretraining={"epochs": 1e308}), "pretraining.epochs: "),
    "a width beyond all": (entry(output={"features": 10**400}), "output.features: "),
    "another width": (entry(output={"features": 7}), "features is 7, and pooled of its architecture has 1280"),
    "a licence that reads backwards": (entry(license="\u202eTIM"), HIDDEN),
    "a licence of marks": (entry(license="a" + "\u0301" * 1900), LETTERS),
    "a paper that is HTML": (entry(paper="<script>"), LETTERS),
    "a user before the host": (entry(weights={"uri": "https://github.com@evil.example/x"}), "names no user before"),
    "a host in wide letters": (entry(weights={"uri": "https://ｅxample.org/x"}), "is written in ASCII"),
    "a long address": (entry(weights={"uri": "https://example.org/" + "x" * 5000}), "at most 2000 characters"),
    "an argument in another": (entry(architecture={"kwargs": {"num_classes": {"url": "x"}}}), "num_classes is a whole"),
    "an argument of no width": (entry(architecture={"kwargs": {"num_classes\u2063": 1}}), "may not give timm"),
    "an argument in capitals": (entry(architecture={"kwargs": {"Num_Classes": 1}}), "may not give timm 'Num_Classes'"),
    "an argument that says yes": (entry(architecture={"kwargs": {"num_classes": True}}), "num_classes is a whole"),
    "a network from a hub": (entry(architecture={"name": "hf-hub:timm/x"}), "is no name of an architecture"),
    "a network from the disk": (entry(architecture={"name": "local-dir:/tmp"}), "is no name of an architecture"),
    "a shape below zero": (archive(lambda one: one.update({"y_true.npy": header((-1,))})), "as long as its header"),
    "a shape without end": (archive(lambda one: one.update({"y_true.npy": header((2**62,))})), "as long as its header"),
    "letters without end": (
        archive(lambda one: one.update({"test_ids.npy": header((0,), "<U99999999")})),
        "its member test_ids.npy has dtype",
    ),
    "an archive in an archive": (
        archive(lambda one: one.update({"y_pred.npy": b"PK\x03\x04" * 50})),
        "is damaged or no",
    ),
    "a header that runs": (
        archive(lambda one: one.update({"y_true.npy": b"\x93NUMPY\x01\x00\x3c\x00" + b"__import__('os')".ljust(60)})),
        "is damaged or no .npz file",
    ),
    "a long header": (
        archive(lambda one: one.update({"y_true.npy": b"\x93NUMPY\x01\x00\x60\xea" + b"{" * 60_000})),
        "is damaged or no .npz file",
    ),
    "a member in capitals": (archive(len, (("Y_pred.npy", b""),)), "'Y_pred.npy' does not belong there"),
    "a member of Windows": (archive(len, (("..\\..\\x", b""),)), "points outside"),
    "a member at the root": (archive(len, (("/etc/x", b""),)), "points outside"),
    "a member that is a folder": (archive(len, (("y_pred.npy/", b""),)), "does not belong there"),
    "something before the archive": (
        lambda one: one.replace_npz(b"PK\x03\x04" + b"x" * 96 + one.npz().read_bytes()),
        "holds something else before its first member",
    ),
    "something behind the archive": (lambda one: one.replace_npz(one.npz().read_bytes() + b"x"), "does not end as one"),
    "a folder as the manifest": (a_folder_as("manifest.json"), "manifest.json: is a folder, and no file"),
    "a folder as the entry": (a_folder_as("my_net.toml"), "my_net.toml: is a folder, and no file"),
    "a folder as the README": (a_folder_as("README.md"), "README.md: is a folder, and no file"),
    "a folder as a result": (
        lambda one: a_folder_as(f"digits/{one.json().name}")(one),
        "json: is a folder, and no file",
    ),
    "a link to itself": (linked_to_itself, "is a symbolic link to"),
    "a README that reads backwards": (readme("safe \u202e"), HIDDEN),
    "a name in other letters": (lambda one: (one.folder / "RЕADME.md").write_text("x"), "its name is not made of"),
    "a folder in capitals": (in_capitals, "Digits"),
    "a table without end": (
        written("my_net.toml", "[[a]]\n" * 9000),
        "my_net.toml: ",
    ),
    "a number without end": (
        written("my_net.toml", "a = " + "9" * 60_000),
        "my_net.toml: not TOML",
    ),
    "dots between quotes": (
        written("my_net.toml", "'a'" + ".'a'" * 12_000 + " = 1"),
        "nested too deeply",
    ),
}


def make_newcomer(known: Submission) -> Submission:
    """The same results under an entry that the registry does not hold."""
    one = Submission(known.folder.with_name("my_net"))
    known.folder.rename(one.folder)
    path = one.folder / f"{known.folder.name}.toml"
    values = tomllib.loads(path.read_text())
    path.unlink()
    values |= {"id": "my_net", "title": "My network"}
    values["weights"] |= {"uri": "https://example.org/my_net.safetensors", "sha256": "12" * 32}
    (one.folder / "my_net.toml").write_text(tomli_w.dumps(values))
    for shots in SHOTS:
        held = one.values(shots)
        one.edit(shots, model="my_net", checkpoint=held["checkpoint"] | {"title": "My network"})
    path = one.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "my_net"}))
    return one
