"""Accuracy on the validation part at the last evaluation, against its labels as given: needs no clean label."""

MAXIMISE = True
NEEDS_TRUTH = False


def score(reports: list[dict[str, float]]) -> float:
    return reports[-1]["noisy_val_accuracy"]
