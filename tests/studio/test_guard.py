"""Who is let in, and who is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from dcgan.studio.guard import HEADERS

Serving = Callable[..., TestClient]
TOKEN = "correct-horse-battery"


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "localhost", "LOCALHOST:9", "[::1]:7860"])
def test_this_machines_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/model", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example:7860", "192.168.1.5:7860", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/model", "/static/app.js"])
def test_a_name_that_was_rebound_to_this_machine_is_not(client: TestClient, host: str, path: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == 421
    assert "localhost" in answer.json()["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),  # not a browser: goes on to be told that the photo is missing
        ({"Origin": "http://127.0.0.1:7860"}, 400),
        ({"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "same-origin"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:80"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_what_changes_state_must_come_from_the_page(client: TestClient, headers: dict[str, str], status: int) -> None:
    assert client.post("/api/project", headers=headers).status_code == status


def test_other_sites_cannot_make_the_studio_work(client: TestClient) -> None:
    assert client.get("/api/faces?f=1", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link to the page is fine


@pytest.mark.parametrize("path", ["/", "/api/model", "/api/faces?f=1", "/static/app.js", "/api/nothing"])
def test_every_answer_carries_the_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert all(headers[name] == value for name, value in HEADERS.items())
    assert "unsafe" not in headers["content-security-policy"]


def test_a_public_studio_wants_its_token(serving: Serving) -> None:
    client = serving(token=TOKEN)
    public = {"Host": "studio.example:7860"}
    for path in ("/api/model", "/api/faces?f=1", "/api/run", f"/api/model?token={TOKEN}"):
        answer = client.get(path, headers=public)
        assert answer.status_code == 401
        assert "token" in answer.json()["error"]
    asked = client.get("/", headers=public)
    assert asked.status_code == 401
    assert 'name="token"' in asked.text
    for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", "ä"):
        assert client.get("/", params={"token": wrong}, headers=public).status_code == 401
    assert client.get("/api/model", headers={**public, "Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/api/model", headers={**public, "Authorization": "Bearer x"}).status_code == 401
    assert client.get("/api/model", headers={**public, "Cookie": "dcgan_studio=x; ="}).status_code == 401


def test_the_token_moves_from_the_address_into_a_cookie(serving: Serving) -> None:
    client = serving(token=TOKEN)
    answer = client.get(f"/?token={TOKEN}&a=1", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?a=1")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert client.get("/").status_code == 200
    assert client.get("/api/faces?f=1").status_code == 200
    assert client.post("/api/project", headers={"Origin": "http://evil.example"}).status_code == 403
