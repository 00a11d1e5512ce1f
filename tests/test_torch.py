"""``grus.GRU`` against ``torch.nn.GRU``: outputs, states and every gradient, and weights that move by copy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import grus
from helpers import assert_close
from test_golden import compare, files_of, load
from test_gradients import random_gru

torch = pytest.importorskip("torch", reason="could not import 'torch', which these tests compare with")

Array = np.ndarray[Any, np.dtype[Any]]


def torch_gru(gru: grus.GRU) -> Any:
    """The same model in PyTorch, with copies of the same parameters."""
    theirs = torch.nn.GRU(
        gru.input_size,
        gru.hidden_size,
        gru.num_layers,
        bias=gru.bias,
        batch_first=gru.batch_first,
        bidirectional=gru.bidirectional,
        dtype=getattr(torch, gru.dtype.name),
    )
    theirs.load_state_dict({name: torch.from_numpy(a) for name, a in gru.state_dict().items()})
    return theirs


def run_torch(
    gru: grus.GRU, x: Array, h0: Array, d_output: Array, d_h_n: Array, lengths: Array | None = None
) -> dict[str, Array]:
    """Output, h_n and, as ``gradient.<name>``, the gradients of x, h0 and each parameter, by autograd."""
    theirs = torch_gru(gru)
    inputs = {"x": torch.tensor(x, requires_grad=True), "h0": torch.tensor(h0, requires_grad=True)}
    given = inputs["x"]
    if lengths is None:
        output, h_n = theirs(given, inputs["h0"])
    else:
        options = {"batch_first": gru.batch_first}
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            given, torch.tensor(lengths), enforce_sorted=False, **options
        )
        packed_output, h_n = theirs(packed, inputs["h0"])
        steps = x.shape[1 if gru.batch_first else 0]
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_output, total_length=steps, **options)
    torch.autograd.backward((output, h_n), (torch.tensor(d_output), torch.tensor(d_h_n)))
    tensors = inputs | dict(theirs.named_parameters())
    gradients = {f"gradient.{name}": tensor.grad.numpy() for name, tensor in tensors.items()}
    return {"output": output.detach().numpy(), "h_n": h_n.detach().numpy(), **gradients}


def random_call(gru: grus.GRU, batch: int | None, steps: int, seed: int = 5) -> dict[str, Array]:
    """Random x, h0, d_output and d_h_n in the GRU's layout and dtype; without a batch axis where batch is None."""
    rng = np.random.default_rng(seed)
    outer = (batch, steps) if gru.batch_first else (steps, batch)
    outer, rows = ((steps,), ()) if batch is None else (outer, (batch,))
    directions, H = gru.directions, gru.hidden_size
    states = (gru.num_layers * directions, *rows, H)
    shapes = {
        "x": (*outer, gru.input_size),
        "h0": states,
        "d_output": (*outer, directions * H),
        "d_h_n": states,
    }
    return {name: rng.standard_normal(shape).astype(gru.dtype) for name, shape in shapes.items()}


@pytest.mark.parametrize("lengths", [None, (4, 7, 1, 5)], ids=["whole", "lengths"])
@pytest.mark.parametrize(
    ("layers", "bidirectional", "bias", "batch_first"),
    list(itertools.product((1, 2, 3), *[(False, True)] * 3)),
)
def test_outputs_and_every_gradient(
    layers: int, bidirectional: bool, bias: bool, batch_first: bool, lengths: tuple[int, ...] | None
) -> None:
    gru = random_gru(3, 5, layers, bidirectional=bidirectional, bias=bias, batch_first=batch_first)
    call: dict[str, Any] = random_call(gru, 4, 7)
    if lengths is not None:
        call["lengths"] = np.array(lengths)
    compare(gru, call, run_torch(gru, **call))


@pytest.mark.parametrize("lengths", [None, (4, 7, 1, 5)], ids=["whole", "lengths"])
def test_in_float32(lengths: tuple[int, ...] | None) -> None:
    gru = grus.GRU(3, 5, 2, bidirectional=True, init="torch", seed=3)
    call: dict[str, Any] = random_call(gru, 4, 7)
    if lengths is not None:
        call["lengths"] = np.array(lengths)
    compare(gru, call, run_torch(gru, **call))


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_without_a_batch_axis(batch_first: bool) -> None:
    gru = random_gru(3, 5, 2, bidirectional=True, batch_first=batch_first)
    call = random_call(gru, None, 7)
    compare(gru, call, run_torch(gru, **call))


def test_states_are_zeros_where_h0_is_omitted() -> None:
    gru = random_gru(3, 5, 2, bidirectional=True)
    x = random_call(gru, 4, 7)["x"]
    output, h_n = torch_gru(gru)(torch.tensor(x))
    ours = gru(x)
    assert_close(ours.output, output.detach().numpy(), "other library", name="output")
    assert_close(ours.h_n, h_n.detach().numpy(), "other library", name="h_n")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_parameters_move_by_copy_both_ways(bias: bool, bidirectional: bool) -> None:
    """Same names in the same order, same shapes, no permutation: the state dictionary itself is what moves."""
    options: dict[str, Any] = {"bias": bias, "bidirectional": bidirectional}
    theirs = torch.nn.GRU(3, 5, 2, **options)
    ours = grus.GRU(3, 5, 2, seed=0, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.parameters[name], tensor.numpy(), err_msg=name)
    ours.flat[...] = np.random.default_rng(0).standard_normal(ours.flat.size)
    theirs.load_state_dict({name: torch.from_numpy(a) for name, a in ours.state_dict().items()})
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.parameters[name], tensor.numpy(), err_msg=name)


@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_is_one_step(bias: bool) -> None:
    cell = torch.nn.GRUCell(3, 5, bias=bias, dtype=torch.float64)
    gru = grus.GRU(3, 5, bias=bias, dtype="float64", seed=0)
    gru.load_state_dict({f"{name}_l0": tensor for name, tensor in cell.state_dict().items()})
    rng = np.random.default_rng(0)
    x, h = rng.standard_normal((4, 3)), rng.standard_normal((4, 5))
    expected = cell(torch.tensor(x), torch.tensor(h)).detach().numpy()
    assert_close(gru.step(x, h[None])[0], expected, "other library", name="a batch")
    assert_close(gru.step(x[0], h[:1])[0], expected[0], "other library", name="one sequence")


@pytest.mark.parametrize("file", files_of("torch"))
def test_the_golden_files_are_what_this_torch_gives(file: str) -> None:
    """So that a golden file which someone edited, or an older PyTorch wrote, is noticed."""
    gru, call, golden = load(file)
    for name, value in run_torch(gru, **call).items():
        assert_close(value, golden[name], "other library", gru.dtype.name, name)
