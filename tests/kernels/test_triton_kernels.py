"""Triton's compiler takes the kernels: it minds types and shapes that the interpreter lets pass, and needs no GPU."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")
import triton.backends.compiler as backends
import triton.compiler as compiler

from tailwise.kernels import triton, triton_kernels
from tailwise.kernels.problem import Problem

SMALLEST = 99 << 10
"""Bytes of shared memory that a kernel may use on every GPU from sm_80 on."""
IDS = dict.fromkeys(["labels", "key_labels", "index", "key_index"], "*i64")
SIZES = dict.fromkeys(["B", "K", "tiles", "share_of_tiles", "stride"], "i32")
NAMES = ["touch", "forward", "key_gradients", "own_gradients"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("d", "dtype", "special"), [(128, torch.bfloat16, {}), (20, torch.float32, {"B": 1, "K": 1})])
def test_the_compiler_for_hopper_takes_it(
    name: str, d: int, dtype: torch.dtype, special: dict[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Sizes of one are constants to Triton. The products are those of Hopper's tensor cores."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    rows, ones = torch.zeros(300, d, dtype=dtype), torch.zeros(300)
    by = triton.BY_KEYS if name == "key_gradients" else triton.BY_QUERIES
    options = triton.cut(Problem(rows, rows, ones, ones, ones, ones, ones), by).options | special
    vectors = dict.fromkeys(["queries", "keys", "key_grad"], "*bf16" if dtype == torch.bfloat16 else "*fp32")
    types = vectors | IDS | SIZES | {"touched": "*i8"} | dict.fromkeys(options, "constexpr")
    kernel = getattr(triton_kernels, name)
    signature = {x: types.get(x, "*fp32") for x in kernel.arg_names}
    source = compiler.ASTSource(kernel, signature, {x: options[x] for x in signature if x in options})
    launch = {x: options[x] for x in ("num_warps", "num_stages", "enable_fp_fusion")}
    built = compiler.compile(source, target=backends.GPUTarget("cuda", 90, 32), options=launch)
    assert built.metadata.shared <= SMALLEST
    assert ("wgmma" in built.asm["ptx"]) == (name != "touch")
