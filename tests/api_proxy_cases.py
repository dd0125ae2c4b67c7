"""What the tests of the API proxy have in common, its rules and the two edges."""

from __future__ import annotations

ALLOWED = ("GET /user/info", "/signature_request/*", "POST /documents", "/files/*")

OURS = {
    "cache-control": "no-store",
    "vary": "Cookie",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": (
        "sandbox; default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
}
"""The headers that every answer has."""

HOSTILE = [
    "/auth/api/files/../user/secret",
    "/auth/api/files/./x",
    "/auth/api/files/..",
    "/auth/api/files/%2e%2e/x",
    "/auth/api/files/.%2E/x",
    "/auth/api/files/%2e/x",
    "/auth/api/files/..%2fx",
    "/auth/api/files/%2e%2e%2f%2e%2e%2fadmin",
    "/auth/api/files/%252e%252e/x",
    "/auth/api/files/%25%32%65/x",
    "/auth/api/files/x%2Fy",
    "/auth/api/files/x%5Cy",
    "/auth/api/files/x\\y",
    "/auth/api/files/..;/x",
    "/auth/api/files/..;a=b/x",
    "/auth/api/files/x;y=z",
    "/auth/api/files/x%3By",
    "/auth/api/files/x%00",
    "/auth/api/files/x%0d%0aHost:%20evil",
    "/auth/api/files/x%7F",
    "/auth/api/files/x%3Fy=z",
    "/auth/api/files/x%23y",
    "/auth/api/files/%c0%ae%c0%ae/x",
    "/auth/api/files/%ff",
    "/auth/api/files/%u002e/x",
    "/auth/api/files/%2",
    "/auth/api/files/%",
    "/auth/api/files//x",
    "/auth/api//files/x",
    "/auth/api//evil.example/files/x",
    "/auth/api/https://evil.example/files/x",
    "/auth/api/files/x y",
    "/auth/api/files/x\ty",
    "/auth/api/files/x\u00e9",
    "/auth/api/files/x#y",
    '/auth/api/files/x"y',
    "/auth/api/files/<x>",
    "/auth/api/files/{x}",
    "/auth/api/",
    "/auth/%61pi/files/x",
    "/auth/api%2Ffiles/x",
    "//auth/api/files/x",
    "/auth/api/files/x?a b",
    "/auth/api/files/x?a#b",
    "/auth/api/files/x?a\r\nHost: evil",
    "/auth/api/files/x?\u00e9",
]
"""Targets that could be read in two ways."""
