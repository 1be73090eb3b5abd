"""Which number format the networks compute in."""

from __future__ import annotations

import torch


def network_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device has instructions for it, else float32; for autocast around the networks.

    CPU: AVX512-BF16 or AMX (without them bfloat16 is emulated and slower). CUDA: compute capability 8.0 or
    newer. Other devices: float32. The contextual loss is float32 everywhere, see `affinity.full_precision`.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            usable = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        # Private, and named differently over the versions of torch: one that lacks them counts as without.
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        usable = any(bool(getattr(torch.cpu, check, bool)()) for check in checks)
    else:
        usable = False
    return torch.bfloat16 if usable else torch.float32
