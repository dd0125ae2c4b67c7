"""The environment's settings: every variable is read, and each that is wrong is named, all at once."""

from __future__ import annotations

import logging
import re
import secrets
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.config import SETTINGS, AuthorizationServer, LuminConfig
from lumin_middleware.environment import ENVIRONMENT, REQUIRED
from lumin_middleware.errors import ConfigurationError
from tests.fakes import KEY, OLD_KEY, REDIRECT_URI, SECRET, hostile

ENVIRON = {
    "LUMIN_CLIENT_ID": "test-client",
    "LUMIN_CLIENT_SECRET": SECRET,
    "LUMIN_REDIRECT_URI": REDIRECT_URI,
    "LUMIN_SECRET_KEY": KEY.hex(),
}


def test_the_environment_gives_the_settings():
    found = LuminConfig.from_env(
        {
            **ENVIRON,
            "LUMIN_SECRET_KEY": f"{KEY.hex()}, {OLD_KEY.hex()}",
            "LUMIN_SCOPE": "openid templates",
            "LUMIN_AUTH_URL": "https://auth.example",
            "LUMIN_API_URL": "https://api.example",
            "LUMIN_STORE": "memory://",
            "LUMIN_SESSIONS": "store",
            "LUMIN_PUBLIC": "/healthz, /static/*",
            "LUMIN_OPTIONAL": "/",
            "LUMIN_REQUIRED_SCOPES": "/sign/*=sign:requests, /templates = templates sign:requests,",
            "LUMIN_TRUSTED_PROXIES": "127.0.0.1 10.0.0.0/8",
            "LUMIN_API_PROXY": "GET /user/info, /signature_request/*",
            "UNRELATED": "x",
        }
    )
    assert found == LuminConfig(
        client_id="test-client",
        client_secret=SECRET,
        redirect_uri=REDIRECT_URI,
        secret_key=[KEY.hex(), OLD_KEY.hex()],
        scope="openid templates",
        server=AuthorizationServer.at("https://auth.example"),
        api_url="https://api.example",
        store="memory://",
        sessions="store",
        public=["/healthz", "/static/*"],
        optional=["/"],
        required_scopes={"/sign/*": "sign:requests", "/templates": "templates sign:requests"},
        trusted_proxies=["127.0.0.1", "10.0.0.0/8"],
        api_proxy=["GET /user/info", "/signature_request/*"],
    )


def test_the_environment_of_the_process_is_the_default(monkeypatch):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    assert LuminConfig.from_env() == LuminConfig.from_env(ENVIRON)


@pytest.mark.parametrize("name", ENVIRON)
@pytest.mark.parametrize("empty", [None, ""])
def test_what_is_not_set_is_named(name, empty):
    environ = {key: value for key, value in {**ENVIRON, name: empty}.items() if value is not None}
    with pytest.raises(ConfigurationError, match=name):
        LuminConfig.from_env(environ)


@pytest.mark.parametrize("name", ["LUMIN_CLIENT_SECRET", "LUMIN_SECRET_KEY"])
def test_a_secret_may_stand_in_a_file(tmp_path, name):
    environ = dict(ENVIRON)
    (tmp_path / "secret").write_text(environ.pop(name) + "\n", encoding="utf-8")
    environ[f"{name}_FILE"] = str(tmp_path / "secret")
    assert LuminConfig.from_env(environ) == LuminConfig.from_env(ENVIRON)


def test_a_variable_and_its_file_are_one_too_many(tmp_path):
    (tmp_path / "secret").write_text(KEY.hex(), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="keep one"):
        LuminConfig.from_env({**ENVIRON, "LUMIN_SECRET_KEY_FILE": str(tmp_path / "secret")})


def test_what_is_wrong_in_a_file_names_the_variable_of_the_file(tmp_path):
    (tmp_path / "secret").write_text("short", encoding="utf-8")
    environ = {key: value for key, value in ENVIRON.items() if key != "LUMIN_SECRET_KEY"}
    with pytest.raises(ConfigurationError, match=r"shorter than 32 bytes.*\(from LUMIN_SECRET_KEY_FILE\)"):
        LuminConfig.from_env({**environ, "LUMIN_SECRET_KEY_FILE": str(tmp_path / "secret")})


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfd")
    environ = {key: value for key, value in ENVIRON.items() if key != "LUMIN_SECRET_KEY"}
    for file in ("bytes", "missing", "."):
        with pytest.raises(ConfigurationError, match="LUMIN_SECRET_KEY_FILE"):
            LuminConfig.from_env({**environ, "LUMIN_SECRET_KEY_FILE": str(tmp_path / file)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LUMIN_REDIRECT_URI", "http://app.example.com/cb"),
        ("LUMIN_AUTH_URL", "auth.example"),
        ("LUMIN_API_URL", "x"),
        ("LUMIN_PUBLIC", "healthz"),
        ("LUMIN_SESSIONS", "redis"),
        ("LUMIN_SCOPE", "sign:requests"),
        ("LUMIN_SECRET_KEY", "short"),
        ("LUMIN_REQUIRED_SCOPES", "/sign/*"),
        ("LUMIN_REQUIRED_SCOPES", "/sign/*="),
        ("LUMIN_REQUIRED_SCOPES", "/sign/*=sign:requests,/sign/* = templates"),
        ("LUMIN_REQUIRED_AUTH_AGE", "/pay=60,/pay=86400"),
        ("LUMIN_REQUIRED_SCOPES", "/sign/*=sign:requests /pay=templates"),
        ("LUMIN_REQUIRED_SCOPES", "/sign/*=sign:requests /pay"),
        ("LUMIN_REQUIRED_SCOPES", "/sign/* /pay=templates"),
        ("LUMIN_REQUIRED_AUTH_AGE", "/pay=60 /sign=70"),
        ("LUMIN_API_PROXY", "FETCH /user/info"),
    ],
)
def test_a_variable_that_is_wrong_is_named(name, value):
    with pytest.raises(ConfigurationError, match=name):
        LuminConfig.from_env({**ENVIRON, name: value})


environment_text = st.text(st.characters(exclude_characters="\0"), max_size=60)


@hostile
@given(st.sampled_from(sorted(ENVIRONMENT)), environment_text)
def test_any_environment_is_taken_or_refused(name, value):
    try:
        settings = LuminConfig.from_env({**ENVIRON, name: value})
    except ConfigurationError:
        return
    assert settings.fingerprint


def test_each_variable_gives_a_setting_that_there_is():
    assert {setting for setting, _ in ENVIRONMENT.values()} <= set(SETTINGS)


OBJECTS = {"on_event", "pages", "texts"}
"""The settings that are functions or tables, which no text can give."""


def test_each_setting_has_the_variable_of_its_name():
    names = {setting: f"LUMIN_{setting.upper()}" for setting in SETTINGS if setting not in OBJECTS}
    assert {setting: name for name, (setting, _) in ENVIRONMENT.items()} == {**names, "server": "LUMIN_AUTH_URL"}
    assert {ENVIRONMENT[name][0] for name in REQUIRED} == {
        field.name for field in fields(LuminConfig) if field.default is field.default_factory
    }


# --- everything that is wrong, at once ---


def refusal(environ):
    with pytest.raises(ConfigurationError) as raised:
        LuminConfig.from_env(environ)
    return str(raised.value)


def test_all_that_is_missing_is_told_at_once():
    assert all(f"{name} is not set" in refusal({}) for name in REQUIRED)
    said = refusal({"LUMIN_CLIENT_ID": "id", "LUMIN_TIMEOUT": "ten", "LUMIN_END_SESSION": "maybe"})
    assert "LUMIN_CLIENT_ID" not in said
    assert all(name in said for name in (*REQUIRED[1:], "LUMIN_TIMEOUT", "LUMIN_END_SESSION"))


WRONG = {
    "LUMIN_REDIRECT_URI": "http://app.example.com/cb",
    "LUMIN_SECRET_KEY": "short",
    "LUMIN_SESSIONS": "redis",
    "LUMIN_PUBLIC": "healthz",
    "LUMIN_COOKIE_NAME": "a b",
    "LUMIN_TIMEOUT": "500",
    "LUMIN_END_SESSION": "maybe",
    "LUMIN_ACCENT": "blue",
    "LUMIN_CLIENT_ID": "",
    "LUMIN_REQUIRED_SCOPE": "templates",
}
"""Wrong in each of the ways: no value of its kind, none that may be, not set, no setting."""


@hostile
@given(st.sets(st.sampled_from(sorted(WRONG)), min_size=1))
def test_all_that_is_wrong_is_told_at_once_whatever_is_wrong_with_it(names):
    said = refusal({**ENVIRON, **{name: WRONG[name] for name in names}})
    assert {name for name in WRONG if re.search(rf"\b{name}\b", said)} == names
    assert said.count("(from ") == len(names - {"LUMIN_CLIENT_ID", "LUMIN_REQUIRED_SCOPE"})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LUMIN_API_PROXY", "user/info", "must be a path of the API, such as 'GET /user/info'"),
        ("LUMIN_API_PROXY", "GET user/info", "must be a path of the API"),
        ("LUMIN_API_PROXY", "/user/info /templates", "holds two paths; they are separated by commas"),
        ("LUMIN_API_PROXY", "GET /user/info POST /templates", "holds two paths"),
        ("LUMIN_TIMEOUT", "-1", "-1.0 must be a number of seconds between 0.1 and 120"),
        ("LUMIN_SESSION_MEMORY", "-1", "0 or more"),
        ("LUMIN_REQUIRED_SCOPES", "/a=x /b=y", "'/b' stands where scopes belong; paths are separated by commas"),
    ],
)
def test_what_is_wrong_is_said_with_its_cure(name, value, said):
    assert said in refusal({**ENVIRON, name: value})


def test_a_file_is_named_by_its_path_unless_it_may_be_the_secret_itself(tmp_path):
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    environ = {key: value for key, value in ENVIRON.items() if key != "LUMIN_CLIENT_SECRET"}
    for path, why in ((f"{tmp_path}/none", "No such file or directory"), (f"{tmp_path}/empty", "empty file")):
        said = refusal({**environ, "LUMIN_CLIENT_SECRET_FILE": path})
        assert (path in said, why in said) == (True, True)
    assert SECRET not in refusal({**environ, "LUMIN_CLIENT_SECRET_FILE": SECRET})


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("LUMIN_REDIRECT_URL", "LUMIN_REDIRECT_URI"),
        ("LUMIN_CLIENTID", "LUMIN_CLIENT_ID"),
        ("LUMIN_REQUIRED_SCOPE", "LUMIN_REQUIRED_SCOPES"),
        ("LUMIN_SESSION", "LUMIN_SESSIONS"),
        ("LUMIN_AUTH_URI", "LUMIN_AUTH_URL"),
        ("LUMIN_SERVER", "LUMIN_AUTH_URL"),
        ("LUMIN_SECRET_KEY_FILES", "LUMIN_SECRET_KEY_FILE"),
        ("LUMIN_client_id", "LUMIN_CLIENT_ID"),
        ("LUMIN_SCOPES_REQUIRED", "LUMIN_REQUIRED_SCOPES"),
        ("LUMIN_REQUIRED_SCOPE_FILE", "LUMIN_REQUIRED_SCOPES_FILE"),
    ],
)
def test_a_misspelt_variable_is_refused_and_the_right_one_named(wrong, meant):
    said = refusal({**ENVIRON, wrong: "x"})
    assert f"{wrong} is no setting" in said
    assert f"do you mean {meant}?" in said


@pytest.mark.parametrize("name", [name for name in ENVIRONMENT if name.count("_") > 1])
def test_the_words_of_a_variable_in_another_order_are_known_again(name):
    for ending in ("", "_FILE"):
        wrong = f"LUMIN_{'_'.join(reversed(name.split('_')[1:]))}{ending}"
        if wrong.removesuffix("_FILE") not in ENVIRONMENT:  # as LUMIN_TOKEN_ID's would
            assert f"do you mean {name}{ending}?" in refusal({**ENVIRON, wrong: "x"})


@pytest.mark.parametrize(
    ("foreign", "hint"),
    [("LUMIN_WORKSPACE", ""), ("LUMIN_STORE_URL", "LUMIN_STORE"), ("LUMIN_API_KEY", ""), ("LUMIN_", "")],
)
def test_a_variable_that_may_be_the_application_s_is_named_in_the_log(caplog, foreign, hint):
    with caplog.at_level(logging.WARNING):
        LuminConfig.from_env({**ENVIRON, foreign: "hunter2"})
    [record] = caplog.records
    assert foreign in record.getMessage()
    assert hint in record.getMessage()
    assert "hunter2" not in record.getMessage()


@pytest.mark.parametrize("setting", sorted(set(SETTINGS) - {setting for setting, _ in ENVIRONMENT.values()}))
@pytest.mark.parametrize("ending", ["", "_FILE"])
def test_a_setting_that_no_variable_can_hold_is_known_for_one(caplog, setting, ending):
    LuminConfig.from_env({**ENVIRON, f"LUMIN_{setting.upper()}{ending}": "hunter2"})
    [line] = caplog.messages
    assert f"`{setting}` is " in line
    assert "which no variable can hold" in line
    assert "hunter2" not in line


def test_what_is_known_is_named_nowhere(caplog, tmp_path):
    (tmp_path / "id").write_text("id", encoding="utf-8")
    environ = {**ENVIRON, "LUMIN_CLIENT_ID_FILE": str(tmp_path / "id"), "LUMINOUS": "x", "LUMIN": "x"}
    del environ["LUMIN_CLIENT_ID"]
    assert LuminConfig.from_env(environ).client_id == "id"
    assert not caplog.records


# --- what a text may say ---


@pytest.mark.parametrize("nothing", [",", " ", " , ,", "\t\n"])
@pytest.mark.parametrize(
    "name",
    [name for name, (_, read) in ENVIRONMENT.items() if re.search("_listed|_between_commas|_by_path", read.__name__)],
)
def test_a_list_that_is_set_and_holds_nothing_is_refused(name, nothing):
    assert f"{name} is set and names nothing" in refusal({**ENVIRON, name: nothing})


LISTS = sorted(
    name
    for name, (_, read) in ENVIRONMENT.items()
    if read.__name__ in ("_listed", "_between_commas", "_scopes_by_path", "_ages_by_path")
)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "written",
    [
        '["{0}"]',
        '["{0}", "{0}"]',
        "['{0}']",
        "[{0}]",
        "({0})",
        '{{"{0}"}}',
        '"{0}", {0}',
        "`{0}`",
        "<{0}>",
        "\u201c{0}\u201d",
        '[\n  "{0}",\n  "{0}"\n]',
    ],
)
def test_what_stands_around_a_list_in_code_is_refused_with_what_would_be_right(name, written):
    """`["ann@example.org"]` would be an address, and admit nobody."""
    item = {"LUMIN_ADMIT": "ann@example.org", "LUMIN_REQUIRED_SCOPES": "/a=b", "LUMIN_REQUIRED_AUTH_AGE": "/a=300"}
    text = written.format(item.get(name, "hunter2-hunter2"))
    with pytest.raises(ConfigurationError, match=rf"\(from {name}\)") as raised:
        LuminConfig.from_env({**ENVIRON, name: text})
    said = r"has brackets or quotes around what it lists; write that alone, between commas: (one, two|/\S+=\S+) \("
    assert re.search(said, str(raised.value))
    assert "hunter2" not in str(raised.value)


def test_a_file_holds_a_list_as_a_variable_does(tmp_path):
    (tmp_path / "admit").write_text('["ann@example.org"]\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="has brackets"):
        LuminConfig.from_env({**ENVIRON, "LUMIN_ADMIT_FILE": str(tmp_path / "admit")})


@pytest.mark.parametrize("name", [name for name in ENVIRONMENT if name not in LISTS and name != "LUMIN_AUTH_URL"])
def test_what_nobody_sees_in_a_variable_is_named(name):
    text = ENVIRON.get(name, "x")
    with pytest.raises(ConfigurationError) as raised:
        LuminConfig.from_env({**ENVIRON, name: f"{text}\u200b"})
    if ENVIRONMENT[name][1] is str:
        assert "holds the invisible character U+200B" in str(raised.value)
    assert f"(from {name})" in str(raised.value)


@pytest.mark.parametrize("name", sorted(set(ENVIRONMENT) - set(REQUIRED)))
def test_an_empty_variable_counts_as_unset(name):
    assert LuminConfig.from_env({**ENVIRON, name: ""}) == LuminConfig.from_env(ENVIRON)


def test_a_session_may_be_shorter_than_the_idle_time_that_nobody_set():
    found = LuminConfig.from_env({**ENVIRON, "LUMIN_ABSOLUTE_TIMEOUT": "3600"})
    assert found.absolute_timeout == 3600
    said = refusal({**ENVIRON, "LUMIN_ABSOLUTE_TIMEOUT": "3600", "LUMIN_IDLE_TIMEOUT": "7200"})
    assert "idle_timeout: must not be longer than absolute_timeout (from LUMIN_IDLE_TIMEOUT)" in said


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        *((word, True) for word in ("true", "True", "yes", "on", "1")),
        *((word, False) for word in ("false", "FALSE", "no", "off", "0", " no ")),
    ],
)
def test_yes_and_no_are_read(said, meant):
    assert LuminConfig.from_env({**ENVIRON, "LUMIN_STRICT_LOGOUT": said}).strict_logout is meant


@pytest.mark.parametrize("name", [name for name, (_, read) in ENVIRONMENT.items() if read.__name__ == "_boolean"])
@pytest.mark.parametrize("said", ["maybe", "2", "tru", "y", "none"])
def test_neither_yes_nor_no_is_refused_with_what_would_be(name, said):
    refused = refusal({**ENVIRON, name: said})
    assert name in refused
    assert "write one of true, yes, on, 1, false, no, off, 0" in refused


def test_numbers_are_read():
    found = LuminConfig.from_env({**ENVIRON, "LUMIN_TIMEOUT": " 2.5 ", "LUMIN_SESSION_MEMORY": "1024"})
    assert (found.timeout, found.session_memory) == (2.5, 1024)


@pytest.mark.parametrize("name", ["LUMIN_TIMEOUT", "LUMIN_IDLE_TIMEOUT", "LUMIN_SESSION_MEMORY"])
@pytest.mark.parametrize("said", ["ten", "1_000", "1e3", "nan", "inf", "-1", "٣", "10 s", "0x10", "1,5"])
def test_what_is_no_number_is_refused(name, said):
    assert name in refusal({**ENVIRON, name: said})


def test_bytes_are_whole():
    assert "LUMIN_SESSION_MEMORY" in refusal({**ENVIRON, "LUMIN_SESSION_MEMORY": "1.5"})


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("name", REQUIRED)
def test_quotes_that_belong_to_a_shell_are_told(name, quote):
    said = refusal({**ENVIRON, name: f"{quote}{ENVIRON[name]}{quote}"})
    assert name in said
    assert "quotes" in said


@pytest.mark.parametrize("name", ["LUMIN_CLIENT_ID", "LUMIN_CLIENT_SECRET"])
@pytest.mark.parametrize("extra", ["\r", "\n", "\r\n", "\ufeff", "\u200b"])
def test_what_a_credential_brought_along_is_told(name, extra):
    assert name in refusal({**ENVIRON, name: ENVIRON[name] + extra})
    assert name in refusal({**ENVIRON, name: extra + ENVIRON[name]})


@pytest.mark.parametrize("name", REQUIRED)
def test_a_file_as_editors_write_it_is_read(name, tmp_path):
    environ = dict(ENVIRON)
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbf" + environ.pop(name).encode() + b"\r\n")
    environ[f"{name}_FILE"] = str(tmp_path / "file")
    assert LuminConfig.from_env(environ) == LuminConfig.from_env(ENVIRON)


def test_an_empty_file_is_told(tmp_path):
    (tmp_path / "file").write_text("\n", encoding="utf-8")
    environ = {name: value for name, value in ENVIRON.items() if name != "LUMIN_CLIENT_SECRET"}
    assert "LUMIN_CLIENT_SECRET_FILE names an empty file" in refusal(
        {**environ, "LUMIN_CLIENT_SECRET_FILE": str(tmp_path / "file")}
    )


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("LUMIN_CLIENT_SECRET", "{}\r"),
        ("LUMIN_CLIENT_SECRET", "'{}'"),
        ("LUMIN_SECRET_KEY", "'{}'"),
        ("LUMIN_SECRET_KEY", "{:.20}"),
    ],
)
def test_no_error_shows_a_secret(name, form):
    secret = secrets.token_urlsafe(24)
    assert secret[:10] not in refusal({**ENVIRON, name: form.format(secret)})
