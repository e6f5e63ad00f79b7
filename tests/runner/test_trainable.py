"""What a selection rule is shown of a trial."""

from platform.runner.trainable import _selectable


def test_no_rule_ever_sees_the_test_set():
    report = {
        "step": 5.0,
        "noisy_val_accuracy": 0.5,
        "test_accuracy": 0.9,
        "test_accuracy_clid_5": 0.9,
        "val_loss": 1.0,
    }
    assert _selectable(report) == {"step": 5.0, "noisy_val_accuracy": 0.5, "val_loss": 1.0}
