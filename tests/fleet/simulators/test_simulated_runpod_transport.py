"""RunPod's outer shell (providers.md 1.2, 1.3): problems, keys, sizes, rates, pages, GraphQL, the retired v1."""

from __future__ import annotations

import pytest

from tests.fleet.simulators.talking import Talk, pod


def test_problems_are_the_exact_recorded_ones(runpod: Talk):
    cases = [
        ("GET", "/v2/pods/nobody", None, 404, "resource not found"),
        ("DELETE", "/v2/pods/nobody", None, 404, "resource not found"),
        ("GET", "/v2/nothing", None, 404, "resource not found"),
        ("PUT", "/v2/pods", {}, 405, "The requested method is not allowed for this path."),
        ("POST", "/v2/pods/x/action", {"action": "reset"}, 422, "Request validation failed."),
    ]
    for method, path, body, status, detail in cases:
        assert runpod.refused(method, path, body) == (status, detail)


def test_405_names_what_is_allowed(runpod: Talk):
    assert runpod.ask("PUT", "/v2/pods", {}).headers["Allow"] == "GET, POST"


def test_a_request_without_a_key_is_401_and_one_with_a_refused_key_too(runpod: Talk):
    assert Talk(runpod.url, key="").refused("GET", "/v2/pods") == (401, "missing bearer token")
    runpod.admin("keys", {"refuse": [runpod.key]})
    assert runpod.refused("GET", "/v2/pods")[0] == 401


def test_only_accepted_keys_are_let_in_when_some_are_named(runpod: Talk):
    runpod.admin("keys", {"accept": ["the-one"]})
    assert runpod.refused("GET", "/v2/pods")[0] == 401
    assert Talk(runpod.url, key="the-one").get("/v2/pods")["pods"] == []


def test_a_key_may_be_revoked_midway(runpod: Talk):
    runpod.faults(auth__revoked_midway={"after": 1, "status": 403})
    assert runpod.ask("GET", "/v2/pods").status_code == 200
    assert runpod.refused("GET", "/v2/pods") == (403, "access denied")


def test_a_body_above_102400_bytes_is_413_before_the_key_is_looked_at(runpod: Talk):
    large = pod(env={"LARGE": "x" * 102400})
    assert Talk(runpod.url, key="").refused("POST", "/v2/pods", large)[0] == 413
    assert runpod.rentals()["rentals"] == []


def test_v1_is_gone(runpod: Talk):
    assert runpod.refused("GET", "/v1/pods")[0] == 410


def test_authenticated_answers_carry_the_rate_limit_and_others_do_not(runpod: Talk):
    headers = runpod.ask("GET", "/v2/pods").headers
    assert headers["RateLimit"].startswith('"minute";r=5999;t=')
    assert headers["RateLimit-Policy"].startswith('"minute";q=6000;w=60, "hour"')
    assert "RateLimit" not in Talk(runpod.url, key="").ask("GET", "/v2/pods").headers
    runpod.faults(ratelimit_headers_off=True)
    assert "RateLimit" not in runpod.ask("GET", "/v2/pods").headers


def test_a_rate_limit_refuses_until_its_window_is_over(runpod: Talk):
    runpod.faults(rate_limit={"minute": 2})
    assert [runpod.ask("GET", "/v2/pods").status_code for _ in range(3)] == [200, 200, 429]
    answer = runpod.ask("GET", "/v2/pods")
    assert answer.json()["detail"] == "rate limit exceeded for the minute window"
    runpod.sleep(int(answer.headers["Retry-After"]))
    assert runpod.ask("GET", "/v2/pods").status_code == 200


def test_lists_come_in_pages_newest_first_and_a_foreign_cursor_is_422(runpod: Talk):
    for number in range(5):
        runpod.made("/v2/pods", pod(f"stk-{number}"))
    seen, cursor = [], ""
    while True:
        answer = runpod.get(f"/v2/pods?limit=2{cursor}")
        seen += [row["name"] for row in answer["pods"]]
        if not answer["pagination"]["hasNextPage"]:
            break
        cursor = f"&cursor={answer['pagination']['nextCursor']}"
    assert seen == [f"stk-{number}" for number in (4, 3, 2, 1, 0)]
    assert answer["pagination"]["nextCursor"] is None
    foreign = runpod.get("/v2/pods?limit=1")["pagination"]["nextCursor"]
    for bad in (f"/v2/templates?cursor={foreign}", "/v2/pods?cursor=bogus", "/v2/pods?limit=0", "/v2/pods?limit=1001"):
        assert runpod.wrong("GET", bad)


def test_a_page_neither_repeats_nor_hides_pods_when_others_come_and_go(runpod: Talk):
    ids = [runpod.made("/v2/pods", pod(f"stk-{number}"))["id"] for number in range(4)]
    first = runpod.get("/v2/pods?limit=2")
    runpod.made("/v2/pods", pod("stk-new"))
    runpod.ask("DELETE", f"/v2/pods/{ids[3]}")
    second = runpod.get(f"/v2/pods?limit=2&cursor={first['pagination']['nextCursor']}")
    assert [row["name"] for row in second["pods"]] == ["stk-1", "stk-0"]


def test_the_older_form_has_no_pages(runpod: Talk):
    runpod.faults(pagination_off=True)
    assert runpod.get("/v2/pods?cursor=bogus") == {"pods": []}


def test_graphql_knows_the_balance_and_nothing_else(runpod: Talk):
    query = {"query": "query { myself { clientBalance currentSpendPerHr spendLimit } }"}
    runpod.made("/v2/pods", pod())
    runpod.sleep(3600)
    found = runpod.ask("POST", "/graphql", query).json()["data"]["myself"]
    assert found["spendLimit"] == 80
    assert found["clientBalance"] == pytest.approx(1000 - found["currentSpendPerHr"], abs=1e-5)
    for bad in ({"query": "query { myself { email } }"}, {"query": "mutation { podStop }"}, {}, []):
        answer = runpod.ask("POST", "/graphql", bad)
        assert (answer.status_code, answer.json()["data"]) == (200, None)
        assert answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(("knob", "balance"), [("zero", 0), ("negative", -3.5), ("missing", None)])
def test_the_balance_may_be_odd(runpod: Talk, knob: str, balance: float | None):
    runpod.admin("faults", {f"balance.{knob}": True})
    answer = runpod.ask("POST", "/graphql", {"query": "{ myself { clientBalance } }"}).json()
    assert answer == {"data": {"myself": {"clientBalance": balance}}}


def test_graphql_may_be_gone(runpod: Talk):
    runpod.faults(graphql_410=True)
    assert runpod.refused("POST", "/graphql", {"query": "{ myself { clientBalance } }"})[0] == 410


def test_every_knob_of_the_checklist_exists(runpod: Talk):
    extra = (
        "uptime_zero_forever runtime_empty_object capacity_all_400 capacity_text_variant cost_missing status_misread "
        "image_pull_minutes error_state log_stream_cut ratelimit_headers_off"
    )
    assert set(extra.split()) <= set(runpod.admin("faults")["names"])


def test_requests_against_the_specification_are_counted(runpod: Talk):
    runpod.ask("POST", "/v2/pods", pod(bogus=1))
    runpod.ask("GET", "/v2/pods/by-name/x")
    violations = runpod.admin("requests")["violations"]
    assert violations["POST $: additional properties 'bogus' not allowed"] == 1
    assert len(violations) == 2


def test_no_planted_secret_is_in_any_answer_of_the_side_channel(runpod: Talk):
    runpod.made("/v2/registries", {"name": "r", "username": "u", "password": "planted-password"})
    runpod.made("/v2/secrets", {"name": "HUB", "value": "planted-value"})
    runpod.made("/v2/pods", pod(env={"HF_TOKEN": "planted-env", "STOKER_RUN": "north"}))
    told = "".join(str(runpod.admin(name)) for name in ("requests", "rentals", "faults", "stock", "credit", "invented"))
    assert "planted" not in told
    assert "north" in told
