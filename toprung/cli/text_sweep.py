"""What the commands print about a sweep."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from toprung.analysis.findings.comparison import Comparison
from toprung.analysis.provenance.starting_weights import seen_before
from toprung.analysis.seal.evidence import read_seal
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.seal.words import reuse_in_words
from toprung.analysis.study.trials import TrialResult, has_score
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.cli.text_failures import failures, failures_in_short
from toprung.console import joined
from toprung.trainables.config import dump_config
from toprung.trainables.system.printable import printable_line

if TYPE_CHECKING:
    from toprung.cli.description import Description


def outcome(sweep: Sweep, winner: TrialResult, result: TestResult | None, untested: str) -> str:
    """A finished sweep: the winner, its parameters, its figures, and where everything is stored."""
    parameters = [f"    {name}: {_value(value)}" for name, value in winner.parameters.items()]
    searched = ["  searched parameters:", *parameters] if parameters else []
    ended = [f"  ended by its {sweep.ended}"] if sweep.ended != attributes.FINISHED else []
    lines = [
        f"sweep {sweep.name}: {_counts(sweep)}",
        *ended,
        *failures_in_short(sweep),
        _figures(winner),
        *_confirmed(sweep),
        *_test(sweep, result, untested),
        *searched,
        *_places(sweep.folder),
    ]
    return joined(lines)


def _places(folder: SweepFolder) -> list[str]:
    """Where everything is stored, and how to look at it."""
    places = [
        f"  everything:   {folder.address}",
        f"  best model:   {folder.shown(folder.best)}",
        f"  its config:   {folder.shown(folder.best / 'trial.yaml')}",
    ]
    if folder.store is not None:
        return [*places, f"  download:     toprung fetch {_quoted(folder)}"]
    return [
        *places,
        f"  all curves:   tensorboard --logdir {shlex.quote(str(folder.path))}",
        f"  classify:     toprung predict {shlex.quote(str(folder.best))} IMAGE…",
    ]


def _quoted(folder: SweepFolder) -> str:
    """The sweep's folder or URL, quoted for a shell."""
    return shlex.quote(folder.address)


def _confirmed(sweep: Sweep) -> Iterator[str]:
    """The winner's mean over its runs with fresh seeds; or why there are none."""
    confirmation = sweep.confirmation()
    if confirmation is None:
        return
    chosen = confirmation.chosen
    if chosen is None:
        yield f"  {confirmation.summary}"
        return
    yield (
        f"  confirmed: trial {chosen.trial.number} with {len(chosen.runs)} fresh seeds: mean "
        f"{sweep.metric} {chosen.mean:.4f} ({chosen.spread_in_words}); in the search "
        f"{chosen.first:.4f}"
    )


def partial(sweep: Sweep) -> str:
    """An interrupted sweep: its results so far, and how to resume it."""
    return joined(
        [
            f"sweep {sweep.name} is partial ({sweep.ended}): {_counts(sweep)}",
            *failures_in_short(sweep),
            "  the test set was not opened; nothing was exported",
            f"  resume:       toprung resume {_quoted(sweep.folder)}",
            f"  best so far:  toprung best {_quoted(sweep.folder)}",
        ]
    )


def status(sweep: Sweep) -> str:
    """A sweep's progress, best trial, confirmation, test and failures."""
    asked = sweep.description["settings"]["trials"]
    lines = [f"sweep {sweep.name}: {sweep.ended}", f"  {_counts(sweep)}, of {asked} asked for"]
    if any(has_score(trial) for trial in sweep.trials()):
        lines.append(_figures(sweep.best()))
    confirmation = sweep.confirmation()
    if confirmation:
        num_runs = sum(len(candidate.runs) for candidate in confirmation.candidates)
        begun = f" (runs started: {num_runs})" if num_runs else ""
        lines.append(f"  {confirmation.summary}{begun}")
        if confirmation.chosen:
            lines += _confirmed(sweep)
    seal = read_seal(sweep)
    lines += [f"  {line}" for result in seal.results for line in test(result, sweep)]
    lines += [f"  the test set was {one}" for one in seal.unknown]
    lines += [f"  warning: {remark}" for remark in seal.remarks]
    can_test = any(has_score(trial) for trial in sweep.trials()) and not sweep.is_partial
    if not seal.results and not seal.unknown and can_test:
        lines.append(f"  the test set has not been opened: toprung test {_quoted(sweep.folder)}")
    if sweep.ended in (attributes.INTERRUPTED, attributes.KILLED):
        lines.append(f"  partial; resume: toprung resume {_quoted(sweep.folder)}")
    lines += failures(sweep)
    return joined(lines)


def best(sweep: Sweep, winner: TrialResult) -> str:
    """The best trial's figures and config."""
    assert winner.config is not None
    partial = f", partial ({sweep.ended})" if sweep.is_partial else ""
    heading = joined([f"# sweep {sweep.name}{partial}", f"# {_figures(winner).strip()}"])
    return f"{heading}\n{dump_config(winner.config).rstrip()}"


def _test(sweep: Sweep, result: TestResult | None, untested: str) -> list[str]:
    if result is None:
        return [f"  no test figures: {untested}"]
    return [f"  {line}" for line in test(result, sweep)]


def test(result: TestResult, sweep: Sweep) -> list[str]:
    """One opening of the test set, and how many of its images the model had seen before.

    A second line names earlier openings of these images.
    """
    forced = ", forced" if result.forced else ""
    config, then = None, ""
    with suppress(SweepFolderError):  # the study may no longer have this trial
        trial = sweep.trial(result.trial)
        config = trial.config
        then = " as it was then, before it was trained further" * result.precedes_end_of(trial)
    seen = "".join(f"; {told}" for told in seen_before(sweep.folder, config, "test"))
    lines = [
        f"test accuracy {result.accuracy:.4f}, loss {result.loss:.4f} (trial {result.trial}{then}, "
        f"{result.num_images} images, opened {result.opened_at}{forced}){seen}"
    ]
    if reuse := reuse_in_words(result):
        lines.append(f"  {reuse}")
    remarks = result.earlier.remarks if result.earlier else []
    return [*lines, *(f"  warning: {remark}" for remark in remarks)]


def description(described: "Description") -> str:
    """The parameters of a search space, followed by a network's layers and cost."""
    summary = described.summary
    rows = [
        (
            layer.name,
            layer.type,
            "x".join(map(str, layer.output_shape)),
            f"{layer.num_parameters:,}",
        )
        for layer in summary.layers
    ]
    lines = [
        *(line for text in described.text for line in text.split("\n")),
        *table([("layer", "type", "output shape", "parameters"), *rows], num_left=2),
        "",
        *_frozen(described),
        "",
        f"input shape {'x'.join(map(str, described.input_shape))}, {described.num_classes} classes",
        f"parameters {summary.num_parameters:,}, of which trainable {summary.num_trainable:,}",
        f"multiply-accumulates for one image {summary.num_multiply_accumulates:,}",
    ]
    return joined(lines)


def _frozen(described: "Description") -> Iterator[str]:
    """What trains in each network stage, and by which rules of the freeze policy."""
    yield f"freeze policy {described.freeze_policy}:"
    yield from (f"  {line}" for line in described.frozen.lines())
    rows = [
        (row.stage, "; ".join(row.rules), f"{row.num_values:,}", f"{row.num_trainable:,}")
        for row in described.frozen.stages()
    ]
    yield from table([("stage", "rule", "parameters", "trainable"), *rows], num_left=2)


def comparison(compared: Comparison) -> str:
    """The trials grouped by settings, the best group first, and warnings about the comparison."""
    groups = compared.groups
    columns = dict.fromkeys(name for group in groups for name in group.figures)
    rows = [
        (*map(_value, group.values), *(_value(group.figures.get(name, "")) for name in columns))
        for group in groups
    ]
    lines = table([(*compared.columns, *columns), *rows], num_left=len(compared.columns))
    return joined([*lines, *(f"warning: {warning}" for warning in compared.warnings)])


def table(rows: Sequence[Sequence[str]], num_left: int) -> Iterator[str]:
    """Lines with aligned columns, the first `num_left` to the left and the others to the right."""
    shown = [list(map(printable_line, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = [
            f"{cell:<{width}}" if number < num_left else f"{cell:>{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _counts(sweep: Sweep) -> str:
    counts = sweep.counts()
    total = sum(counts.values())
    if not total:
        return "no trials yet"
    how = ", ".join(f"{number} {ended}" for ended, number in sorted(counts.items()))
    return f"{total} {'trial' if total == 1 else 'trials'}: {how}"


def _figures(trial: TrialResult) -> str:
    assert trial.best is not None
    record = trial.best
    again = "" if trial.confirms is None else f" (trial {trial.confirms} with another seed)"
    return (
        f"  best: trial {trial.number}{again} at epoch {record.epoch:g}: validation accuracy "
        f"{record.val_accuracy:.4f}, loss {record.val_loss:.4f} "
        f"(train {record.train_accuracy:.4f}, {record.train_loss:.4f})"
    )


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
