"""How does the command line reach the server? Over its Unix socket on the server's host, else over
TLS with the server's key; a websocket for the commands of barto 1.x, HTTP for all others.

Whatever goes wrong ends in a `Failure`: one line that says what was tried and what to do, and the
exit code that goes with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http import client as http
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from libbarto.errors import BartoError, CodecError
from libbarto.unix_http import UnixConnection

if TYPE_CHECKING:
    import ssl

    from websockets.sync.client import ClientConnection

    from barto_cli.progress import Progress
    from libbarto.message.v2.cli import CliRequest

ERROR: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
REFUSED: Final = 4
NO_SUCH_THING: Final = 5
INTERRUPTED: Final = 130
"""The exit codes of DESIGN section 9."""

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0
ANSWER_MAX: Final = 16 * 1024 * 1024
READ: Final = 64 * 1024
IDLE_S: Final = 2.0
"""A connection that was idle for longer is not used again: the server may just be closing it."""
SUBPROTOCOL: Final = "barto.v2"


class Failure(BartoError):
    """A command that cannot be carried out, and the exit code that says what kind of failure."""

    def __init__(self, exit_code: int, message: str) -> None:
        self.exit_code = exit_code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the server is: its Unix socket, or else host and port.

    `sockets` are tried in order, and the first that is there is it. `config_file` is what was
    read (or would have been), for messages.
    """

    sockets: Sequence[Path] = ()
    host: str | None = None
    port: int = 21526
    tls: bool = True
    ca_cert: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    api_key: str | None = None
    name: str | None = None
    config_file: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """An answer to a request: its columns, and its rows as they come in.

    When the rows are through, `end` has what the server says about them.
    """

    columns: Sequence[str]
    rows: Iterator[dict[str, object]]
    end: End


@dataclass(slots=True)
class End:
    """What the server says after the last row."""

    note: str = ""
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """An answer over HTTP that is read as it comes."""

    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class Client:
    """A connection to the server, made when it is first needed."""

    def __init__(
        self,
        target: Target,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        progress: Progress | None = None,
    ) -> None:
        self._target = target
        self._progress = progress
        self._connect_seconds = connect_seconds
        self._answer_seconds = answer_seconds
        self._http: http.HTTPConnection | None = None
        self._used = 0.0

    def twin(self) -> Client:
        """Another connection to the same server, for what goes on at the same time."""
        return Client(
            self._target,
            connect_seconds=self._connect_seconds,
            answer_seconds=self._answer_seconds,
        )

    # -- the websocket ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def ask(self, request: CliRequest) -> Iterator[Table]:
        """The table that answers `request`. Raises `Failure`, also while its rows are read."""
        from websockets.exceptions import ConnectionClosed

        from libbarto.message.v2 import cli as wire

        with self._websocket() as connection:
            end = End()
            try:
                connection.send(wire.CLI_REQUEST.encode(request))
                with self._waiting():
                    first = _frame(connection)
                if not isinstance(first, wire.Columns):
                    raise Failure(ERROR, "the server answers what barto-cli does not understand")
                yield Table(first.names, self._rows(connection, first.names, end), end)
            except ConnectionClosed as error:
                raise Failure(
                    UNREACHABLE, f"the server at {self.place} went away: {error}"
                ) from error

    @contextlib.contextmanager
    def _websocket(self) -> Iterator[ClientConnection]:
        from websockets.exceptions import InvalidHandshake, InvalidStatus
        from websockets.sync.client import connect, unix_connect
        from websockets.typing import Subprotocol

        path = f"/v1/ws/cli?name={quote(self._target.name or who(), safe='')}"
        found = self._socket()
        try:
            if found is not None:
                connection = unix_connect(
                    str(found),
                    f"ws://localhost{path}",
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    compression=None,
                    max_size=ANSWER_MAX,
                    open_timeout=CONNECT_SECONDS,
                )
            else:
                scheme = "wss" if self._target.tls else "ws"
                connection = connect(
                    f"{scheme}://{self._authority}{path}",
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    additional_headers=self._headers(),
                    ssl=self._tls(),
                    compression=None,
                    proxy=None,
                    max_size=ANSWER_MAX,
                    open_timeout=CONNECT_SECONDS,
                )
        except InvalidStatus as error:
            raise self._refused(
                error.response.status_code, bytes(error.response.body or b"")
            ) from error
        except InvalidHandshake as error:
            raise Failure(
                UNREACHABLE, f"what answers at {self.place} is no bartos: {error}"
            ) from error
        except OSError as error:
            raise self._unreachable(error) from error
        with connection:
            yield connection

    def _rows(
        self, connection: ClientConnection, names: Sequence[str], end: End
    ) -> Iterator[dict[str, object]]:
        from libbarto.message.v2 import cli as wire

        keys = distinct(names)
        while True:
            with self._waiting():
                frame = _frame(connection)
            if isinstance(frame, wire.Done):
                break
            if isinstance(frame, wire.Rows):
                for row in frame.rows:
                    yield dict(zip(keys, map(_plain, row), strict=True))
        end.note, end.truncated = frame.note, frame.truncated

    # -- HTTP -------------------------------------------------------------------------------------

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """The JSON at `path`. Values of `query` that are None are left out; lists are repeated.

        Raises `Failure`.
        """
        with self.open(path, query) as body:
            return self._json(body)

    def post(self, path: str, said: object) -> Any:
        """The JSON that `path` answers, where `said` (sent as JSON) is put to it.

        Raises `Failure`.
        """
        with self.open(path, body=json.dumps(said).encode()) as body:
            return self._json(body)

    def _json(self, body: Body) -> Any:
        try:
            with self._waiting():
                return json.loads(b"".join(body.pieces))
        except ValueError as error:
            raise Failure(
                UNREACHABLE, f"what answers at {self.place} is no bartos: {error}"
            ) from error

    @contextlib.contextmanager
    def open(
        self,
        path: str,
        query: Mapping[str, object] | None = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Body]:
        """The body at `path`, to be read as it comes. Raises `Failure`, also while it is read.

        With a `body` (JSON) it is put to it (POST); `headers` are said beside our own.
        """
        given = {key: value for key, value in (query or {}).items() if value is not None}
        url = f"{path}?{urlencode(given, doseq=True)}" if given else path
        if time.monotonic() - self._used > IDLE_S:
            self.close()
        try:
            if self._http is None:
                self._http = self._connect()
            if body is None:
                self._http.request("GET", url, headers={**self._headers(), **(headers or {})})
            else:
                asks = (self._target.name or who()).encode("ascii", "replace").decode()
                more = {"Content-Type": "application/json", "Barto-User": asks}
                said = {**self._headers(), **more}
                self._http.request("POST", url, body=body, headers=said)
            with self._waiting():
                response = self._http.getresponse()
            if response.status != HTTPStatus.OK:
                raise self._refused(response.status, response.read(READ))
        except (OSError, http.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error
        told = {name.lower(): value for name, value in response.getheaders()}
        try:
            yield Body(told, self._pieces(response))
        finally:
            self._used = time.monotonic()
            if not response.isclosed():
                # What was not read stands in the way of a next answer.
                self.close()

    def _pieces(self, response: http.HTTPResponse) -> Iterator[bytes]:
        try:
            # read1 hands out what is there: a reader sees output as it comes.
            while piece := response.read1(READ):
                yield piece
            if response.length:
                raise http.IncompleteRead(b"", response.length)
            response.close()
        except (OSError, http.HTTPException) as error:
            self.close()
            place = self.place
            raise Failure(
                UNREACHABLE, f"the server at {place} went away: {_words(error)}"
            ) from error

    def _waiting(self) -> contextlib.AbstractContextManager[None]:
        """What a person sees while the server is waited for."""
        return contextlib.nullcontext() if self._progress is None else self._progress.waiting()

    def close(self) -> None:
        """Let the connection go; a next request makes a new one."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _connect(self) -> http.HTTPConnection:
        found, wait = self._socket(), self._connect_seconds
        connection: http.HTTPConnection
        if found is not None:
            connection = UnixConnection(found, wait)
        elif self._target.tls:
            host, port = self._host, self._target.port
            connection = http.HTTPSConnection(host, port, timeout=wait, context=self._tls())
        else:
            connection = http.HTTPConnection(self._host, self._target.port, timeout=wait)
        connection.connect()
        if connection.sock is not None:
            connection.sock.settimeout(self._answer_seconds)
        return connection

    # -- where, and who ---------------------------------------------------------------------------

    @property
    def config_file(self) -> str:
        """The configuration that was read, or would have been."""
        return self._target.config_file

    @property
    def place(self) -> str:
        """What is connected to, for messages."""
        found = self._socket()
        return str(found) if found is not None else f"{self._scheme}://{self._authority}"

    def _socket(self) -> Path | None:
        """The Unix socket, where one is there; the only one that was named, also if it is not."""
        for path in self._target.sockets:
            if path.exists():
                return path
        if self._target.host is None:
            if not self._target.sockets:
                raise Failure(UNREACHABLE, "no server is configured" + self._how_to_configure())
            tried = " and ".join(map(str, self._target.sockets))
            raise Failure(
                UNREACHABLE,
                f"no server runs on this host (tried {tried}). Start it with `bartos`"
                + self._how_to_configure(" here, or, for one on another host,"),
            )
        return None

    def _how_to_configure(self, before: str = ";") -> str:
        where = f" in {self._target.config_file}" if self._target.config_file else ""
        return f"{before} say where it is: [bartos] url, ca_cert and api_key{where}"

    @property
    def _host(self) -> str:
        assert self._target.host is not None
        return self._target.host

    @property
    def _scheme(self) -> str:
        return "https" if self._target.tls else "http"

    @property
    def _authority(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._target.port}"

    def _headers(self) -> dict[str, str]:
        key = self._target.api_key
        # Over the socket nobody asks for it, and what is not sent cannot be seen.
        if key is None or self._target.host is None:
            return {}
        return {"Authorization": f"Bearer {key}"}

    def _tls(self) -> ssl.SSLContext | None:
        if not self._target.tls:
            return None
        import ssl

        ca = self._target.ca_cert
        try:
            # With a CA named, that one counts and no other.
            context = ssl.create_default_context(cafile=None if ca is None else str(ca))
            if self._target.client_cert is not None:
                context.load_cert_chain(self._target.client_cert, self._target.client_key)
        except OSError as error:
            named = [self._target.ca_cert, self._target.client_cert, self._target.client_key]
            files = ", ".join(str(path) for path in named if path is not None)
            raise Failure(USAGE, f"certificate or key cannot be used ({files}): {error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    # -- what goes wrong --------------------------------------------------------------------------

    def _unreachable(self, error: Exception) -> Failure:
        place = self.place
        if isinstance(error, PermissionError):
            return Failure(
                REFUSED, f"{place} is for root and the user that bartos runs as; try sudo"
            )
        reason = _words(error)
        if isinstance(error, http.HTTPException) and not isinstance(error, OSError):
            return Failure(UNREACHABLE, f"what answers at {place} is no bartos: {reason}")
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return Failure(
                UNREACHABLE,
                f"what answers at {place} does not show a certificate of the CA in "
                f"{self._target.ca_cert or 'the system'} ([bartos] ca_cert): {reason}",
            )
        return Failure(
            UNREACHABLE,
            f"cannot reach the server at {place}: {reason}. Does bartos run there"
            f"{'' if self._target.host is None else ', and listen on an address for others'}?",
        )

    def _refused(self, status: int, body: bytes) -> Failure:
        problem = _problem(body)
        detail = str(problem.get("detail") or problem.get("title") or HTTPStatus(status).phrase)
        match status:
            case HTTPStatus.UNAUTHORIZED:
                key = "wrong" if self._target.api_key else "not given"
                where = f" in {self._target.config_file}" if self._target.config_file else ""
                return Failure(
                    REFUSED,
                    f"the server at {self.place} refused: the key ([bartos] api_key{where}) "
                    f"is {key}; it is in api.key in the server's state directory",
                )
            case HTTPStatus.FORBIDDEN:
                return Failure(REFUSED, f"the server at {self.place} refused: {detail}")
            case HTTPStatus.NOT_FOUND if problem:
                return Failure(NO_SUCH_THING, detail)
            case HTTPStatus.CONFLICT:
                code = REFUSED if problem.get("refused") is True else USAGE
                return Failure(code, detail + _candidates(problem.get("candidates")))
            case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY if problem:
                return Failure(USAGE, detail)
            case HTTPStatus.SERVICE_UNAVAILABLE:
                return Failure(UNREACHABLE, f"the server at {self.place} says: {detail}")
            case HTTPStatus.INTERNAL_SERVER_ERROR:
                return Failure(ERROR, f"the server at {self.place} says: {detail}")
            case _:
                return Failure(
                    UNREACHABLE, f"what answers at {self.place} is no bartos: HTTP status {status}"
                )


def _frame(connection: ClientConnection) -> object:
    from libbarto.message.v2 import cli as wire

    data = connection.recv()
    if isinstance(data, str):
        raise Failure(ERROR, "the server answers what barto-cli does not understand")
    try:
        frame = wire.CLI_ANSWER.decode(data)
    except CodecError as error:
        raise Failure(ERROR, f"the server's answer cannot be read: {error}") from error
    if isinstance(frame, wire.Failed):
        raise Failure(frame.exit_code, frame.message)
    return frame


def distinct(names: Sequence[str]) -> list[str]:
    """Names of columns that can be told apart: the second `id` is `id_2`.

    >>> distinct(["id", "id", "n"])
    ['id', 'id_2', 'n']
    """
    taken: list[str] = []
    for name in names:
        key, number = name, 2
        while key in taken:
            key, number = f"{name}_{number}", number + 1
        taken.append(key)
    return taken


def _plain(value: object) -> object:
    """A cell as a plain value; an instant is a time in UTC."""
    from barto_cli.times import from_instant
    from libbarto.message.v2 import cli as wire

    match value:
        case wire.Moment(value=instant):
            return from_instant(instant)
        case (
            wire.Text(value=plain)
            | wire.Integer(value=plain)
            | wire.Real(value=plain)
            | wire.Flag(value=plain)
            | wire.Blob(value=plain)
        ):
            return plain
        case _:
            return None


def _problem(body: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _candidates(listed: object) -> str:
    if not isinstance(listed, list):
        return ""
    lines = [f"\n  {c.get('id')}  {c.get('schedule')} on {c.get('worker')}" for c in listed]
    return ":" + "".join(lines)


def _words(error: Exception) -> str:
    """What an error says, in one line and without its number."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case http.IncompleteRead():
            return "its answer broke off"
        case http.RemoteDisconnected():
            return "it closes the connection without an answer"
        case OSError(strerror=str(words)) if words and "CERTIFICATE" not in str(error):
            return words
        case _:
            first, *_ = str(error).strip().splitlines() or [""]
            return first or type(error).__name__


def who() -> str:
    """Who asks, for the server's log."""
    return f"{os.environ.get('USER') or _account()}@{socket.gethostname()}"


def _account() -> str:
    """The user's name where no login has set it: cron, services and containers have none."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid{os.geteuid()}"
