"""The one definition of the options: where a value comes from, what fits, and what is refused with which words."""

import dataclasses

import pytest

from carboy.server.errors import OptionError
from carboy.server.options import Field, Options

BY_NAME = {each.name: each for each in Options.fields()}


def test_command_line_outranks_environment_outranks_configuration():
    """The nearest source wins; what nobody gives has its default."""
    environ = {"CARBOY_PORT": "2", "CARBOY_WORKERS": "2", "UNRELATED": "9"}
    config = {"SERVER_PORT": 3, "SERVER_WORKERS": 3, "SERVER_THREADS": 3, "SECRET_KEY": "x"}

    options = Options.load({"port": "1", "workers": None}, environ, config)

    assert (options.port, options.workers, options.threads, options.host) == (1, 2, 3, "127.0.0.1")


def test_empty_variable_counts_as_not_given():
    """`CARBOY_PORT=` in a unit file does not make the port an error."""
    assert Options.load({}, {"CARBOY_PORT": ""}, {}).port == 8000


def test_defaults_are_the_documented_ones():
    """The production defaults, stated again so that a change is meant."""
    options = Options()

    assert (options.interface, options.http, options.host, options.port) == ("asgi", "1", "127.0.0.1", 8000)
    assert (options.backlog, options.backpressure, options.header_buffer) == (4096, 4096, 65536)
    assert (options.header_timeout, options.drain, options.stop_timeout) == (10, 0.5, 30)
    assert (options.wedge_timeout, options.runtime_threads, options.tls_min) == (6, 2, "1.2")


def test_every_field_has_flag_variable_key_and_help():
    """Nothing can be an option without all four; the help fits a line of the help page."""
    for each in Options.fields():
        assert each.flag == "--" + each.name.replace("_", "-")
        assert each.env == "CARBOY_" + each.name.upper()
        assert each.config_key == "SERVER_" + each.name.upper()
        assert 0 < len(each.help) <= 70, each.name
        assert each.help.endswith("."), each.name
        assert each.group in Options.groups()
    assert len(Options.fields()) == len(dataclasses.fields(Options)) - 1  # `given` is none


def test_defaults_fit_their_own_rules():
    """A default passes the parser it would have to pass as a text."""
    for each in Options.fields():
        assert each.parse(each.default) == each.default, each.name


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("stop_timeout", "30s", 30),
        ("stop_timeout", "5m", 300),
        ("drain", "500ms", 0.5),
        ("max_age", "2h", 7200),
        ("max_memory", "512M", 512 << 20),
        ("max_memory", "1GiB", 1 << 30),
        ("max_memory", "64kb", 64 << 10),
        ("max_memory", "100", 100),
        ("workers", "auto", 0),
        ("workers", "3", 3),
        ("jitter", "10%", 0.1),
        ("unix_mode", "600", 0o600),
        ("unix_mode", 0o600, 0o600),
        ("websockets", "off", False),
        ("websockets", "Yes", True),
        ("max_requests", "10_000", 10_000),
    ],
)
def test_texts_become_values(name, raw, value):
    """Units and words that people write."""
    assert BY_NAME[name].parse(raw) == value


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("port", "http", "a whole number is expected"),
        ("port", "70000", "the most is 65535"),
        ("port", "-1", "the least is 0"),
        ("port", 1.5, "a whole number is expected"),
        ("port", True, "a whole number is expected"),
        ("stop_timeout", "soon", "a time is expected"),
        ("stop_timeout", "nan", "a time is expected"),
        ("wedge_timeout", "-1", "a time is expected"),
        ("max_memory", "lots", "a size is expected"),
        ("interface", "cgi", "choose one of asgi, rsgi, wsgi"),
        ("websockets", "perhaps", "yes or no"),
        ("unix_mode", "rw", "octal"),
        ("workers", "-2", "a number of processes"),
    ],
)
def test_misfits_say_what_would_fit(name, raw, words):
    """The error names the option and what is expected."""
    with pytest.raises(OptionError, match=words) as caught:
        BY_NAME[name].parse(raw)

    assert BY_NAME[name].flag in str(caught.value)


def test_error_names_the_source():
    """Who set a variable must not look for a flag."""
    with pytest.raises(OptionError, match="CARBOY_PORT is 'x'"):
        Options.load({}, {"CARBOY_PORT": "x"}, {})
    with pytest.raises(OptionError, match="SERVER_PORT is 'x'"):
        Options.load({}, {}, {"SERVER_PORT": "x"})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"unix": "/x", "fd": 3}, "both say where to listen"),
        ({"unix": "/x", "fastcgi": "unix:/y"}, "both say where to listen"),
        ({"tls_cert": __file__}, "TLS needs both files"),
        ({"tls_client_ca": __file__}, "--tls-cert and --tls-key too"),
        ({"tls_cert": "/no/such", "tls_key": __file__}, "no such file"),
        ({"ready_path": "readyz"}, "a path begins with /"),
        ({"drain": 5, "stop_timeout": 4}, "must be shorter"),
    ],
)
def test_contradictions_are_refused(values, words):
    """Options that exclude or need each other."""
    with pytest.raises(OptionError, match=words):
        Options.load(values, {}, {})


def test_options_travel_as_json():
    """What a worker gets is what the main process had."""
    options = Options(port=9, unix="/a b", jitter=0.25, max_memory=7)

    assert Options.from_json(options.to_json()) == options


def test_configuration_completes_what_nobody_gave():
    """After the application is loaded its `SERVER_*` keys count, but never over the command line or the environment."""
    asked = Options.load({"port": "1"}, {"CARBOY_WORKERS": "2"}, {})

    options = asked.completed({"SERVER_PORT": 9, "SERVER_WORKERS": "9", "SERVER_MAX_AGE": "1h", "SERVER_NAME": "example.org"})

    assert (options.port, options.workers, options.max_age) == (1, 2, 3600)
    with pytest.raises(OptionError, match="SERVER_DRAIN is 'x'"):
        asked.completed({"SERVER_DRAIN": "x"})


def test_value_given_in_code_is_kept():
    """`Options(port=9)` is as good as `--port 9`."""
    assert Options(port=9).completed({"SERVER_PORT": 1}).port == 9


def test_switch_has_a_negation():
    """A switch that is on by default can be switched off on the command line."""
    assert BY_NAME["websockets"].flags == ("--websockets/--no-websockets",)
    assert Field("port", "whole", 1, "g", "h", short="-p").flags == ("-p", "--port")


def test_pin_is_refused_where_no_program_chooses_its_processor(monkeypatch):
    """An error of setup, not a wish that is passed over."""
    monkeypatch.delattr("os.sched_setaffinity", raising=False)

    with pytest.raises(OptionError, match="--pin needs Linux"):
        Options.load({"pin": True}, {}, {}).check()
