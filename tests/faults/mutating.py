"""Mutations that know a schema: every field of a model, also those that a file leaves out, and values that fit it."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

# Words that some field has, near misses of them, and texts that a terminal, a page or a table may stumble over.
WORDS = (
    *(
        "",
        " ",
        "default",
        "logistic",
        "probe",
        "knn",
        "finetune",
        "zeroshot",
        "cosine",
        "text",
        "full",
        "torch",
        "numpy",
    ),
    *(
        "sklearn",
        "cuml",
        "fp32",
        "bf16",
        "digits",
        "fashion_mnist",
        "pooled",
        "block:3",
        "none",
        "unknown",
        "unverified",
    ),
    *(
        "default ",
        "Default",
        "defаult",
        "de\u200bfault",
        "\u202etluafed",
        "cafe\u0301",
        "<b>x</b>",
        "x\ny",
        "../x",
        "1e999",
    ),
    *("random:0", "user", "file:/x", "https://example.org/x", "hf://a/b@1/x", "timm://x", "pkg://probebench/x"),
)
JUNK: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    0.5,
    10**18,
    2**63,
    "x",
    [],
    {},
    [None],
    {"x": {"x": {"x": 1}}},
    "9" * 500,
)
Path_ = tuple[str, ...]
Schema = dict[str, Any]


class Mutator:
    """Mutates files of one model, and counts which fields it has changed."""

    def __init__(self, model: type[BaseModel], chance: random.Random) -> None:
        self._schema, self._chance = model.model_json_schema(), chance
        self.fields = dict(self._walk(self._schema, ()))
        self.counts: Counter[Path_] = Counter()

    def _walk(self, schema: Schema, path: Path_) -> Iterator[tuple[Path_, Schema]]:
        """Yields every field by its path, where ``*`` stands for any item of a list or value of a mapping."""
        schema = self._resolved(schema)
        if path:
            yield path, schema
        for name, inner in schema.get("properties", {}).items():
            yield from self._walk(inner, (*path, name))
        for inner in (schema.get("items"), schema.get("additionalProperties"), *schema.get("prefixItems", [])[:1]):
            if isinstance(inner, dict):
                yield from self._walk(inner, (*path, "*"))
        for inner in schema.get("anyOf", ()):
            for deeper, found in self._walk(inner, path):
                if deeper != path:
                    yield deeper, found

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._schema["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        return schema

    @property
    def untouched(self) -> list[str]:
        """Fields that no mutation has changed."""
        return [".".join(path) for path in self.fields if not self.counts[path]]

    def pick(self) -> Path_:
        """Returns the path of one of the fields that were changed least."""
        least = min(self.counts[path] for path in self.fields)
        return self._chance.choice([path for path in self.fields if self.counts[path] == least])

    def mutate(self, path: Path_, *files: dict[str, Any]) -> None:
        """Puts another value into a field of each of some files, the same one where they agree on the field."""
        self.counts[path] += 1
        state = self._chance.getstate()
        for values in files:
            # What is chosen depends on chance alone, so files that are alike change alike.
            self._chance.setstate(state)
            self._mutate(values, path, self.fields[path])

    def _mutate(self, holder: Any, path: Path_, schema: Schema) -> None:
        *above, last = path
        for name in above:
            holder = self._step(holder, name)
            if holder is None:
                return
        key = self._key(holder, last)
        if key is None:
            return
        now = holder[key] if isinstance(holder, list) else holder.get(key)
        if isinstance(holder, dict) and self._chance.random() < 0.1:
            holder.pop(key, None)
        elif self._chance.random() < 0.1:
            holder[key] = self._chance.choice(JUNK)
        else:
            holder[key] = self._value(schema, now)

    def _step(self, holder: Any, name: str) -> Any:
        """Goes into a field; one that is not there is made, where that can be."""
        key = self._key(holder, name)
        if key is None:
            return None
        if isinstance(holder, dict) and not isinstance(holder.get(key), dict | list):
            holder[key] = {}
        return holder[key] if isinstance(holder[key], dict | list) else None

    def _key(self, holder: Any, name: str) -> Any:
        if name != "*":
            return name if isinstance(holder, dict) else None
        if isinstance(holder, list):
            return self._chance.randrange(len(holder)) if holder else None
        return self._chance.choice(sorted(holder)) if holder else self._chance.choice(WORDS)

    def _value(self, schema: Schema, now: Any) -> Any:
        """Returns a value that fits, where the schema says what does."""
        chance, schema = self._chance, self._resolved(schema)
        if "anyOf" in schema:
            return self._value(chance.choice(schema["anyOf"]), now)
        if "enum" in schema or "const" in schema:
            return chance.choice(schema.get("enum") or [schema["const"]])
        kind = schema.get("type")
        if kind == "boolean":
            return not now
        if kind in ("integer", "number"):
            return self._number(schema, now)
        if kind == "string":
            return self._text(schema, now)
        if kind == "array":
            held = now if isinstance(now, list) else []
            more = [self._value(schema["items"], held[-1] if held else None)] if "items" in schema else held[-1:]
            return chance.choice([held[:-1], held + held[-1:], held[::-1], [], held + more, more])
        if kind == "object":
            inside = dict(now) if isinstance(now, dict) else {}
            inner = sorted(name for name, value in inside.items() if isinstance(value, dict))
            if inner and schema.get("additionalProperties") is True and chance.random() < 0.7:
                # Of what has no schema any depth is changed.
                name = chance.choice(inner)
                inside[name] = self._value(schema, inside[name])
            elif inside and chance.random() < 0.5:
                inside.pop(chance.choice(sorted(inside)))
            else:
                inside[chance.choice(WORDS)] = chance.choice([*inside.values(), *JUNK])
            return inside
        return None if kind == "null" else chance.choice(JUNK)

    def _number(self, schema: Schema, now: Any) -> Any:
        chance = self._chance
        near = now if isinstance(now, int | float) and not isinstance(now, bool) else 1
        bounds = [schema[name] for name in ("minimum", "maximum", "exclusiveMinimum") if name in schema]
        if schema["type"] == "integer":
            return chance.choice(
                [near + 1, near - 1, near * 2, 0, -near, 10**18, *bounds, *(one - 1 for one in bounds)]
            )
        return chance.choice(
            [near * 1.01, near + 1e-4, near + 1e-10, near + 0.05, 1.0, 0.0, -near, near * 1e9, *bounds]
        )

    def _text(self, schema: Schema, now: Any) -> str:
        chance, near = self._chance, now if isinstance(now, str) else "x"
        if "{64}" in schema.get("pattern", ""):
            return chance.choice(["".join(chance.choice("0123456789abcdef") for _ in range(64)), near[::-1], "0" * 64])
        alike = near.translate(str.maketrans("oae01l", "оаеOl1"))
        return chance.choice([*WORDS, alike, near.swapcase(), f"{near} ", f"{near}\u0301", near[:-1], near[::-1]])
