"""The names of the diagnostics and what they mean: one table for all methods. `python -m platform.catalog diagnostics`

In the curves they are diag/NAME. True labels are used where they are known; without them a value is NaN. "cheap" ones
are the default; "full" ones need `train: {diagnostics: full}`; a method's own come with that method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Meaning", "TABLE", "meaning"]

Cost = Literal["cheap", "full", "method"]


@dataclass(frozen=True)
class Meaning:
    """item: of docs/layermatch.md, section 8."""

    text: str
    cost: Cost
    item: str


_SPLIT = "of the unlabelled loss, before its weight"

TABLE: dict[str, Meaning] = {
    # -- every 32nd step: methods/parts/watch.py
    "head_gradient_labelled": Meaning("norm of the labelled loss's gradient at the head, |grad_W L_s|", "cheap", "2"),
    "head_gradient_unlabelled": Meaning(
        "norm of the unlabelled loss's gradient at the head, |lambda_u grad_W L_u|, whatever a gate lets through",
        "cheap",
        "2",
    ),
    "head_gradient_cosine": Meaning("cosine of the two", "cheap", "2"),
    "head_gradient_conflict": Meaning("share of the watched steps in which that cosine is negative", "cheap", "2"),
    "head_gradient_right": Meaning(f"norm of the part {_SPLIT}, that comes from right pseudo-labels", "cheap", "3"),
    "head_gradient_wrong": Meaning(f"norm of the part {_SPLIT}, that comes from wrong pseudo-labels", "cheap", "3"),
    "head_gradient_wrong_oracle": Meaning(
        "cosine of the wrong part and the gradient of the same images with their true labels", "cheap", "3"
    ),
    "feature_gradient_right": Meaning("mean norm of a right pseudo-label's gradient at its features", "cheap", "4"),
    "feature_gradient_wrong": Meaning("mean norm of a wrong pseudo-label's gradient at its features", "cheap", "4"),
    "feature_gradient_wrong_oracle": Meaning(
        "mean cosine of that and the gradient with the image's true label; compare head_gradient_wrong_oracle: "
        "does a wrong label hurt the features less than the head?",
        "cheap",
        "4",
    ),
    # -- every step: methods/parts/pseudo_labels.py, watch.py
    "mask_rate": Meaning("utilisation: mean weight of the pseudo-labels", "cheap", "9"),
    "confidence": Meaning("mean confidence of the pseudo-labels", "cheap", "9"),
    "pseudo_label_accuracy": Meaning("share of right pseudo-labels among all", "cheap", "9"),
    "pseudo_label_accuracy_selected": Meaning("the same, weighted by selection", "cheap", "9"),
    "pseudo_label_impurity": Meaning("share of wrong labels in the selected class that has most of them", "cheap", "9"),
    "pseudo_label_flips": Meaning("share of pseudo-labels that changed since the image was last seen", "cheap", "9"),
    "pseudo_label_kl": Meaning("KL of the selected labels' histogram to uniform, nats", "cheap", "9"),
    # -- at each evaluation: this folder
    "head_drift": Meaning("|W_t - W_t'| / |W_t'| since the evaluation before", "cheap", "8"),
    "centre_drift": Meaning("the same of the class centres, where a method keeps some", "cheap", "8"),
    "centre_head_cosine": Meaning("mean cosine of a class's centre and its row of the head", "cheap", "8"),
    "centre_pair_cosine": Meaning("mean cosine of two classes' centres", "cheap", "8"),
    "ece": Meaning("calibration error on the validation images, 15 bins, against their true labels", "cheap", "11"),
    "confidence_right": Meaning("mean confidence where the evaluated model is right (validation)", "cheap", "11"),
    "confidence_wrong": Meaning("mean confidence where it is wrong", "cheap", "11"),
    "stage_gradient_labelled/STAGE": Meaning(
        "norm of the gradient of CE on labelled probe images to a stage of the network", "full", "5"
    ),
    "stage_gradient_unlabelled/STAGE": Meaning(
        "the same of CE on strong views of unlabelled probe images against the model's guesses on weak views",
        "full",
        "5",
    ),
    "stage_gradient_cosine/STAGE": Meaning("cosine of the two", "full", "5"),
    "stage_gradient_oracle/STAGE": Meaning(
        "cosine of the second and the gradient of the same images with their true labels: the noise, layer by layer",
        "full",
        "5",
    ),
    "stage_clid/STAGE": Meaning(
        "CLID of the outputs' graph and a stage's (averaged over places), on the images of val_clid; STAGE = features "
        "is val_clid itself",
        "full",
        "",
    ),
    "cluster_scatter": Meaning("features: mean within-class over between-class squared distance", "full", "6"),
    "cluster_silhouette": Meaning("features: mean silhouette of the true classes, -1 to 1", "full", "6"),
    "cluster_nmi": Meaning(
        "k-means on the features against the true classes: normalised mutual information", "full", "6"
    ),
    "cluster_ari": Meaning("the same, adjusted Rand index", "full", "6"),
    "neural_collapse": Meaning("NC1: tr(S_within pinv(S_between)) / K; 0 = each class is a point", "full", "6"),
    "knn_accuracy": Meaning("test accuracy of the 20 nearest probe images", "full", "6"),
    "centroid_accuracy": Meaning("test accuracy of the nearest class mean", "full", "6"),
    "probe_accuracy": Meaning("test accuracy of a linear probe: ridge on true labels of probe images", "full", "7"),
    "head_accuracy": Meaning("accuracy of the head on the same test images", "full", "7"),
    "head_gap": Meaning("probe_accuracy - head_accuracy: what the head leaves of the features' accuracy", "full", "7"),
    "density_error": Meaning(
        "AUROC of the mean distance to the 10 nearest probe features as a sign of a wrong guess: above 0.5, errors sit "
        "in sparse regions",
        "full",
        "10",
    ),
    "error_dense": Meaning("share of wrong guesses in the densest third of the probe images", "full", "10"),
    "error_sparse": Meaning("share of wrong guesses in the sparsest third", "full", "10"),
    # -- of methods that have such a thing
    "gate_open": Meaning("how much of the unlabelled loss the gate lets through to the head", "method", "2"),
    "gate_cosine": Meaning("the cosine that a conflict gate judges by", "method", "2"),
    "centre_members": Meaning("share of the unlabelled images that move the centres", "method", "8"),
    "meta_loss": Meaning("the meta objective after the virtual step", "method", ""),
    "weight_clean": Meaning("mean trust in truly right labels", "method", ""),
    "weight_noisy": Meaning("mean trust in truly wrong labels", "method", ""),
    "weight_auroc": Meaning("probability that a right label is trusted more than a wrong one", "method", ""),
    "weight_clean_p10": Meaning("trust that a tenth of the right labels stay below; also p50, p90", "method", ""),
    "weight_noisy_p10": Meaning("trust that a tenth of the wrong labels stay below; also p50, p90", "method", ""),
    "kept_share": Meaning("share of the labelled images whose label is kept", "method", ""),
    "label_precision": Meaning("share of right labels among those kept", "method", ""),
    "label_recall": Meaning("share of the right labels that are kept", "method", ""),
    "label_accuracy": Meaning("share of right labels among all, kept or not", "method", ""),
}


def meaning(name: str) -> Meaning | None:
    """The meaning of a diagnostic by its name in the curves (without diag/), stages and quantiles included."""
    head, slash, _ = name.partition("/")
    return TABLE.get(f"{head}/STAGE" if slash else name.replace("_p50", "_p10").replace("_p90", "_p10"))
