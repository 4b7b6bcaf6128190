"""Linear maps whose matrix products run at the speed of the processor.

On x86 torch gives products of float32 to MKL, which on AMD processors does not use AVX-512;
oneDNN, which comes with torch too, does, and is twice as fast there (docs/encoder.md).
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

MIN_ROWS = 128
"""With fewer rows than this, bringing the weights into oneDNN's layout costs what it gains."""


class Linear(nn.Linear):
    """`torch.nn.Linear` by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n) to (..., m)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map (..., n) to (..., m) with weights (m, n), as `torch.nn.functional.linear` does.

    Which library computes it depends on device, type and number of rows; the results differ
    by rounding, about 1e-6 of the largest.
    """
    rows = math.prod(x.shape[:-1])
    if rows >= MIN_ROWS and _takes_onednn(x) and _mkl_is_slow():
        mapped: Tensor = _OneDnnLinear.apply(x, weight, bias)
        return mapped
    return functional.linear(x, weight, bias)


def _takes_onednn(x: Tensor) -> bool:
    plain = x.device.type == "cpu" and x.dtype == torch.float32
    return plain and not torch.is_autocast_enabled("cpu")


@cache
def _mkl_is_slow() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    libraries = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return libraries and cpuinfo.is_file() and "AuthenticAMD" in cpuinfo.read_text()


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``x @ weight.T + bias`` by oneDNN: operators that torch.compile emits as well."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return product


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        upper = gradients[0].contiguous()
        rows = upper.flatten(end_dim=-2)
        into_x = _product(upper, weight.t().contiguous(), None) if wanted[0] else None
        turned = x.flatten(end_dim=-2).t().contiguous() if wanted[1] else None
        into_weight = None if turned is None else _product(rows.t().contiguous(), turned, None)
        return into_x, into_weight, rows.sum(dim=0) if wanted[2] else None
