"""The pages in Markdown: links, code, commands and paths in them are right.

A block of shell commands needs tests that run its commands (`RUN_BY`), or a comment before it that
says what is not here: `<!-- needs: a Ray cluster -->`.
"""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from toprung.cli.main import toprung

ROOT = Path(__file__).parents[2]
OWN_FOLDERS = "analysis|benchmarks|clusters|docs|examples|search_spaces|tests|toprung|trainables"
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "clusters/*.md", "examples/*.md")
    for path in ROOT.glob(pattern)
)
FUZZED = "tests/support/fuzzed_sweep.py"
"""Lists commands that tests/hostile/test_fuzz_folder.py runs, first on an untouched sweep."""
RUN_BY = {
    "best": FUZZED,
    "compare": FUZZED,
    "dashboard": "tests/toprung/dashboards/test_servers.py",
    "describe": FUZZED,
    "evaluate": FUZZED,
    "export": FUZZED,
    "inspect": FUZZED,
    "predict": FUZZED,
    "report": "tests/analysis/sweep_folder/test_outside.py",
    "resume": "tests/sweeps/test_endings.py",
    "run": "tests/sweeps/test_main_job.py",
    "status": FUZZED,
    "test": FUZZED,
}
"""Commands of Toprung that the pages show, each with a test that runs it on small data."""
IN_CI = ("make demo", "make test", "make lint", "make docs", "uv tool run pre-commit install")
"""CI runs `make test`, which lints; tests/sweeps/test_main_job.py runs the demonstration. The last
two are for developers of Toprung, and need packages that the tests do not."""


class Block(NamedTuple):
    """A fenced block: its page, its line there, its language, what it needs, its text."""

    page: str
    line: int
    language: str
    needs: str
    text: str


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


@cache
def blocks() -> list[Block]:
    fence = re.compile(
        r"(?:<!-- needs: (?P<needs>.+?) -->\n)?"
        r"^(?P<fence>```(?P<language>[\w{}-]*)[^\n]*\n(?P<text>.*?)^```)$",
        re.MULTILINE | re.DOTALL,
    )
    found = []
    for page in PAGES:
        text = read(page)
        for match in fence.finditer(text):
            line = text.count("\n", 0, match.start("fence")) + 1
            needs = match["needs"] or ""
            found.append(Block(page, line, match["language"], needs, match["text"]))
    return found


def prose(page: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", read(page), flags=re.M | re.S)


def anchors(page: str) -> set[str]:
    titles = re.findall(r"^#+ +(.+?) *$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links() -> Iterator[tuple[str, str]]:
    """Each link that leads to a file or heading of the repository."""
    for page in PAGES:
        for target in re.findall(r"\]\(<?([^)>\s]+)>?\)", prose(page)):
            if not re.match(r"[a-z]+:", target):
                yield page, target


def shell_lines(block: Block) -> list[list[str]]:
    """The commands of a block, without comments, in words."""
    text = re.sub(r"(?:^|(?<=\s))#.*$", "", block.text.replace("\\\n", " "), flags=re.M)
    words = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    words.whitespace, words.whitespace_split, words.commenters = " \t", True, ""
    commands: list[list[str]] = [[]]
    for word in words:
        if set(word) <= set(";&|\n"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def toprung_commands() -> Iterator[tuple[Block, list[str]]]:
    """Each command line of Toprung, from the name of its command on."""
    for block in blocks():
        for words in shell_lines(block) if block.language == "sh" else []:
            if words[:1] == ["sbatch"]:
                yield block, words[2:]
            elif "toprung" in words[:3]:
                yield block, words[words.index("toprung") + 1 :]


def where(block: Block) -> str:
    return f"{block.page}:{block.line}"


def test_there_are_pages_with_links_code_and_commands() -> None:
    assert {"README.md", "SECURITY.md", "docs/index.md", "clusters/README.md"} <= set(PAGES)
    assert len(list(links())) > 50
    assert len(list(toprung_commands())) > 40
    assert sum(block.language == "python" for block in blocks()) > 4


def test_every_link_leads_somewhere() -> None:
    wrong = []
    for page, target in links():
        path, _, anchor = target.partition("#")
        goal = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        if not goal.exists() or ROOT not in goal.parents:
            wrong.append(f"{page}: {target}")
        elif anchor and anchor not in anchors(str(goal.relative_to(ROOT))):
            wrong.append(f"{page}: {target}: there is no such heading")
    assert not wrong, "\n".join(wrong)


def test_the_contents_have_every_page() -> None:
    listed = {
        (ROOT / "docs" / f"{path or titled}.md").resolve()
        for block in blocks()
        if block.page == "docs/index.md" and block.language == "{toctree}"
        for path, titled in re.findall(r"^([\w./-]+)$|<(.+)>$", block.text, re.MULTILINE)
    }
    assert listed == {ROOT / page for page in PAGES if page != "docs/index.md"}


@pytest.mark.parametrize(
    "block", [block for block in blocks() if block.language == "python"], ids=where
)
def test_python_compiles(block: Block) -> None:
    compile(block.text, where(block), "exec")


COMMANDS = list(toprung_commands())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{where(c[0])} {c[1][0]}")
def test_a_command_is_one_that_the_command_line_takes(command: tuple[Block, list[str]]) -> None:
    _, (name, *arguments) = command
    parser = toprung.commands[name]
    context = click.Context(parser, info_name=name)
    given, rest, _ = parser.make_parser(context).parse_args(arguments)
    assert not rest
    for parameter in parser.params:
        value = given.get(parameter.name or "")
        assert isinstance(value, str | int | float | list | tuple | bool) or not parameter.required
        if isinstance(value, str) and not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, value)


@pytest.mark.parametrize("block", [b for b in blocks() if b.language == "sh"], ids=where)
def test_commands_are_run_by_a_test_or_need_what_is_not_here(block: Block) -> None:
    if block.needs:
        return
    for words in shell_lines(block):
        if "toprung" in words[:3]:
            name = words[words.index("toprung") + 1]
            assert name in RUN_BY, f"{where(block)}: which test runs it, or what does it need?"
        else:
            assert " ".join(words) in IN_CI, f"{where(block)}: {words}"


@pytest.mark.parametrize("name", RUN_BY)
def test_the_test_that_runs_a_command_is_there(name: str) -> None:
    assert re.search(rf"[\"\' ]{name}[\"\' ]", read(RUN_BY[name]))


def test_every_option_in_a_sentence_exists() -> None:
    known = {option for c in toprung.commands.values() for p in c.params for option in p.opts}
    wrong = [
        f"{page}: {span}"
        for page in PAGES
        if page != "clusters/README.md"  # which has those of `ray start`
        for span in re.findall(r"`(--[^`]+)`", prose(page))
        for option in re.findall(r"(?<!\S)--[\w-]+", span)
        if option not in known
    ]
    assert not wrong, "\n".join(wrong)


def test_every_path_in_a_sentence_exists() -> None:
    wrong = [
        f"{page}: {path}"
        for page in PAGES
        for path in re.findall(rf"`((?:{OWN_FOLDERS})/[\w./-]*)`", prose(page))
        if not (ROOT / path).exists() and not path.startswith("docs/_build")
    ]
    assert not wrong, "\n".join(wrong)


def test_every_module_that_is_run_exists() -> None:
    wrong = [
        f"{page}: {module}"
        for page in PAGES
        for module in re.findall(r"python -m ((?:benchmarks|docs)[\w.]*\w)", read(page))
        if not (path := ROOT / module.replace(".", "/")).is_dir()
        and not path.with_suffix(".py").is_file()
    ]
    assert not wrong, "\n".join(wrong)


def test_the_notebook_is_python() -> None:
    cells = json.loads(read("examples/digits.ipynb"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            ast.parse("".join(cell["source"]))
            assert not cell["outputs"]
