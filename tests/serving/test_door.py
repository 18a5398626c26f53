"""Keys, hosts, bodies, and what is written down: decisions, counts, mistakes without words."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from mulmed.errors import MulmedError
from mulmed.recipe import Serving, load_serving
from mulmed.safety import Policy, audit
from mulmed.serving.app import create_app
from mulmed.serving.keys import Keys, new_key
from mulmed.serving.model import Model
from mulmed.serving.records import Records
from mulmed.serving.service import Service
from tests.conftest import TEXTS
from tests.serving.conftest import Served

pytestmark = pytest.mark.usefixtures("single_thread")
COUGH, REST = TEXTS[0][2]


def client(service: Service, **more: Any) -> TestClient:
    return TestClient(create_app(service, **more), base_url="http://127.0.0.1")


@pytest.fixture
def service(model: Model, llamacpp: Any) -> Service:
    return Service(model, llamacpp, Serving())


def test_keys_are_kept_as_hashes_and_open_until_their_line_goes(tmp_path: Path, service: Service) -> None:
    path = tmp_path / "state" / "keys.txt"
    key = new_key(path, "clinic")
    other = new_key(path, "ward-2")
    assert path.stat().st_mode & 0o777 == 0o600
    lines = path.read_text().splitlines()
    assert lines[0] == f"clinic {hashlib.sha256(key.encode()).hexdigest()}"
    assert key not in path.read_text()
    with pytest.raises(MulmedError, match="There is a key called 'clinic'"):
        new_key(path, "clinic")
    with pytest.raises(MulmedError, match="no name of a key"):
        new_key(path, "a b")
    with client(service, keys=Keys(path)) as web:
        bearer = {"Authorization": f"Bearer {key}"}
        for wrong in (
            {},
            {"Authorization": "Bearer x"},
            {"Authorization": f"Basic {key}"},
            {"Authorization": "Bearer "},
        ):
            got = web.get("/v1/models", headers=wrong)
            assert got.status_code == 401
            assert got.json()["error"]["code"] == "invalid_api_key"
            # Nobody reads the body of a stranger.
            assert web.post("/v1/tasks/answer", content=b"{", headers=wrong).status_code == 401
            assert web.get("/metrics", headers=wrong).status_code == 401
        assert web.get("/health").status_code == 200
        assert web.get("/v1/models", headers=bearer).status_code == 200
        path.write_text(lines[1] + "\n")
        assert web.get("/v1/models", headers=bearer).status_code == 401
        assert web.get("/v1/models", headers={"Authorization": f"Bearer {other}"}).status_code == 200
        path.write_text("broken\n")
        assert web.get("/v1/models", headers={"Authorization": f"Bearer {other}"}).status_code == 401
    with pytest.raises(MulmedError, match="This is no key"):
        Keys(path)


def test_bodies_are_measured_before_they_are_read(service: Service) -> None:
    with client(service) as web:
        got = web.post("/v1/tasks/answer", content=b" " * ((1 << 20) + 1))
        assert (got.status_code, got.json()["error"]["code"]) == (413, "body_too_large")
        got = web.post("/v1/tasks/answer", content=iter([b"{}"]))
        assert (got.status_code, got.json()["error"]["code"]) == (413, "body_too_large")


def test_other_sites_and_hosts_are_refused(service: Service) -> None:
    with client(service) as web:
        got = web.post("/v1/tasks/answer", json={"question": "x"}, headers={"Origin": "https://example.org"})
        assert (got.status_code, got.json()["error"]["code"]) == (403, "cross_site")
        got = web.get("/v1/models", headers={"Host": "example.org"})
        assert (got.status_code, got.json()["error"]["code"]) == (421, "unknown_host")
        preflight = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
        got = web.options("/v1/tasks/answer", headers=preflight)
        assert got.status_code >= 400
        assert not [name for name in got.headers if name.startswith("access-control")]


def test_decisions_are_recorded_without_words(tmp_path: Path, model: Model, llamacpp: Any) -> None:
    path, key_file = tmp_path / "decisions.jsonl", tmp_path / "key"
    service = Service(model, llamacpp, Serving(), Records(path, key_file, None))
    said = "I am John Smith and I have crushing chest pain."
    with client(service) as web:
        body = {"question": said, "user": "patient-7", "max_tokens": 3}
        assert web.post("/v1/tasks/answer", json=body).json()["masked"] == {"name": 1}
        answered = web.post("/v1/tasks/answer", json={"question": COUGH}).json()
        web.post("/v1/tasks/answer", json={"question": "I cannot breathe. " * 400})
        web.post("/v1/tasks/answer", json={"question": ""})  # nothing is decided about that
    service._records.close()  # type: ignore[union-attr]
    key = audit.load_key(key_file)
    assert audit.verify(path, key).lines == 3
    first, second, third = (orjson.loads(line)["body"] for line in path.read_text().splitlines())
    assert first["flags"] == {"heart": "clear"}
    assert first["counts"]["masked_name"] == 1
    assert first["user"] == audit.keyed_hash(key, "patient-7")
    assert first["question"] == audit.keyed_hash(key, said)
    assert first["settings"]["max_new_tokens"] == 3
    assert (second["request"], second["model"]) == (answered["id"], model.content)
    assert second["template"] == model.renderer.template.sha256
    assert second["answer"] == audit.keyed_hash(key, REST)
    assert (second["settings"]["outcome"], third["settings"]["outcome"]) == ("ok", "refused")
    assert third["flags"] == {"breathing": "clear"}
    for word in ("John", "Smith", "chest", "cough", "fluids", "patient-7"):
        assert word not in path.read_text()
    assert audit.forget(path, key, audit.keyed_hash(key, "patient-7")) == 1
    assert Records(path, key_file, 30.0).failed is False  # it verifies
    path.write_text(path.read_text().replace('"ok"', '"no"'))
    with pytest.raises(MulmedError, match="was changed"):
        Records(path, key_file, None)


def test_old_decisions_are_deleted_when_the_service_begins(tmp_path: Path) -> None:
    path, key_file = tmp_path / "decisions.jsonl", tmp_path / "key"
    key = audit.load_key(key_file)
    audit.append(path, key, audit.AuditRecord("old", "m", "t"), at=1000.0)
    audit.append(path, key, audit.AuditRecord("new", "m", "t"))
    Records(path, key_file, 30.0).close()
    found = audit.verify(path, key)
    assert (found.lines, found.deleted) == (3, 1)
    assert '"old"' not in path.read_text()


def test_nobody_is_answered_when_decisions_cannot_be_recorded(
    tmp_path: Path, model: Model, llamacpp: Any, capsys: Any
) -> None:
    path = tmp_path / "decisions.jsonl"
    records = Records(path, tmp_path / "key", None)
    path.mkdir()
    service = Service(model, llamacpp, Serving(), records)
    with client(service) as web:
        web.post("/v1/tasks/answer", json={"question": COUGH})
        records.close()
        assert web.get("/ready").status_code == 503
        got = web.post("/v1/tasks/answer", json={"question": COUGH})
        assert (got.status_code, got.json()["error"]["code"]) == (503, "records_failed")
    assert "cannot be written" in capsys.readouterr().err


def test_metrics_count_kinds_and_times(served: Served) -> None:
    tokens = 0
    for said in ("I am John Smith, I have crushing chest pain.", "大家都说包治百病，我胸口剧痛"):
        got = served.client.post("/v1/tasks/answer", json={"question": said, "max_tokens": 2})
        tokens += got.json()["usage"]["completion_tokens"]
    served.client.post("/v1/tasks/answer", json={"question": "x " * 3000})
    served.wait_for(3)
    got = served.client.get("/metrics")
    assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = {
        (s.name, *sorted(s.labels.values())): s.value
        for family in text_string_to_metric_families(got.text)
        for s in family.samples
    }
    assert values["mulmed_requests_total", "answer", "en", "ok", "qa"] == 1
    assert values["mulmed_requests_total", "answer", "en", "qa", "refused"] == 1
    assert values["mulmed_requests_total", "answer", "ok", "qa", "zh"] == 1
    assert values["mulmed_red_flags_total", "clear", "heart"] == 2
    assert values["mulmed_masked_total", "name"] == 1
    assert values["mulmed_tokens_total", "completion"] == tokens > 0
    assert values[("mulmed_queue_seconds_count",)] == 2
    assert values[("mulmed_running",)] == 0


def test_a_mistake_of_the_program_is_told_without_its_words(service: Service, capsys: Any) -> None:
    def extend(app: FastAPI, _: Service) -> None:
        @app.get("/broken")
        def broken() -> None:
            raise ValueError("my name is John Smith")

    with client(service, extensions=[extend]) as web:
        got = web.get("/broken")
        assert (got.status_code, got.json()["error"]["code"]) == (500, "internal_error")
    told = capsys.readouterr().err
    assert "ValueError at" in told
    assert re.search(r"test_door.py:\d+ in broken", told)
    assert "John" not in told


def test_texts_that_are_no_unicode_are_refused(service: Service) -> None:
    with client(service) as web:
        got = web.post(
            "/v1/tasks/answer",
            content=b'{"question": "\\ud800"}',
            headers={"content-type": "application/json"},
        )
        assert got.status_code == 400


def test_settings_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "serving.yaml"
    path.write_text("region: CN\nlimits: {queue: 3}\npolicy: {cure: block}\n")
    found = load_serving(path, ("limits.slots=2",))
    assert (found.region, found.limits.queue, found.limits.slots, found.policy.cure) == ("CN", 3, 2, "block")
    path.write_text("limits: {qeue: 3}\n")
    with pytest.raises(MulmedError, match=r"limits.qeue: unknown key \(did you mean 'queue'\?\)"):
        load_serving(path)
    # The recipe's defaults are the safety layer's.
    assert Policy(**Serving().policy.model_dump()) == Policy()


def test_an_operators_own_numbers_are_told(model: Model, llamacpp: Any) -> None:
    own = Serving(numbers={"emergency": "5555"})
    with client(Service(model, llamacpp, own)) as web:
        got = web.post(
            "/v1/tasks/answer", json={"question": "I have crushing chest pain", "max_tokens": 1}
        ).json()
        assert "Call 5555 now" in got["notice"]
        assert "call 5555" in got["disclaimer"]
    with pytest.raises(MulmedError, match="No emergency numbers are known"):
        Service(model, llamacpp, Serving(region="XX"))
