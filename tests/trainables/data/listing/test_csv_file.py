"""Which images a CSV file lists, and how its mistakes are reported."""

from pathlib import Path

import pytest

from toprung.trainables.data import DataError
from toprung.trainables.data.listing.csv_file import list_csv


def written(folder: Path, *lines: str) -> Path:
    file = folder / "images.csv"
    file.write_text("\n".join(lines))
    return file


def error(file: Path) -> str:
    with pytest.raises(DataError) as caught:
        list_csv(file)
    assert repr(str(file)) in str(caught.value)
    return str(caught.value)


def test_without_splits(tmp_path: Path) -> None:
    file = written(tmp_path, "path,label", "a/1.png,cat", "", " b.png , dog ")
    images = list_csv(file)
    assert [(i.name, i.class_name, i.split) for i in images] == [
        ("a/1.png", "cat", None),
        ("b.png", "dog", None),
    ]
    assert images[0].content == tmp_path / "a/1.png"


def test_with_splits_and_columns_in_any_order(tmp_path: Path) -> None:
    words = ["train", "val", "valid", "validation", "test"]
    lines = [f"{word},{n}.png,cat" for n, word in enumerate(words)]
    images = list_csv(written(tmp_path, "split,path,label", *lines))
    expected = ["train", "validation", "validation", "validation", "test"]
    assert [image.split for image in images] == expected


def test_an_absolute_path_and_a_byte_order_mark(tmp_path: Path) -> None:
    (image,) = list_csv(written(tmp_path, "\ufeffpath,label", "/pictures/a.png,cat"))
    assert image.content == Path("/pictures/a.png")


def test_all_mistakes_are_reported_with_their_lines(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "path,label,split",
        "a.png,cat,train",
        "b.png,,train",
        "c.png,cat,tran",
        "./a.png,cat,train",
        "d.png,cat,train,more",
        "e.png,cat",
    )
    message = error(file)
    assert "line 3: the label is empty" in message
    assert "line 4: split 'tran' is not one of train, val" in message
    assert "nearest: train" in message
    assert "line 5: './a.png' is already in line 2" in message
    assert "line 6: more cells than columns: 'more'" in message
    assert "all rows or none must have a split; these lines have none: 7" in message


def test_at_most_20_mistakes_are_shown(tmp_path: Path) -> None:
    file = written(tmp_path, "path,label", *(f"{n}.png," for n in range(25)))
    message = error(file)
    assert message.count("is empty") == 20
    assert message.endswith("and 5 more")


@pytest.mark.parametrize(
    ("header", "mistake"),
    [
        ("a.png,cat", "column 'path' is missing"),
        ("path", "column 'label' is missing"),
        ("path,label,spilt", "column 'spilt' is unknown; nearest: split"),
        ("path,label,label", "column 'label' occurs twice"),
        ("path;label", "but is 'path;label'"),
        ("", "column 'path' is missing"),
    ],
)
def test_a_wrong_header(header: str, mistake: str, tmp_path: Path) -> None:
    assert mistake in error(written(tmp_path, header, "a.png,cat"))


def test_no_rows(tmp_path: Path) -> None:
    assert "lists no images" in error(written(tmp_path, "path,label"))


def test_not_text(tmp_path: Path) -> None:
    file = tmp_path / "images.csv"
    file.write_bytes(b"path,label\n\xff\xfe,cat\n")
    assert "is not CSV text in UTF-8" in error(file)


def test_unclosed_quotes(tmp_path: Path) -> None:
    assert "is not CSV text" in error(written(tmp_path, "path,label", '"a.png,cat'))
