"""How names become packages, what is required first, and every way in which that fails."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from typing import TYPE_CHECKING

import pytest

from rex.core import Error, Kind, Package, Setting, typed
from rex.core.package import GROUP, OWN, collect_settings, find_installed, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    Install = Callable[[str, str], str]


def failure(*packages: str | Package) -> str:
    """Return the text of the error that resolving these packages ends with."""
    with pytest.raises(Error) as caught:
        resolve(packages)
    assert caught.value.kind is Kind.CONFIGURATION
    return str(caught.value)


def test_requirements_come_first_and_once_in_a_fixed_order() -> None:
    """A diamond: both sides need the base, and each package appears once."""
    base, left = Package("base"), Package("left", requires=("base",))
    right = Package("right", requires=("base",))
    top = Package("top", requires=("right", "left"))
    names = [package.name for package in resolve((top, left, right, base))]
    assert names == ["base", "right", "left", "top"]


def test_a_package_cannot_be_changed() -> None:
    """Declarations are shared by all applications of a process."""
    with pytest.raises(AttributeError):
        Package("base").name = "other"  # type: ignore[misc]  # what is tested


@pytest.mark.wording
def test_an_application_without_packages_is_refused() -> None:
    """There would be nothing to run, and most likely an argument was forgotten."""
    expected = "An application needs at least one package, as in Rex('rex.attach')"
    assert failure() == expected


def test_installed_packages_are_found_by_name_with_what_they_require(install: Install) -> None:
    """Names go through the entry-point group `rex.packages`."""
    source = "from rex.core import Package\npackage = Package({!r}, requires={!r})"
    install("shop.base", source.format("shop.base", ()))
    install("shop.till", source.format("shop.till", ("shop.base",)))
    assert [package.name for package in resolve(["shop.till"])] == ["shop.base", "shop.till"]


def test_finding_installed_packages_does_not_import_them(install: Install) -> None:
    """`rex --help` must work beside a broken package."""
    install("shop.till", "raise SystemError")
    assert "shop.till" in find_installed()


@pytest.mark.wording
def test_an_unknown_name_suggests_and_lists_the_installed_ones(install: Install) -> None:
    """A misspelt name is the commonest mistake."""
    install("shop.till", "")
    lines = failure("shop.tlil").splitlines()
    assert lines[:2] == ["No such package:", "    shop.tlil; did you mean shop.till?"]
    assert lines[2].startswith("    installed: ")
    assert "shop.till" in lines[2]


@pytest.mark.wording
def test_an_unknown_requirement_tells_who_requires_it() -> None:
    """The user may never have heard of it."""
    text = failure(Package("shop", requires=("shop.missing",)))
    assert text.startswith("No such package:\n    shop.missing")
    assert text.endswith("Required by package:\n    shop")


@pytest.mark.wording
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("package = 1 / 0", "ZeroDivisionError: division by zero"),
        ("(", "SyntaxError: '(' was never closed"),
        ("", "AttributeError: module 'installed_shop' has no attribute 'package'"),
    ],
)
def test_a_package_that_cannot_be_imported_tells_why(
    install: Install, source: str, reason: str
) -> None:
    """Whatever the module raises is told and chained."""
    install("shop", source)
    with pytest.raises(Error) as caught:
        resolve(["shop"])
    expected = f"Cannot import the package:\n    shop (installed_shop:package)\n    {reason}"
    assert str(caught.value).startswith(expected)
    assert caught.value.kind is Kind.CONFIGURATION
    assert type(caught.value.__cause__).__name__ == reason.partition(":")[0]


@pytest.mark.wording
def test_an_entry_point_that_is_not_a_package_is_refused(install: Install) -> None:
    """Its name is told, and what was found."""
    install("shop", "package = 5")
    assert failure("shop") == "Entry point is not package shop:\n    installed_shop:package is 5"


@pytest.mark.wording
def test_an_entry_point_under_another_name_is_refused(install: Install) -> None:
    """Requirements go by name, so a package must be called what it is found as."""
    install("shop", "from rex.core import Package\npackage = Package('till')")
    assert failure("shop").startswith(
        "Entry point is not package shop:\n    installed_shop:package is"
    )


@pytest.mark.wording
def test_a_cycle_of_requirements_is_shown() -> None:
    """Without the packages that only lead to it."""
    packages = [
        Package("start", requires=("a",)),
        Package("a", requires=("b",)),
        Package("b", requires=("a",)),
    ]
    assert failure(*packages) == "Packages require each other:\n    a -> b -> a"
    assert failure(Package("a", requires=("a",))) == "Packages require each other:\n    a -> a"


@pytest.mark.wording
def test_two_packages_of_one_name_are_refused() -> None:
    """The same object twice is no trouble."""
    package = Package("shop")
    assert failure(package, Package("shop")) == "Two packages have the same name:\n    shop"
    assert resolve((package, package)) == (package,)


@pytest.mark.wording
def test_two_packages_that_declare_one_setting_are_refused() -> None:
    """Settings share one space of names, so the error names both owners."""
    first = Package("first", settings=(Setting("x", typed.text, help="One."),))
    second = Package("second", settings=(Setting("x", typed.size, help="Two."),))
    with pytest.raises(Error) as caught:
        collect_settings((first, second))
    expected = "Two packages declare the same setting (setting x):\n    first and second"
    assert str(caught.value) == expected
    assert caught.value.kind is Kind.CONFIGURATION


def test_our_own_packages_are_those_of_the_distribution() -> None:
    """They are known without a search, so the list must not fall behind."""
    declared = distribution("rex-attach").entry_points.select(group=GROUP)
    assert {entry.name: entry.value for entry in declared} == OWN


def test_no_other_distribution_takes_the_name_or_the_command_of_a_package_of_ours(
    install: Install,
) -> None:
    """The commands find ours without looking at the others."""
    install("rex.attach", "")
    install("a.attach", "")
    assert [*find_installed()][: len(OWN)] == [*OWN]
    assert OWN.items() <= find_installed().items()


def test_commands_of_our_own_packages_search_no_distributions() -> None:
    """The search takes longer than all other work of a short command."""
    code = "import sys\nfrom rex.core.command import root\n"
    code += "root.main(['attach', 'ls', '--help'], standalone_mode=False)\n"
    code += "sys.exit('importlib.metadata' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
