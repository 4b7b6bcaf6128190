"""Linear maps whose matrix products run at the speed of the processor.

On x86 torch gives products of float32 to MKL, which leaves AVX-512 unused on AMD processors.
oneDNN, which comes with torch too, uses it: twice as fast on a Zen 5. On a Zen 4, whose AVX-512
works in halves, it only costs copies (docs/encoder.md).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

_ZEN_5 = 26
"""AMD's number of the processor family. Zen 4 is in 25."""


class Linear(nn.Linear):
    """`torch.nn.Linear` by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n) to (..., m)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map (..., n) to (..., m) with weights (m, n), as `torch.nn.functional.linear` does.

    Which library computes it depends on the processor; results differ by rounding, about 1e-6
    of the largest.
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and _prefers_onednn():
        return functional.linear(x.to_mkldnn(), weight, bias).to_dense()
    return functional.linear(x, weight, bias)


def _prefers_onednn() -> bool:
    # Neither autocast nor the compiler takes oneDNN's tensors.
    taken = torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    return not taken and _mkl_is_slow()


@cache
def _mkl_is_slow() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    backends = (torch.backends.mkl, torch.backends.mkldnn)
    both = all(backend.is_available() for backend in backends)
    if not both or not cpuinfo.is_file():
        return False
    about = cpuinfo.read_text()
    family = re.search(r"^cpu family\s*: (\d+)$", about, re.MULTILINE)
    return "AuthenticAMD" in about and family is not None and int(family[1]) >= _ZEN_5
