"""timm behind the same contract."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from platform.core.errors import UserError
from platform.models import build, check
from platform.models.parts.timm_backbone import Name, parse, patch_for


@pytest.mark.parametrize(
    ("name", "shape", "patches"),
    [("timm:vit_tiny_patch16_224", (3, 32, 32), 64), ("timm:vit_tiny_patch16_224:patch=2", (1, 16, 16), 64)],
)
def test_vision_transformer_on_small_images(name: str, shape: tuple[int, int, int], patches: int):
    model: Any = build(name, shape, 10, seed=0).eval()
    x = torch.randn(2, *shape)
    features, logits = model(x, with_features=True)
    assert model.body.patch_embed.num_patches == patches
    assert features.shape == (2, 192)
    torch.testing.assert_close(logits, model.head(features))
    assert "body.pos_embed" in model.no_weight_decay()
    assert model.head.weight.shape == (10, 192)


def test_a_convolutional_model_keeps_timms_logits():
    """Taking the classifier out changes nothing: the same weights in timm's own model give the same logits."""
    import timm

    model = build("timm:resnet18", (1, 32, 32), 7, seed=0).eval()
    own = timm.create_model("resnet18", num_classes=7, in_chans=1).eval()
    state = {name.removeprefix("body."): value for name, value in model.state_dict().items()}
    state["fc.weight"], state["fc.bias"] = state.pop("head.weight"), state.pop("head.bias")
    own.load_state_dict(state)
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(model(x), own(x))
    assert len(list(model.parameters())) == len(list(own.parameters()))


def test_the_seed_decides_timms_weights():
    one, two = (build("timm:resnet10t", (3, 32, 32), 4, seed=seed) for seed in (1, 1))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_unknown_names_and_options():
    problem = check("timm:resnet_18")
    assert problem is not None and "did you mean: timm:resnet18" in problem.hint
    assert check("timm:resnet18") is None
    assert check("timm:resnet18:pretrained") is None
    option = check("timm:resnet18:pretraind")
    assert option is not None and "did you mean: pretrained" in option.hint
    assert check("timm:") is not None


def test_two_classifiers_are_refused():
    with pytest.raises(UserError, match="not in one linear layer"):
        build("timm:deit_tiny_distilled_patch16_224", (3, 32, 32), 10, seed=0)


def test_a_patch_for_a_model_without_patches_is_refused():
    with pytest.raises(UserError, match="takes no patch size"):
        build("timm:resnet18:patch=4", (3, 32, 32), 10, seed=0)


def test_pretrained_weights_without_network_say_what_to_do(monkeypatch: pytest.MonkeyPatch):
    import timm

    def offline(*args, **kwargs):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError) as caught:
        build("timm:resnet18:pretrained", (3, 32, 32), 10, seed=0)
    assert "cannot be loaded (ConnectionError" in str(caught.value) and "HF_HOME" in str(caught.value)


def test_parse():
    assert parse("timm:vit_small_patch16_224:patch=2:pretrained") == Name("vit_small_patch16_224", True, 2)


@pytest.mark.parametrize(
    ("size", "own", "patch"),
    [((32, 32), 16, 4), ((224, 224), 16, 16), ((96, 96), 16, 8), ((8, 8), 16, 1), ((64, 64), 14, 8), ((28, 28), 16, 2)],
)
def test_patch_for(size: tuple[int, int], own: int, patch: int):
    assert patch_for(size, own) == patch


@given(height=some.integers(1, 256), width=some.integers(1, 256), own=some.sampled_from([4, 8, 14, 16, 32]))
def test_the_patch_divides_both_sides(height: int, width: int, own: int):
    patch = patch_for((height, width), own)
    assert height % patch == 0 and width % patch == 0 and patch <= own
