"""The Triton backend in Triton's interpreter."""

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tailwise import kernels


def interpreted(dot: Any) -> Any:
    """The interpreter's dot multiplies the bits of bfloat16 as integers: give it their values."""
    import triton.language as tl

    interpreter = importlib.import_module("triton.runtime.interpreter")

    def values(x: Any) -> Any:
        return interpreter.TensorHandle((x.data.astype("uint32") << 16).view("float32"), tl.float32)

    def fixed(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return dot(self, *(values(x) if x.dtype == tl.bfloat16 else x for x in (a, b)), *rest)

    return fixed


@pytest.fixture(scope="module")
def backend() -> Iterator[ModuleType]:
    """A second copy of the backend, interpreted; afterwards Triton and tailwise are as they were."""
    triton = pytest.importorskip("triton")
    tl = pytest.importorskip("triton.language")  # before the interpreter is asked for, so that other tests find it compiled
    interpreter = importlib.import_module("triton.runtime.interpreter")
    saved = [(place, dict(vars(place))) for place in (tl, tl.core, tl.standard)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        patch.setattr(interpreter.InterpreterBuilder, "create_dot", interpreted(interpreter.InterpreterBuilder.create_dot))
        for place, names in saved:
            for name, value in names.items():
                if isinstance(value, triton.JITFunction):
                    setattr(place, name, interpreter.InterpretedFunction(value.fn))
        for name in ("triton_kernels", "triton"):
            spec = importlib.util.find_spec(f"tailwise.kernels.{name}")
            assert spec is not None
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, f"tailwise.kernels.{name}", module)
            patch.setattr(kernels, name, module, raising=False)
            spec.loader.exec_module(module)  # type: ignore[union-attr]
        yield module
        for place, names in saved:  # the interpreter leaves some of tl.core replaced
            for name, value in names.items():
                setattr(place, name, value)


@pytest.fixture
def small(backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """With blocks of 16 and 32, so that small problems have many."""
    monkeypatch.setattr(backend, "BY_QUERIES", {1024: backend.Blocks(16, 32, 1, 1)})
    monkeypatch.setattr(backend, "BY_KEYS", {1024: backend.Blocks(32, 16, 1, 1)})
    return backend
