"""A store in Amazon DynamoDB: one table, one item a record, one conditional write a swap; boto3.

A write is sent once: where its answer is lost, nobody knows whether it was done, and `StoreUnavailable` says so. A
client that sends again by itself would be told "no" because of its own first try, and is refused. Reading may be
repeated, and is, once, because servers close idle connections. So a swap reads first: where that finds something else
than `old`, it is answered; where it does not, there is a connection now that lives. Reads are consistent.

DynamoDB has no clock that a condition could name, so expiry goes by this machine's; machines that share a table agree
on the time by NTP. What has expired is deleted by DynamoDB itself, some day, where the table's time to live is on.

boto3 is imported when the first store is made, not with this module.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from ..errors import ConfigurationError, StoreUnavailable

TABLE = "lumin_record"
"""The table's name where no other is given."""

_URL = re.compile(r"dynamodb://(?P<table>(?:[A-Za-z0-9_.-]{3,255})?)/?(?:\?(?P<query>[^#]*))?")

DELETE_AT = "delete_at"
"""The attribute by which DynamoDB deletes: whole epoch seconds, a while after nobody's clock finds the item alive."""

AFTERWARDS = 3600
"""Seconds between the end of a record and its deletion: more than any clock is wrong by."""

# Seconds. Requests wait behind these, and a lease must outlive them.
WAITS = {"connect_timeout": 1.0, "read_timeout": 2.0}

CONNECTIONS = 50
"""Connections of one process at most."""

MADE = {"Delay": 0.2, "MaxAttempts": 300}
"""How often, and how many times, it is asked whether a table is there: a minute, where it takes seconds."""

ONCE = {"total_max_attempts": 1, "mode": "standard"}
"""A client's retries: none."""

_MAKING = threading.Lock()
"""boto3 makes clients of its shared session one at a time."""

_ABSENT = "attribute_not_exists(#key) OR expires_at <= :now"
_HELD = "#value = :old AND expires_at > :now"
_VALUE = {"#value": "value"}


class DynamoDBStore:
    """Records in a table of DynamoDB; `create` makes it. `clock` gives epoch seconds.

    Region, endpoint and credentials are found as boto3 finds them, unless `region` and `endpoint` say otherwise or a
    `client` is given, which was made with `Config(retries={"total_max_attempts": 1})`. A value has at most 400 KB with
    all that belongs to it; sessions have some 2, lists some 60.

    Raises `ConfigurationError` where boto3 is missing, no region is known, or the client is one that sends again.
    """

    def __init__(
        self,
        table: str = TABLE,
        *,
        region: str | None = None,
        endpoint: str | None = None,
        client: Any = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            import boto3
            import botocore.exceptions
        except ImportError:
            raise ConfigurationError(
                "store", "DynamoDB needs boto3: pip install 'lumin-middleware[dynamodb]'"
            ) from None
        self.table = table
        self._errors = botocore.exceptions
        self._trouble = (self._errors.BotoCoreError, self._errors.ClientError)
        self._options = {"region_name": region, "endpoint_url": endpoint}
        self._new = boto3.client
        self._given = client
        self._clock = clock
        self._made: tuple[int, Any] | None = None
        _check(self._client())

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        asked = {"TableName": self.table, "Key": _key(key), "ConsistentRead": True}
        try:
            try:
                found = self._client().get_item(**asked)
            except self._errors.ConnectionClosedError:
                found = self._client().get_item(**asked)
        except self._trouble as error:
            raise _unavailable(error) from error
        item = found.get("Item")
        if item is None or float(item["expires_at"]["N"]) <= self._clock():
            return None
        value: bytes = item["value"]["B"]
        return value

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """See `Store.swap`."""
        if self.get(key) != old:
            return False
        if new is None and old is None:
            return True
        now = self._clock()
        write: dict[str, Any] = {"TableName": self.table, "ExpressionAttributeValues": {":now": _number(now)}}
        if old is None:
            write |= {"ConditionExpression": _ABSENT, "ExpressionAttributeNames": {"#key": "key"}}
        else:
            write |= {"ConditionExpression": _HELD, "ExpressionAttributeNames": _VALUE}
            write["ExpressionAttributeValues"][":old"] = {"B": old}
        try:
            if new is None:
                self._client().delete_item(Key=_key(key), **write)
            else:
                self._client().put_item(Item=_key(key) | _item(new, now + max(ttl, 0)), **write)
        except self._errors.ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                return False
            raise _unavailable(error) from error
        except self._errors.BotoCoreError as error:
            raise _unavailable(error) from error
        return True

    def create(self) -> None:
        """Makes the table, paid by request, and turns its time to live on; does nothing where that is done.

        Raises `StoreUnavailable`.
        """
        client = self._client()
        try:
            with suppress(client.exceptions.ResourceInUseException):
                client.create_table(
                    TableName=self.table,
                    BillingMode="PAY_PER_REQUEST",
                    AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "B"}],
                    KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
                )
            client.get_waiter("table_exists").wait(TableName=self.table, WaiterConfig=MADE)
            self._turn_on_time_to_live(client)
        except self._trouble as error:
            raise _unavailable(error) from error

    def _turn_on_time_to_live(self, client: Any) -> None:
        try:
            lives = client.describe_time_to_live(TableName=self.table)["TimeToLiveDescription"]["TimeToLiveStatus"]
            if lives == "DISABLED":
                told = {"Enabled": True, "AttributeName": DELETE_AT}
                client.update_time_to_live(TableName=self.table, TimeToLiveSpecification=told)
        except self._errors.ClientError as error:
            if _code(error) != "UnknownOperationException":  # of a server that is not Amazon's, and deletes nothing
                raise

    def close(self) -> None:
        """Closes the connections, unless they are those of a client that was given."""
        if self._made is not None and self._given is None:
            self._made[1].close()

    def _client(self) -> Any:
        """One a process: connections must not be shared with a fork."""
        if self._given is not None:
            return self._given
        process = os.getpid()
        if self._made is None or self._made[0] != process:
            with _MAKING:
                if self._made is None or self._made[0] != process:
                    self._made = process, self._new_client()
        return self._made[1]

    def _new_client(self) -> Any:
        from botocore.config import Config

        config = Config(retries=ONCE, max_pool_connections=CONNECTIONS, **WAITS)
        try:
            return self._new("dynamodb", config=config, **self._options)
        except (self._errors.BotoCoreError, ValueError) as error:
            raise ConfigurationError("store", f"DynamoDB cannot be used: {error}") from None


def from_url(url: str, clock: Callable[[], float]) -> DynamoDBStore:
    """The store at `dynamodb://table?region=…&endpoint=…`. Raises `ConfigurationError`."""
    found = _URL.fullmatch(url)
    options = dict(parse_qsl(found["query"] or "")) if found else {}
    if found is None or not options.keys() <= {"region", "endpoint"}:
        raise ConfigurationError("store", "is no URL of a table; write dynamodb://table?region=eu-west-1")
    return DynamoDBStore(found["table"] or TABLE, clock=clock, **options)


def _check(client: Any) -> None:
    retries = client.meta.config.retries or {}
    if retries.get("total_max_attempts") != 1:
        raise ConfigurationError(
            "store", "the client sends again by itself; make it with Config(retries={'total_max_attempts': 1})"
        )


def _key(key: str) -> dict[str, Any]:
    """A digest, since a key has at most 2,048 bytes."""
    return {"key": {"B": hashlib.sha256(key.encode()).digest()}}


def _item(value: bytes, expires_at: float) -> dict[str, Any]:
    delete_at = math.ceil(expires_at) + AFTERWARDS
    return {"value": {"B": value}, "expires_at": _number(expires_at), DELETE_AT: _number(delete_at)}


def _number(value: float) -> dict[str, str]:
    return {"N": repr(value)}


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"])


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"DynamoDB: {error}")
