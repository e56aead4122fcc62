"""Flags beat the environment, which beats the file, which beats the defaults; for each program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

import barto_cli.config
import bartoc.config
import bartos.config
from bartos.config import changed_settings, check_files, load_all, load_settings
from libbarto.config import Endpoint, Loaded, parse_url, secret
from libbarto.errors import ConfigError, UserError
from libbarto.places import places, shown_path
from libbarto.settings import InvalidConfig

NOTHING: Mapping[str, str] = {}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to stand in; messages name its files by their bare names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def bartos_toml(home: Path, text: str) -> Path:
    return write(home / "bartos.toml", text)


def schedule(name: str) -> str:
    return f'[[schedule]]\nname = "{name}"\nworkers = "*"\non_calendar = "daily"\ncmds = ["true"]\n'


def faults(path: Path, environment: Mapping[str, str] = NOTHING) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        load_all(path, environment=environment)
    return [str(fault) for fault in caught.value.faults]


# -- precedence -----------------------------------------------------------------------------------


def test_a_flag_beats_a_variable_beats_a_file_beats_the_default(home: Path) -> None:
    path = bartos_toml(home, 'port = 1\nlisten = "::"\nstate_dir = "/file"\n')
    environment = {"BARTOS_PORT": "2", "BARTOS_LISTEN": "0.0.0.0"}
    loaded = load_settings(path, environment=environment, flags={"port": 3, "listen": None})
    settings = loaded.settings
    assert (settings.port, settings.listen) == (3, "0.0.0.0")
    assert (settings.state_dir, settings.timezone) == (Path("/file"), "UTC")
    assert loaded.sources == {
        "port": "--port",
        "listen": "environment BARTOS_LISTEN",
        "state_dir": "bartos.toml:3",
    }


def test_an_empty_file_is_as_good_as_none(home: Path) -> None:
    loaded = load_settings(bartos_toml(home, ""), environment=NOTHING)
    absent = load_settings(environment={"CONFIGURATION_DIRECTORY": str(home / "nowhere")})
    assert loaded.settings == absent.settings == bartos.config.Settings()
    assert (loaded.exists, absent.exists) == (True, False)
    assert absent.described == f"{home}/nowhere/bartos.toml (not there: defaults)"
    assert loaded.described == str(home / "bartos.toml")


def test_a_unit_has_its_places_from_systemd(home: Path) -> None:
    bartos_toml(home, "port = 7")
    environment = {"CONFIGURATION_DIRECTORY": str(home), "STATE_DIRECTORY": "/state/a:/state/b"}
    configuration = load_all(environment=environment)
    assert configuration.settings.port == 7
    assert configuration.state_dir == Path("/state/a")
    assert configuration.sqlite_path == Path("/state/a/barto.db")


def test_the_file_that_a_user_names_must_be_there(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"^x\.toml: there is no such file$"):
        load_settings(home / "x.toml", environment=NOTHING)


def test_a_file_that_cannot_be_read_is_named(home: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings(home, environment=NOTHING)


def test_a_file_that_is_not_utf8_is_named_with_its_line(home: Path) -> None:
    (home / "bartos.toml").write_bytes(b"port = 1\nlisten = '\xff'")
    with pytest.raises(ConfigError, match=r"^bartos\.toml:2: is not UTF-8$"):
        load_settings(home / "bartos.toml", environment=NOTHING)


def test_a_byte_order_mark_does_not_count(home: Path) -> None:
    (home / "bartos.toml").write_bytes(b"\xef\xbb\xbfport = 1")
    assert load_settings(home / "bartos.toml", environment=NOTHING).settings.port == 1


def test_a_file_of_absurd_size_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libbarto.config._FILE_LIMIT", 1024**2)
    with pytest.raises(ConfigError, match="is larger than 1MiB"):
        load_settings(bartos_toml(home, "#" * (1024**2 + 1)), environment=NOTHING)


def test_what_is_not_toml_is_shown(home: Path) -> None:
    assert faults(bartos_toml(home, "port = \n")) == [
        "bartos.toml:1: not TOML: invalid value\n    port = \n           ^"
    ]


def test_files_elsewhere_are_named_whole(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.toml"
    assert shown_path(elsewhere) == str(elsewhere)
    assert shown_path(home / "schedules.d" / "a.toml") == "schedules.d/a.toml"


def test_root_and_everybody_else_have_their_own_places() -> None:
    root = places("bartos", NOTHING, root=True)
    assert (root.files, root.state) == ((Path("/etc/barto/bartos.toml"),), Path("/var/lib/bartos"))
    user = places("bartos", NOTHING, root=False)
    assert [file.parts[-2:] for file in user.files] == [("bartos", "bartos.toml")]
    assert user.state.name == "bartos"
    assert places("barto-cli", NOTHING, root=False).files[1] == Path("/etc/barto/barto-cli.toml")


# -- bartos ---------------------------------------------------------------------------------------


def test_files_of_schedules_are_read_in_order_of_name(home: Path) -> None:
    path = bartos_toml(home, '[defaults]\ntimeout = "1h"\n' + schedule("main"))
    write(home / "schedules.d" / "b.toml", schedule("b"))
    write(home / "schedules.d" / "a.toml", schedule("a"))
    write(home / "schedules.d" / ".hidden.toml", "no toml")
    write(home / "schedules.d" / "notes.txt", "no toml")
    configuration = load_all(path, environment=NOTHING)
    assert [one.name for one in configuration.definitions] == ["main", "a", "b"]
    assert {one.timeout for one in configuration.definitions} == {3600.0}
    assert [file.name for file in configuration.files] == ["bartos.toml", "a.toml", "b.toml"]
    assert configuration.described == f"{path}, schedules.d (3 schedules)"


def test_one_schedule_is_not_several(home: Path) -> None:
    path = bartos_toml(home, schedule("main"))
    assert load_all(path, environment=NOTHING).described == f"{path} (1 schedule)"


def test_a_file_in_place_of_the_directory_is_nothing(home: Path) -> None:
    write(home / "schedules.d", "")
    assert load_all(bartos_toml(home, ""), environment=NOTHING).definitions == ()


def test_the_zone_may_come_from_the_environment(home: Path) -> None:
    path = bartos_toml(home, schedule("a"))
    configuration = load_all(path, environment={"BARTOS_TIMEZONE": "Asia/Tokyo"})
    assert configuration.definitions[0].timezone == "Asia/Tokyo"


def test_faults_of_settings_and_schedules_are_told_together_and_once(home: Path) -> None:
    path = bartos_toml(home, 'prot = 1\ntimezone = "x"\n[[schedule]]\nname = "a"\n')
    write(home / "schedules.d" / "b.toml", "x = \n")
    write(home / "schedules.d" / "c.toml", schedule("c") + "nice = 99\n")
    assert [fault.partition(": ")[0] for fault in faults(path)] == [
        "bartos.toml:1",
        "bartos.toml:2",
        "bartos.toml:3",
        "bartos.toml:3",
        "bartos.toml:3",
        "schedules.d/b.toml:1",
        "schedules.d/c.toml:6",
    ]


def test_a_certificate_comes_with_its_key(home: Path) -> None:
    path = bartos_toml(home, '[tls]\nkey = "/k"\n')
    assert faults(path) == ["bartos.toml:2: tls.key is given without tls.cert"]
    with pytest.raises(ConfigError, match=r"tls\.cert is given without tls\.key$"):
        load_settings(bartos_toml(home, ""), environment={"BARTOS_TLS__CERT": "/c"})


def test_the_database_is_a_file_unless_there_is_a_table(home: Path) -> None:
    assert load_settings(bartos_toml(home, ""), environment=NOTHING).settings.mariadb is None
    empty = load_settings(bartos_toml(home, "[mariadb]\n"), environment=NOTHING).settings.mariadb
    assert empty == bartos.config.MariaDb()
    variables = {"BARTOS_MARIADB__PASSWORD": "0012"}
    named = load_settings(bartos_toml(home, ""), environment=variables).settings.mariadb
    assert named is not None
    assert named.secret() == "0012"
    path = bartos_toml(home, '[sqlite]\npath = "/data/b.db"\n')
    assert load_all(path, environment=NOTHING).sqlite_path == Path("/data/b.db")


def test_the_default_retention_is_what_the_design_says() -> None:
    keep = bartos.config.Retention()
    assert (keep.output, keep.verdicts, keep.total) == (
        90 * 86_400.0,
        400 * 86_400.0,
        10 * 1024**3,
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('bind = "x"', 'bind: the address is written listen = "…"'),
        ("insecure = true", "insecure: not available yet (today it is always false)"),
        ('public_url = "barto"', '"barto" is no address; write https://HOST'),
        ('public_url = "wss://barto.example"', "is nothing for browsers"),
        ('public_url = "https://[barto"', "is no address"),
        ('public_url = "https://barto.example/a b"', "a sub-path has letters, digits"),
        ('public_url = "https://barto.example/../x?y"', "only a scheme, a host and a port"),
        ('state_dir = ""', 'state_dir: expected a path, found ""'),
        ("state_dir = 3", "state_dir: expected a path in quotes, found the number 3"),
        ('api_key = ""', "api_key: is empty; an empty secret protects nothing"),
        ("[default]", "default: the defaults of schedules stand in [defaults]"),
        ("[mariadb]\nuser = 'x'", "mariadb.user: the account is written username"),
    ],
)
def test_a_key_that_is_wrong_is_told_what_is_right(home: Path, line: str, message: str) -> None:
    (fault,) = faults(bartos_toml(home, line))
    assert message in fault


OLD = """
enable_std_output = true
verbose = 1
hmac_key = "raw"
api_key = "0042"

[actix]
workers = 4
ip = "0.0.0.0"
port = 20000
[actix.tls]
ip = "127.0.0.2"
port = 8443
cert_file_path = "/c.pem"
key_file_path = "/k.pem"
client_ca_cert = "/ca.pem"

[mariadb]
host = "db"
username = "u"
password = "p"
database = "barto"
output_table = "Output"
status_table = "Status"

[tracing.stdout]
with_target = true
with_thread_ids = false
with_thread_names = false
with_line_number = false
with_level = true
directives = "bartos=info"
[tracing.file]
quiet = 0
verbose = 3
[tracing.file.layer]
with_target = true
with_thread_ids = false
with_thread_names = false
with_line_number = false
with_level = true

[schedules.web1]
schedules = [
  { name = "backup", on_calendar = "*,*,* 02:R:R", cmds = ["true"] },
]
"""


def test_a_file_of_the_old_version_loads_unchanged(home: Path) -> None:
    configuration = load_all(bartos_toml(home, OLD), environment=NOTHING)
    settings = configuration.settings
    assert (settings.listen, settings.port, settings.verbose) == ("127.0.0.2", 8443, 1)
    assert settings.secret() == "0042"
    assert (settings.tls.cert, settings.tls.key) == (Path("/c.pem"), Path("/k.pem"))
    assert settings.tls.client_ca_cert == Path("/ca.pem")
    assert settings.mariadb is not None
    assert (settings.mariadb.host, settings.mariadb.port) == ("db", 3306)
    assert [one.name for one in configuration.definitions] == ["web1/backup"]
    noted = {note.message.partition(":")[0] for note in configuration.loaded.notes}
    assert {"hmac_key", "actix.workers", "mariadb.output_table", "tracing.file.verbose"} <= noted


def test_no_secret_is_shown(home: Path) -> None:
    configuration = load_all(bartos_toml(home, OLD), environment=NOTHING)
    assert "0042" not in repr(configuration)
    assert "password='p'" not in repr(configuration)


# -- bartos check ---------------------------------------------------------------------------------


def test_a_check_shows_errors_and_warnings(home: Path) -> None:
    bartos_toml(home, schedule("a").replace("true", "a | b") + "[[schedule]]\nname = 'b'\n")
    report = check_files(path=home / "bartos.toml", environment=NOTHING)
    assert (len(report.faults), len(report.warnings), report.exit_code) == (3, 1, 1)
    assert str(report).endswith("3 errors, 1 warning; nothing changed")


def test_a_check_of_a_file_of_schedules_reads_what_is_beside_it(home: Path) -> None:
    bartos_toml(home, "defaults.timeout = '1h'\n" + schedule("a"))
    file = write(home / "schedules.d" / "b.toml", schedule("b"))
    assert str(check_files([file], environment=NOTHING)).startswith("2 schedules, 0 errors")


def test_a_check_of_files_reads_the_first_as_the_main_one(home: Path) -> None:
    first, second = bartos_toml(home, "port = 1"), write(home / "more.toml", schedule("a"))
    assert check_files([first, second], environment=NOTHING).schedules == 1
    assert check_files([second, first], environment=NOTHING).exit_code == 1


def test_a_check_of_a_lone_file_of_schedules_goes_without_a_main_one(home: Path) -> None:
    file = write(home / "schedules.d" / "b.toml", schedule("b"))
    environment = {"CONFIGURATION_DIRECTORY": str(home / "nowhere")}
    assert check_files([file], environment=environment).schedules == 1


def test_a_check_of_what_is_not_toml(home: Path) -> None:
    report = check_files([bartos_toml(home, "x =")], environment=NOTHING)
    assert str(report).endswith("1 error, 0 warnings; nothing changed")


# -- bartoc and barto-cli -------------------------------------------------------------------------


def worker(home: Path, text: str, **variables: str) -> Loaded[bartoc.config.Settings]:
    return bartoc.config.load_settings(write(home / "bartoc.toml", text), environment=variables)


def test_a_worker_needs_no_file(home: Path) -> None:
    settings = worker(home, "").settings
    assert settings.worker_name
    assert settings.bartos.endpoint == Endpoint("127.0.0.1", 21526, secure=True)
    assert (settings.stop_timeout, settings.labels) == (30.0, {})


def test_a_worker_s_file_is_read(home: Path) -> None:
    loaded = worker(
        home,
        'name = "web1"\nstate_dir = "/s"\nlabels = { role = "web" }\nstop_timeout = "5s"\n'
        '[bartos]\nurl = "https://barto.example"\napi_key = "007"\nca_cert = "~/ca.pem"\n',
    )
    settings = loaded.settings
    assert settings.worker_name == "web1"
    assert bartoc.config.state_dir(loaded) == Path("/s")
    assert settings.labels == {"role": "web"}
    assert settings.bartos.endpoint == Endpoint("barto.example", 21526, secure=True)
    assert settings.bartos.secret() == "007"
    assert settings.bartos.ca_cert == Path.home() / "ca.pem"


def test_a_worker_s_state_is_where_the_unit_says(home: Path) -> None:
    loaded = worker(home, "", STATE_DIRECTORY="/state")
    assert bartoc.config.state_dir(loaded) == Path("/state")


def test_a_worker_s_file_of_the_old_version_loads_unchanged(home: Path) -> None:
    loaded = worker(
        home,
        'name = "web1"\nretry_count = 3\nclient_timeout = 10\nmissed_tick = "Burst"\n'
        'redb_path = "/r"\nserver_public_key = "key"\nhmac_key = "h"\nreplay_window_secs = 60\n'
        '[bartos]\nprefix = "ws"\nhost = "b"\nport = 8080\napi_key = "a"\n'
        "[tracing.stdout]\nwith_target = true\n",
    )
    server = loaded.settings.bartos
    assert server.endpoint == Endpoint("b", 8080, secure=False)
    assert server.server_public_key == "key"
    assert len(loaded.notes) == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels = { os = 'x' }", '"os" is found out by barto itself; choose another label'),
        ("labels = { 'a b' = 'x' }", '"a b" is no label'),
        ("name = ' x'", "name: expected 1 to 200 printable characters"),
        ("catch_up = '73h'", "catch_up: at most 72h: longer ago, nobody remembers what has run"),
        ("max_running = 0", "max_running: "),
        ("url = 'x'", "url: the server's address stands in [bartos]"),
        ("[bartos]\nurl = 'ftp://x'", 'bartos.url: "ftp://x" is no address'),
        ("[bartos]\nprefix = 'tcp'", 'bartos.prefix: expected "wss", "ws", "https" or "http"'),
    ],
)
def test_a_worker_s_key_that_is_wrong_is_told_what_is_right(
    home: Path, text: str, message: str
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        worker(home, text)
    assert message in str(caught.value)


def test_a_host_that_is_often_away_catches_up_for_a_day(home: Path) -> None:
    assert worker(home, "").settings.catch_up_s is None
    assert worker(home, "roaming = true").settings.catch_up_s == 86_400
    assert worker(home, "roaming = true\ncatch_up = '2h'").settings.catch_up_s == 7200
    assert worker(home, "max_running = 4").settings.max_running == 4


def test_programs_share_a_server_s_address(home: Path) -> None:
    variables = {"BARTO_BARTOS__URL": "http://shared", "BARTO_CLI_BARTOS__PORT": "1"}
    assert worker(home, "", **variables).settings.bartos.url == "http://shared"
    loaded = barto_cli.config.load_settings(
        write(home / "barto-cli.toml", ""), environment=variables
    )
    assert (loaded.settings.bartos.url, loaded.settings.bartos.port) == ("http://shared", 1)


def test_the_log_s_file_is_shared_too(home: Path) -> None:
    loaded = worker(home, "", BARTO_TRACING__FILE__PATH="/log", BARTO_NAME="nobody")
    assert loaded.settings.tracing.file.path == Path("/log")
    assert loaded.settings.name is None


# -- small parts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://a", Endpoint("a", 21526, True)),
        ("wss://a:1/", Endpoint("a", 1, True)),
        ("http://[::1]:2", Endpoint("::1", 2, False)),
        ("ws://A.example", Endpoint("a.example", 21526, False)),
    ],
)
def test_an_address_is_read(text: str, endpoint: Endpoint) -> None:
    assert parse_url(text) == endpoint


@pytest.mark.parametrize(
    "text",
    ["", "a", "a:1", "ftp://a", "https://", "https://a:x", "https://a:99999", "https://a/b"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_url(text)


@pytest.mark.parametrize("text", ["https://u@a", "https://a?b", "https://[::1", "https://a#b"])
def test_more_than_an_address_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_url(text)


def test_an_address_is_written() -> None:
    assert Endpoint("a", 1, True).url("/x") == "https://a:1/x"
    assert Endpoint("::1", 1, False).url() == "http://[::1]:1"
    assert Endpoint("a", 1, True).url("/x", websocket=True) == "wss://a:1/x"
    assert Endpoint("a", 1, False).url("/x", websocket=True) == "ws://a:1/x"


def test_a_secret_comes_from_one_place(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(" 0012 \n", encoding="utf-8")
    assert secret(SecretStr("0012"), None, "key") == "0012"
    assert secret(None, file, "key") == " 0012 "
    assert secret(None, None, "key") is None
    with pytest.raises(ConfigError, match="give one of the two"):
        secret(SecretStr("x"), file, "key")


def test_a_secret_s_file_must_hold_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key_file: there is no file"):
        secret(None, tmp_path / "none", "key")
    empty = tmp_path / "empty"
    empty.write_text("\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is empty"):
        secret(None, empty, "key")


def test_a_reload_tells_which_settings_changed_and_which_wait_for_a_restart(home: Path) -> None:
    def read(text: str) -> bartos.config.Settings:
        return load_all(bartos_toml(home, text), environment=NOTHING).settings

    plain = read("")
    assert changed_settings(plain, read("")) == ""
    assert changed_settings(plain, read("allow_exec = true\n")) == "settings allow_exec"
    alerts = 'allow_exec = true\n[heartbeat]\nurl = "https://x.example/1"\n'
    assert changed_settings(plain, read(alerts)) == "settings [heartbeat], allow_exec"
    secret_key = read('api_key = "an old and secret key"\n[mariadb]\nhost = "db"\n')
    assert changed_settings(plain, secret_key) == "at the next start of bartos api_key, [mariadb]"
    assert changed_settings(secret_key, read('lost_after = "1d"\n')) == (
        "settings lost_after; at the next start of bartos api_key, [mariadb]"
    )
