"""Backbones: found by place, cut into features and head, reproducible, of the size the papers report."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from platform.core.errors import UserError
from platform.core.registry import MODELS
from platform.models import build, check

SHAPES = {
    "small_cnn": (1, 8, 8),
    "wrn_28_2": (3, 16, 16),
    "wrn_28_2_usb": (3, 16, 16),
    "preact_resnet18": (3, 16, 16),
}


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_names_are_the_files_of_the_folder():
    assert MODELS.names() == ["preact_resnet18", "small_cnn", "wrn_28_2", "wrn_28_2_usb", "wrn_28_8", "wrn_28_8_usb"]


@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters", "width"),
    [
        ("wrn_28_2", (3, 32, 32), 10, 1_467_626, 128),  # docs/layermatch.md, section 5: 1.468 M
        ("wrn_28_8", (3, 32, 32), 100, 23_401_028, 512),  # 23.40 M
        ("wrn_28_2_usb", (3, 32, 32), 10, 1_467_626 - 2 * (32 + 64), 128),  # but for two layers that nothing reads
        ("wrn_28_8_usb", (3, 32, 32), 100, 23_401_028 - 2 * (128 + 256), 512),
        ("preact_resnet18", (3, 32, 32), 10, 11_171_146 + 2 * 64, 512),  # the BN behind the stem
        ("small_cnn", (1, 8, 8), 10, 94_186, 128),
    ],
)
def test_parameter_counts_and_width(name: str, shape: tuple[int, int, int], classes: int, parameters: int, width: int):
    with torch.device("meta"):  # sizes only: nothing is drawn
        model = MODELS.get(name).build(shape, classes)
    assert size(model) == parameters
    assert (model.head.in_features, model.head.out_features) == (width, classes)


@pytest.mark.parametrize("name", SHAPES)
def test_forward_is_the_head_on_the_features(name: str):
    model = build(name, SHAPES[name], 5, seed=0).eval()
    x = torch.randn(3, *SHAPES[name])
    features, logits = model(x, with_features=True)
    torch.testing.assert_close(features, model.features(x))
    torch.testing.assert_close(logits, model.head(features))
    torch.testing.assert_close(logits, model(x))
    assert features.shape == (3, model.head.in_features) and logits.shape == (3, 5)


@pytest.mark.parametrize("name", SHAPES)
def test_every_parameter_learns(name: str):
    """A parameter without a gradient would break differentiating through a step."""
    model = build(name, SHAPES[name], 5, seed=0)
    model(torch.randn(4, *SHAPES[name])).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", SHAPES)
def test_stages_name_sub_modules_in_forward_order(name: str):
    model = build(name, SHAPES[name], 5, seed=0).eval()
    seen: list[str] = []
    for stage, module in model.modules_by_stage().items():
        module.register_forward_hook(lambda *_, stage=stage: seen.append(stage))
    model(torch.zeros(2, *SHAPES[name]))
    assert tuple(seen) == tuple(model.stages) and len(seen) >= 3


def test_the_seed_decides_the_weights_and_the_global_state_stays():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    same = [build("small_cnn", (1, 8, 8), 10, seed=3).state_dict() for _ in range(2)]
    other = build("small_cnn", (1, 8, 8), 10, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(same[0].values(), same[1].values(), strict=True))
    assert not torch.equal(other.head.weight, same[0]["head.weight"])


@pytest.mark.parametrize("side", [8, 28, 32])
def test_small_cnn_takes_small_images_of_any_size(side: int):
    model = build("small_cnn", (3, side, side), 10, seed=0)
    assert model(torch.zeros(2, 3, side, side)).shape == (2, 10)


def test_wide_resnet_follows_the_backbone_facts():
    model: Any = build("wrn_28_2", (3, 32, 32), 10, seed=0)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.momentum, m.eps) for m in norms} == {(0.001, 0.001)}
    assert {m.negative_slope for m in model.modules() if isinstance(m, nn.LeakyReLU)} == {0.1}
    biased = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    assert biased == ["stem"]
    assert not model.head.bias.any()
    firsts = [group[0].activate_before_residual for group in (model.group1, model.group2, model.group3)]
    assert firsts == [True, False, False]


def test_wide_resnet_block_against_its_formula():
    """Group 1: the shortcut sees the activated input; group 2: the raw one."""
    model: Any = build("wrn_28_2", (3, 16, 16), 10, seed=0).eval()
    x = torch.randn(2, 16, 8, 8)
    block = model.group1[0]
    a = nn.functional.leaky_relu(block.bn1(x), 0.1)
    inner = block.conv2(nn.functional.leaky_relu(block.bn2(block.conv1(a)), 0.1))
    torch.testing.assert_close(block(x), inner + block.shortcut(a))
    block, x = model.group2[0], torch.randn(2, 32, 8, 8)
    a = nn.functional.leaky_relu(block.bn1(x), 0.1)
    inner = block.conv2(nn.functional.leaky_relu(block.bn2(block.conv1(a)), 0.1))
    torch.testing.assert_close(block(x), inner + block.shortcut(x))


def test_usbs_blocks_against_their_formula():
    """Group 1 convolves the activated input, groups 2 and 3 the raw one; eps 1e-5 in blocks, 1e-3 behind the last."""
    model: Any = build("wrn_28_2_usb", (3, 16, 16), 10, seed=0)
    norms = {name: m.eps for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert norms.pop("norm.0") == 1e-3 and set(norms.values()) == {1e-5} and len(norms) == 24 - 2
    assert all(m.momentum == 0.001 for m in model.modules() if isinstance(m, nn.BatchNorm2d))

    def normed(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
        return nn.functional.leaky_relu((x - mean) / (var + 1e-5).sqrt(), 0.1)

    x = torch.randn(2, 16, 8, 8)
    block = model.group1[0]
    a = normed(block.bn1, x)
    torch.testing.assert_close(block(x), block.shortcut(a) + block.conv2(normed(block.bn2, block.conv1(a))))
    for block, x in ((model.group2[0], torch.randn(2, 32, 8, 8)), (model.group3[0], torch.randn(2, 64, 8, 8))):
        torch.testing.assert_close(block(x), block.shortcut(x) + block.conv2(normed(block.bn2, block.conv1(x))))
    block, x = model.group2[1], torch.randn(2, 64, 8, 8)
    inner = block.conv2(normed(block.bn2, block.conv1(normed(block.bn1, x))))
    torch.testing.assert_close(block(x), x + inner)


def test_preact_against_its_formula():
    """BN and ReLU behind the stem; every shortcut of the activated input (the code of DivideMix and CLID-MU)."""
    model: Any = build("preact_resnet18", (3, 16, 16), 10, seed=0).double()

    def activated(x: torch.Tensor) -> torch.Tensor:
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
        return ((x - mean) / (var + 1e-5).sqrt()).relu()

    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    h = activated(model.stem[0](x))
    for group in (model.group1, model.group2, model.group3, model.group4):
        for block in group:
            a = activated(h)
            h = (a if block.shortcut is None else block.shortcut(a)) + block.conv2(activated(block.conv1(a)))
    expected = h.mean((2, 3)) @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(x), expected)


def test_preact_starts_as_pytorch_does():
    """Uniform within 1 / sqrt(fan in), the head's bias too; BN at identity."""
    model: Any = build("preact_resnet18", (3, 16, 16), 10, seed=0)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = module.weight[0].numel() ** -0.5
            assert 0.95 * bound < module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert 0 < model.head.bias.abs().max() <= 512**-0.5


def test_preact_features_may_be_negative():
    model = build("preact_resnet18", (3, 16, 16), 10, seed=0)
    assert model.features(torch.randn(4, 3, 16, 16)).min() < 0


def test_an_unknown_name_gets_the_nearest():
    problem = check("smal_cnn")
    assert problem is not None and problem.key == "model" and "did you mean: small_cnn" in problem.hint
    assert check("small_cnn") is None
    with pytest.raises(UserError, match="no such model: 'smal_cnn'"):
        build("smal_cnn", (1, 8, 8), 10, seed=0)
    folder = check("parts")
    assert folder is not None


def test_a_model_by_entry_point(monkeypatch: pytest.MonkeyPatch):
    """An installed package may bring a model; one that does not load says so."""
    import importlib.metadata as metadata

    entries = [
        metadata.EntryPoint("tiny", "tests.models.test_models:build_tiny", MODELS.group),
        metadata.EntryPoint("broken", "tests.models.nowhere:build", MODELS.group),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda **_: entries)
    assert "tiny" in MODELS.names()
    assert build("tiny", (1, 4, 4), 3, seed=0)(torch.zeros(2, 1, 4, 4)).shape == (2, 3)
    with pytest.raises(UserError, match="'broken' does not load"):
        build("broken", (1, 4, 4), 3, seed=0)


def build_tiny(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    from platform.models.parts.backbone import Backbone

    class Tiny(Backbone):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(16, num_classes)

        def features(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)

    return Tiny()
