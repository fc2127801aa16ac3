"""What every test lives under: no network, no hub, few threads, shapes checked.

The environment is set before anything imports torch or transformers, and sub-processes inherit it.
"""

import gc
import ipaddress
import logging
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import install_import_hook
from shared import made_once
from warm import FOLDER, start_warm

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MPLBACKEND": "Agg",
}
gc.set_threshold(100_000, 50, 50)  # what large libraries make as they are imported is no garbage
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors: more threads only wait for each other

# The shapes in signatures are checked at test time only: outside tests they cost nothing.
install_import_hook(["daam_bench.heads", "daam_bench.encoders", "daam_bench.training"], "beartype.beartype")


RESOURCES = Path(__file__).parent.parent / "resources"
# These start programs and take minutes: they begin first, so that no worker waits for another at the end.
LONG = ("workflow", "docs", "torture", "tuning", "cli")


class NetworkRefused(OSError):
    """A test tried to leave this machine."""


def _check(host: object) -> None:
    if host in (None, "", b"", "localhost", b"localhost"):
        return
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        if ipaddress.ip_address(text.split("%")[0]).is_loopback:
            return
    except ValueError:
        pass
    raise NetworkRefused(f"tests run offline, but this one asks for {text!r}; use files in tmp_path")


@pytest.fixture(autouse=True, scope="module")
def _young_heap() -> None:
    """Keep what imports and earlier modules left behind out of later collections."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections and name look-ups beyond the loopback interface."""
    lookup = socket.getaddrinfo

    class Guarded(socket.socket):
        def connect(self, address: Any) -> None:
            if self.family != socket.AF_UNIX:
                _check(address[0])
            super().connect(address)

        def connect_ex(self, address: Any) -> int:
            if self.family != socket.AF_UNIX:
                _check(address[0])
            return super().connect_ex(address)

    def guarded_lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        _check(host)
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", Guarded)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_lookup)


@pytest.fixture(scope="session")
def real_resources() -> Path:
    """Return the folder with the pinned model and data; a test that needs them fails without."""
    missing = [name for name in ("minilm-l6", "vader") if not (RESOURCES / name).is_dir()]
    if missing:
        pytest.fail(f"resources/ lacks {' and '.join(missing)}: run `snakemake assets` (`make test` does)")
    return RESOURCES


@pytest.fixture(scope="session")
def real_asset() -> Callable[[str], Path]:
    """Return what gives the folder of a fetched asset; a test that needs one fails without."""

    def folder_of(name: str) -> Path:
        if not (RESOURCES / name).is_dir():
            pytest.fail(f"resources/ lacks {name}: run `snakemake all_assets` (`make test` does)")
        return RESOURCES / name

    return folder_of


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory, real_resources: Path) -> Path:
    """Return the folder of a small run of the workflow, from data to report; it is not to be changed."""
    from workflow.whole import make_whole

    return made_once(tmp_path_factory, "whole-run", lambda folder: make_whole(folder, real_resources))


@pytest.fixture(scope="session")
def object_store() -> Iterator[None]:
    """Run a local S3 server; clients of this process and of its children find it in the environment."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        yield
    server.stop()


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Return what makes an empty bucket and gives its URL; the server starts with the first one."""

    def make() -> str:
        request.getfixturevalue("object_store")
        from upath import UPath

        name = f"bucket-{uuid.uuid4()}"
        UPath(f"s3://{name}").mkdir()
        return f"s3://{name}/caches"

    return make


def pytest_configure(config: pytest.Config) -> None:
    """Start what the workers' programs are forked from, once for all of them."""
    if FOLDER not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="daam-bench-warm-"))
        server = start_warm(folder)
        os.environ[FOLDER] = str(folder)

        def end() -> None:
            server.terminate()
            server.wait()
            shutil.rmtree(folder)
            del os.environ[FOLDER]

        config.add_cleanup(end)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first; `--no-loadscope-reorder` keeps them there."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.parent.name, len(LONG)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the code blocks of the documentation that were not executed, and why."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "not executed":
                terminalreporter.write_line(f"not executed: {value}")
