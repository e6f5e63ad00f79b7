"""Mean Teacher: consistency with the average of the own weights."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.batch_norm import batch_statistics, frozen_statistics
from methods.parts.pseudo_labels import PseudoLabels
from methods.parts.selectors import Everything
from methods.ranges import int_uniform, log_uniform, uniform


class MeanTeacher(Method):
    """The student matches the predictions of its weight average (Tarvainen & Valpola, 2017, arXiv 1703.01780).

    Teacher theta' = EMA(theta) with model_ema, which is also the model that is evaluated. u^1, u^2 two weak views:
    L = L_labelled + lambda_u w(t) mean_ik (p_theta(u_i^2)_k - sg p_theta'(u_i^1)_k)^2, w(t) = clip(t / (ramp N), 0, 1).
    The paper's: the teacher, the squared error, a ramp (its sigmoid one). USB's (docs/semi_supervised.md, section
    7.3): linear ramp, lambda_u 50 for the mean over classes, BN running statistics from the labelled images only. Not
    repeated: USB's student, which is the teacher's output and has no gradient. When: a second baseline for unlabelled
    images; model_ema 0 turns it into the Pi model.
    """

    class Hyper(Method.Hyper):
        uratio: int = hyper(1, search=int_uniform(1, 7), ge=1, help="unlabelled images per labelled one in a step")
        lambda_u: float = hyper(50.0, search=log_uniform(5.0, 200.0), ge=0, help="weight of the consistency loss")
        ramp: float = hyper(0.4, search=uniform(0.0, 0.6), ge=0, le=1, help="part of the steps that ramps lambda_u up")

    views = Views(labelled=("weak",), unlabelled=("weak", "weak"))
    accumulates = True
    in_flight = ("model_ema", "lambda_u", "ramp")

    def loss(self, batch: Batch) -> Terms:
        unlabelled = batch.stream("unlabelled")
        for_teacher, for_student = unlabelled.views
        labelled_loss = self.labelled_loss(self.model(batch.labelled.weak), batch.labelled.y)
        with frozen_statistics(self.model):
            student = self.model(for_student).softmax(dim=1)
        with torch.no_grad(), batch_statistics(self.ema.module):
            teacher = self.ema.module(for_teacher)
        PseudoLabels.of(teacher, Everything(), unlabelled.index).record(self, unlabelled)
        weight = self.hyper.lambda_u * self.ramp_up(batch.step, self.hyper.ramp)
        return Terms(labelled=labelled_loss, unlabelled=weight * F.mse_loss(student, teacher.softmax(dim=1)))
