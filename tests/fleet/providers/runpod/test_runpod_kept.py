"""What piles up at RunPod unless somebody looks first: templates, logins, secrets. One of each, whatever happens."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

import pytest

from fleet.providers.runpod.bodies import registry_name
from fleet.providers.runpod.client import RunPod
from fleet.providers.stored_secrets import stored_name
from fleet.wire.failed import KeyRefused, ProviderFailed, Throttled
from tests.fleet.providers.runpod.account import KEY, Fault
from tests.fleet.providers.runpod.conftest import PASSWORD, TOKEN, Hours

TEMPLATES = ("POST", "/v2/templates")
REGISTRIES = ("POST", "/v2/registries")
SECRETS = ("POST", "/v2/secrets")


@pytest.fixture
def another(account, tmp_path):
    return lambda: RunPod(KEY, tmp_path / "other", Hours(), {"STOKER_RUNPOD_URL": account.url})


def test_a_template_is_made_once_and_found_again(client, another, account, container):
    first = client.ensure_template(container())
    assert another().ensure_template(container()) == first
    assert len(account.asked(*TEMPLATES)) == 1
    assert first.name.startswith("stoker-nano-gpt-") and first.key == first.id


def test_runs_share_the_template_of_their_plan(client, container):
    mine = container(env={"OMP_NUM_THREADS": "8", "STOKER_RUN": "a", "TRAINING_HOURS": "3", "PUBLIC_KEY": "ssh-x A"})
    other = container(env={"OMP_NUM_THREADS": "8", "STOKER_RUN": "b"}, secrets={"HF_TOKEN": "another"})
    assert client.ensure_template(mine) == client.ensure_template(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"disk_gb": 70},
        {"command": ("run",)},
        {"env": {"OMP_NUM_THREADS": "9"}},
        {"volume_gb": 20},
        {"image": "r/b@sha256:1"},
    ],
)
def test_another_plan_is_another_template_and_leaves_the_first_as_it_is(client, account, container, changed):
    first = client.ensure_template(container())
    before = dict(account.rows["templates"][first.id])
    second = client.ensure_template(container(**changed))
    assert second.id != first.id and second.name != first.name
    assert account.rows["templates"][first.id] == before


def test_a_template_that_was_edited_is_set_right_under_its_name(client, account, container):
    first = client.ensure_template(container())
    row = account.rows["templates"][first.id]
    right = dict(row)
    row |= {"image": "somebody/else:latest", "env": {"SURPRISE": "1"}, "disk": 5}
    assert client.ensure_template(container()) == first
    assert account.rows["templates"][first.id] == right


def test_a_template_that_does_not_become_right_is_an_error(client, account, container):
    first = client.ensure_template(container())
    wrong = dict(account.rows["templates"][first.id], mounts={"persistent": {"size": 10, "path": "/w"}})
    account.rows["templates"][first.id] = wrong
    account.faults = [Fault("PATCH", f"/v2/templates/{first.id}", 200, wrong)]
    with pytest.raises(ProviderFailed, match="was edited"):
        client.ensure_template(container())


def test_no_token_and_no_run_stands_in_a_template(client, account, container, login):
    client.ensure_template(container(login=login))
    (row,) = account.rows["templates"].values()
    assert row["env"] == {"OMP_NUM_THREADS": "8"}
    assert not any(hidden in str(row) for hidden in (TOKEN, PASSWORD, "s3://bucket/run"))
    assert row["registry"] == next(iter(account.rows["registries"]))


@pytest.mark.parametrize("status", [0, 500, 503])
@pytest.mark.parametrize("lag", [0, 1])
def test_a_template_whose_answer_is_lost_is_looked_for_and_not_made_again(client, account, container, status, lag):
    account.faults = [Fault(*TEMPLATES, status, before=False)]
    account.invisible = lag
    made = client.ensure_template(container(secrets={}))
    assert list(account.rows["templates"]) == [made.id]
    assert len(account.asked(*TEMPLATES)) == 1


def test_a_template_that_was_surely_not_made_is_an_error_and_made_the_next_time(client, account, container):
    account.faults = [Fault(*TEMPLATES, 503)]
    with pytest.raises(ProviderFailed, match="503"):
        client.ensure_template(container())
    client.ensure_template(container())
    assert len(account.rows["templates"]) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(401, KeyRefused), (403, KeyRefused), (429, Throttled), (422, ProviderFailed)]
)
def test_a_template_that_is_refused_is_not_looked_for(client, account, container, status, error):
    account.faults = [Fault(*TEMPLATES, status)]
    with pytest.raises(error):
        client.ensure_template(container())
    assert len(account.asked(*TEMPLATES)) == 1


def test_a_name_that_was_taken_meanwhile_is_the_other_ones_template(client, another, account, container):
    other = another().ensure_template(container(secrets={}))
    account.invisible = 1  # our first look does not show it yet
    account.faults = [Fault(*TEMPLATES, 400, detail="name is taken (wording invented)")]
    assert client.ensure_template(container(secrets={})) == other
    assert list(account.rows["templates"]) == [other.id]


def test_two_that_make_the_same_template_together_keep_one(another, account, container):
    together, found = threading.Barrier(4), []
    clients = [another() for _ in range(4)]

    def ensure(client: RunPod) -> None:
        together.wait(20)
        found.append(client.ensure_template(container(secrets={})))

    threads = [threading.Thread(target=ensure, args=(each,)) for each in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4
    assert list(account.rows["templates"]) == [min(each.id for each in found)]


def test_of_two_with_one_name_everybody_takes_the_same(client, another, account, container):
    first = client.ensure_template(container())
    account.rows["templates"]["aa"] = {**account.rows["templates"][first.id], "id": "aa"}
    assert client.ensure_template(container()).id == another().ensure_template(container()).id == "aa"


def test_who_made_the_second_of_a_name_deletes_it_again(client, account, container):
    kept = client.ensure_template(container(secrets={}))
    account.rows["templates"]["aa"] = {**account.rows["templates"].pop(kept.id), "id": "aa"}
    account.invisible = 1
    assert client.ensure_template(container(secrets={})).id == "aa"
    assert len(account.asked(*TEMPLATES)) == 2
    assert list(account.rows["templates"]) == ["aa"]


def test_a_login_is_made_once_for_each_user_and_password(client, another, account, login):
    first = client.ensure_registry(login)
    assert another().ensure_registry(login) == first
    changed = type(login)(login.registry, login.user, "a new password")
    assert client.ensure_registry(changed).name != first.name
    assert len(account.asked(*REGISTRIES)) == 2
    assert [each.name for each in client.registries()] == [
        row["name"] for row in reversed(account.rows["registries"].values())
    ]
    assert first.name.startswith("stoker-registry.example-") and len(first.name.rsplit("-", 1)[1]) == 8


def test_a_logins_name_tells_nobody_without_the_api_key_whether_a_password_is_right(login):
    names = {
        registry_name(login, "key"),
        registry_name(login, "another key"),
        registry_name(replace(login, user=login.user + login.password[:1], password=login.password[1:]), "key"),
        f"stoker-{login.registry}-{hashlib.sha256(f'{login.user}{login.password}'.encode()).hexdigest()[:8]}",
    }
    assert len(names) == 4
    assert registry_name(login, "") == f"stoker-{login.registry}-(hash by the API key)"


def test_a_login_whose_answer_is_lost_is_not_made_again(client, account, login):
    account.faults = [Fault(*REGISTRIES, 0, before=False)]
    made = client.ensure_registry(login)
    assert list(account.rows["registries"]) == [made.id]


def test_a_refused_login_is_told_without_its_password(client, account, login):
    account.faults = [Fault(*REGISTRIES, 422, detail=f"password {PASSWORD} is too short")]
    with pytest.raises(ProviderFailed) as refused:
        client.ensure_registry(login)
    assert PASSWORD[:8] not in refused.value.what


def test_tokens_go_out_as_references_into_the_secret_store(client, account, order):
    client.launch(order())
    name = stored_name("HF_TOKEN", TOKEN)
    (sent,) = account.asked("POST", "/v2/pods")
    assert sent.body["env"]["HF_TOKEN"] == "{{ RUNPOD_SECRET_" + name + " }}"
    (kept,) = account.rows["secrets"].values()
    assert (kept["name"], kept["kept"]["value"]) == (name, TOKEN)
    assert "secrets" not in client.lacks


def test_a_secret_is_made_once_and_another_value_is_another_secret(client, another, account, container):
    client.ensure_template(container())
    looks = len(account.asked("GET", "/v2/secrets"))
    client.ensure_template(container())
    assert len(account.asked("GET", "/v2/secrets")) == looks  # what one client made it need not look for again
    another().ensure_template(container())
    assert len(account.asked(*SECRETS)) == 1
    client.ensure_template(container(secrets={"HF_TOKEN": "another token"}))
    assert len({each.body["name"] for each in account.asked(*SECRETS)}) == 2
    assert not account.asked("PATCH", "/v2/secrets")


def test_without_a_secret_store_a_token_goes_into_the_create_and_it_is_said(client, account, order, container):
    account.secret_store = False
    template = client.ensure_template(container())
    client.launch(order(template))
    assert account.asked("POST", "/v2/pods")[0].body["env"]["HF_TOKEN"] == TOKEN
    assert "everybody with a key of this account" in client.lacks["secrets"]
    assert TOKEN not in str(account.rows["templates"])


def test_a_store_with_a_bad_minute_does_not_put_a_token_into_the_open(client, account, container):
    account.faults = [Fault("GET", "/v2/secrets", 503, times=4)]
    with pytest.raises(ProviderFailed):
        client.ensure_template(container())
    assert TOKEN not in str([each.body for each in account.sent])


def test_a_variable_that_no_secret_can_be_named_after_goes_out_as_it_is(client, account, order):
    client.launch(order(secrets={"odd.name": "value-of-it"}))
    assert account.asked("POST", "/v2/pods")[0].body["env"]["odd.name"] == "value-of-it"
    assert account.asked(*SECRETS) == []
