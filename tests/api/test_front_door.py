"""What ``import probebench`` promises: it starts at once, and no package ever takes the place of a function."""

import inspect
import random
import subprocess
import sys

import pytest

import probebench as pb

HEAVY = ("torch", "numpy", "pandas", "pydantic", "h5py", "sklearn", "PIL")
# Other packages are loaded once; of probebench every order starts from nothing.
ORDER = """
import importlib, pkgutil, random, sys
def names(pb):
    return {name: getattr(pb, name) for name in random.sample(pb.__all__, len(pb.__all__))}
def refused(call):
    try:
        call()
    except pb.UsageError:
        return
    raise AssertionError(call)
for seed in (1,):
    for name in [name for name in sys.modules if name.partition(".")[0] == "probebench"]:
        del sys.modules[name]
    import probebench as pb
    random.seed(seed)
    before = names(pb) if seed % 2 else {}
    modules = [one.name for one in pkgutil.walk_packages(pb.__path__, "probebench.") if "__main__" not in one.name]
    random.shuffle(modules)
    for module in modules:
        importlib.import_module(module)
    first, again = names(pb), names(pb)
    assert first == again and (not before or before == first)
    for name, value in first.items():
        assert callable(value) and value.__name__ == name, (name, value)
    for place in ("no/such/folder", "no/such/folder"):
        for call in (pb.load_results, pb.run_study, pb.build_leaderboard):
            refused(lambda: call(place))
        refused(lambda: pb.compare("a", "b", results=place))
        refused(lambda: pb.extract("no-model", "digits"))
        refused(lambda: pb.load_features("no-model", "digits"))
        refused(lambda: pb.evaluate("no-model"))
        refused(lambda: pb.zeroshot("no-model"))
        refused(lambda: pb.finetune("no-model", "digits"))
"""


def python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


def test_it_starts_at_once() -> None:
    code = "import sys; before = {*sys.modules}; import probebench; new = {*sys.modules} - before"
    code += f"; assert not new & {{*{HEAVY}}} and not [name for name in new if name.startswith('probebench.')], new"
    python(code)


def test_pandas_loads_only_when_it_is_asked_for() -> None:
    python(
        # scikit-learn, of which LogisticProbe is an estimator, loads pandas itself where it is installed.
        "import probebench as pb, sys; [getattr(pb, name) for name in pb.__all__ if name != 'LogisticProbe']; "
        "assert 'pandas' not in sys.modules; pb.Results([]).to_frame(); assert 'pandas' in sys.modules"
    )


def test_names_stay_functions_whatever_is_imported_in_any_order() -> None:
    python(ORDER)


def test_every_name_is_listed_typed_and_documented() -> None:
    assert set(pb.__all__) <= set(dir(pb)) and pb.__version__
    for name in random.sample(pb.__all__, len(pb.__all__)):
        value = getattr(pb, name)
        assert value is getattr(pb, name) and inspect.getdoc(value), name
        if inspect.isfunction(value):
            parameters = inspect.signature(value).parameters.values()
            assert all(one.annotation is not inspect.Parameter.empty for one in parameters), name
            if value.__module__.startswith("probebench.api"):
                documented = inspect.getdoc(value) or ""
                assert not [one.name for one in parameters if f"{one.name}:" not in documented], name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(pb, "nonsense")  # noqa: B009
