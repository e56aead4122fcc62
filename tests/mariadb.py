"""A real MariaDB server for tests: started on loopback, in a directory of its own, and killable.

It answers one question: where is a database that is like the one in production, and that this test
alone owns? Nothing outside the given directory is read or written; no service is needed.

    with MariaDB(tmp_path / "db") as db:
        connect(db.host, db.port, db.user, db.password, db.database)   # or db.url
        db.kill()       # SIGKILL, as a power cut of the process
        db.start()      # the same port, the same data
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

START_SECONDS = 60.0
STOP_SECONDS = 30.0
PORT_TRIES = 5

# Small, so that a start takes a quarter of a second and a directory 40 MB. A commit is in the
# kernel's hands before it is answered (flush 2): it outlives SIGKILL, which is what tests do to it.
SETTINGS = (
    "--no-defaults",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-temp-data-file-path=ibtmp1:1M:autoextend",
    "--innodb-fast-shutdown=1",
    "--aria-log-file-size=8M",
    "--aria-pagecache-buffer-size=8M",
    "--key-buffer-size=1M",
    "--table-open-cache=256",
    "--max-connections=100",
    "--performance-schema=OFF",
    "--character-set-server=utf8mb4",
)


MISSING = (
    "MariaDB is not installed: apt-get install --no-install-recommends "
    "mariadb-server-core mariadb-client-core (as root, `make test` does it)"
)


class MariaDBUnavailable(RuntimeError):
    """MariaDB did not start, or a program of it is missing; the message says what to do."""


class MariaDB:
    """One mariadbd with its data, socket and log below `directory`, made when it is first started.

    `database` and `user` are created empty; the user may do everything in `database` and in every
    database whose name begins with it (`barto_2`, for a test that wants a second one), connecting
    over TCP. `port` is chosen at the first start and stays the same ever after.
    """

    host = "127.0.0.1"
    user = "barto"
    password = "barto"
    database = "barto"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address as bartos is configured with it."""
        return f"mariadb://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    @property
    def log(self) -> Path:
        """What mariadbd said, over all its starts."""
        return self.directory / "mariadbd.log"

    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id while it runs."""
        assert self._process is not None, "mariadbd was never started"
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it answers; also after `stop` or `kill`. Blocks for ~0.5 s.

        Where MariaDB is not installed the test is skipped; with CI=true that is a failure, which
        `scripts/run_tests.py` sees to.
        """
        if not installed():
            pytest.skip(MISSING)
        if self.is_running():
            return
        if self.port:
            self._start_on(self.port)
            return
        self._create()
        for tries_left in reversed(range(PORT_TRIES)):
            port = free_port()
            try:
                self._start_on(port)
            except MariaDBUnavailable:
                # Between our look and mariadbd's bind another test may have taken the port.
                if tries_left and "in use" in self.log.read_text(errors="replace"):
                    continue
                raise
            self.port = port
            return

    def stop(self) -> None:
        """Shut it down in order; the data stays."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def kill(self) -> None:
        """SIGKILL, at once, in the midst of whatever it does; the data stays for `start`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def sql(self, statements: str) -> list[list[str]]:
        """Run statements as root through the socket; the rows of their results, as text.

        >>> db.sql("SELECT 1, NULL")  # doctest: +SKIP
        [['1', 'NULL']]
        """
        client = [
            *(program("mariadb"), "--no-defaults", f"--socket={self._socket}", "--user=root"),
            *("--batch", "--skip-column-names", self.database),
        ]
        done = subprocess.run(
            client, input=statements, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise RuntimeError(f"mariadb: {done.stderr.strip()}")
        return [line.split("\t") for line in done.stdout.splitlines()]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Nobody looks at the data after this, so there is nothing to shut down in order for.
        self.kill()
        shutil.rmtree(self._data, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _socket(self) -> str:
        # A socket's path has at most 107 bytes, and pytest's directories are long: mariadbd is
        # started in its own directory and the client there too, by a path through /proc.
        return f"/proc/{self.pid}/cwd/mysql.sock"

    @property
    def _environment(self) -> dict[str, str]:
        """Temporary files of its own: other servers of this host use the common place, too."""
        path = os.pathsep.join([os.defpath, "/usr/sbin", "/sbin"])
        return {"PATH": path, "TZ": "UTC", "TMPDIR": str(self.directory / "tmp")}

    def _create(self) -> None:
        (self.directory / "tmp").mkdir(parents=True, exist_ok=True)
        command = [
            *(program("mariadb-install-db"), *SETTINGS, f"--datadir={self._data}"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
            f"--user={getpass.getuser()}",
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=self._environment
        )
        if done.returncode:
            raise MariaDBUnavailable(f"mariadb-install-db failed:\n{done.stdout}{done.stderr}")
        # One statement a line: that is how mariadbd reads an init file.
        (self.directory / "init.sql").write_text(
            f"CREATE DATABASE IF NOT EXISTS {self.database};\n"
            f"CREATE USER IF NOT EXISTS '{self.user}'@'%' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON `{self.database}%`.* TO '{self.user}'@'%';\n"
        )

    def _start_on(self, port: int) -> None:
        command = [
            *(program("mariadbd"), *SETTINGS, f"--datadir={self._data}"),
            *(f"--bind-address={self.host}", f"--port={port}"),
            *("--socket=mysql.sock", f"--pid-file={self.directory / 'mariadbd.pid'}"),
            f"--init-file={self.directory / 'init.sql'}",
            f"--user={getpass.getuser()}",
        ]
        self._data.joinpath("mysql.sock").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                # Ctrl-C is for the tests; they stop it.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not greets(self.host, port):
            if not self.is_running() or time.monotonic() > deadline:
                self.kill()
                tail = self.log.read_text(errors="replace")[-4000:]
                raise MariaDBUnavailable(f"mariadbd did not start; its log ends:\n{tail}")
            time.sleep(0.02)


def installed() -> bool:
    """Whether this host has a MariaDB server that tests can start."""
    return all(find(name) for name in ("mariadbd", "mariadb-install-db", "mariadb"))


def program(name: str) -> str:
    """The path of one of MariaDB's programs, or an error that says what to install."""
    path = find(name)
    if path is None:
        raise MariaDBUnavailable(f"{name} is not there. {MISSING}")
    return path


def find(name: str) -> str | None:
    """The path of a program, looked for in /usr/sbin as well, which users do not have in PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/bin")


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def greets(host: str, port: int) -> bool:
    """Whether a server on `port` says its greeting, which mariadbd does when it is ready."""
    try:
        with socket.create_connection((host, port), timeout=2) as link:
            return bool(link.recv(5))
    except OSError:
        return False
