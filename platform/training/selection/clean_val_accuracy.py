"""Oracle: accuracy on the validation part at the last evaluation, against the true labels."""

MAXIMISE = True
NEEDS_TRUTH = True


def score(reports: list[dict[str, float]]) -> float:
    return reports[-1]["clean_val_accuracy"]
