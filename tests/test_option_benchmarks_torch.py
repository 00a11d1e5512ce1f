"""The loops in PyTorch that options are compared with give the answers, with gradients of all that entered."""

from __future__ import annotations

import pytest

from benchmarks import answers, option_peers, stream
from benchmarks.cases import SMALL, Data
from benchmarks.peers import load

torch = pytest.importorskip("torch")
LOOPS = [option for option, libraries in option_peers.HAVE.items() if option_peers.LOOP in libraries]


@pytest.mark.parametrize("option", LOOPS)
def test_a_loop_gives_the_answer(option, tmp_path):
    expected = answers.load(option_peers.expected(option, str(tmp_path)))
    loop = load("torch", "options")(Data.random(SMALL), 1, option)
    found = loop.answers()
    answers.check("torch", answers.errors(found, expected))
    assert found.keys() | {"dreset_state"} == expected.keys() | {"dreset_state"}  # zeros stand for it in the loop


@pytest.mark.parametrize("option", LOOPS)
def test_a_loop_draws_anew_what_is_random(option):
    loop = load("torch", "options")(Data.random(SMALL), 1, option)
    same = torch.equal(loop.run(True), loop.run(True))
    assert same == (option not in ("recurrent_dropout", "zoneout"))
    assert loop.forward().requires_grad == (option == "recurrent_dropout")


def test_steps_give_the_answer(tmp_path):
    expected = answers.load(stream.expected(SMALL, str(tmp_path)))
    answers.check("torch", answers.errors(load("torch", "stream")(Data.random(SMALL), 1).answers(), expected))
