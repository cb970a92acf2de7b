"""Writes TensorBoard's event files without torch, and without the thread per file of its writer."""

import os
import socket
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_SUCCESS,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.summary.writer.record_writer import RecordWriter

from toprung.storage.append import append

HParam = bool | int | float | str


class EventFile:
    """The event file of one run. Each write is appended at once, and the file is closed again.

    Args:
        folder: the run's folder, which is created.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add_scalars(self, *steps: tuple[int, Mapping[str, float]]) -> None:
        """Write the tags' values at each of these steps."""
        now = time.time()
        self._append(
            *(Event(wall_time=now, step=step, summary=_summary(values)) for step, values in steps)
        )

    def add_hparams(self, values: Mapping[str, HParam], metrics: Mapping[str, float]) -> None:
        """Write the run's row of the HParams tab: its hyperparameters and its final metrics."""
        infos = [HParamInfo(name=name, type=_type(value)) for name, value in values.items()]
        names = [MetricInfo(name=MetricName(tag=tag)) for tag in metrics]
        start = SessionStartInfo()
        for name, value in values.items():
            setattr(start.hparams[name], _FIELDS[_type(value)], value)
        parts = {
            metadata.EXPERIMENT_TAG: HParamsPluginData(
                experiment=Experiment(hparam_infos=infos, metric_infos=names)
            ),
            metadata.SESSION_START_INFO_TAG: HParamsPluginData(session_start_info=start),
            metadata.SESSION_END_INFO_TAG: HParamsPluginData(
                session_end_info=SessionEndInfo(status=STATUS_SUCCESS)
            ),
        }
        summary = Summary(
            value=[
                Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(part))
                for tag, part in parts.items()
            ]
        )
        now = time.time()
        self._append(
            Event(wall_time=now, summary=summary),
            Event(wall_time=now, summary=_summary(metrics)),
        )

    def _append(self, *events: Event) -> None:
        content = BytesIO()
        writer = RecordWriter(content)
        for event in events:
            writer.write(event.SerializeToString())
        append(self._path, content.getvalue())


def steps_of(tag: str, folder: Path) -> set[int]:
    """The steps for which any of a run's event files has a value of this tag."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    found = set()
    for file in folder.glob("events.out.*"):
        for raw in RawEventFileLoader(str(file)).Load():
            event = Event.FromString(raw)
            if any(value.tag == tag for value in event.summary.value):
                found.add(event.step)
    return found


_FIELDS = {
    DATA_TYPE_BOOL: "bool_value",
    DATA_TYPE_FLOAT64: "number_value",
    DATA_TYPE_STRING: "string_value",
}


def _type(value: HParam) -> int:
    if isinstance(value, bool):
        return int(DATA_TYPE_BOOL)
    return int(DATA_TYPE_STRING if isinstance(value, str) else DATA_TYPE_FLOAT64)


def _summary(values: Mapping[str, float]) -> Summary:
    return Summary(
        value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    )
