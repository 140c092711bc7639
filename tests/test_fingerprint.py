import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probebench.fingerprint import canonical_json, file_sha256, fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_known_value() -> None:
    assert canonical_json({"b": 1, "a": [1.5, "é", None]}) == '{"a":[1.5,"é",null],"b":1}'
    assert fingerprint({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


@settings(max_examples=30)
@given(st.dictionaries(st.text(), JSON.filter(lambda value: "\ud800" not in repr(value)), min_size=2))
def test_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    try:
        expected = fingerprint(value)
    except UnicodeEncodeError:
        return
    assert fingerprint(dict(reversed(value.items()))) == expected


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError):
        fingerprint({"a": float("nan")})


def test_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert file_sha256(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()
