"""Makes tests/golden/performer.npz: what performer-pytorch computes.

Regenerate when performer-pytorch changes its arithmetic, or when this script asks it
for something else; never because our own code changed:

    make test-all                                          # brings torch along
    .venv/bin/python -m tests.parity.make_performer_golden

The layers are as in scBERT: LayerNorm first, FAVOR+ without causal mask, no bias on
queries, keys and values, exact GELU, no dropout. performer-pytorch 1.1.4 takes the
stabiliser of the keys per cell and head, as we do; nothing in it is patched.
"""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden" / "performer.npz"
DEPTH, DIM, HEADS, KEY_SIZE = 2, 24, 3, 16
CELLS, TOKENS = 3, 37


def reference(seed: int) -> dict[str, np.ndarray]:
    """Runs performer-pytorch in float64 on random weights and inputs.

    Returns:
        x, y [cells, tokens, dim]; cotangent, that makes the loss sum(y · cotangent);
        gradient/x; and for each parameter NAME of torch weight/NAME, gradient/NAME;
        weight/… also holds the random projections. Inputs and weights are float32,
        which float64 holds exactly; gradients are rounded to float32 for size.
    """
    import torch
    from performer_pytorch import Performer

    torch.manual_seed(seed)
    performer = Performer(
        dim=DIM, depth=DEPTH, heads=HEADS, dim_head=KEY_SIZE, qkv_bias=False
    )
    with torch.no_grad():
        for name, parameter in performer.named_parameters():
            # Fresh LayerNorms and biases are ones and zeros: they would hide a swap.
            parameter += 0.1 * torch.randn_like(parameter)
            if "to_q" in name or "to_k" in name:
                parameter *= 3  # attention far from uniform
    performer.double().eval()
    x = torch.randn(CELLS, TOKENS, DIM).double().requires_grad_()
    cotangent = torch.randn(CELLS, TOKENS, DIM).double()
    y = performer(x)
    (y * cotangent).sum().backward()

    arrays = {"x": x, "cotangent": cotangent, "gradient/x": x.grad}
    for name, parameter in performer.named_parameters():
        arrays |= {f"weight/{name}": parameter, f"gradient/{name}": parameter.grad}
    for name, buffer in performer.named_buffers():
        if name.endswith("projection_matrix"):
            arrays[f"weight/{name}"] = buffer
    rounded = {name: _numpy(array, np.float32) for name, array in arrays.items()}
    return rounded | {"y": _numpy(y, np.float64)}


def _numpy(tensor, dtype: type) -> np.ndarray:
    return tensor.detach().numpy().astype(dtype)


if __name__ == "__main__":
    np.savez_compressed(GOLDEN, **reference(seed=0))
    print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes")
