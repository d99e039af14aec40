"""One real product and its gradients through Transformer Engine: the only proof on cards its rules do not know."""

from __future__ import annotations

import torch

from trainer.errors import TrainerError
from trainer.precision.resolved import Resolved
from trainer.precision.te import spelling

SIZE = 256


def probe(name: str, device: str = "cuda") -> str:
    """Why this precision does not work here, in one line; empty where it does."""
    try:
        te = spelling.package()
        yes, why = spelling.available(te, name)
        if not yes:
            return why or "Transformer Engine says so"
        layer = te.Linear(SIZE, SIZE, bias=False, params_dtype=torch.bfloat16, device=device)
        x = torch.randn(SIZE, SIZE, dtype=torch.bfloat16, device=device, requires_grad=True)
        with spelling.region(te, True, spelling.recipe(Resolved(name, "te", "a probe", device))):
            y = layer(x)
        y.float().sum().backward()
        found = bool(torch.isfinite(y).all()) and bool(torch.isfinite(layer.weight.grad).all())
        return "" if found else "a product of finite numbers was not finite"
    except TrainerError as error:
        return error.what
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
