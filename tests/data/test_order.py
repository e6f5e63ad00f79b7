"""Orders: every position once per pass, whatever is taken at a time, and exact resume."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from platform.data.order import Order


@settings(max_examples=40, deadline=None)
@given(pool=st.integers(1, 50), counts=st.lists(st.integers(0, 120), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_every_position_comes_once_per_pass(pool: int, counts: list[int], seed: int) -> None:
    positions = torch.arange(pool) * 3 + 1
    order = Order(positions, torch.Generator().manual_seed(seed))
    taken = [order.take(count) for count in counts]
    assert [len(t) for t in taken] == counts
    sequence = torch.cat(taken)
    for one_pass in sequence.split(pool):
        assert len(one_pass.unique()) == len(one_pass)
        assert torch.isin(one_pass, positions).all()
    whole = Order(positions, torch.Generator().manual_seed(seed)).take(sum(counts))
    assert torch.equal(sequence, whole), "how many are taken at a time changes the order"


@settings(max_examples=40, deadline=None)
@given(pool=st.integers(1, 40), before=st.integers(0, 130), after=st.integers(1, 130))
def test_an_order_goes_on_where_it_was_saved(pool: int, before: int, after: int) -> None:
    order = Order(torch.arange(pool), torch.Generator().manual_seed(5))
    order.take(before)
    state = order.state_dict()
    expected = order.take(after)
    other = Order(torch.arange(pool), torch.Generator().manual_seed(6))
    other.load_state_dict(state)
    assert torch.equal(other.take(after), expected)
    assert other.passes == order.passes


def test_passes_differ() -> None:
    order = Order(torch.arange(30), torch.Generator().manual_seed(0))
    assert not torch.equal(order.take(30), order.take(30))
