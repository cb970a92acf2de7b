"""Secrets that nothing may keep or hand on: put into many variables, and looked for afterwards."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CANARY = "cAnaRy7"
"""In each of them, and nowhere else."""
OF_A_NODE = f"{CANARY.lower()}/of+a+node"
"""A secret of a cluster's node, whose processes have it: looked for everywhere else."""
VARIABLES = {
    "AWS_ACCESS_KEY_ID": f"AKIA{CANARY}KEYID",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}/aws+secret/access+key",
    "AWS_SESSION_TOKEN": f"{CANARY}AwsSessionToken",
    "AWS_SECURITY_TOKEN": f"{CANARY}AwsSecurityToken",
    "AZURE_STORAGE_KEY": f"{CANARY}AzureStorageKey==",
    "HF_TOKEN": f"hf_{CANARY}HuggingFace",
    "WANDB_API_KEY": f"{CANARY}WeightsAndBiases",
    "PGPASSWORD": f"pg {CANARY} word",
    "GITHUB_TOKEN": f"ghp_{CANARY}GitHub",
    "MY_SECRETS": f"{CANARY} of mine",
    "MYSQL_PWD": f"{CANARY}MySql",
    "DATABASE_URL": f"postgresql://me:{CANARY}Database@host/db",
    "MY_PROXY": f"http://me:{CANARY}Proxy@proxy:3128",
    "SIGNED": f"https://host/file?X-Amz-Signature={CANARY}Signature",
}


@contextmanager
def canaries_set() -> Iterator[None]:
    """Have them in this process's environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        yield


def found_in(texts: Iterable[str]) -> list[str]:
    """The texts that hold one."""
    return [text for text in texts if CANARY.lower() in text.lower()]


def files_with_canaries(*folders: Path) -> list[str]:
    """The files in these folders that hold one, in their name or content."""
    return [
        str(path)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and found_in([path.name, path.read_bytes().decode("latin-1")])
    ]


def processes_with_canaries() -> list[str]:
    """The command lines of the processes that have one in their environment, but for this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (
                (process / name).read_bytes() for name in ("environ", "cmdline")
            )
        except OSError:  # it has ended, or is another user's
            continue
        if CANARY.encode() in environment and int(process.name) != os.getpid():
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found
