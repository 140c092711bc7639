"""Weights files that users give: checked once, kept under the home folder, found again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.errors import UsageError, WeightsError, one_line
from probebench.files import replacing, write_whole
from probebench.fingerprint import canonical_json
from probebench.registry.checkpoint import MODULE
from probebench.registry.load import shipped_registry
from probebench.registry.recipe_uri import SCHEME, RecipeUri
from probebench.registry.schema import CheckpointSpec

if TYPE_CHECKING:
    from probebench.backbones.adapters import StateDict


def require_weights(spec: CheckpointSpec, home: Path) -> None:
    """Checks that a checkpoint whose weights only a user can give, or make, has got them. Loads no torch.

    Raises:
        UsageError: The entry takes a user's file and none was given yet, or is of a module of a Python session.
        WeightsError: The registered file is damaged or gone, or nobody has run the recipe here yet.
    """
    if spec.weights.scheme == MODULE:
        raise UsageError(
            f"{spec.id} is a module of a Python session, which alone can run it; extract it there: "
            f"probebench.extract(module, dataset, transform=..., name={spec.id!r})"
        )
    if spec.weights.scheme == SCHEME and UserWeights.find(home, spec.id) is None:
        raise WeightsError(
            f"the weights of {spec.id} are not on this machine; make them: {RecipeUri.parse(spec.weights.uri).command}"
        )
    if spec.weights.scheme == "user" and UserWeights.find(home, spec.id) is None:
        raise UsageError(
            f"the weights of {spec.id} were never published; give a file once: "
            f"probebench extract --model {spec.id} --weights PATH"
        )


@dataclass(frozen=True)
class UserWeights:
    """A user's file, kept under the home folder for one checkpoint id."""

    path: Path
    digest: str
    source: str

    @staticmethod
    def _record(home: Path, model: str) -> Path:
        return home / "weights" / model / "registered.json"

    @classmethod
    def find(cls, home: Path, model: str) -> "UserWeights | None":
        """Returns the file registered for a checkpoint, or one that is shipped for it, or None.

        Raises:
            WeightsError: The record is damaged or its file is gone.
        """
        records = [cls._record(root, model) for root in (home, shipped_registry())]
        record = next((one for one in records if one.is_file()), None)
        if record is None:
            return None
        again = f"register the file again: probebench extract --model {model} --weights PATH"
        try:
            values = json.loads(record.read_text())
            found = cls(record.parent / Path(values["file"]).name, values["digest"], values["source"])
        except (ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{record} is damaged; {again}") from error
        if not found.path.is_file():
            raise WeightsError(f"registered weights {found.path} are gone; {again}")
        return found

    def forget(self) -> None:
        """Removes the file and its record."""
        self.path.unlink(missing_ok=True)
        (self.path.parent / "registered.json").unlink(missing_ok=True)

    @classmethod
    def register(cls, home: Path, model: str, state: "StateDict", digest: str, source: Path) -> "UserWeights":
        """Keeps a copy of the tensors alone (safetensors), written under a temporary name first."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        folder = cls._record(home, model).parent
        file = folder / f"{digest[:16]}.safetensors"
        try:
            with replacing(file) as partial:
                # clone: safetensors refuses tensors that share memory
                save_file({name: value.clone().contiguous() for name, value in state.items()}, partial)
        except SafetensorError as error:
            raise WeightsError(f"could not keep a copy of {source} in {folder}: {one_line(error)}") from error
        record = cls._record(home, model)
        text = canonical_json({"file": file.name, "digest": digest, "source": str(source)})
        write_whole(record, text)
        for older in folder.glob("*.safetensors"):
            if older != file:
                older.unlink()
        return cls(file, digest, str(source))
