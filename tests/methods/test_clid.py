"""The CLID measure: golden vectors and properties (docs/clid_mu.md, sections 1.3 and 1.4)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.parts.clid import EPSILON, clid, log_feature_graph, output_graph

H = torch.tensor([[1, 0], [0.6, 0.8], [-1, 0]], dtype=torch.float64)
Z = torch.tensor([[2, 0], [0, 1], [0, 0]], dtype=torch.float64)

GOLDEN = [
    (0.1, 5.094930785, [-0.3537477, 0.6894648, 0.2669684], [-0.0878852, 0.1259737, 0.1362537]),
    (0.5, 1.403519028, [-0.0939792, 0.1882437, 0.0630928], [-0.0175766, 0.0251893, 0.0272574]),
    (1.0, 1.166903923, [-0.0732649, 0.1502275, 0.0438236], [-0.0087883, 0.0125947, 0.0136287]),
]


@pytest.mark.parametrize(("temperature", "value", "released", "differentiable"), GOLDEN)
def test_golden_vectors(temperature, value, released, differentiable):
    for normalizer_grad, expected in ((False, released), (True, differentiable)):
        logits = Z.clone().requires_grad_()
        loss = clid(H, logits, temperature, normalizer_grad)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.item() == pytest.approx(value, abs=5e-10)
        assert gradient[:, 0].tolist() == pytest.approx(expected, abs=5e-8)
        torch.testing.assert_close(gradient[:, 1], -gradient[:, 0], rtol=0, atol=1e-12)


def test_golden_graphs():
    assert log_feature_graph(H, 0.5).exp()[0].tolist() == pytest.approx([0.63104850, 0.28354837, 0.08540313], abs=5e-9)
    assert output_graph(Z)[0].tolist() == pytest.approx([0.44178288, 0.20675639, 0.35146073], abs=5e-9)


def test_one_entry_is_at_most_minus_log_epsilon():
    """Orthogonal features at a tiny temperature: without the epsilon inside the log the value would overflow."""
    features = torch.eye(2, dtype=torch.float64)
    uniform = torch.zeros(2, 2, dtype=torch.float64)
    expected = 0.5 * -torch.log(torch.tensor(EPSILON)).item()
    assert clid(features, uniform, 1e-3).item() == pytest.approx(expected, rel=1e-6)


def test_gradient_to_every_pair_similarity_is_positive_as_released():
    """dCLID/dW_ij > 0 for the released gradient; the differentiable normaliser has entries of both signs."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    outputs = torch.randn(40, 5, generator=generator, dtype=torch.float64).softmax(1)
    unit = torch.nn.functional.normalize(outputs, dim=1)
    q = log_feature_graph(features, 0.5).exp()

    def gradient(detached: bool) -> torch.Tensor:
        w = (unit @ unit.T).requires_grad_()
        total = w.sum(1, keepdim=True)
        loss = -(w / (total.detach() if detached else total) * torch.log(q + EPSILON)).sum(1).mean()
        assert loss.item() == pytest.approx(clid(features, outputs.log(), 0.5).item(), rel=1e-12)
        return torch.autograd.grad(loss, w)[0]

    assert gradient(detached=True).min() > 0
    assert gradient(detached=False).min() < 0 < gradient(detached=False).max()


matrices = st.integers(0, 2**31 - 1).map(lambda seed: torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(matrices, st.floats(0.1, 2.0), st.booleans())
def test_invariances(generator, temperature, normalizer_grad):
    features = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    logits = 3 * torch.randn(9, 5, generator=generator, dtype=torch.float64)
    scale = torch.rand(9, 1, generator=generator, dtype=torch.float64) * 10 + 0.01
    shift = torch.randn(9, 1, generator=generator, dtype=torch.float64)
    order = torch.randperm(9, generator=generator)
    value = clid(features, logits, temperature, normalizer_grad)
    torch.testing.assert_close(clid(scale * features, logits, temperature, normalizer_grad), value)
    torch.testing.assert_close(clid(features, logits + shift, temperature, normalizer_grad), value)
    torch.testing.assert_close(clid(features[order], logits[order], temperature, normalizer_grad), value)


def test_no_gradient_to_features():
    features = H.clone().requires_grad_()
    logits = Z.clone().requires_grad_()
    clid(features, logits, 0.5, True).backward()
    assert features.grad is None and logits.grad is not None


def test_uniform_graphs_give_log_n():
    assert clid(torch.ones(100, 3), torch.zeros(100, 10), 0.5).item() == pytest.approx(4.60517, abs=1e-4)


def test_half_precision_is_computed_in_full():
    generator = torch.Generator().manual_seed(1)
    features, logits = torch.randn(20, 8, generator=generator), torch.randn(20, 4, generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = clid(features.bfloat16(), logits.bfloat16(), 0.1)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, clid(features.bfloat16().float(), logits.bfloat16().float(), 0.1))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match="temperature: must be above 0"):
        clid(H, Z, temperature)
