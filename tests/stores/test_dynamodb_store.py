"""`DynamoDBStore` against a server that runs here: the contract, and what a network adds to it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from lumin_middleware.errors import ConfigurationError, StoreUnavailable
from lumin_middleware.stores import DynamoDBStore, store_from_url
from lumin_middleware.stores.contract import Opener, SharedStoreContract
from lumin_middleware.stores.dynamodb import TABLE

from .clock import Clock
from .dynamodb_server import CREDENTIALS, DynamoDBServer
from .limits import unhurried
from .redis_server import Relay

LONG = 3600.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamoDBServer]:
    with DynamoDBServer(tmp_path_factory.mktemp("dynalite")) as running:
        yield running


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def table(server: DynamoDBServer) -> str:
    server.start()
    table = f"record_{uuid.uuid4().hex}"
    with closing(DynamoDBStore(table, endpoint=server.endpoint)) as store:
        store.create()
    return table


@pytest.fixture
def raw(server: DynamoDBServer) -> Iterator[Any]:
    """boto3's own view of the server."""
    with closing(boto3.client("dynamodb", endpoint_url=server.endpoint)) as client:
        yield client


class TestDynamoDBStore(SharedStoreContract):
    largest = 262_144

    @pytest.fixture
    def opener(self, server: DynamoDBServer, table: str) -> Opener:
        self.server = server
        return partial(unhurried, DynamoDBStore, table, endpoint=server.endpoint)

    def break_store(self) -> None:
        self.server.crash()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(server: DynamoDBServer, table: str, clock: Clock) -> Iterator[DynamoDBStore]:
    with closing(DynamoDBStore(table, endpoint=server.endpoint, clock=clock)) as store:
        yield store


# --- what is in the server ------------------------------------------------------------------------------


def test_an_item_holds_a_digest_of_its_key_and_says_when_it_may_be_deleted(store, raw, table, clock):
    store.swap("key", None, b"value", 100.5)
    [item] = raw.scan(TableName=table)["Items"]
    assert len(item["key"]["B"]) == 32
    assert item["value"]["B"] == b"value"
    assert float(item["expires_at"]["N"]) == clock() + 100.5
    assert float(item["delete_at"]["N"]) >= clock() + 100.5 + 3600
    assert item["delete_at"]["N"].isdecimal()


def test_expiry_goes_by_the_clock_that_was_given(store, clock):
    store.swap("key", None, b"value", 100)
    clock.now += 99
    assert store.get("key") == b"value"
    clock.now += 2
    assert store.get("key") is None
    assert store.swap("key", None, b"new", 100) is True


def test_the_table_is_made_once(server, table):
    with closing(DynamoDBStore(table, endpoint=server.endpoint)) as store:
        store.create()
        assert store.swap("key", None, b"value", LONG) is True


def test_the_time_to_live_is_turned_on_where_it_is_off(server, table):
    once = Config(retries={"total_max_attempts": 1})
    with (
        closing(boto3.client("dynamodb", endpoint_url=server.endpoint, config=once)) as client,
        Stubber(client) as stub,
    ):
        described = {"Table": {"TableStatus": "ACTIVE"}}
        for state in ("DISABLED", "ENABLED"):
            stub.add_client_error("create_table", "ResourceInUseException")
            stub.add_response("describe_table", described, {"TableName": table})
            stub.add_response("describe_time_to_live", {"TimeToLiveDescription": {"TimeToLiveStatus": state}})
            if state == "DISABLED":
                told = {"Enabled": True, "AttributeName": "delete_at"}
                asked = {"TableName": table, "TimeToLiveSpecification": told}
                stub.add_response("update_time_to_live", {"TimeToLiveSpecification": told}, asked)
            DynamoDBStore(table, client=client).create()
        stub.assert_no_pending_responses()


# --- what a network adds --------------------------------------------------------------------------------


def test_a_write_whose_answer_is_lost_is_not_sent_again(server, table, raw):
    with Relay(server.port, b"PutItem", cuts=1, answered=True) as relay:
        endpoint = f"http://127.0.0.1:{relay.port}"
        with closing(DynamoDBStore(table, endpoint=endpoint)) as store, pytest.raises(StoreUnavailable):
            store.swap("key", None, b"value", LONG)
        assert relay.seen == 1
    assert len(raw.scan(TableName=table)["Items"]) == 1


def test_a_reading_that_a_firewall_cut_off_is_asked_again(server, table):
    with ExitStack() as stack:
        relay = stack.enter_context(Relay(server.port))
        store = stack.enter_context(closing(DynamoDBStore(table, endpoint=f"http://127.0.0.1:{relay.port}")))
        store.swap("key", None, b"value", LONG)
        relay.forget()
        assert store.get("key") == b"value"
        relay.forget()
        assert store.swap("key", b"value", b"new", LONG) is True


def test_a_connection_that_the_server_closed_is_no_trouble(server, table):
    with closing(DynamoDBStore(table, endpoint=server.endpoint)) as store:
        store.swap("key", None, b"value", LONG)
        server.crash()
        server.start()
        assert store.get("key") == b"value"
        assert store.swap("key", b"value", b"new", LONG) is True


def test_no_table_is_trouble(server):
    server.start()
    with closing(DynamoDBStore("nowhere", endpoint=server.endpoint)) as store, pytest.raises(StoreUnavailable):
        store.get("key")


def test_a_value_that_is_too_large_is_refused_and_nothing_is_written(store):
    store.swap("key", None, b"value", LONG)
    with pytest.raises(StoreUnavailable):
        store.swap("key", b"value", b"x" * 500_000, LONG)
    assert store.get("key") == b"value"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(store):
    store.swap("key", None, b"value", LONG)
    before = store._client()
    child = os.fork()
    if child == 0:
        found, mine = store.get("key"), store._client()
        os._exit(0 if found == b"value" and mine is not before else 1)
    for _ in range(20):
        assert store.get("key") == b"value"
    assert os.waitpid(child, 0)[1] == 0
    assert store._client() is before


# --- settings -------------------------------------------------------------------------------------------


def test_a_url_names_the_table_the_region_and_the_endpoint(server, table):
    url = f"dynamodb://{table}?region=eu-central-1&endpoint={server.endpoint}"
    with closing(store_from_url(url, asynchronous=True, fingerprint="f")) as store:
        assert isinstance(store, DynamoDBStore)
        assert store.table == table
    assert store_from_url("dynamodb://", asynchronous=False, fingerprint="f").table == TABLE


@pytest.mark.parametrize(
    "url", ["dynamodb://a/b", "dynamodb://a?regoin=x", "dynamodb://key:secret@a", "dynamodb://a?endpoint=nonsense"]
)
def test_a_wrong_url_says_so_and_keeps_its_secrets(url):
    with pytest.raises(ConfigurationError) as refused:
        store_from_url(url, asynchronous=False, fingerprint="f")
    assert refused.value.field == "store"
    assert "secret" not in str(refused.value)


def test_without_a_region_it_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="region"):
        DynamoDBStore()


def test_a_client_that_sends_again_is_refused(server, table):
    twice = boto3.client("dynamodb", endpoint_url=server.endpoint)
    with closing(twice) as client, pytest.raises(ConfigurationError, match="sends again"):
        DynamoDBStore(table, client=client)
    once = Config(retries={"total_max_attempts": 1})
    with closing(boto3.client("dynamodb", endpoint_url=server.endpoint, config=once)) as client:
        store = DynamoDBStore(table, client=client)
        assert store.swap("key", None, b"value", LONG) is True
        store.close()
        assert store.get("key") == b"value"  # a client that was given stays open
