"""How closely two computations of one number must agree, by the coarser one's precision."""

import torch

TOLERANCE = {
    torch.float64: {"rtol": 1e-9, "atol": 1e-12},
    torch.float32: {"rtol": 1e-5, "atol": 1e-6},
    torch.float16: {"rtol": 2.5e-3, "atol": 2.5e-3},
    torch.bfloat16: {"rtol": 2e-2, "atol": 2e-2},
}
