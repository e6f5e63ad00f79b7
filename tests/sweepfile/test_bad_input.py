"""Every bad input of a sweep file: what, where, what was expected, the nearest name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from platform.core.errors import UserError
from platform.sweepfile import load

Problems = Callable[..., list[str]]

GOOD = """\
name: a
methods: [layermatch]
data: {source: digits}
labels: {per_class: 4}
train: {steps: 20}
search:
  centre_ema: {uniform: [0.9, 0.99]}
budget: {trials: 4}
"""


def test_the_answer_in_the_house_plan(write: Callable[..., Path]) -> None:
    path = write(
        """\
        # python -m platform.sweep search_spaces/layermatch.yaml
        name: layermatch
        methods: [layermatch]
        data: {source: digits}
        labels: {per_class: 4, noise: none}
        model: small_cnn
        train: {steps: 600}
        search:
          centre_emma: {uniform: [0.9, 0.999]}
          train.lr: {log_uniform: [1e-3, 0.3]}


        # as many lines as there
        budget: {trials: 0, studies: 1, scheduler: asha}
        """
    )
    with pytest.raises(UserError) as caught:
        load(path)
    assert caught.value.render() == (
        f"{path}:9: search.centre_emma: no such hyper-parameter of 'layermatch'\n"
        "    did you mean: centre_ema        (python -m platform.catalog layermatch lists all)\n"
        f"{path}:14: budget.trials: 0 is not a positive whole number\n"
        "2 errors; nothing was started."
    )


SINGLE = [
    # (override of GOOD, message, hint or part of it)
    ("nam=b", "nam: no such key", "did you mean: name"),
    ("train.stepz=5", "train.stepz: no such key", "did you mean: steps"),
    ("name=-a", "name: '-a' is no name of a folder", "letters, digits"),
    ("name=../up", "name: '../up' is no name of a folder", "letters, digits"),
    ("name=12", "name: 12 is not a name", "with quotes"),
    ("methods=[layermach]", "methods: no such method: 'layermach'", "did you mean: layermatch"),
    ("methods=[]", "methods: names no method", "methods: [fixmatch]"),
    ("methods=[layermatch, layermatch]", "methods: 'layermatch' is listed twice", ""),
    ("methods=[layermatch, 5]", "methods: 5 is not a name", ""),
    ("methods=[layermatch, ./none.py]", "methods: ./none.py: no such file", "looked for"),
    ("data=digits", "data: 'digits' is not a set of `key: value` pairs", "write data: {source: digits}"),
    ("data.source=digit", "data.source: no such data source: 'digit'", "did you mean: digits"),
    ("data.pth=x", "data.pth: no such option of source 'digits'", "python -m platform.catalog digits"),
    ("data.source=parquet", "data.path: missing; source 'parquet' needs it", "path: "),
    ("data.limit=1", "data.limit: 1 is not a whole number of at least 2", ""),
    ("labels.per_class=0", "labels.per_class: 0 is not a positive whole number", ""),
    ("labels.total=40", "labels.total: excludes per_class; keep one of the two", ""),
    ("labels.noise=symetric", "labels.noise: no such noise: 'symetric'", "did you mean: symmetric"),
    ("labels.noise=symmetric", "labels.noise: symmetric noise needs a rate above 0", "rate: 0.4"),
    ("labels.rate=0.2", "labels.rate: noise 'none' takes no rate", "noise with a rate: "),
    ("labels.rate=2", "labels.rate: 2 is not a number from 0 to 1", ""),
    ("labels.noise='column:'", "labels.noise: column: needs the NAME of a label column", "column:worse_label"),
    ("labels.val=2.5", "labels.val: 2.5 is neither a part below 1 nor a whole number of images", ""),
    ("labels.val=0", "labels.val: 0 is not a positive number below 1e+07", ""),
    ("model=smal_cnn", "model: no such model: 'smal_cnn'", "did you mean: small_cnn"),
    ("train.steps=yes", "train.steps: 'yes' is not a positive whole number", ""),
    ("train.steps=true", "train.steps: true is not a positive whole number", ""),
    ("train.steps='5'", "train.steps: '5' is not a positive whole number", ""),
    ("train.steps=1.5", "train.steps: 1.5 is not a positive whole number", ""),
    ("train.steps=600.0", "train.steps: 600.0 is not a positive whole number", "write 600"),
    ("train.steps=", "train.steps: nothing is not a positive whole number", ""),
    ("train.lr=.inf", "train.lr: .inf is not a finite number", ""),
    ("train.lr=[1]", "train.lr: the list [1] is not a positive number", ""),
    ("train.momentum=1", "train.momentum: 1 is not a number of at least 0 and below 1", ""),
    ("train.optimizer=adamx", "train.optimizer: 'adamx' is not one of sgd, adamw, adam", "did you mean: adam"),
    ("train.warmup=20", "train.warmup: 20 steps of warm-up leave none of 20 steps", ""),
    ("train=5", "train: 5 is not a set of `key: value` pairs", ""),
    ("seed=-1", "seed: -1 is not a whole number of at least 0", ""),
    ("seeds.noize=1", "seeds.noize: no such axis", "did you mean: noise"),
    ("seeds.noise=a", "seeds.noise: 'a' is not a whole number of at least 0", ""),
    ("budget.studies=0", "budget.studies: 0 is not a positive whole number", ""),
    ("budget.preset=papr", "budget.preset: 'papr' is not one of quick, standard, paper", "did you mean: paper"),
    ("budget.preset=[quick]", "budget.preset: the list ['quick'] is not one of quick, standard, paper", ""),
    ("budget.trials=null", "budget.trials: no number, and no seconds either", "seconds: 3600"),
    ("budget.seconds=0", "budget.seconds: 0 is not a positive number", ""),
    ("budget.repeats=-1", "budget.repeats: -1 is not a whole number of at least 0", ""),
    ("budget.repeats=some", "budget.repeats: 'some' is not a whole number of at least 0", ""),
    (
        "budget.scheduler=ash",
        "budget.scheduler: 'ash' is not one of asha, hyperband, median, pbt",
        "did you mean: asha",
    ),
    ("budget.sampler=tp", "budget.sampler: 'tp' is not one of tpe, random, qmc, cmaes, gp, nsga2", "did you mean: tpe"),
    ("budget.objectives=[seconds]", "budget.objectives: [seconds] is neither [score] nor [score, seconds]", ""),
    ("budget.objectives=[score, score]", "budget.objectives: [score, score] is neither [score] nor [sc", ""),
    ("budget.objectives=[score, second]", "budget.objectives: 'second' is not one of score, seconds", "mean: seconds"),
    ("budget.objectives=[score, seconds]", "budget.objectives: a scheduler (here asha) stop", "scheduler: none"),
    ("budget={sampler: gp, scheduler: none, objectives: [score, seconds]}", "budget.sampler: gp searches", "nsga2"),
    (
        "budget={trials: 201, sampler: gp}",
        "budget.sampler: gp is for at most 200 trials per study, here are 201",
        "tpe",
    ),
    (
        "budget={seconds: 60, sampler: gp}",
        "budget.sampler: gp is for at most 200 trials per study, here are any",
        "tpe",
    ),
    (
        "budget.scheduler=pbty",
        "budget.scheduler: 'pbty' is not one of asha, hyperband, median, pbt",
        "did you mean: pbt",
    ),
    ("budget.sampler=cmaess", "budget.sampler: 'cmaess' is not one of tpe, random, qmc, cmaes", "did you mean: cmaes"),
    ("budget.reduction_factor=1", "budget.reduction_factor: 1 is not a whole number of at least 2", ""),
    ("budget.grace=10", "budget.grace: a grace of 10 leaves ASHA nothing to judge: a trial has 10 evaluations", "none"),
    ("resources.gpu=many", "resources.gpu: 'many' is not a number of at least 0 or 'auto'", ""),
    ("resources.concurrent=0", "resources.concurrent: 0 is not a positive whole number or 'auto'", ""),
    ("resources.cpu=0", "resources.cpu: 0 is not a positive number", ""),
    ("resources.retries=3", "resources.retries: no such key", ""),
    ("retry=2", "retry: 2 is not a set of `key: value` pairs", ""),
    ("retry.failed=-1", "retry.failed: -1 is not a whole number of at least 0", ""),
    ("retry.failled=1", "retry.failled: no such key", "did you mean: failed"),
    ("retry.out_of_memory=acumulate", "retry.out_of_memory: 'acumulate' is not one of no, accumulate", "mean: acc"),
    ("watch.factor=1", "watch.factor: 1 is not a number above 1", ""),
    ("watch.at_least=soon", "watch.at_least: 'soon' is not a positive number", ""),
    ("watch.disk_floor=0", "watch.disk_floor: 0 is not a positive whole number", ""),
    ("train.accumulate=0", "train.accumulate: 0 is not a positive whole number", ""),
    ("select=noisy_val", "select: no such selection rule: 'noisy_val'", "did you mean: noisy_val_accuracy"),
    ("tracking=file:///tmp/mlruns", "tracking: ", "sqlite:///"),
    ("tracking=5", "tracking: 5 is not a name", ""),
    # keys of search and fixed
    ("search.centre_emma=auto", "search.centre_emma: no such hyper-parameter of 'layermatch'", "mean: centre_ema "),
    ("search.layermatch.gat=auto", "search.layermatch.gat: no such hyper-parameter", "mean: layermatch.gate "),
    ("search.fixmatch.gate=auto", "search.fixmatch.gate: 'fixmatch' is not one of this file's methods", "layermatch"),
    ("search.momentum=auto", "search.momentum: no such hyper-parameter of 'layermatch'", "mean: train.momentum"),
    ("search.train.lrr=auto", "search.train.lrr: no such training setting", "did you mean: train.lr"),
    ("search.train.steps=auto", "search.train.steps: the same for all trials of a sweep", "below train:"),
    ("fixed.train.evaluations=3", "fixed.train.evaluations: the same for all trials of a sweep", "below train:"),
    ("fixed.threshold=1.5", "fixed.threshold: 1.5 is not a number from 0 to 1", ""),
    ("fixed.centre_mode=prot", "fixed.centre_mode: 'prot' is not one of attract, proto, ", "did you mean: proto"),
    ("fixed.centre_ema=0.9", "search.centre_ema: searched and also fixed (command line: fixed.centre_ema=0.9)", "one"),
    ("search=5", "search: 5 is not a set of `key: value` pairs", ""),
    # ranges
    ("search.gate=0.3", "search.gate: 0.3 is not a range", "below fixed: gate: 0.3"),
    ("search.gate=[0, 1]", "search.gate: the list [0, 1] is not a range", "{uniform: [0.1, 0.9]}"),
    ("search.gate=", "search.gate: nothing is not a range", ""),
    ("search.gate={}", "search.gate: takes exactly one distribution, got none", "uniform, log_uniform"),
    ("search.gate={unifrm: [0, 1]}", "search.gate.unifrm: no such distribution", "did you mean: uniform"),
    ("search.gate={uniform: [0, 1], choice: [0]}", "search.gate: takes exactly one distribution, got 2", "one of"),
    ("search.gate={uniform: 5}", "search.gate.uniform: takes [low, high], got 5", ""),
    ("search.gate={uniform: [1]}", "search.gate.uniform: uniform takes [low, high], got [1]", ""),
    ("search.gate={uniform: [a, 1]}", "search.gate.uniform: uniform takes [low, high], got ['a', 1]", ""),
    ("search.gate={uniform: [1, 0]}", "search.gate.uniform: low must be below high, got [1, 0]", ""),
    ("search.gate={uniform: [0, .nan]}", "search.gate.uniform: .nan is not a finite number", ""),
    ("search.gate={uniform: [0, 2]}", "search.gate.uniform: reaches values that are not allowed: 2.0 is not", ""),
    ("search.centre_weight={log_uniform: [0, 1]}", "search.centre_weight.log_uniform: low must be above 0", ""),
    ("search.gate={quantised_uniform: [0, 1]}", "search.gate.quantised_uniform: quantised_uniform takes [low, h", ""),
    ("search.gate={quantised_uniform: [0, 1, 2]}", "search.gate.quantised_uniform: step must be above 0 and", ""),
    ("search.uratio={uniform: [1, 7]}", "search.uratio.uniform: draws fractions, this", "did you mean: int_uniform"),
    ("search.uratio={quantised_uniform: [1, 7, 2]}", "search.uratio.quantised_uniform: draws fr", "quantised_int_u"),
    ("search.uratio={int_uniform: [0, 7]}", "search.uratio.int_uniform: reaches values that are not allowed: 0", ""),
    ("search.uratio={int_uniform: [1.5, 7]}", "search.uratio.int_uniform: int_uniform takes whole numbers", ""),
    ("search.centre_mode={uniform: [0, 1]}", "search.centre_mode.uniform: draws numbers, which this", "choice"),
    ("search.centre_mode={choice: [atract]}", "search.centre_mode.choice: reaches values", "did you mean: attract"),
    ("search.centre_mode={choice: []}", "search.centre_mode.choice: choice needs at least one value", ""),
    ("search.gate={choice: [1, 1.0]}", "search.gate.choice: choice lists a value twice", ""),
    ("search.clip_threshold=auto", "search.clip_threshold: declares no range of its own for `auto`", "write one"),
    ("search.train.batch_size={choice: [0, 8]}", "search.train.batch_size.choice: reaches values that are not", ""),
    # conditions
    ("search.gate={uniform: [0, 1], when: 5}", "search.gate.when: 5 is not a condition", "when: {OTHER: value}"),
    ("search.gate={uniform: [0, 1], when: {no_such: 1}}", "search.gate.when.no_such: no such parameter of", ""),
    ("search.gate={uniform: [0, 1], when: {uratio: 1}}", "search.gate.when.uratio: a condition on 'uratio', which", ""),
    ("search.gate={uniform: [0, 1], when: {centre_ema: 0.9}}", "search.gate.when.centre_ema: drawn from", "choice"),
    ("search.gate={uniform: [0, 1], when: {gate: 1}}", "search.gate.when.gate: drawn from", ""),
    ("search.gate={choice: [0, 1], when: {gate: 1}}", "search.gate.when: conditions in a circle: gate -> gate", ""),
]  # fmt: skip


@pytest.mark.parametrize(("override", "message", "hint"), SINGLE, ids=[case[0] for case in SINGLE])
def test_one_problem_one_answer(problems: Problems, override: str, message: str, hint: str) -> None:
    found = problems(GOOD, override)
    assert len(found) == 1, found
    said = re.sub(r"^sweep\.yaml:[37]: ", "", found[0].removeprefix(f"command line: {override}: "))
    assert said.startswith(message)
    assert hint in found[0]


def test_what_a_sampler_or_a_scheduler_needs_of_the_space(problems: Problems) -> None:
    choices = "search={centre_mode: {choice: [attract, proto]}}"
    assert problems(GOOD, choices, "budget.sampler=cmaes") == [
        "command line: budget.sampler=cmaes: budget.sampler: cmaes searches numbers that every trial has; "
        "layermatch has none among centre_mode\n    sampler: tpe, or qmc, takes choices and conditions"
    ]
    sizes = "search={uratio: {int_uniform: [1, 5]}}"
    assert problems(GOOD, sizes, "budget.scheduler=pbt", "budget.trials=8") == [
        "command line: budget.scheduler=pbt: budget.scheduler: pbt has nothing to change in layermatch: none of what "
        "is searched acts in flight\n    search one of train.lr, train.weight_decay, threshold, lambda_u, centre_ema, "
        "centre_weight, centre_temperature, or take scheduler: asha"
    ]
    lr = "search={train.lr: {log_uniform: [1e-3, 0.1]}}"
    found = problems(GOOD, lr, "budget={trials: 3, scheduler: pbt, repeats: 2}")
    assert len(found) == 2
    assert "pbt needs a population: budget.trials of 4 or more, here 3" in found[0]
    assert "budget.repeats: a winner of pbt has changed its settings on its way" in found[1]
    assert "pbt has nothing to change: nothing is searched" in problems(GOOD, "search={}", "budget.scheduler=pbt")[0]


def test_conditions_with_values_that_never_come(problems: Problems) -> None:
    base = GOOD + "fixed: {uratio: 3}\n"
    searched = "search.centre_mode={choice: [attract, off]}"
    cases = {
        "{centre_mode: proto}": "search.gate.when.centre_mode: never 'proto': it is drawn from choice",
        "{centre_mode: [attract, prot]}": "search.gate.when.centre_mode: 'prot' is not one of",
        "{centre_mode: []}": "search.gate.when.centre_mode: lists no value",
        "{uratio: many}": "search.gate.when.uratio: 'many' is not a positive whole number",
    }
    for condition, message in cases.items():
        found = problems(base, searched, f"search.gate={{uniform: [0, 1], when: {condition}}}")
        assert len(found) == 1, found
        assert message in found[0]


def test_conditions_in_a_longer_circle(problems: Problems) -> None:
    found = problems(
        GOOD,
        "search.gate={choice: [0, 1], when: {view_agreement: true}}",
        "search.view_agreement={choice: [true, false], when: {centre_mode: off}}",
        "search.centre_mode={choice: [attract, off], when: {gate: 1}}",
    )
    assert len(found) == 1
    assert "conditions in a circle: gate -> view_agreement -> centre_mode -> gate" in found[0]


def test_problems_of_the_command_line_name_it(problems: Problems) -> None:
    found = problems(GOOD, "train.steps=0", "search.centre_ema={uniform: [1, 0]}")
    assert found == [
        "command line: train.steps=0: train.steps: 0 is not a positive whole number",
        "command line: search.centre_ema={uniform: [1, 0]}: search.centre_ema.uniform: "
        "low must be below high, got [1, 0]",
    ]


def test_all_problems_in_line_order_then_the_command_line(problems: Problems) -> None:
    text = GOOD.replace("[layermatch]", "[layermatch, fixmach]").replace("trials: 4", "trials: 0").replace("20", "-1")
    found = problems(text, "model=x", "select=y")
    assert [line.partition(": ")[0] for line in found] == [
        "sweep.yaml:2", "sweep.yaml:5", "sweep.yaml:8", "command line", "command line",
    ]  # fmt: skip


def test_an_unknown_key_is_not_blamed_where_a_method_did_not_load(problems: Problems) -> None:
    text = GOOD.replace("[layermatch]", "[layermach]")
    assert len(problems(text)) == 1


def test_a_key_may_belong_to_any_of_the_methods(problems: Problems) -> None:
    text = GOOD.replace("[layermatch]", "[layermatch, mixup]")
    assert problems(text, "search.alpa=auto") == [
        "command line: search.alpa=auto: search.alpa: no such hyper-parameter of 'layermatch', 'mixup'\n"
        "    did you mean: alpha        (python -m platform.catalog lists all)"
    ]


class TestPlugins:
    def test_its_own_lines_of_the_traceback(self, problems: Problems, write: Callable[..., Path]) -> None:
        write("import math\n\nvalue = math.sqrt(-1)\n", "bad.py")
        found = problems("methods: [./bad.py]")
        assert len(found) == 1
        assert "sweep.yaml:1: methods: ./bad.py: does not import" in found[0]
        assert 'bad.py", line 3' in found[0]
        assert "ValueError" in found[0]
        assert "importlib" not in found[0]

    def test_syntax_error(self, problems: Problems, write: Callable[..., Path]) -> None:
        write("class A(:\n", "bad.py")
        assert "SyntaxError" in problems("methods: [bad.py]")[0]

    def test_no_method_inside(self, problems: Problems, write: Callable[..., Path]) -> None:
        write("x = 1\n", "bad.py")
        assert "exactly one subclass" in problems("methods: [bad.py]")[0]

    def test_the_name_train_is_taken(self, problems: Problems, write: Callable[..., Path], plugin: Path) -> None:
        write(plugin.read_text(), "train.py")
        assert "cannot be called 'train'" in problems("methods: [train.py]")[0]

    def test_values_that_do_not_go_together(self, problems: Problems, plugin: Path) -> None:
        found = problems("methods: [mine.py]\nfixed:\n  depth: 7\n")
        assert found == ["sweep.yaml:2: fixed: mine: depth 7 and strength 0.5 do not go together"]
