"""A gate's life: made, kept, broken, accepted; and everything that must turn it red."""

import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from carom.scenarios.gates.suite import write_suite

from .conftest import PLUGIN, QUICK, Run, make_suite

ONE = "def test_transfer(robustness):\n    robustness(Model({model}), suite='tiny.suite'{more})"
BASELINE = "robustness_baselines/test_model/transfer.json"
Write = Callable[..., None]


def gate(model: str = "", more: str = "") -> str:
    return ONE.format(model=model, more=more and f", {more}")


def text(result: pytest.RunResult) -> str:
    return result.stdout.str()


def test_a_baseline_is_made_and_kept(run: Run, write: Write, repository: Path) -> None:
    write(test_model=gate())
    made = run("--robustness-update-new-only")
    made.assert_outcomes(passed=1)
    made.stdout.fnmatch_lines(["new *robustness_baselines/test_model/transfer.json: robust accuracy 80.*"])
    content = json.loads((repository / BASELINE).read_text())
    assert content["test"] == "test_model.py::test_transfer"
    assert content["robust_accuracy"] == pytest.approx(0.8, abs=0.02)
    assert content["images"] == 600
    assert [made["name"] for made in content["sets"]] == [
        "pgd linf 48/255 from net-1",
        "pgd linf 48/255 from net-2",
    ]
    kept = run()
    kept.assert_outcomes(passed=1)
    kept.stdout.fnmatch_lines(["holds *test_model.py::test_transfer: robust accuracy 80.*"])
    assert kept.ret == 0


def test_a_weaker_model_fails_at_the_call_and_says_what_to_do(run: Run, write: Write, repository: Path) -> None:
    write(test_model=gate())
    run("--robustness-update")
    before = (repository / BASELINE).read_bytes()
    write(test_model=gate("0.4"))
    red = run()
    red.assert_outcomes(failed=1)
    assert red.ret == 1
    red.stdout.fnmatch_lines(
        [
            "robust accuracy fell from 80.* to 60.*: by 20.* points, by at least 1*with 95% certainty; 2.0 are allowed",
            "  suite tiny: 2 adversarial sets of the same 600 images; ASR *% -> *%; clean accuracy 100.0% -> 100.0%",
            "  most in: pgd linf 48/255 from net-*; class *",
            "  baseline: robustness_baselines/test_model/transfer.json",
            "  to accept: pytest --robustness-update test_model.py::test_transfer",
        ]
    )
    assert "Traceback" not in text(red)
    assert "gate.py" not in text(red)
    assert (repository / BASELINE).read_bytes() == before
    accepted = run("--robustness-update")
    accepted.assert_outcomes(passed=1)
    accepted.stdout.re_match_lines([r"written .*transfer.json: robust accuracy 80\.\d% -> 60\.\d%"])
    run().assert_outcomes(passed=1)


def test_new_only_judges_what_is_there(run: Run, write: Write, repository: Path) -> None:
    write(test_model=gate())
    run("--robustness-update-new-only")
    before = (repository / BASELINE).read_bytes()
    write(test_model=gate("0.5"))
    run("--robustness-update-new-only").assert_outcomes(failed=1)
    assert (repository / BASELINE).read_bytes() == before


def test_the_same_answers_leave_the_file_alone(run: Run, write: Write, repository: Path) -> None:
    write(test_model=gate())
    run("--robustness-update")
    written = (repository / BASELINE).stat().st_mtime_ns
    run("--robustness-update").stdout.fnmatch_lines(["unchanged *"])
    assert (repository / BASELINE).stat().st_mtime_ns == written


def test_cannot_tell_warns_and_is_red_when_strict(run: Run, write: Write, repository: Path) -> None:
    write_suite(make_suite(40), repository / "tiny.suite")
    write(test_model=gate())
    run("--robustness-update")
    write(test_model=gate("0.23"))
    unsure = run("-W", "default")
    unsure.assert_outcomes(passed=1)
    assert re.search(r"RobustnessWarning: .*40 images cannot tell.*about [\d,]+ would settle it", text(unsure))
    run("--robustness-strict").assert_outcomes(failed=1)
    errors = run("-W", "error::pytest_carom.RobustnessWarning")
    errors.assert_outcomes(failed=1)
    assert "Traceback" not in text(errors)


def test_a_class_a_case_and_a_floor_have_limits_of_their_own(run: Run, write: Write) -> None:
    limits = (
        "allowance=0.5, per_class=0.3, per_case=0.3, floor=0.55,"
        " conditions={'source': 'uci', 'balance': 'uniform', 'architecture': 'net-1'}"
    )
    write(test_model=gate("", limits))
    run("--robustness-update").assert_outcomes(passed=1)
    run().assert_outcomes(passed=1)
    write(test_model=gate("0.8, only_class=1", limits))
    one_class = run()
    one_class.assert_outcomes(failed=1)
    assert "class one fell from" in text(one_class)
    assert "class zero" not in text(one_class)
    write(test_model=gate("0.8, only_set=1", limits))
    one_case = run()
    one_case.assert_outcomes(failed=1)
    assert "case C1 fell from" in text(one_case)  # the architecture of net-1 is the model's own
    assert "case C3" not in text(one_case)
    write(test_model=gate("0.6", limits))
    floor = run()
    floor.assert_outcomes(failed=1)
    assert "is below the floor of 55.0%" in text(floor)


def test_the_settings_of_the_repository_hold(run: Run, write: Write, pytester: pytest.Pytester) -> None:
    write(test_model=gate())
    run("--robustness-update")
    write(test_model=gate("0.4"))
    pytester.makeini("[pytest]\nrobustness_allowance = 0.3\n")
    run().assert_outcomes(passed=1)
    pytester.makeini("[pytest]\nrobustness_allowance = 2 points\n")
    wrong = run()
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    wrong.stderr.fnmatch_lines(["*robustness_allowance: expected a number such as 0.02, got '2 points'"])
    pytester.makeini("[pytest]\nrobustness_level = 1\n")
    assert run().ret == pytest.ExitCode.USAGE_ERROR


def test_the_level_is_split_over_the_baselines_of_the_folder(run: Run, write: Write, repository: Path) -> None:
    write(test_model=gate(), test_other=gate())
    run("--robustness-update").assert_outcomes(passed=2)
    write(test_model=gate("0.4"))
    alone = run("-k", "test_model")
    together = run()
    told = "  certainty 97.5% for each of 2 baselines in robustness_baselines, 95% for all together"
    alone.stdout.fnmatch_lines([told])
    together.stdout.fnmatch_lines([told])


def test_a_new_baseline_changes_no_verdict_of_the_run_that_writes_it(run: Run, write: Write) -> None:
    write(test_model=gate())
    run("--robustness-update")
    write(test_a=gate(), test_model=gate("0.4"))
    mixed = run("--robustness-update-new-only")
    mixed.assert_outcomes(passed=1, failed=1)
    mixed.stdout.fnmatch_lines(["*with 95% certainty*"])


def test_a_module_keeps_its_mode(run: Run, write: Write) -> None:
    write(
        test_model="def test_transfer(robustness):\n    model = Model()\n    model.train()\n"
        "    verdict = robustness(model, suite='tiny.suite')\n    assert model.training\n"
        "    assert verdict.verdict == 'cannot tell' or verdict.verdict == 'holds'"
    )
    run("--robustness-update").assert_outcomes(passed=1)
    run().assert_outcomes(passed=1)


def test_a_model_by_name(run: Run, write: Write) -> None:
    write(
        test_model="def test_transfer(robustness):\n"
        "    robustness({'model': 'models:Model', 'revision': '1'}, suite='tiny.suite')"
    )
    run("--robustness-update").assert_outcomes(passed=1)
    run().assert_outcomes(passed=1)


def test_a_scenario_is_made_once_in_a_store(run: Run, write: Write, repository: Path) -> None:
    write(
        test_nightly="from pathlib import Path\nfrom carom.scenarios.gates.suite import read_suite\n\n"
        "@pytest.fixture\ndef made(monkeypatch, request):\n    found = []\n\n"
        "    def suite_of(scenario, store):\n        found.append((scenario, store))\n"
        "        return read_suite(request.path.parent / 'tiny.suite')\n\n"
        "    monkeypatch.setattr('carom.scenarios.gates.freeze.suite_of', suite_of)\n    return found\n\n"
        "def test_nightly(robustness, made, request):\n    for name in 'ab':\n"
        "        robustness(Model(), scenario='digits-quick', store='kept', name=name)\n"
        "    assert made == [('digits-quick', request.config.rootpath / 'kept')]"
    )
    run("--robustness-update").assert_outcomes(passed=1)
    run().assert_outcomes(passed=1)
    assert len(list((repository / "robustness_baselines/test_nightly").iterdir())) == 2


# ------------------------------------------------------------------------------------------------------ which baseline


def test_a_missing_baseline_fails(run: Run, write: Write) -> None:
    write(test_model=gate())
    missing = run()
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(
        [
            "robustness: robustness_baselines/test_model/transfer.json: no baseline; to make it: "
            "pytest --robustness-update-new-only test_model.py::test_transfer"
        ]
    )


def test_two_gates_of_one_name_fail_and_a_name_helps(run: Run, write: Write, repository: Path) -> None:
    two = "def test_transfer(robustness):\n    for wrong in (0.1, 0.2):\n        robustness(Model(wrong), {})"
    write(test_model=two.format("suite='tiny.suite'"))
    clash = run("--robustness-update")
    clash.assert_outcomes(failed=1)
    assert "two gates of one name; tell them apart" in text(clash)
    write(test_model=two.format("suite='tiny.suite', name=f'wrong {wrong}'"))
    run("--robustness-update").assert_outcomes(passed=1)
    run().assert_outcomes(passed=1)
    assert sorted(path.name for path in (repository / "robustness_baselines/test_model").iterdir()) == [
        "transfer-wrong-0.1.json",
        "transfer-wrong-0.2.json",
    ]


def test_parameters_and_classes_have_files_of_their_own(run: Run, write: Write, repository: Path) -> None:
    write(
        test_model="class TestModel:\n    @pytest.mark.parametrize('wrong', [0.1, 0.2], ids=['a/b', 'x' * 300])\n"
        "    def test_it(self, robustness, wrong):\n        robustness(Model(wrong), suite='tiny.suite')"
    )
    run("--robustness-update").assert_outcomes(passed=2)
    run().assert_outcomes(passed=2)
    names = sorted(path.name for path in (repository / "robustness_baselines/test_model").iterdir())
    assert names[0] == "TestModel-it-a-b.json"
    assert len(names[1]) < 120


def test_two_ids_that_would_share_a_file_are_told_apart(run: Run, write: Write) -> None:
    write(
        test_model="@pytest.mark.parametrize('x', ['a/b', 'a-b'])\n"
        "def test_it(robustness, x):\n    robustness(Model(), suite='tiny.suite')"
    )
    both = run("--robustness-update")
    both.assert_outcomes(passed=1, failed=1)
    alone = run("test_model.py::test_it[a-b]")
    alone.assert_outcomes(failed=1)
    assert "the baseline of test_model.py::test_it[a/b], not of test_model.py::test_it[a-b]" in text(alone)


def test_another_suite_is_not_comparable(run: Run, write: Write, repository: Path) -> None:
    write(test_model=gate())
    run("--robustness-update")
    write_suite(make_suite(500, seed=1), repository / "tiny.suite")
    other = run()
    other.assert_outcomes(failed=1)
    assert re.search(
        r"not comparable: the baseline is of suite tiny \(\w{12}, 2 sets of 600 images\), this is tiny \(\w{12}, 2 "
        r"sets of 500\); to start anew: pytest --robustness-update test_model.py::test_transfer",
        text(other),
    )
    run("--robustness-update").assert_outcomes(passed=1)
    run().assert_outcomes(passed=1)


def _signed(content: dict[str, object]) -> str:
    unsigned = {name: value for name, value in content.items() if name != "sha256"}
    return json.dumps({**unsigned, "sha256": sha256(json.dumps(unsigned, sort_keys=True).encode()).hexdigest()})


EDITS: dict[str, Callable[[str], str]] = {
    "edited by hand": lambda text: text.replace('"robust_accuracy": 0.8', '"robust_accuracy": 0.7'),
    "damaged baseline": lambda text: text[: len(text) // 2],
    "format 9": lambda text: text.replace('"format": 1', '"format": 9'),
    "not a table": lambda text: "[]",
    "OverflowError": lambda text: _signed({**json.loads(text), "images": float("inf")}),
    "-600 images": lambda text: _signed({**json.loads(text), "images": -600}),
    "RecursionError": lambda text: "[" * 200_000,
    "damaged": lambda text: "<<<<<<< HEAD\n" + text,
}


@pytest.mark.parametrize("said", EDITS)
def test_a_baseline_that_is_not_as_it_was_written(said: str, run: Run, write: Write, repository: Path) -> None:
    write(test_model=gate() + "\n\ndef test_else():\n    pass")
    run("--robustness-update")
    file = repository / BASELINE
    before = file.read_text()
    file.write_text(EDITS[said](before))
    assert file.read_text() != before
    red = run()
    red.assert_outcomes(failed=1, passed=1)
    assert f"robustness: {file}" in text(red)
    assert said in text(red)
    assert "Traceback" not in text(red)
    run("--robustness-update").assert_outcomes(passed=2)
    assert file.read_text() == before


# ----------------------------------------------------------------------------------------------------------- bad input

CONDITIONS = "{'source': '%s', 'balance': '%s', 'architecture': '%s'}"
BAD = {
    "probabilities": (
        "lambda x: Model()(x).softmax(1)",
        "suite='tiny.suite'",
        "probabilities, where logits are expected",
    ),
    "nan": ("lambda x: Model()(x) * float('nan')", "suite='tiny.suite'", "is nan; expected finite numbers"),
    "classes": ("lambda x: Model()(x)[:, :2]", "suite='tiny.suite'", "answers with 2 classes, the task has 3"),
    "rows": ("lambda x: Model()(x)[:1]", "suite='tiny.suite'", "expected one row an image"),
    "raises": ("lambda x: 1 / 0", "suite='tiny.suite'", "ZeroDivisionError: division by zero"),
    "down": ("lambda x: open_nothing()", "suite='tiny.suite'", "ConnectionRefusedError"),
    "no model": ("3", "suite='tiny.suite'", "model: expected a module or a function of images"),
    "another shape": ("__import__('torch').nn.Conv2d(3, 4, 1)", "suite='tiny.suite'", "failed on images"),
    "unknown model": ("'models:Modell'", "suite='tiny.suite'", "models has no 'Modell'; did you mean 'Model'?"),
    "unknown suite": (
        "Model()",
        "suite='digits-standart'",
        "suite 'digits-standart': none of this name ships with carom",
    ),
    "no file": ("Model()", "suite='no.suite'", "no.suite: no such file"),
    "neither": ("Model()", "", "neither given; expected one of them"),
    "both": ("Model()", "suite='tiny.suite', scenario='x'", "both given; expected one of them"),
    "scenario": ("Model()", "scenario='digits-quik'", "digits-quik"),
    "allowance": ("Model()", "suite='tiny.suite', allowance=2.0", "allowance=2.0"),
    "floor": ("Model()", "suite='tiny.suite', floor=40.0", "floor=40.0"),
    "conditions": ("Model()", "suite='tiny.suite', per_case=0.1", "per_case: without conditions"),
    "half": (
        "Model()",
        "suite='tiny.suite', conditions={'source': 'uci'}",
        "expected a table of source, balance, archi",
    ),
    "name": ("Model()", "suite='tiny.suite', name=''", "name=''"),
    "device": ("Model()", "suite='tiny.suite', device='gpu'", "device='gpu': cannot be used here"),
    "no device": ("Model()", "suite='tiny.suite', device=None", "device=None: expected"),
    "random": ("random_model", "suite='tiny.suite'", "declares deterministic = false, so its verdict would not repeat"),
    "named random": (
        "{'model': 'models:Model', 'deterministic': False}",
        "suite='tiny.suite'",
        "models:Model: declares deterministic = false",
    ),
    "suite 3": ("Model()", "suite=3", "suite=3: expected"),
    "scenario 3": ("Model()", "scenario=3", "scenario=3: expected"),
    "store": ("Model()", "suite='tiny.suite', store=None", "store=None: expected"),
    "misspelled": (
        "Model()",
        f"suite='tiny.suite', conditions={CONDITIONS % ('uci', 'unifrom', 'net-1')}",
        "conditions: balance='unifrom' is not the suite's; did you mean 'uniform'?",
    ),
    "spelled otherwise": (
        "Model()",
        f"suite='tiny.suite', conditions={CONDITIONS % ('uci', 'uniform', 'NET_1')}",
        "conditions: architecture='NET_1' is not the suite's; did you mean 'net-1'?",
    ),
    "another source": (
        "Model()",
        f"suite='tiny.suite', conditions={CONDITIONS % ('mnist', 'uniform', 'net-1')}",
        "conditions: source='mnist' is none of the suite's (uci)",
    ),
    "no words": (
        "Model()",
        "suite='tiny.suite', conditions={'source': 'uci', 'balance': 1, 'architecture': 'net-1'}",
        "conditions: balance=1; expected a word",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_red_line_and_the_others_go_on(what: str, run: Run, write: Write) -> None:
    model, arguments, said = BAD[what]
    write(
        test_model=f"def open_nothing():\n    raise ConnectionRefusedError('endpoint')\n\n"
        f"def random_model(x):\n    return Model()(x)\n\nrandom_model.deterministic = False\n\n"
        f"def test_bad(robustness):\n    robustness({model}, {arguments})\n\n"
        "def test_good(robustness):\n    robustness(Model(), suite='tiny.suite')"
    )
    red = run("--robustness-update")
    red.assert_outcomes(failed=1, passed=1)
    (told,) = [line for line in text(red).splitlines() if line.startswith("robustness: ")]
    assert said in told
    assert "Traceback" not in text(red)


def _pickled(path: Path) -> None:
    import pickle

    path.write_bytes(pickle.dumps({"suite": 1}))


def _changed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-500]),
    "a byte": _changed,
    "a pickle": _pickled,
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_suite_is_one_red_line(damage: str, run: Run, write: Write, repository: Path) -> None:
    write(test_model=gate() + "\n\ndef test_else():\n    pass")
    run("--robustness-update")
    DAMAGES[damage](repository / "tiny.suite")
    red = run()
    red.assert_outcomes(failed=1, passed=1)
    (told,) = [line for line in text(red).splitlines() if line.startswith("robustness: ")]
    assert "tiny.suite" in told
    assert "Traceback" not in text(red)


def test_both_ways_to_update_are_refused(run: Run, write: Write) -> None:
    write(test_model=gate())
    both = run("--robustness-update", "--robustness-update-new-only")
    assert both.ret == pytest.ExitCode.USAGE_ERROR


def test_a_property_of_the_users_own_is_left_alone(run: Run, write: Write) -> None:
    write(
        test_model="@pytest.mark.parametrize('value', [0.5, 'high', '{}', '[1]', '{\"test\": 1}'])\n"
        "@pytest.mark.parametrize('name', ['robustness', 'carom-robustness'])\n"
        "def test_it(record_property, name, value):\n    record_property(name, value)"
    )
    run().assert_outcomes(passed=10)


@pytest.mark.thorough
def test_what_another_plugin_adds_to_an_id_is_no_part_of_it(
    run: Run, write: Write, repository: Path, pytester: pytest.Pytester
) -> None:
    body = "class TestModel:\n    def test_transfer(self, robustness):\n        robustness(Model(), suite='tiny.suite')"
    write(test_model=body)
    run("--robustness-update").assert_outcomes(passed=1)
    pytester.makeconftest(  # as pytest-xdist does with --dist loadgroup
        "import pytest\n\ndef pytest_collection_modifyitems(items):\n    plain = pytest.Function.nodeid\n"
        "    pytest.Function.nodeid = property(lambda item: plain.__get__(item) + '@one')\n"
    )

    def again(*options: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*PLUGIN, *QUICK, "-p", "no:cacheprovider", *options)

    again("-v").stdout.fnmatch_lines(["*::TestModel::test_transfer@one*", "holds *"])
    again("--robustness-update").stdout.fnmatch_lines(["unchanged *test_model.py::TestModel::test_transfer: *"])
    write(test_model="class TestModel:\n    def test_transfer(self):\n        pass")
    assert "TestModel::test_transfer passed without asking for it" in text(again())


def test_conditions_of_another_model_are_taken(run: Run, write: Write) -> None:
    for source, balance, architecture in (("uci", "uniform", "net-7"), ("other", "long-tail", "convnext")):
        write(test_model=gate("", f"conditions={CONDITIONS % (source, balance, architecture)}"))
        run("--robustness-update").assert_outcomes(passed=1)


def test_shares_may_be_numbers_of_numpy(run: Run, write: Write) -> None:
    write(
        test_model="import numpy as np\n"
        + gate("", "allowance=np.float32(0.02), floor=np.float64(0.4), per_class=np.float16(0.5)")
    )
    run("--robustness-update").assert_outcomes(passed=1)
    run().assert_outcomes(passed=1)


def test_an_update_names_the_floor_that_it_misses(run: Run, write: Write) -> None:
    write(test_model=gate("0.5", "floor=0.7"))
    run("--robustness-update").stdout.fnmatch_lines(["new *robust accuracy 49.9% (misses the floor of 70.0%), clean*"])
    write(test_model=gate("0.2", "floor=0.7"))
    assert "misses the floor" not in text(run("--robustness-update"))


@pytest.mark.parametrize("level", ["0.5", "nan"])
def test_a_level_that_no_gate_could_use_is_refused_at_the_start(
    level: str, run: Run, pytester: pytest.Pytester
) -> None:
    pytester.makeini(f"[pytest]\nrobustness_level = {level}\n")
    wrong = run()
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    wrong.stderr.fnmatch_lines(["*robustness_level: expected a chance above 0 and below 0.5*"])


def test_files_of_a_named_model_are_found_beside_the_test(
    run: Run, write: Write, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carom.zoo.architectures import architecture
    from carom.zoo.models.checkpoints import save_state_dict
    from carom.zoo.models.classifier import create

    save_state_dict(create(architecture("mlp"), shape=(1, 6, 5), classes=3), repository / "net.safetensors")
    write(
        test_model="@pytest.mark.parametrize('model', ['net.safetensors', {'model': 'net.safetensors'}])\n"
        "def test_it(robustness, model):\n    robustness(model, suite='tiny.suite', name='a')"
    )
    (repository / "elsewhere").mkdir()
    monkeypatch.chdir(repository / "elsewhere")
    run("--rootdir", "..", "../test_model.py", "--robustness-update").assert_outcomes(passed=2)
