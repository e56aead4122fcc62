"""A join code is made only for a worker that can be: bartoc reads the file that comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bartoc.config import load_settings
from bartoc.join import Joining, write
from bartos.enrolment import SharedKeyEnrolment
from libbarto.config import parse_url
from libbarto.errors import UserError
from libbarto.selector import checked_labels


def enrolment(tmp_path: Path) -> SharedKeyEnrolment:
    return SharedKeyEnrolment(
        "https://barto.example:21526", b"-- CA --", "k" * 32, "cHVibGlj", tmp_path / "joining.json"
    )


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("", {}, '"" is no name for a worker'),
        ("x" * 201, {}, "1 to 200 printable characters"),
        ("web1", {"a zone": "b"}, '"a zone" is no label'),
        ("web1", {"os": "plan9"}, '"os" is found out by barto itself'),
    ],
)
def test_what_the_worker_would_refuse_gets_no_code(
    tmp_path: Path, name: str, labels: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        enrolment(tmp_path).join_code(name, labels)
    assert not (tmp_path / "joining.json").exists()


def test_labels_of_any_letters_are_read_back_from_the_file(tmp_path: Path) -> None:
    labels = {"größe": 'a "quoted" one\\', "rack.2": "☃"}
    assert checked_labels(labels) == labels
    joining = Joining("the web", b"ca", "key", "cHVibGlj", labels, parse_url("https://b:1"))
    write(joining, tmp_path / "bartoc.toml", tmp_path / "state", replace=False)
    settings = load_settings(tmp_path / "bartoc.toml", environment={}).settings
    assert (settings.name, settings.labels) == ("the web", labels)
