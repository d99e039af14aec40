"""Variables on their way to `docker run`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fleet.providers.hosts import envfile
from profiles.errors import WrongInput


@given(some.dictionaries(some.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), some.text(max_size=40)))
def test_every_variable_reaches_docker_by_the_file_or_by_its_environment(variables):
    try:
        lines, exports, names = envfile.parts(variables)
    except WrongInput:
        assert any("\0" in value or envfile.ITS_OWN.fullmatch(name) for name, value in variables.items())
        return
    rows = lines.decode("utf-8", "surrogatepass").split("\n")[:-1]
    found = dict(row.split("=", 1) for row in rows)
    assert found == {name: value for name, value in variables.items() if name not in names}
    assert set(names) <= set(variables) and len(exports) >= 8 * len(names)


@pytest.mark.parametrize("bad", [{"A B": "x"}, {"": "x"}, {"A": "\0"}, {"LD_PRELOAD": "a\nb"}])
def test_what_no_process_can_have_is_refused(bad: dict[str, str]):
    with pytest.raises(WrongInput):
        envfile.parts(bad)
