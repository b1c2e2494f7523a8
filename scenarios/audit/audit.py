"""From a model and a folder of images to what attacks on public models do to it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from carom.errors import InputError, StoreError
from carom.files import write_whole
from carom.identity import content_key
from carom.scenarios.jobs.answers import answers
from carom.scenarios.report.html import write_report
from carom.scenarios.report.pictured import rows_of_images
from carom.scenarios.run.executors.processes import devices_of
from carom.scenarios.run.progress import Progress, Report
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.statistics.class_order import misfit
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.outside.endpoint import Endpoint
from carom.zoo.models.outside.python_model import PythonModel
from carom.zoo.models.references import Preprocessed, code_behind, load_reference, reference
from carom.zoo.models.victims import check_victim
from carom.zoo.preprocessing import Shape
from carom.zoo.tasks.images import ImageSet

from .findings import Findings, find, made_on_public_models
from .fitting import Fitted, fit
from .gate import write_gate
from .images import common_side, named_classes, photographs
from .model import Loaded, Looked, inline_table, look, model_table
from .pictures import turned_images
from .scenario import attack_names, radii, scenario_text
from .sentences import sentences, unsaid
from .surrogates import Chosen, Public, choose, named_surrogates


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user asks.

    Attributes:
        model: Anything that a victim may be, or an inline table of TOML.
        images: A folder.
        output: Folder for what comes out.
        store: Folder of results.
        labels: A CSV file; None for class folders, or the one in the folder.
        names: "imagenet" or a file of class names; None to tell by the model.
        preprocessing: An inline table of TOML; None to find it.
        surrogates: Names with commas between; None for what is at hand.
        attacks: Names with commas between; None for the default ones.
        eps: Radii with commas between; None for the default ones.
        limit: Most images.
    """

    model: str
    images: str
    output: Path
    store: Path
    labels: str | None = None
    names: str | None = None
    preprocessing: str | None = None
    surrogates: str | None = None
    attacks: str | None = None
    eps: str | None = None
    limit: int = 500


@dataclass(frozen=True, kw_only=True)
class Audited:
    """What came out.

    Attributes:
        run: Its id in the store.
        preprocessing: What the model is behind, and how sure that is.
        remarks: What was noticed on the way.
        answer: Sentences.
        unsaid: What they do not say.
        findings: The numbers behind the sentences.
        files: Report, scenario, suite and test, by these names.
        report: What the run did.
    """

    run: str
    preprocessing: str
    remarks: tuple[str, ...]
    answer: tuple[str, ...]
    unsaid: tuple[str, ...]
    findings: Findings
    files: Mapping[str, str]
    report: Report

    def record(self) -> dict[str, Any]:
        """For JSON; the same whenever the same command is given."""
        found = asdict(self)
        del found["report"]
        return found


def audit(asked: Asked, *, workers: int | None, device: str, progress: Progress) -> Audited:
    """Answer what is asked; the same question again computes nothing.

    Args:
        asked: The question.
        workers: As in `run_scenario`.
        device: As in `run_scenario`.
        progress: Told what happens.

    Raises:
        InputError: Something about the model, the images or the surrogates is wrong; says what to do.
        StoreError: A job failed, or a folder cannot be written.
    """
    attacks, eps = attack_names(asked.attacks), radii(asked.eps)
    named = None if asked.surrogates is None else named_surrogates(asked.surrogates)
    table = model_table(asked.model, where="MODEL")
    if asked.preprocessing is not None:
        table["preprocessing"] = inline_table(asked.preprocessing, where="--preprocessing")
    devices_of(device)  # a wrong name is said before any work
    side, classes = common_side(asked.images), named_classes(asked.names)
    progress.say(f"looking at {asked.model}")
    looked = look(table, classes=classes, side=side)
    fitted = fit(looked, asked.images, labels=asked.labels, names=asked.names, limit=asked.limit)
    progress.say(fitted.said)
    if fitted.preprocessing is not None:
        table["preprocessing"] = dict(fitted.preprocessing)
    shape: Shape = (looked.channels, fitted.side, fitted.side)
    victim = _loaded(table, shape, looked.classes, "MODEL")
    images = photographs(fitted.task).load("images", "test")
    check = check_victim(
        victim, name=looked.label, shape=shape, classes=looked.classes, images=images.images, surrogate=False
    )
    table |= _revision(table, victim, images, looked.classes)
    progress.say("looking for public models on this machine" if named is None else "looking at the surrogates")
    chosen = choose(looked, victim, images, shape, named)
    chosen = replace(chosen, models=tuple(_versioned(one, shape, images, looked.classes) for one in chosen.models))
    for line in chosen.left_out:
        progress.say(line)
    text = scenario_text(
        name=_plain(f"audit-{looked.label}"),
        task=fitted.task,
        per_source=asked.limit if len(images) > asked.limit else None,
        victim=table,
        label=looked.label,
        white_box=check.differentiable,
        surrogates=chosen.models,
        attacks=attacks,
        eps=eps,
    )
    try:
        asked.output.mkdir(parents=True, exist_ok=True)
        path = asked.output / "scenario.toml"
        write_whole(path, text.encode())
    except OSError as error:
        raise StoreError(f"{asked.output}: cannot be written: {error.strerror or error}; give another -o") from None
    report = run_scenario(
        parse_scenario(text, where=str(path)),
        asked.store,
        workers=workers,
        device=device,
        progress=progress,
    )
    if report.failures:
        raise StoreError(
            f"{len(report.failures)} jobs failed, such as {report.failures[0]}; the same command tries them again"
        )
    remarks = [*chosen.left_out]
    if len(images) > asked.limit:
        remarks.append(f"{asked.limit} of the {len(images)} images, classes in turn; more with --limit")
    return _told(asked, looked, fitted, chosen, report, table, path, remarks)


def _told(
    asked: Asked,
    looked: Looked,
    fitted: Fitted,
    chosen: Chosen,
    report: Report,
    table: Mapping[str, Any],
    path: Path,
    remarks: list[str],
) -> Audited:
    with Store(asked.store) as store:
        outcomes = read_outcomes(store, report.run)
        findings = find(outcomes, looked.label)
        (row,) = set(outcomes.cells.loc[outcomes.cells["victim"] == looked.label, "victim_index"])
        wrong = misfit(outcomes.clean_predictions[row], outcomes.labels, looked.classes)
        if wrong is not None:
            remarks = [
                f"ALARM: {wrong.words(outcomes.classes)}; no number here holds before that is answered",
                *remarks,
            ]
        answer = sentences(findings, chosen)
        beware = unsaid(findings, chosen, per_class=bool(findings.classes))
        ahead = {"The answer": [f"Preprocessing: {fitted.said}", *answer, *remarks], "What this does not say": beware}
        caption, turned = turned_images(
            store, report.run, made_on_public_models(outcomes, looked.label, findings.headline)
        )
        pictures = rows_of_images("Images that are turned", caption, turned)
        page = asked.output / "report.html"
        try:
            write_whole(page, write_report(store, report.run, ahead=ahead, pictures=pictures).encode())
        except OSError as error:
            raise StoreError(f"{page}: cannot be written: {error.strerror or error}; give another -o") from None
    suite, test = write_gate(asked.store, report.run, asked.output, _plain(looked.label), table)
    return Audited(
        run=report.run,
        preprocessing=fitted.said,
        remarks=tuple(remarks),
        answer=tuple(answer),
        unsaid=tuple(beware),
        findings=findings,
        files={"report": str(page), "scenario": str(path), "suite": str(suite), "test": str(test)},
        report=report,
    )


def _loaded(table: Mapping[str, Any], shape: Shape, classes: int, where: str) -> Loaded:
    return load_reference(reference(table, where=where), shape=shape, classes=classes, where=where)


def _versioned(one: Public, shape: Shape, images: ImageSet, classes: int) -> Public:
    model = _loaded(one.table, shape, classes, one.label)
    return replace(one, table={**one.table, **_revision(one.table, model, images, classes)})


def _revision(table: Mapping[str, Any], model: Loaded, images: ImageSet, classes: int) -> dict[str, str]:
    """For models of code and services, which have no content key: what was seen of this version.

    That is the file of the code, the weights, and the answers to the images.
    """
    named = reference(table, where="MODEL")
    inner = named.model if isinstance(named, Preprocessed) else named
    if not isinstance(inner, PythonModel | Endpoint) or inner.revision is not None:
        return {}
    with torch.no_grad():
        said = answers(model, images.images, classes=classes, device="cpu", name=str(table["model"]))
    weights = model.fingerprint() if isinstance(model, Classifier) else ""
    return {"revision": content_key("audited", code_behind(named) or "", weights, said.tolist())[:12]}


def _plain(name: str) -> str:
    """A name that can begin a file's."""
    plain = re.sub(r"[^\w.,+=()-]", "-", name)[:80]
    if not re.match(r"\w", plain):
        raise InputError(f"MODEL: {name!r} cannot name files; name it: '{{model = ..., name = \"net\"}}'")
    return plain
