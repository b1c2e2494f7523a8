"""What a scenario has to have: grids of models, sets and cells, each under a key that follows what is asked."""

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.scenarios.conftest import SMALL, TINY

from carom.scenarios.jobs.inputs import attackers_images
from carom.scenarios.jobs.train import TrainJob
from carom.scenarios.plan.plan import Plan, plan
from carom.scenarios.spec.read import load_scenario
from carom.scenarios.spec.scenario import TrainedModel

Write = Callable[..., Path]

CONTROLS = 6
VICTIM = "[[victims]]\nseed = 2"


def planned(path: Path) -> Plan:
    return plan(load_scenario(str(path)))


def keys(made: Plan) -> dict[str, set[str]]:
    """Every key of a plan, by kind."""
    return {
        "images": {i.key for i in made.images.values()},
        "surrogates": {key for key, role, _ in made.roles if role == "surrogate"},
        "victims": {key for key, role, _ in made.roles if role == "victim"},
        "controls": {key for key, s in made.sets.items() if s.surrogate is None},
        "sets": {key for key, s in made.sets.items() if s.surrogate is not None},
    }


def trained(made: Plan) -> list[TrainedModel]:
    return [m.model for m in made.models.values() if isinstance(m.model, TrainedModel)]


# --------------------------------------------------------------------------------------------------------------- grids


@pytest.mark.parametrize(
    ("name", "sources", "balances", "architectures", "attacks"),
    [("digits-quick", 2, 2, 3, 2), ("digits-dumb", 2, 4, 3, 6)],
)
def test_the_grids_of_the_presets(name: str, sources: int, balances: int, architectures: int, attacks: int) -> None:
    made = plan(load_scenario(name))
    configurations = sources * balances * architectures
    assert len(made.models) == 2 * configurations
    assert Counter(role for _, role, _ in made.roles) == {"surrogate": configurations, "victim": configurations}
    assert len(made.sets) == configurations * attacks + CONTROLS
    on_surrogates = [c for c in made.cells if made.sets[c.set_key].surrogate is not None]
    assert len(on_surrogates) == configurations * attacks * (configurations + 1)
    assert len(made.cells) - len(on_surrogates) == CONTROLS * configurations
    assert all(c.case is None for c in made.cells if made.sets[c.set_key].surrogate is None)

    each = configurations * attacks  # every set meets one victim that agrees in all, and so on
    expected = {0: each}
    for differ in itertools.product((0, 1), repeat=3):
        balance, architecture, source = differ
        partners = (balances - 1) ** balance * (architectures - 1) ** architecture * (sources - 1) ** source
        expected[1 + balance + 2 * architecture + 4 * source] = each * partners
    assert Counter(c.case for c in on_surrogates) == expected
    assert set(expected) == set(range(9))


def test_the_dumb_grid_has_3600_cells_beside_the_controls() -> None:
    made = plan(load_scenario("digits-dumb"))
    assert len(made.models) == 48
    assert sum(made.sets[c.set_key].surrogate is not None for c in made.cells) == 24 * 25 * 6 == 3600


def test_training_sets_have_one_size(scenario: Write) -> None:
    made = planned(scenario(('["uniform", "tv0.2"]', '["uniform", "tv0.2", "tv0.3-reversed"]')))
    sizes = {m.configuration.n for m in trained(made)}
    assert len(sizes) == 1
    (n,) = sizes
    assert n is not None
    task = made.scenario.task
    totals = set()
    for model in trained(made):
        counts = model.configuration.balance.counts(n, 3)
        have = np.bincount(task.load(model.configuration.source, "train").labels.numpy(), minlength=3)
        assert (np.array(counts) <= have).all()
        totals.add(sum(counts))
    assert totals == {n}
    one_more = [m.configuration.balance.counts(n + 1, 3) for m in trained(made)]
    assert max(max(c) for c in one_more) > 30, "n is the largest that all can have: 30 images of each class"


def test_lists_are_axes_everywhere(scenario: Write) -> None:
    made = planned(
        scenario(
            *SMALL,
            ('attacks = ["fgsm", "mi"]', 'attacks = [{name = "mi", steps = [2, 3], targeted = [false, true]}]'),
            ('budgets = [{norm = "linf", eps = "32/255"}]', 'budgets = [{norm = ["linf", "l2"], eps = [0.1, 0.2]}]'),
            ("[images]", "attack_seed = [0, 1, 2]\n[images]"),
            ("seed = 1", 'seed = [1, 4]\nbuilder = ["single", {name = "ensemble", size = 2}]'),
        )
    )
    assert sum(s.surrogate is not None for s in made.sets.values()) == (2 * 2) * (2 * 2) * 3 * (2 * 2)
    assert len({a.label for a in made.scenario.attacks}) == 4
    assert len({s.label for s in made.scenario.surrogates}) == 4
    assert len(made.models) == 2 + 2 + 1, "an ensemble shares its first network with the single surrogate"
    assert sum(s.surrogate is None for s in made.sets.values()) == 2 * (1 + (CONTROLS - 1) * 2), "identity: one a norm"


# ---------------------------------------------------------------------------------------------------------------- keys

LENET = ('architecture = {name = "mlp", width = 12}', 'architecture = "lenet"')
MODELS = {"surrogates", "victims", "sets"}
ALL = {"images", "surrogates", "victims", "controls", "sets"}
CHANGES: dict[str, tuple[tuple[str, str], set[str]]] = {
    "source": (('source = "here"', 'source = "there"'), MODELS),
    "balance": (('balance = "uniform"', 'balance = "tv0.2"'), MODELS),
    "orientation": (('balance = "uniform"', 'balance = "tv0.2-reversed"'), MODELS),
    "architecture": (LENET, MODELS),
    "argument of the architecture": (("width = 12", "width = 13"), MODELS),
    "epochs": (("epochs = 3", "epochs = 4"), MODELS),
    "learning rate": (("learning_rate = 0.02", "learning_rate = 0.021"), MODELS),
    "augmentation": (("shift = 0", "shift = 1"), MODELS),
    "training images": (("[models]", "[models]\nn = 30"), MODELS),
    "surrogate seed": (("seed = 1", "seed = 4"), {"surrogates", "sets"}),
    "victim seed": (("seed = 2", "seed = 4"), {"victims"}),
    "builder": (("seed = 1", 'seed = 1\nbuilder = {name = "ensemble", size = 1}'), {"sets"}),
    "attack": (('["fgsm", "mi"]', '["bim", "ni"]'), {"sets"}),
    "field of an attack": (
        ('["fgsm", "mi"]', '[{name = "fgsm", targeted = true}, {name = "mi", steps = 9}]'),
        {"sets"},
    ),
    "norm": (('norm = "linf"', 'norm = "l2"'), {"controls", "sets"}),
    "attack seed": (("[images]", "attack_seed = 1\n[images]"), {"sets"}),
    "attacked images": (("per_source = 21", "per_source = 18"), {"images", "controls", "sets"}),
    "precision": (("[images]", 'precision = "bfloat16"\n[images]'), {"images", "controls", "sets"}),
    "names": (("seed = 1", 'seed = 1\nname = "theirs"'), set()),
    "label of an attack": (('"fgsm"', '{name = "fgsm", label = "one step"}'), set()),
    "default written out": (('"fgsm"', '{name = "fgsm", targeted = false}'), set()),
    "another spelling": (('eps = "32/255"', 'eps = "64/510"'), set()),
    "name and description": (('name = "tiny"', 'name = "other"\ndescription = "words"'), set()),
    "itself": (('name = "tiny"', 'name = "tiny"\nitself = false'), set()),
    "order of attacks": (('["fgsm", "mi"]', '["mi", "fgsm"]'), set()),
    "order of tables": (
        ("[[surrogates]]\nseed = 1\n\n[[victims]]\nseed = 2", "[[victims]]\nseed = 2\n\n[[surrogates]]\nseed = 1"),
        set(),
    ),
}


@pytest.fixture(scope="module")
def unchanged() -> dict[str, dict[str, set[str]]]:
    """The keys of the scenario as it is, once somebody needed them."""
    return {}


@pytest.mark.parametrize("name", CHANGES)
def test_keys_follow_what_is_asked_and_nothing_else(
    name: str, scenario: Write, unchanged: dict[str, dict[str, set[str]]]
) -> None:
    change, expected = CHANGES[name]
    if not unchanged:
        unchanged["keys"] = keys(planned(scenario(*SMALL)))
    before, after = unchanged["keys"], keys(planned(scenario(*SMALL, change)))
    changed = {kind for kind in before if not before[kind] & after[kind]}
    assert changed == expected
    assert all(before[kind] == after[kind] for kind in before if kind not in expected)


def test_a_float_eps_of_whole_grey_levels_changes_nothing(scenario: Write) -> None:
    as_float = planned(scenario(*SMALL, ('eps = "32/255"', f"eps = {35 / 255!r}")))
    as_fraction = planned(scenario(*SMALL, ('eps = "32/255"', 'eps = "35/255"')))
    assert keys(as_float) == keys(as_fraction)


def test_models_of_disjoint_samples_choose_their_epochs_by_disjoint_images(scenario: Write) -> None:
    """What jobs train on and choose by is what the plan holds them to, and no image is in two models' hands."""
    halves = ("[[surrogates]]\n", '[[surrogates]]\nsamples = "a"\n'), (VICTIM, VICTIM + '\nsamples = "b"')
    made = planned(scenario(*SMALL, *halves))
    seen = []
    for key, model in made.models.items():
        assert isinstance(model.model, TrainedModel)
        job = TrainJob(
            key=key,
            label=model.label,
            task=made.scenario.task,
            configuration=model.model.configuration,
            seed=model.model.seed,
            inputs=model.inputs,
        )
        seen.append([set(part.ids.tolist()) for part in attackers_images(job)])
    (a, b) = seen
    assert all(a + b)
    assert not a[0] & b[0]
    assert not a[1] & b[1]


def test_eps_changes_all_sets_but_the_identity(scenario: Write) -> None:
    before, after = (keys(planned(scenario(*SMALL, ('eps = "32/255"', f'eps = "{eps}/255"')))) for eps in (31, 33))
    assert not before["sets"] & after["sets"]
    assert len(before["controls"] & after["controls"]) == 1
    assert before["surrogates"] == after["surrogates"]


def test_the_data_are_inputs_and_their_change_is_seen(scenario: Write, tiny_npz: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    arrays = dict(np.load(tiny_npz))
    np.savez(path, **arrays)
    file = scenario(*SMALL, (str(tiny_npz), str(path)))
    before = planned(file)
    arrays["here/x_train"][0, 0, 0] ^= 1
    np.savez(path, **arrays)
    after = planned(file)
    assert keys(before) == keys(after)
    for key, model in before.models.items():
        changed = {k for k, v in model.inputs.items() if after.models[key].inputs[k] != v}
        assert changed == {"train"}


# -------------------------------------------------------------------------------------------------------- equal images


def with_arrays(npz: Path, place: Path, **changed: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Path:
    """The tiny scenario on a copy of its images, some arrays of the first source made of the others."""
    arrays = dict(np.load(npz))
    arrays |= {f"here/{name}": made(arrays) for name, made in changed.items()}
    np.savez(place / "data.npz", **arrays)
    text = TINY.replace("NPZ", str(place / "data.npz"))
    (place / "s.toml").write_text(text)
    return place / "s.toml"


def test_sound_images_draw_no_warning(tiny_npz: Path, tmp_path: Path) -> None:
    assert planned(with_arrays(tiny_npz, tmp_path)).warnings == ()


@pytest.mark.parametrize("shared", [60, 3, 1])
def test_attacked_images_that_are_training_images_are_counted(shared: int, tiny_npz: Path, tmp_path: Path) -> None:
    """Labels and order do not matter; how many of those that are attacked is counted here by hand."""

    def test_images(arrays: dict[str, np.ndarray]) -> np.ndarray:
        x = arrays["here/x_test"].copy()
        x[:shared] = arrays["here/x_train"][:shared]
        return x

    made = planned(with_arrays(tiny_npz, tmp_path, x_test=test_images))
    train = {image.tobytes() for image in np.load(tmp_path / "data.npz")["here/x_train"]}
    hit = sum(image[0].numpy().tobytes() in train for image in made.images["test"].images.images)
    assert hit > 0 if shared == 60 else True
    said = [w for w in made.warnings if "also among the training images, byte for byte" in w]
    assert [w.split(" ")[0] for w in said] == ([str(hit)] if hit else [])


def test_images_of_another_source_that_is_trained_on_count_too(tiny_npz: Path, tmp_path: Path) -> None:
    changed = {f"{kind}_test": lambda a, kind=kind: a[f"there/{kind}_train"][:60] for kind in "xy"}
    (said,) = planned(with_arrays(tiny_npz, tmp_path, **changed)).warnings
    assert said.startswith("21 of the 42 test images that are attacked are also among the training images")


def test_an_image_many_times_in_the_test_set_is_counted(tiny_npz: Path, tmp_path: Path) -> None:
    """Three images of one class each stand for all."""
    changed = {
        "x_test": lambda a: a["here/x_test"][np.arange(60) % 3],
        "y_test": lambda a: a["here/y_test"][np.arange(60) % 3],
    }
    (said,) = planned(with_arrays(tiny_npz, tmp_path, **changed)).warnings
    assert said.startswith("of the 42 test images that are attacked 18 are identical with others, byte for byte")
    assert "n is 24 at most" in said
