"""Vast.ai as it is documented: searched, rented, listed, ended (providers.md 2, 4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.fleet.simulators.vast_talking import IMAGE, Vast, simulated


@pytest.fixture
def vast() -> Iterator[Vast]:
    with simulated() as talk:
        yield talk


@pytest.fixture
def ask(vast: Vast) -> int:
    """A verified RTX 4090 with ports."""
    found = vast.offers(verified={"eq": True}, gpu_name={"eq": "RTX 4090"}, direct_port_count={"gte": 1}, limit=1)
    return int(found[0]["id"])


@pytest.mark.parametrize("name", ["RTX 4090", "RTX_4090"])
def test_offers_are_filtered_with_numbers_that_travel_as_text(vast: Vast, name: str):
    found = vast.offers(gpu_name={"eq": name}, num_gpus={"gte": "2"}, cuda_max_good={"gte": "12.4"}, type="on-demand")
    assert found
    assert all(row["gpu_name"] == "RTX 4090" and row["num_gpus"] >= 2 for row in found)


def test_the_disk_that_is_asked_for_is_in_the_price(vast: Vast):
    small, big = (vast.offers(limit=1, order=[["id", "asc"]], allocated_storage=gb)[0] for gb in (8, "500"))
    assert big["dph_base"] == small["dph_base"]
    assert big["dph_total"] == pytest.approx(big["dph_base"] + 500 * big["storage_cost"] / 720, abs=2e-6)


def test_countries_are_codes_and_drivers_are_numbers(vast: Vast):
    assert all(row["geolocation"].endswith(", US") for row in vast.offers(geolocation={"in": ["US"]}))
    dotted = vast.offers(driver_version={"gte": "570.86.15"}, order=[["id", "asc"]])
    assert dotted == vast.offers(driver_version={"gte": 570086015}, order=[["id", "asc"]])
    assert dotted


def test_the_newer_search_wraps_its_filters(vast: Vast):
    body = {"select_cols": ["*"], "q": {"num_gpus": {"eq": 1}, "limit": 3, "order": [["dph_total", "desc"]]}}
    rows = vast.ask("PUT", "/api/v0/search/asks/", body).json()["offers"]
    assert [row["num_gpus"] for row in rows] == [1, 1, 1]
    assert [row["dph_total"] for row in rows] == sorted((row["dph_total"] for row in rows), reverse=True)


@pytest.mark.parametrize(
    "body", [{"no_such": {"eq": 1}}, {"num_gpus": {"like": 1}}, {"order": [["id"]]}, {"type": "spot"}, {"num_gpus": 1}]
)
def test_a_search_that_makes_no_sense_is_400(vast: Vast, body: dict[str, object]):
    answer = vast.ask("POST", "/api/v0/bundles", body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_a_machine_comes_up_step_by_step_and_bills_gpus_only_when_it_runs(vast: Vast, ask: int):
    id = vast.rented(ask, env={"A": "1", "-p 8000:8000": "1"})
    assert vast.row(id) is None  # null with 200
    assert vast.get("/api/v1/instances/")["instances"] == []
    seen = []
    for _ in range(40):
        vast.later(3)
        row = vast.seen(id)
        seen.append(row["actual_status"])
        if row["actual_status"] != "running":
            assert row["ports"] is None
            assert row["instance"]["gpuCostPerHour"] == 0
        assert isinstance(row["start_date"], float)
        assert row["extra_env"] == [["A", "1"], ["-p 8000:8000", "1"]]
    assert list(dict.fromkeys(seen)) == [None, "created", "loading", "running"]
    row = vast.seen(id)
    assert row["public_ipaddr"] != row["public_ipaddr"].strip()
    assert set(row["ports"]) == {"22/tcp", "8000/tcp"}
    assert row["dph_total"] == pytest.approx(row["dph_base"] + 40 * row["storage_cost"] / 720, abs=2e-6)
    vast.later(3600)
    billed = Decimal(vast.truth()["rentals"][0]["billed_usd"])
    assert billed == pytest.approx(Decimal(str(row["dph_total"])), rel=Decimal("0.05"))


def test_a_rented_slice_is_gone_and_comes_back_after_its_end(vast: Vast, ask: int):
    id = vast.rented(ask)
    assert vast.offers(id={"eq": ask}) == []
    answer = vast.rent(ask)
    assert (answer.status_code, answer.json()["error"], answer.json()["ask_id"]) == (410, "no_such_ask", ask)
    assert "3907" in answer.json()["msg"]
    assert vast.ask("DELETE", f"/api/v0/instances/{id}/", {}).json()["success"] is True
    assert [row["id"] for row in vast.offers(id={"eq": ask})] == [ask]


def test_slices_of_one_machine_share_its_gpus(vast: Vast):
    whole = vast.offers(num_gpus={"eq": 8}, limit=1)[0]
    part = vast.offers(machine_id={"eq": whole["machine_id"]}, num_gpus={"eq": 1})[0]
    id = vast.rented(part["id"])
    assert vast.rent(whole["id"]).status_code == 410
    vast.ask("DELETE", f"/api/v0/instances/{id}", {})
    assert vast.rent(whole["id"]).status_code == 200


def test_a_second_destroy_is_404_and_nothing_bills(vast: Vast, ask: int):
    id = vast.rented(ask)
    vast.ask("DELETE", f"/api/v0/instances/{id}/", {})
    again = vast.ask("DELETE", f"/api/v0/instances/{id}/", {})
    assert (again.status_code, again.json()["error"]) == (404, "no_such_instance")
    vast.faults(destroy_not_found={"count": 1})
    assert vast.ask("DELETE", f"/api/v0/instances/{id}/", {}).json()["error"] == "not_found"
    assert vast.truth()["usd_per_hour"] == "0"


def test_stopped_bills_the_disk_alone_and_starts_again(vast: Vast, ask: int):
    id = vast.rented(ask)
    vast.later(200)
    assert vast.ask("PUT", f"/api/v0/instances/{id}/", {"state": "stopped"}).json() == {"success": True}
    row = vast.seen(id)
    assert (row["intended_status"], row["ports"]) == ("stopped", None)
    assert Decimal(vast.truth()["usd_per_hour"]) == pytest.approx(
        Decimal(str(row["instance"]["diskHour"])), abs=Decimal("1e-6")
    )
    vast.ask("PUT", f"/api/v0/instances/{id}/", {"state": "running"})
    vast.later(60)
    assert vast.seen(id)["actual_status"] == "running"


def test_a_list_has_pages_and_counts_its_labels(vast: Vast):
    free = [row["id"] for row in vast.offers(num_gpus={"eq": 1}, limit=30)][:7]
    ids = [vast.rented(each, label="same" if number < 5 else "other") for number, each in enumerate(free)]
    vast.later(5)
    found, token = [], ""
    while token is not None:
        page = vast.get("/api/v1/instances/", params={"limit": 3, **({"after_token": token} if token else {})})
        assert page["label_counts"] == {"same": 5, "other": 2}
        found += [row["id"] for row in page["instances"]]
        token = page["next_token"]
    assert found == ids
    tagged = vast.get(
        "/api/v1/instances/", params={"select_filters": '{"label": {"eq": "other"}}', "select_cols": '["id", "x"]'}
    )
    assert tagged["instances"] == [{"id": id, "x": None} for id in ids[5:]]


@pytest.mark.parametrize(
    "params", [{"select_filters": '{"dph_total":{"lt":1}}'}, {"order_by": '[{"col":"x"}]'}, {"after_token": "???"}]
)
def test_computed_columns_and_foreign_tokens_are_400(vast: Vast, params: dict[str, str]):
    assert vast.ask("GET", "/api/v1/instances/", params=params).status_code == 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"disk": 7}, {"price": 129}, {"price": 0}, {"env": {"A": 1}}, {"env": {"--privileged": "1"}},
        {"label": "x" * 257},
        {"runtype": "vnc"}, {"target_state": "asleep"}, {"cancel_unavail": "yes"}, {"image": None}, {"disk": 10**6},
        {"onstart": "x" * 4097}, {"template_hash_id": "0" * 32}, {"image_login": "user pass"}, {"args": "ls"},
    ],
)  # fmt: skip
def test_a_create_that_breaks_a_rule_is_400_and_makes_nothing(vast: Vast, ask: int, wrong: dict[str, object]):
    answer = vast.rent(ask, **wrong)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_args")
    assert vast.truth()["rentals"] == []


def test_fields_that_nobody_documented_are_counted(vast: Vast, ask: int):
    vast.rented(ask, gpu_count=2)
    assert vast.site.log.violations == {"create: no field gpu_count": 1}


def test_both_slashes_do_and_unknown_paths_never_answer_200(vast: Vast, ask: int):
    assert (
        vast.ask("GET", "/api/v0/users/current/").status_code
        == vast.ask("GET", "/api/v0/users/current").status_code
        == 200
    )
    assert vast.ask("PUT", f"/api/v0/asks/{ask}", {"client_id": "me", "image": IMAGE, "disk": 10}).status_code == 200
    assert vast.ask("GET", "/api/v0/instances/").status_code == 405
    assert vast.ask("GET", "/api/v0/nothing").status_code == 404
    assert vast.ask("POST", "/api/v0/asks/1/", {}).status_code == 405


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("POST", "/api/v0/bundles/", 404), ("GET", "/api/v0/charges/", 404), ("GET", "/api/v1/invoices/", 404)),
        *(("GET", "/api/v1/instances/", 401), ("GET", "/api/v0/users/current", 401), ("PUT", "/api/v0/asks/1/", 401)),
    ],
)
def test_a_wrong_key_is_401_or_404_by_endpoint(vast: Vast, method: str, path: str, status: int):
    answer = vast.ask(method, path, {}, headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["error"]) == (status, "auth_error")


def test_no_key_at_all_is_answered_in_three_ways_and_gpu_names_need_none(vast: Vast):
    bare = {"Authorization": ""}
    assert vast.ask("GET", "/api/v0/charges/", headers=bare).status_code == 403
    assert "detail" in vast.ask("GET", "/api/v0/volumes/", headers=bare).json()
    assert "RTX 4090" in vast.ask("GET", "/api/v0/gpu_names/unique/", headers=bare).json()["gpu_names"]


def test_an_instances_own_key_stops_and_ends_that_one_only(vast: Vast, ask: int):
    answer = vast.rent(ask).json()
    other = vast.rented(vast.offers(num_gpus={"eq": 1}, limit=1)[0]["id"])
    own = {"Authorization": f"Bearer {answer['instance_api_key']}"}
    path = f"/api/v0/instances/{answer['new_contract']}/"
    assert vast.ask("DELETE", f"/api/v0/instances/{other}/", {}, headers=own).status_code == 401
    assert vast.ask("GET", "/api/v1/instances/", headers=own).status_code == 401
    assert vast.ask("PUT", path, {"state": "stopped"}, headers=own).status_code == 200
    assert vast.ask("DELETE", path, {}, headers=own).status_code == 200


def test_output_is_behind_an_address_that_takes_no_key(vast: Vast, ask: int):
    id = vast.rented(ask)
    vast.later(100)
    url = vast.ask("PUT", f"/api/v0/instances/request_logs/{id}/", {"tail": "10"}).json()["result_url"]
    path = url.removeprefix(vast.url)
    assert vast.ask("GET", path).status_code == 400
    answers = [vast.session.get(url, timeout=10) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 200, 200]
    assert IMAGE in answers[-1].text


def test_secrets_and_keys_are_in_the_container_and_never_shown(vast: Vast, ask: int):
    from fleet.simulators.vast.inside import environment

    assert vast.ask("POST", "/api/v0/secrets/", {"key": "hf_token", "value": "abc.123"}).status_code == 200
    assert vast.ask("POST", "/api/v0/secrets/", {"key": "HF_TOKEN", "value": "x"}).json()["error"] == "existing_key"
    assert vast.ask("POST", "/api/v0/secrets/", {"key": "B", "value": "a b"}).json()["error"] == "invalid_characters"
    assert vast.get("/api/v0/secrets/")["secrets"] == {"HF_TOKEN": "*****"}
    vast.ask("POST", "/api/v0/ssh/", {"ssh_key": "ssh-ed25519 AAAA me"})
    id = vast.rented(ask, env={"RUN": "7", "-p 80:80": "1"})
    found = environment(vast.site.house, vast.site.world.machines[str(id)])
    assert (found["HF_TOKEN"], found["RUN"], found["CONTAINER_ID"]) == ("abc.123", "7", str(id))
    assert found["SSH_PUBLIC_KEY"] == "ssh-ed25519 AAAA me"
    assert not [name for name in found if name.startswith("-")]
    assert "abc.123" not in str(vast.site.log.shown())


def test_an_empty_account_stops_everything_and_orders_nothing():
    with simulated(credit=Decimal("0.05")) as vast:
        cheap = vast.offers(order=[["dph_total", "asc"]], limit=1)[0]["id"]
        id = vast.rented(cheap)
        vast.later(3600)
        assert vast.seen(id)["intended_status"] == "stopped"
        assert Decimal(vast.truth()["usd_per_hour"]) > 0  # the disk bills on, below zero
        assert vast.get("/api/v0/users/current")["credit"] <= 0
        assert "Insufficient" in vast.rent(vast.offers(limit=1)[0]["id"]).json()["msg"]
        vast.later(25 * 3600)
        assert vast.row(id) is None


def test_charges_are_what_the_meter_says(vast: Vast, ask: int):
    id = vast.rented(ask)
    vast.later(7200)
    now = vast.site.house.now
    found = vast.get(
        "/api/v0/charges/", params={"select_filters": f'{{"day": {{"gte": {now - 86400}, "lte": {now}}}}}'}
    )
    assert found["results"][0]["source"] == f"instance-{id}"
    assert {item["type"] for item in found["results"][0]["items"]} == {"gpu", "disk"}
    assert found["results"][0]["amount"] == pytest.approx(float(vast.truth()["rentals"][0]["billed_usd"]), abs=1e-5)
    assert vast.ask("GET", "/api/v0/charges/").status_code == 400


def test_the_minimum_intervals_hold_and_never_say_how_long():
    with simulated(limits=True) as vast:
        vast.get("/api/v1/instances/")
        early = vast.ask("GET", "/api/v1/instances/")
        assert (early.status_code, early.json()) == (
            429,
            {"detail": "API requests too frequent endpoint threshold=1.0"},
        )
        assert "Retry-After" not in early.headers
        vast.later(1)
        vast.get("/api/v1/instances/")
        for _ in range(10):
            vast.offers(limit=1)
        assert vast.ask("POST", "/api/v0/bundles/", {}).text == "API requests too frequent"
        vast.later(61)
        assert vast.offers(limit=1)
