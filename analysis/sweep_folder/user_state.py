"""The user's own folder for records that must outlive any sweep and any cache."""

import os
from pathlib import Path

import platformdirs

STATE_VARIABLE = "TOPRUNG_STATE_DIR"


def state_dir() -> Path:
    """The environment variable `TOPRUNG_STATE_DIR`, or else the user's state folder."""
    return Path(os.environ.get(STATE_VARIABLE) or platformdirs.user_state_dir("toprung"))
