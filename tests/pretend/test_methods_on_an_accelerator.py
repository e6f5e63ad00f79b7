"""Every method on the pretended device: trained, evaluated, saved, resumed, branched; and faulty ones are found."""

from __future__ import annotations

import pytest

from platform.core.registry import METHODS
from tests.pretend import tried
from tests.pretend.faulty_methods import FAULTY

pytestmark = pytest.mark.slow

OTHERWISE = {"l2rw"}
"""Methods that compute a meta-gradient in another way on an accelerator: equal on a CPU up to rounding."""


@pytest.mark.parametrize("name", METHODS.names())
def test_it_trains_there_as_on_a_cpu_and_its_steps_never_wait(device, name):
    there, here = device.submit(tried.whole_trial, name).result()
    tolerance = {"rel": 1e-3, "abs": 1e-5} if name in OTHERWISE else {"rel": 0, "abs": 0}
    assert len(there) == len(here) == tried.EVALUATIONS
    for one, other in zip(there, here, strict=True):
        assert one == pytest.approx(other, nan_ok=True, **tolerance)


@pytest.mark.parametrize("cls", FAULTY, ids=lambda cls: cls.__name__)
def test_what_is_wrong_on_an_accelerator_fails_and_names_the_line(device, cls):
    said, line = device.submit(tried.fails, cls.__name__).result()
    assert FAULTY[cls] in said and line in said, said


def test_a_checkpoint_of_another_kind_of_device_is_refused_in_words(device):
    refused = "checkpoint of a trial on {}; this one trains on {}"
    assert refused.format("pretend", "cpu") in device.submit(tried.elsewhere, "pretend", "cpu").result()
    assert refused.format("cpu", "pretend") in device.submit(tried.elsewhere, "cpu", "pretend").result()
    assert device.submit(tried.elsewhere, "pretend", "pretend").result() == "it goes on"


@pytest.mark.parametrize(("first", "second"), [("pretend", "cpu"), ("cpu", "pretend"), ("pretend", "pretend")])
def test_what_a_sweep_trained_on_one_device_is_looked_at_on_another(device, first, second):
    where, before, now = device.submit(tried.looked_at, first, second).result()
    assert where == second and now == before


def test_the_conformance_check_of_a_gpu_is_made_there(device):
    assert device.submit(tried.conforms, "fixmatch").result() == ("ok", "a pretended device")
    status, message = device.submit(tried.conforms, "ReadsItsLoss").result()
    assert status == "failed" and "waits for the device" in message and "faulty_methods.py" in message, message
