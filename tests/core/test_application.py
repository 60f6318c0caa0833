"""Applications: how they start and fail, where they are active, and what they make once."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rex.core
from programs import PATIENCE
from rex.core import Error, Kind, Package, Rex, Secret, Setting, get_rex, get_settings, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CANARY = "canary/7Gq+secret"

SHOP = Package(
    "shop",
    settings=(
        Setting("shop_dir", typed.path, help="Where goods are kept."),
        Setting("shop_limit", typed.size, 1024, help="The largest good."),
        Setting("shop_key", typed.text, secret=True, help="The key of the door."),
    ),
)


def starting(start: Callable[[Rex], None], name: str = "shop") -> Package:
    """Return the package of this name with a start-up check."""
    return SHOP._replace(name=name, start=start)


class Closable:
    """A service that tells when it is closed."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def close(self) -> None:
        """Note that it is closed now."""
        self.log.append(self.name)


def test_an_application_has_its_packages_and_settings() -> None:
    """None counts as not given; what is required comes first."""
    till = Package("till", requires=("shop",))
    app = Rex(till, SHOP, shop_dir="/srv", shop_limit=None)
    assert [package.name for package in app.packages] == ["shop", "till"]
    assert dict(app.settings) == {"shop_dir": "/srv", "shop_limit": 1024, "shop_key": None}


def test_an_application_looks_at_nothing_but_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment belongs to the command line."""
    monkeypatch.setenv("SHOP_DIR", "/srv")
    assert Rex(SHOP).settings.shop_dir is None


def test_the_repr_shows_what_was_given_with_secrets_masked() -> None:
    """Defaults would only make it long."""
    app = Rex(SHOP, shop_dir="/srv", shop_key=CANARY, shop_limit="")
    assert repr(app) == "Rex('shop', shop_dir='/srv', shop_key=***)"


def test_a_wrong_setting_fails_in_the_constructor() -> None:
    """Before any package starts."""
    started: list[Rex] = []
    with pytest.raises(Error, match="expected a size") as caught:
        Rex(starting(started.append), shop_limit="big")
    assert caught.value.kind is Kind.CONFIGURATION
    assert started == []


def test_packages_start_in_order_inside_the_active_application() -> None:
    """What is required has started before."""
    log: list[str] = []

    def start(app: Rex) -> None:
        assert get_rex() is app
        log.append(f"shop {get_settings().shop_limit}")

    till = Package("till", requires=("shop",), start=lambda _: log.append("till"))
    Rex(till, starting(start), shop_limit="2 kB")
    assert log == ["shop 2000", "till"]


@pytest.mark.wording
def test_an_error_at_start_keeps_its_kind_and_names_the_package() -> None:
    """The check itself knows best what sort of failure it is."""

    def start(_: Rex) -> None:
        raise Error("Server does not answer", "http://x", kind=Kind.UNAVAILABLE)

    with pytest.raises(Error) as caught:
        Rex(starting(start))
    expected = "Server does not answer:\n    http://x\nWhile starting package:\n    shop"
    assert str(caught.value) == expected
    assert caught.value.kind is Kind.UNAVAILABLE


@pytest.mark.wording
def test_another_exception_at_start_becomes_an_error_without_secrets() -> None:
    """It is chained, and what it says of the settings is blacked out."""

    def start(app: Rex) -> None:
        raise ValueError(f"bad key {app.settings.shop_key.reveal()}")

    with pytest.raises(Error) as caught:
        Rex(starting(start), shop_key=CANARY)
    assert str(caught.value).splitlines() == [
        "The start-up check failed:",
        "    ValueError: bad key ***",
        "While starting package:",
        "    shop",
    ]
    assert caught.value.kind is Kind.CONFIGURATION
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_failing_start_closes_what_was_made_and_leaves_nothing_active() -> None:
    """A half-built application does not linger."""
    log: list[str] = []

    def start(app: Rex) -> None:
        app.service("door", lambda: Closable("door", log))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Rex(starting(start))
    assert log == ["door"]
    with pytest.raises(Error):
        get_rex()


def _wrong_name() -> None:
    Rex(SHOP, shop_kye=CANARY)


def _wrong_package() -> None:
    Rex("shop.unknown", shop_key=CANARY)


def _wrong_other_setting() -> None:
    Rex(SHOP, shop_limit="big", shop_key=CANARY)


def _wrong_type() -> None:
    Rex(SHOP, shop_key=CANARY.encode())


def _wrong_start() -> None:
    def start(app: Rex) -> None:
        raise Error("Wrong", app)

    Rex(starting(start), shop_key=CANARY)


@pytest.mark.parametrize(
    "fail", [_wrong_name, _wrong_package, _wrong_other_setting, _wrong_type, _wrong_start]
)
def test_no_error_shows_a_secret_even_with_local_variables(fail: Callable[[], None]) -> None:
    """Crash reporters record the variables of every frame; ours hold nothing to show."""
    with pytest.raises(Error) as caught:
        fail()
    assert CANARY not in str(caught.value)
    assert CANARY not in repr(caught.value)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    core = str(Path(rex.core.__file__).parent)
    frames = [frame for frame in report.stack if frame.filename.startswith(core)]
    assert frames != []
    assert [frame for frame in frames if CANARY in str(frame.locals)] == []


def test_without_an_active_application_the_error_says_how_to_activate_one() -> None:
    """It is a mistake in how things are put together."""
    for get in (get_rex, get_settings):
        with pytest.raises(Error, match="activate an application using `with rex:`") as caught:
            get()
        assert caught.value.kind is Kind.CONFIGURATION


def test_activations_nest() -> None:
    """The innermost one counts, also when one application is activated twice."""
    outer, inner = Rex(SHOP), Rex(SHOP)
    with outer as entered:
        assert entered is outer
        with inner, outer:
            assert get_rex() is outer
        inner.on()
        assert get_rex() is inner
        inner.off()
        assert get_rex() is outer
    with pytest.raises(Error):
        get_rex()


def test_off_without_a_matching_on_is_refused() -> None:
    """Neither when nothing is active nor when another application is."""
    outer, inner = Rex(SHOP), Rex(SHOP)
    with pytest.raises(Error, match=r"off\(\) without a matching on\(\)"):
        outer.off()
    with outer, inner:
        with pytest.raises(Error, match=r"off\(\) without a matching on\(\)"):
            outer.off()
        assert get_rex() is inner


def test_an_application_is_active_in_its_own_thread_only() -> None:
    """Thirty-two threads enter two applications at once; each sees its own."""
    apps = [Rex(SHOP), Rex(SHOP)]
    barrier = threading.Barrier(32)

    def look(number: int) -> bool:
        mine = apps[number % 2]
        barrier.wait()
        with mine:
            barrier.wait()
            seen = get_rex()
            barrier.wait()
        return seen is mine

    with apps[0], concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert list(pool.map(look, range(32))) == [True] * 32


@pytest.fixture
def installed() -> Iterator[Rex]:
    """Install an application."""
    app = Rex(SHOP)
    app.install()
    yield app
    app.uninstall()


def test_an_installed_application_is_found_in_every_thread_and_task(installed: Rex) -> None:
    """Where none is active: `with rex:` has precedence."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(get_rex).result() is installed

        async def look() -> Rex:
            return get_rex()

        assert asyncio.run(look()) is installed
        other = Rex(SHOP)
        with other:
            assert get_rex() is other
    assert get_rex() is installed


def test_a_second_application_is_not_installed(installed: Rex) -> None:
    """The same one may be installed again."""
    installed.install()
    other = Rex(SHOP)
    with pytest.raises(Error) as caught:
        other.install()
    assert (Kind.CONFIGURATION, "two-installed") == (caught.value.kind, caught.value.code)
    other.uninstall()
    assert get_rex() is installed
    installed.uninstall()
    other.install()
    assert get_rex() is other
    other.uninstall()
    with pytest.raises(Error):
        get_rex()


def test_an_asynchronous_block_activates_and_closes() -> None:
    """Also if it fails; `with rex:` closes nothing."""
    app = Rex(SHOP)
    log: list[str] = []

    async def fail() -> None:
        async with app as entered:
            assert get_rex() is entered is app
            app.service("door", lambda: Closable("door", log))
            raise ValueError("stuck")

    with pytest.raises(ValueError, match="stuck"):
        asyncio.run(fail())
    assert log == ["door"]
    with app:
        app.service("door", lambda: Closable("door", log))
    assert log == ["door"]


def test_a_new_thread_starts_without_an_active_application() -> None:
    """What is active belongs to the thread that activated it."""
    with Rex(SHOP), concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(get_rex).exception(), Error)


def test_an_application_is_active_in_its_own_task_only() -> None:
    """Tasks inherit what is active where they are made, and change only their own."""
    outer = Rex(SHOP)

    async def look(mine: Rex, turn: asyncio.Barrier) -> bool:
        before = get_rex()
        with mine:
            await turn.wait()
            seen = get_rex()
            await turn.wait()
        return before is outer and seen is mine and get_rex() is outer

    async def main() -> list[bool]:
        turn = asyncio.Barrier(8)
        return await asyncio.gather(*(look(Rex(SHOP), turn) for _ in range(8)))

    with outer:
        assert asyncio.run(main()) == [True] * 8


def test_a_service_is_made_once_by_many_threads() -> None:
    """The others wait for the one that makes it."""
    app = Rex(SHOP)
    barrier = threading.Barrier(32)
    made: list[object] = []

    def make() -> object:
        os.sched_yield()
        made.append(object())
        return made[-1]

    def ask(_: int) -> object:
        barrier.wait()
        return app.service("door", make)

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        services = set(pool.map(ask, range(32)))
    assert services == set(made)
    assert len(made) == 1


def test_a_service_that_is_none_is_made_once_too() -> None:
    """What is kept is the key, whatever the value."""
    made: list[None] = []
    app = Rex(SHOP)
    assert app.service("nothing", lambda: made.append(None)) is None
    assert app.service("nothing", lambda: made.append(None)) is None
    assert made == [None]


def test_a_service_that_fails_is_made_anew_for_the_next_caller() -> None:
    """Nothing half-made is kept."""
    app = Rex(SHOP)

    def fail() -> str:
        raise ValueError("stuck")

    with pytest.raises(ValueError, match="stuck"):
        app.service("door", fail)
    assert app.service("door", lambda: "open") == "open"


def test_a_service_may_ask_for_another_inside_the_active_application() -> None:
    """Whoever calls `service` need not have activated anything."""
    app = Rex(SHOP, shop_limit=5)

    def house() -> str:
        return f"house with {get_rex().service('door', lambda: 'door')} {get_settings().shop_limit}"

    assert app.service("house", house) == "house with door 5"


@pytest.mark.wording
def test_services_that_need_each_other_are_refused() -> None:
    """Instead of recursing until Python gives up."""
    app = Rex(SHOP)

    def hen() -> str:
        return app.service("egg", egg)

    def egg() -> str:
        return app.service("hen", hen)

    with pytest.raises(Error) as caught:
        app.service("hen", hen)
    assert str(caught.value) == "Services require each other:\n    hen -> egg -> hen"
    assert app.service("hen", lambda: "hen") == "hen"


def test_applications_do_not_share_services() -> None:
    """Each has its own settings."""
    first, second = Rex(SHOP), Rex(SHOP)
    assert first.service("door", object) is not second.service("door", object)


def test_close_closes_services_in_reverse_order_and_forgets_them() -> None:
    """Later ones may use earlier ones; closing twice does nothing more."""
    app = Rex(SHOP)
    log: list[str] = []
    for name in ("wall", "door"):
        app.service(name, lambda name=name: Closable(name, log))  # type: ignore[misc]  # the loop's own name
    app.service("number", lambda: 5)
    app.close()
    app.close()
    assert log == ["door", "wall"]
    assert app.service("door", lambda: "new") == "new"


def test_close_closes_all_services_even_if_one_fails() -> None:
    """The failure is told when all is done."""
    app = Rex(SHOP)
    log: list[str] = []

    class Jammed:
        def close(self) -> None:
            raise OSError("jammed")

    app.service("wall", lambda: Closable("wall", log))
    app.service("door", Jammed)
    with pytest.raises(OSError, match="jammed"):
        app.close()
    assert log == ["wall"]


def in_a_child(act: Callable[[], str]) -> str:
    """Return what a forked child makes of this; a child that hangs is ended by an alarm."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(10)
            os.write(writing, act().encode())
        except BaseException as error:  # noqa: BLE001 - a child must never return into pytest
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as answer:  # noqa: PTH123 - a descriptor, not a path
        text = answer.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_a_service_is_made_makes_its_own() -> None:
    """The thread that was making it does not exist in the child and never releases its lock."""
    app = Rex(SHOP)
    making, finish = threading.Event(), threading.Event()

    def slowly() -> str:
        making.set()
        finish.wait(PATIENCE)
        return "parent's"

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(app.service, "door", slowly)
        making.wait(PATIENCE)
        child = in_a_child(lambda: app.service("door", lambda: "child's"))
        finish.set()
        assert (child, answer.result()) == ("child's", "parent's")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_by_the_making_thread_goes_on_making() -> None:
    """A service may fork as it is made; both sides end up with theirs."""
    app = Rex(SHOP)

    def make() -> str:
        return in_a_child(lambda: app.service("door", lambda: "child's"))

    assert app.service("house", make) == "child's"
    assert app.service("house", lambda: "another") == "child's"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_inherits_what_is_active_and_what_was_made() -> None:
    """A server that forks its workers goes on with the application it has."""
    with Rex(SHOP, shop_key=CANARY) as app:
        app.service("door", lambda: "parent's")
        seen = in_a_child(lambda: get_rex().service("door", lambda: "child's"))
        assert seen == "parent's"
        assert get_settings().shop_key == Secret(CANARY)
