"""The surface for other processes, and running on its own."""

import threading

import pytest
import requests

from debrid.simulator import Simulator
from debrid.simulator.admin_routes import answer
from debrid.simulator.routing import Call
from debrid.simulator.serve import serve
from debrid.simulator.site import Site


@pytest.fixture
def admin(sim):
    def admin(method, path, body=None):
        return requests.request(method, sim.admin_url + path, json=body, timeout=5)

    return admin


def test_faults_are_turned_over_http(sim, api, admin) -> None:
    assert admin("GET", "/faults").json()["api_status"] is None
    answer = admin("POST", "/faults", {"api_status": 503, "link_verdicts": {"*": "foreign"}})
    assert answer.json()["api_status"] == 503
    assert sim.faults.link_verdicts == {"*": "foreign"}
    assert api.get("/user").status_code == 503
    assert admin("DELETE", "/faults").status_code == 204
    assert api.get("/user").status_code == 200


@pytest.mark.parametrize(
    "body", [{"api_stats": 1}, {"api_status": "503"}, {"account": "rich"}, [1], {"api_outage": "refused"}]
)
def test_a_wrong_fault_is_400_and_changes_nothing(sim, admin, body) -> None:
    before = sim.faults.values()
    answer = admin("POST", "/faults", body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert sim.faults.values() == before


def test_an_outage_does_not_lock_the_operator_out(sim, api, admin) -> None:
    for outage in ("maintenance", "html", "closed"):
        assert admin("POST", "/faults", {"api_outage": outage}).status_code == 200
    with pytest.raises(requests.ConnectionError):
        api.get("/user")
    assert admin("DELETE", "/faults").status_code == 204
    assert api.get("/user").status_code == 200


def test_the_journal_over_http(sim, api, admin) -> None:
    api.get("/user")
    (entry,) = admin("GET", "/journal").json()
    assert (entry["method"], entry["path"], entry["status"], entry["ip"]) == ("GET", "/user", 200, "127.0.0.1")
    assert sim.token not in admin("GET", "/journal").text
    assert admin("DELETE", "/journal").status_code == 204
    assert sim.journal == []


def test_the_clock_over_http(sim, admin) -> None:
    before = sim.now()
    assert admin("POST", "/advance", {"seconds": 3600}).json()["now"] >= before + 3600
    assert sim.now() >= before + 3600
    assert admin("POST", "/advance", {"seconds": -1}).status_code == 400
    assert admin("POST", "/advance", {}).status_code == 400


def test_urls_are_revoked_over_http(sim, api, admin, film, fetch) -> None:
    url = api.url(film)
    assert admin("POST", "/revoke").status_code == 204
    assert fetch(url).status == 404


def test_devices_are_approved_over_http(sim, admin) -> None:
    sim.faults.oauth_approve_after = None
    query = {"client_id": "X245A4XAIBGVM"}
    code = requests.get(sim.oauth_url + "/device/code", query, timeout=5).json()["device_code"]
    assert admin("POST", "/approve").status_code == 204
    answer = requests.get(sim.oauth_url + "/device/credentials", query | {"code": code}, timeout=5)
    assert answer.status_code == 200


def test_unknown_admin_paths_are_404(admin) -> None:
    assert admin("GET", "/nothing").status_code == 404
    assert admin("PUT", "/faults").status_code == 405


def test_only_this_machine_may(sim) -> None:
    site: Site = sim._site
    call = Call("GET", "/admin/faults", {}, {}, b"", "")
    assert answer(site, call, "127.0.0.9").status == 200
    assert answer(site, call, "192.0.2.1").status == 403


def test_serving_until_stopped(tmp_path, caplog) -> None:
    (tmp_path / "Film.mkv").write_bytes(b"film")
    ready, stop, seen = threading.Event(), threading.Event(), []

    def run(simulator: Simulator) -> None:
        seen.append(simulator)
        ready.set()

    arguments = {"api_port": 0, "cdn_port": 0, "token": "T", "ready": run, "stop": stop}
    with caplog.at_level("INFO"):
        thread = threading.Thread(target=serve, args=(tmp_path,), kwargs=arguments)
        thread.start()
        assert ready.wait(10)
        url = seen[0].api_url + "/torrents"
        answer = requests.get(url, headers={"Authorization": "Bearer T"}, timeout=5)
        assert [row["filename"] for row in answer.json()] == ["Film.mkv"]
        stop.set()
        thread.join()
    assert url.startswith("http://127.0.0.1:")
    assert seen[0].api_url in caplog.text
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_an_interrupt_ends_serving(tmp_path) -> None:
    class Interrupting(threading.Event):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    serve(tmp_path, api_port=0, cdn_port=0, token="T", stop=Interrupting())


def test_ports_can_be_chosen(tmp_path) -> None:
    with Simulator() as first:
        ports = (first.api_url.split(":")[2].split("/")[0], first.cdn_urls[0].split(":")[2])
    with Simulator(api_port=int(ports[0]), cdn_port=int(ports[1])) as second:
        assert (second.api_url, second.cdn_urls) == (first.api_url, first.cdn_urls)
