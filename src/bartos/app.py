"""The composition root of bartos: the only place that names concrete ports."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import os
import secrets
import signal
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.websockets import WebSocket

from bartos.acting import Actions
from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.channels import Channels, channels_of
from bartos.config import Configuration, Settings
from bartos.dispatching import FileWitness
from bartos.ending import end_all
from bartos.enrolment import SharedKeyEnrolment
from bartos.init import Initialised
from bartos.listening import Listener, bind_local, bind_network, once_open
from bartos.news import alarms, connections
from bartos.planning import Planner
from bartos.reload import Reloader
from bartos.server import Server
from bartos.services import Connected, Facts, Pages, Services
from bartos.store.port import Retention, Store, WorkerRow
from bartos.store.settings import MariaDbSettings, SqliteSettings, StoreSettings
from bartos.store.sql import create_store
from libbarto.build_info import build_info
from libbarto.clock import Clock, SystemClock
from libbarto.config import Endpoint
from libbarto.envelope import SigningKey
from libbarto.errors import ConfigError
from libbarto.places import SOCKET
from libbarto.tls import server_context
from libbarto.websocket import V2, ServerTransport

log = logging.getLogger("bartos")

LOCK: Final = "bartos.lock"
WITNESS: Final = "committed"
CONFIRMATION: Final = "reload.yes"
V1_ONLY_TEXT: Final = "this server speaks barto.v2; barto 1.x is not switched on"


@dataclass(frozen=True, slots=True)
class Identity:
    """The server's secrets and certificates, wherever they come from."""

    api_key: str
    signing_key: SigningKey
    ca: bytes
    cert: Path
    key: Path


def identity_of(settings: Settings, initialised: Initialised) -> Identity:
    """What the configuration says, and what `init` made for the rest. Raises `ConfigError`."""
    signing = initialised.signing_key
    if settings.signing_key is not None:
        signing = SigningKey.from_base64(settings.signing_key.get_secret_value())
    cert, key, ca = initialised.paths.cert, initialised.paths.key, initialised.ca_pem
    if settings.tls.cert is not None and settings.tls.key is not None:
        cert, key = settings.tls.cert, settings.tls.key
        ca = _last_certificate(cert)
    return Identity(settings.secret() or initialised.api_key, signing, ca, cert, key)


def _last_certificate(file: Path) -> bytes:
    """The last certificate of a PEM file: what vouches for the first."""
    mark = b"-----BEGIN CERTIFICATE-----"
    try:
        _, found, last = file.read_bytes().rpartition(mark)
    except OSError as error:
        raise ConfigError(f"tls.cert: {file} cannot be read: {error.strerror}") from error
    if not found:
        raise ConfigError(f"tls.cert: {file} has no certificate in it (PEM)")
    return mark + last


def store_settings(configuration: Configuration) -> StoreSettings:
    """Which database. Raises `ConfigError`."""
    maria = configuration.settings.mariadb
    if maria is None:
        return SqliteSettings(configuration.sqlite_path)
    return MariaDbSettings(
        host=maria.host,
        port=maria.port,
        socket=maria.socket,
        username=maria.username,
        password=maria.secret(),
        database=maria.database,
        options=maria.options,
    )


class StateLock:
    """One server at a time has a state directory."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / LOCK
        self._descriptor: int | None = None

    def take(self) -> None:
        """Raises `ConfigError` where another bartos has it, or the directory is read-only."""
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the state directory {self._file.parent} cannot be written: {error.strerror}; "
                "give bartos another one (state_dir in bartos.toml), or the right to write there"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise ConfigError(
                f"the state directory {self._file.parent} is in use by another bartos "
                f"(process {self.holder() or 'unknown'}): stop that one, or give this one a "
                "state_dir of its own"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def holder(self) -> int | None:
        """The pid of the bartos that has it now, if one has."""
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            return int(text) if text.isdigit() else None
        finally:
            os.close(descriptor)
        return None

    def release(self) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Bartos:
    """A server on this host. `run` lasts until `stop`."""

    def __init__(
        self,
        configuration: Configuration,
        identity: Identity,
        addresses: tuple[str, ...],
        read: Callable[[], Configuration],
    ) -> None:
        settings = configuration.settings
        self._configuration = configuration
        self._identity = identity
        self._state = configuration.state_dir
        self._clock: Clock = SystemClock()
        self._stop = asyncio.Event()
        self._alerts: tuple[Configuration, Channels] | None = None
        self._network = bind_network(settings.listen, settings.port)
        self.port: int = self._network.getsockname()[1]
        self.url = _public_url(settings, self.port, addresses)
        self._pages = pages_of(settings, self.url)
        wanted = store_settings(configuration)
        self.store: Store = create_store(wanted, self._clock)
        planner = Planner()
        self.server = Server(
            self.store,
            planner,
            self._clock,
            key=identity.signing_key,
            retention=self._retention,
            random_bytes=secrets.token_bytes,
            version=build_info().version,
            lost_after=self._lost_after,
            witness=FileWitness(self._state / WITNESS),
            channels=self._channels,
            url=self._pages.url,
            heartbeat=self._heartbeat,
            faulty=self._faulty,
        )
        self.reloader = Reloader(
            configuration,
            read,
            configuration.loaded.path,
            self._state / CONFIRMATION,
            self.store,
            planner,
            self._clock,
            self.server.sets_changed,
        )
        self.enrolment = SharedKeyEnrolment(
            self.url,
            identity.ca,
            identity.api_key,
            identity.signing_key.public.to_base64(),
            self._state / "joining.json",
        )
        self._store_words = wanted.described
        actions = Actions(
            self.store,
            self.server.dispatching,
            self.server.hub,
            planner,
            self._clock,
            lambda: uuid.uuid4().bytes,
        )
        services = Services(
            self.store,
            _Fleet(self.server),
            self.enrolment,
            self._facts,
            self._clock,
            actions,
            self.server.watch,
            self.server.audit,
            self.server.feed,
            planner,
            self.server.overview,
            self.server.alerting,
            self._sources,
        )
        app = create_app(services, self._serve_worker)
        tls = server_context(identity.cert, identity.key, settings.tls.client_ca_cert)
        opened = self.server.store_open
        self._listeners = [
            Listener(once_open(app, opened), self._network, tls),
            Listener(once_open(over_unix_socket(app), opened), bind_local(self._state / SOCKET)),
        ]

    def stop(self) -> None:
        """Stop in order: workers are told, what they sent is committed."""
        self._stop.set()

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT stop, SIGHUP reads the configuration again."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reloader.ask)

    async def run(self) -> None:
        """The server's life."""
        self.server.start()
        listening = [asyncio.create_task(listener.run()) for listener in self._listeners]
        reloading = asyncio.create_task(self._reload(), name="reload")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        watched = [*listening, reloading, stopping, *self.server.tasks]
        try:
            while not stopping.done():
                done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if task is not stopping:
                        await task  # raises what ended it
                        watched.remove(task)
        finally:
            stopping.cancel()
            self.server.feed.close()
            for listener in self._listeners:
                listener.stop()
            await end_all([reloading])  # before the store that it reads is closed
            await self.server.stop()
            await asyncio.gather(*listening, return_exceptions=True)
            with contextlib.suppress(OSError):
                (self._state / SOCKET).unlink()

    async def _reload(self) -> None:
        await self.server.store_open.wait()
        await self.reloader.run()

    async def _serve_worker(self, websocket: WebSocket) -> None:
        if V2 not in websocket.scope.get("subprotocols", ()):
            await websocket.close(1002, V1_ONLY_TEXT)
            return
        await websocket.accept(subprotocol=V2)
        await self.server.serve_worker(ServerTransport(websocket, V2))

    def _retention(self) -> Retention:
        configuration = self.reloader.configuration or self._configuration
        keep = configuration.settings.retain
        definitions = self.server.planner.definitions
        return Retention(
            output_age=keep.output,
            verdict_age=keep.verdicts,
            total_bytes=keep.total,
            output_by_schedule={
                one.uid: one.retain.output for one in definitions if one.retain.output is not None
            },
            verdicts_by_schedule={
                one.uid: one.retain.verdicts
                for one in definitions
                if one.retain.verdicts is not None
            },
        )

    def _lost_after(self) -> float:
        configuration = self.reloader.configuration or self._configuration
        return configuration.settings.lost_after

    def _channels(self) -> Channels:
        configuration = self.reloader.configuration or self._configuration
        if self._alerts is None or self._alerts[0] is not configuration:
            made = channels_of(configuration.settings.alerts, socket.gethostname())
            self._alerts = configuration, made
        return self._alerts[1]

    def _heartbeat(self) -> str | None:
        configuration = self.reloader.configuration or self._configuration
        url = configuration.settings.heartbeat.url
        return None if url is None else url.get_secret_value()

    def _faulty(self) -> str:
        if not self.reloader.begun:
            return "the configuration has not been read yet"
        return "the configuration cannot be used" if self.reloader.error else ""

    def _sources(self) -> dict[bytes, tuple[str, int]]:
        configuration = self.reloader.configuration or self._configuration
        found = configuration.definitions
        return {one.uid: (one.source.file, one.source.line) for one in found if one.source.file}

    def _facts(self) -> Facts:
        configuration = self.reloader.configuration or self._configuration
        return Facts(
            api_key=self._identity.api_key,
            store=self._store_words,
            config_file=configuration.loaded.described,
            retention=self._retention(),
            config_error=self.reloader.error,
            begun=self.reloader.begun,
            allow_exec=configuration.settings.allow_exec,
            writes=not (self.server.writer.away or self.server.dispatching.away),
            pages=replace(self._pages, timezone=configuration.settings.timezone),
        )


class _Fleet:
    """The hub, as the faces see it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def connected(self) -> list[Connected]:
        return connections(self._server.hub)

    async def clean_up_workers(self, before: int) -> int:
        return self._server.clean_up_workers(before)

    def alarms(self) -> dict[bytes, str]:
        return alarms(self._server.hub)

    async def reset_worker(self, row: WorkerRow, who: str, reason: str) -> None:
        await self._server.reset_worker(row, who, reason)


def _public_url(settings: Settings, port: int, addresses: tuple[str, ...]) -> str:
    """Where others reach this server: as configured, else by the address it listens on, else by
    the first of the host's own that is not this host alone."""
    if settings.public_url is not None and not urlsplit(settings.public_url).path:
        return settings.public_url
    host = settings.listen
    if settings.listens_everywhere:
        outside = [address for address in addresses if not _is_loopback(address)]
        host = outside[0] if outside else socket.gethostname()
    return Endpoint(host, port, secure=True).url()


def pages_of(settings: Settings, url: str) -> Pages:
    """How browsers come here: as `public_url` says, or as others do."""
    public = urlsplit(settings.public_url or url)
    names = {public.hostname, settings.listen, socket.gethostname()}
    return Pages(
        origin=f"{public.scheme}://{public.netloc}",
        root=public.path,
        hosts=frozenset(name.lower() for name in names if name),
    )


def _is_loopback(address: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return address == "localhost"
