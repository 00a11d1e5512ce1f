"""PyTorch's side of a conversion's self-check: its ``nn.GRU`` built and run, or its documented formula."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from grus.conversion import formulas
from grus.conversion.check import Theirs, check_same
from grus.conversion.conventions import CONVENTIONS
from grus.conversion.report import Report
from grus.layer import GRU
from grus.parameters import suffix

Array = np.ndarray[Any, np.dtype[Any]]
Stacked = list[list[dict[str, Array]]]  # [layer][direction], each by name without its end
_NAME = CONVENTIONS["torch"].library


def check_state(gru: GRU, stacked: Stacked, torch: Any, report: Report | None) -> None:
    """Ours against PyTorch with their arrays, or where it is None against its documented formula, in float64."""
    if torch is None:
        wide = [[{k: a.astype("float64") for k, a in cell.items()} for cell in layer] for layer in stacked]
        steps = [[formulas.torch(cell) for cell in layer] for layer in wide]
        check_same(gru, lambda x, h0: formulas.over_time(steps, x, h0), "PyTorch's formula", report=report)
        return
    named = {
        f"{field}{suffix(k, d)}": a
        for k, layer in enumerate(stacked)
        for d, cell in enumerate(layer)
        for field, a in cell.items()
    }
    check_same(gru, module_runs(torch, built(torch, gru, named)), _NAME, report=report)


def built(torch: Any, gru: GRU, state: Mapping[str, Array]) -> Any:
    """An ``nn.GRU`` of the GRU's sizes with these arrays; PyTorch's random state is left as it is."""
    dropout = gru.dropout if gru.num_layers > 1 else 0.0  # there is none between layers then, and PyTorch warns
    module = torch.nn.GRU(
        gru.input_size, gru.hidden_size, gru.num_layers, bias=gru.bias, batch_first=gru.batch_first,
        dropout=dropout, bidirectional=gru.bidirectional, dtype=getattr(torch, gru.dtype.name), device="meta",
    ).to_empty(device="cpu")  # fmt: skip
    module.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    return module.eval()


def module_runs(torch: Any, module: Any) -> Theirs:
    """A copy of the module, in float64."""
    twin = copy.deepcopy(module).to("cpu", torch.float64).eval()

    def run(x: Array, h0: Array) -> tuple[Array, Array]:
        x_t, h = torch.tensor(x), torch.tensor(h0)
        with torch.no_grad():
            if isinstance(twin, torch.nn.GRUCell):
                output, (h,) = [], h
                for each in x_t.unbind(1):
                    output.append(h := twin(each, h))
                return torch.stack(output, 1).numpy(), h[None].numpy()
            output, h_n = twin(x_t if twin.batch_first else x_t.transpose(0, 1), h)
        return (output if twin.batch_first else output.transpose(0, 1)).numpy(), h_n.numpy()

    return run


def library() -> Any:
    try:
        import torch
    except ImportError:
        raise ImportError('converting to and from PyTorch needs torch: pip install "grus[torch]"') from None
    return torch
