"""What update checks name, from recorded output and from output in the exact format of others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartos.updates import KINDS, Update, read_apt, read_pacman, read_verbose, size
from libbarto.message.v2.cli import UpdateKind

RECORDED = Path(__file__).parent.parent / "vectors" / "updates"
MIB = 1 << 20


def recorded(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def test_apt_names_every_package_of_every_wrapped_line() -> None:
    found = read_apt(recorded("apt-upgrade.txt"))
    assert found is not None
    names = [update.package for update in found.packages]
    assert len(names) == len(set(names)) == 132
    assert (names[0], names[-1]) == ("appstream", "zip")


def test_apt_tells_both_versions() -> None:
    found = read_apt(recorded("apt-upgrade.txt"))
    assert found is not None
    bash = next(update for update in found.packages if update.package == "bash")
    assert (bash.old_version, bash.new_version) == ("5.2.15-2+b8", "5.2.15-2+b13")
    assert all(update.old_version and update.new_version for update in found.packages)


def test_apt_without_simulation_names_packages_without_versions() -> None:
    text = (
        "Reading package lists...\n"
        "The following packages have been kept back:\n  linux-image-amd64\n"
        "The following NEW packages will be installed:\n  new1 new2\n"
        "The following packages will be upgraded:\n  bash curl\n  zip\n"
        "3 upgraded, 2 newly installed, 0 to remove and 1 not upgraded.\n"
    )
    found = read_apt(text)
    assert found is not None
    assert [update.package for update in found.packages] == ["bash", "curl", "zip"]


def test_apt_3_names_them_under_another_heading() -> None:
    text = (
        "Upgrading:\n  bash      curl\n  zip\n\nSummary:\n"
        "  Upgrading: 3, Installing: 0, Removing: 0, Not Upgrading: 1\n"
        "Inst bash [5.2] (5.3 Debian:13.1/stable [amd64])\n"
    )
    found = read_apt(text)
    assert found is not None
    assert found.packages == (Update("bash", None, "5.2", "5.3"), Update("curl"), Update("zip"))


def test_apt_that_finds_nothing_is_a_check_all_the_same() -> None:
    text = (
        "Reading package lists...\n0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n"
    )
    assert read_apt(text) is not None
    new = "Summary:\n  Upgrading: 0, Installing: 0, Removing: 0, Not Upgrading: 0\n"
    for nothing in (text, new, "Listing...\n"):
        found = read_apt(nothing)
        assert found is not None
        assert found.packages == ()


def test_apt_list_is_read_too() -> None:
    found = read_apt(recorded("apt-list.txt"))
    assert found is not None
    assert found.packages[0] == Update("appstream", None, "0.16.1-2", "0.16.1-2+b1")
    assert len(found.packages) == 132


def test_apt_marks_and_colours_do_not_matter() -> None:
    text = (
        "\x1b[1mThe following packages will be upgraded:\x1b[0m\r\n  bash \x1b[32mcurl\x1b[0m\r\n"
    )
    found = read_apt(text)
    assert found is not None
    assert [update.package for update in found.packages] == ["bash", "curl"]


def test_pacman_lists_targets_over_several_lines() -> None:
    found = read_pacman(recorded("pacman.txt"))
    assert found is not None
    assert [(update.package, update.new_version) for update in found.packages] == [
        ("glibc", "2.40+r16+gaa533d58ff-2"),
        ("gcc-libs", "14.2.1+r134+gab884fffe3fc-1"),
        ("linux", "6.11.5.arch1-1"),
        ("python-urllib3", "1.26.20-3"),
        ("vim", "9.1.0785-1"),
    ]
    assert found.download_bytes == round(163.41 * MIB)
    assert found.installed_bytes == round(1.21 * 1024 * MIB)


def test_a_net_size_may_be_negative_and_in_any_unit() -> None:
    found = read_pacman(recorded("pacman.txt"))
    assert found is not None
    assert found.net_bytes == round(-412.5 * 1024)


def test_pacman_that_has_nothing_to_do_is_a_check_all_the_same() -> None:
    found = read_pacman(":: Starting full system upgrade...\n there is nothing to do\n")
    assert found is not None
    assert found.packages == ()


def test_checkupdates_is_read_too() -> None:
    found = read_pacman("linux 6.11.4.arch1-1 -> 6.11.5.arch1-1\nvim 9.0-1 -> 9.1-1\n")
    assert found is not None
    assert found.packages[1] == Update("vim", None, "9.0-1", "9.1-1")


def test_one_target_has_a_singular_heading() -> None:
    found = read_pacman("Package (1) vim-9.1.0785-1\n")
    assert found is not None
    assert found.packages == (Update("vim", new_version="9.1.0785-1"),)


def test_garuda_tells_channels_versions_and_sizes() -> None:
    found = read_verbose(recorded("garuda.txt"))
    assert found is not None
    assert found.packages[0] == Update(
        "brave-bin",
        "chaotic-aur",
        "1:1.71.118-1",
        "1:1.71.121-1",
        round(0.07 * MIB),
        round(117.32 * MIB),
    )
    assert [(update.channel, update.package) for update in found.packages] == [
        ("chaotic-aur", "brave-bin"),
        ("core", "archlinux-keyring"),
        ("extra", "qt6-base"),
        ("extra", "qt6-new"),
        ("garuda", "garuda-hooks"),
        ("multilib", "lib32-mesa"),
    ]


def test_a_new_package_has_no_old_version_and_a_cached_one_no_download() -> None:
    found = read_verbose(recorded("garuda.txt"))
    assert found is not None
    by_name = {update.package: update for update in found.packages}
    assert by_name["qt6-new"].old_version is None
    assert by_name["qt6-new"].new_version == "6.8.0-1"
    assert by_name["lib32-mesa"].download_bytes is None
    assert by_name["garuda-hooks"].net_bytes == -2048


def test_the_transactions_of_one_run_belong_together() -> None:
    found = read_verbose(recorded("garuda.txt"))
    assert found is not None
    assert found.download_bytes == round(1.14 * MIB) + round(181.5 * MIB)
    assert found.net_bytes == round(0.01 * MIB) + round(-3.27 * MIB)


def test_cachyos_has_channels_of_its_own() -> None:
    found = read_verbose(recorded("cachyos.txt"))
    assert found is not None
    assert {update.channel for update in found.packages} == {"cachyos-v3", "cachyos-core-v3"}
    assert (len(found.packages), found.net_bytes) == (2, -4 * 1024)


@pytest.mark.parametrize(
    "text",
    ["", "hello\n", "0 errors\n", "Total: 3\n", "core/thing is up\n", "/usr/bin/x 1.0 2.0 3 MB\n"],
)
def test_what_is_no_check_is_none(text: str) -> None:
    assert [kind.read(text) for kind in KINDS.values()] == [None] * 4


def test_every_kind_has_a_parser() -> None:
    assert set(KINDS) == set(UpdateKind)


@given(st.floats(-1e4, 1e4).map(lambda x: round(x, 2)), st.sampled_from(["KiB", "MiB", "GiB"]))
def test_a_size_is_read_in_its_unit(number: float, unit: str) -> None:
    exponent = {"KiB": 10, "MiB": 20, "GiB": 30}[unit]
    assert size(f"{number:.2f} {unit}") == round(number * (1 << exponent))


@given(st.text(max_size=200))
def test_no_text_harms_a_parser(text: str) -> None:
    for kind in KINDS.values():
        found = kind.read(text)
        assert found is None or isinstance(found.packages, tuple)
