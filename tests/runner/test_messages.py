"""What the driver and a worker say to each other arrives as it was said."""

from __future__ import annotations

import math
import pickle
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from platform.core.spec import AXES, DataSettings, LabelSettings, TrainSettings, TrialSpec
from platform.runner.messages import Assignment, PlugIn, Progress, assignment_of, progress_of
from tests.runner.sweeps import WORKPLACE

VALUE = st.one_of(st.floats(allow_nan=False), st.integers(-(2**63), 2**63), st.booleans(), st.text(), st.none())


@given(st.dictionaries(st.text(), VALUE), st.floats(1e-300, 1e300), st.integers(0, 2**63 - 1))
def test_an_assignment_arrives_to_the_bit(hyper, lr, seed):
    spec = TrialSpec(
        method="m",
        hyper=hyper | {"limit": math.inf},
        model="small_cnn",
        train=TrainSettings(lr=lr),
        data=DataSettings(source="digits", **{"an_option": [1, 0.1, "x"]}),
        labels=LabelSettings(per_class=4),
        seeds=dict.fromkeys(AXES, seed),
    )
    sent = Assignment(
        key=spec.key, study="m/0", spec=spec, workplace=WORKPLACE, plug_in=PlugIn(source="\n'\"é", path="p")
    )
    trial = SimpleNamespace(config=sent.to_config())
    assert Assignment.from_config(trial.config) == assignment_of(trial) == sent
    assert assignment_of(trial).spec.key == spec.key and repr(assignment_of(trial).spec.hyper) == repr(spec.hyper)


def test_progress_travels_in_a_result():
    sent = Progress("k", [{"evaluation": 1.0, "score": math.nan}, {"evaluation": 2.0, "score": 0.5}])
    assert progress_of(pickle.loads(pickle.dumps(sent.to_result()))).evaluation == 2 and sent.score == 0.5
    assert not sent.to_result()["done"] and Progress("k", outcome="failed").to_result()["done"]
    assert (Progress("k").evaluation, Progress("k").score) == (0, None)
    assert progress_of({}) is None
