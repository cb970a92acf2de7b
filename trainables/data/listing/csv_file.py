"""Images listed in a CSV file with the columns path, label and, optionally, split."""

import csv
import os
from pathlib import Path

from toprung.trainables.data.listing.errors import DataError, bullets
from toprung.trainables.data.listing.image_list import SPLIT_WORDS, ListedImage
from toprung.trainables.system.typed_settings import nearest

REQUIRED = ("path", "label")
COLUMNS = (*REQUIRED, "split")
Row = tuple[int, dict[str, str]]


def list_csv(file: Path) -> list[ListedImage]:
    """The images that `file` lists; their paths are relative to its folder.

    Raises:
        DataError: Listing every mistake in the file, each with its line.
    """
    rows = _read_rows(file)
    mistakes = [mistake for row in rows for mistake in _mistakes(row)]
    mistakes += _repeats(file, rows) + _half_split(rows)
    if mistakes:
        raise DataError(f"The CSV file {str(file)!r} has mistakes:{bullets(mistakes)}")
    if not rows:
        raise DataError(f"The CSV file {str(file)!r} lists no images.")
    return [
        ListedImage(
            name=Path(cells["path"]).as_posix(),
            class_name=cells["label"],
            split=SPLIT_WORDS[cells["split"]] if cells["split"] else None,
            content=file.parent / cells["path"],
        )
        for _, cells in rows
    ]


def _read_rows(file: Path) -> list[Row]:
    try:
        # utf-8-sig: spreadsheet programs put a byte order mark before the header.
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            _check_header(file, header)
            return [(reader.line_num, _cells(header, row)) for row in reader if any(row)]
    except OSError as error:
        raise DataError(f"The CSV file {str(file)!r} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The CSV file {str(file)!r} is not CSV text in UTF-8: {error}.") from error


def _check_header(file: Path, header: list[str]) -> None:
    mistakes = [f"column {name!r} is missing" for name in REQUIRED if name not in header]
    mistakes += [
        f"column {name!r} is unknown{nearest(name, list(COLUMNS))}"
        for name in header
        if name not in COLUMNS
    ]
    mistakes += [f"column {name!r} occurs twice" for name in COLUMNS if header.count(name) > 1]
    if mistakes:
        raise DataError(
            f"The first line of the CSV file {str(file)!r} must be 'path,label' or "
            f"'path,label,split', but is {','.join(header)!r}:{bullets(mistakes)}"
        )


def _cells(header: list[str], row: list[str]) -> dict[str, str]:
    # Missing cells of a short row are reported as empty; a long row gets an extra cell.
    cells = dict.fromkeys(COLUMNS, "") | dict(zip(header, map(str.strip, row), strict=False))
    return cells | {"extra": ",".join(row[len(header) :])}


def _mistakes(row: Row) -> list[str]:
    line, cells = row
    mistakes = [f"line {line}: the {name} is empty" for name in REQUIRED if not cells[name]]
    if cells["extra"]:
        mistakes.append(f"line {line}: more cells than columns: {cells['extra']!r}")
    if cells["split"] and cells["split"] not in SPLIT_WORDS:
        mistakes.append(
            f"line {line}: split {cells['split']!r} is not one of {', '.join(SPLIT_WORDS)}"
            f"{nearest(cells['split'], set(SPLIT_WORDS))}"
        )
    return mistakes


def _repeats(file: Path, rows: list[Row]) -> list[str]:
    first_lines: dict[str, int] = {}
    mistakes = []
    for line, cells in rows:
        path = os.path.normpath(file.parent / cells["path"])  # resolve() reads the disk: slow
        first = first_lines.setdefault(path, line)
        if first != line:
            mistakes.append(f"line {line}: {cells['path']!r} is already in line {first}")
    return mistakes


def _half_split(rows: list[Row]) -> list[str]:
    without = [line for line, cells in rows if not cells["split"]]
    if without and len(without) < len(rows):
        lines = ", ".join(map(str, without[:5])) + (", ..." if len(without) > 5 else "")
        return [f"all rows or none must have a split; these lines have none: {lines}"]
    return []
