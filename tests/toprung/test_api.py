"""The Python interface and the command line offer every setting of a sweep, and document it."""

import inspect
import re
from collections.abc import Callable

import click
import pytest

import toprung
from toprung.cli.main import toprung as command
from toprung.settings import SweepSettings

OF_SPACES_ALONE = {"stages", "start"}
SETTINGS = sorted(SweepSettings.model_fields.keys() - OF_SPACES_ALONE)
CHANGED_BY_RESUME = {
    "trials",
    "max_epochs",
    "time_budget",
    "concurrency",
    "cpus_per_trial",
    "gpus_per_trial",
    "trial_timeout",
}


def documented(function: Callable[..., object]) -> set[str]:
    """The arguments that a docstring describes."""
    (entries,) = re.findall(r"Args:\n(.*?)\n\n", inspect.getdoc(function) or "", re.DOTALL)
    return set(re.findall(r"^    (\w+): .", entries, re.MULTILINE))


def options(name: str) -> dict[str, click.Option]:
    """The options of a command, by the name of their value."""
    parameters = command.commands[name].params
    return {p.name: p for p in parameters if isinstance(p, click.Option) and p.name is not None}


@pytest.mark.parametrize("function", [toprung.run, toprung.resume, toprung.submit])
def test_every_argument_is_documented(function: Callable[..., object]) -> None:
    named = {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    assert named <= documented(function)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_can_be_given_in_python_and_on_the_command_line(name: str) -> None:
    assert inspect.signature(toprung.run).parameters[name].default is None
    for door in ("run", "submit"):
        option = options(door)[name]
        assert option.opts == [f"--{name.replace('_', '-')}"]
        assert len(option.help or "") > 10


def test_what_resume_may_change_is_the_same_in_both() -> None:
    in_python = inspect.signature(toprung.resume).parameters.keys() & set(SETTINGS)
    assert in_python == options("resume").keys() & set(SETTINGS) == CHANGED_BY_RESUME
