"""The page of a plan: one file that asks nobody, says everything, and believes no text it is given."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from fleet.capacity.report import memory_bars, scatter
from fleet.capacity.report.heat import heat_of
from fleet.capacity.report.html import html
from fleet.capacity.report.page import Bar, Cell, Choice, Limits
from fleet.capacity.report.reading import page_of
from tests.fleet.capacity.report.plan_document import GB, MACHINES, TERMS, batch_table, document, figure, memory

EMPTY = {"meta", "br", "img", "input", "link", "hr"}  # elements without an end tag
LOADING = {"src", "href", "action", "data", "poster", "srcset", "xlink:href", "formaction"}


class Tree(HTMLParser):
    """All elements with their attributes; an end tag that closes the wrong element is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice: <{tag} {names}>"
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing that is open"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    def all(self, tag: str, style: str = "") -> list[dict[str, str]]:
        """Attributes of the elements of a tag and a class."""
        return [a for name, a in self.found if name == tag and (not style or style in a.get("class", "").split())]

    @property
    def text(self) -> str:
        """What a reader sees."""
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page() -> Tree:
    """The sample's page."""
    return Tree(html(document()))


def bar_of(choice: Choice) -> Bar:
    """Its memory, which is there."""
    assert choice.memory
    return choice.memory


def changed(part: str, **values: Any) -> dict[str, Any]:
    """The sample with values replaced in one top-level part."""
    whole = document()
    return whole | {part: whole[part] | values}


def test_the_headline_says_model_machine_hours_and_dollars_with_their_ranges(page: Tree) -> None:
    assert "nanochat d24 fits on 8× H100 SXM5" in page.text
    assert "About 3.3 h (2.8–3.8 h), $63 ($54–$72)." in page.text
    assert "Each GPU needs 65.7 GB of 84.4 GB" in page.text


def test_nothing_is_fetched() -> None:
    text = html(document())
    tree = Tree(text)
    for tag, attributes in tree.found:
        for name in LOADING & attributes.keys():
            assert attributes[name].startswith("#"), f"<{tag} {name}={attributes[name]}>"
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", text)
    addresses = re.findall(r"https?://[^\s<\"&]+", text)
    assert set(addresses) == {"https://example.org/rows"}, "only a source that is said, as text"


def test_the_pages_own_policy_forbids_what_is_not_in_it() -> None:
    text = html(document())
    (policy,) = [a["content"] for a in Tree(text).all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script
    assert f"'sha256-{b64encode(sha256(script[1].encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'")


def test_every_choice_and_every_term_appears_with_its_source(page: Tree) -> None:
    assert len(page.all("tr")) >= len(MACHINES)
    for choice in page_of(document()).choices:
        assert choice.label in page.text
    for name, _, source, knob in TERMS:
        assert name in page.text
        assert source in page.text
        assert not knob or knob in page.text


def test_every_number_leads_to_its_source(page: Tree) -> None:
    targets = {a["id"] for a in page.all("li") if "id" in a}
    notes = [a for a in page.all("a") if a["href"].startswith("#source-")]
    assert notes and all(a["href"][1:] in targets and a["title"] for a in notes)
    sources = [a["title"] for a in page.all("span", "amount")]
    assert sources and all(sources), "hours and dollars have their source as a title"


def test_bars_are_as_long_as_the_bytes_they_stand_for(page: Tree) -> None:
    top = memory_bars.scale_of(page_of(document()).bars).top
    drawn = page.all("rect", "segment")
    assert len(drawn) == len(MACHINES) * len(TERMS)
    whole = 0
    for rect in drawn:
        width, start, size = float(rect["width"][:-1]), float(rect["x"][:-1]), float(rect["data-bytes"])
        if start + width < 99.99:
            assert width == pytest.approx(100 * size / top, abs=0.002)
            whole += 1
    assert whole > 100, "few bars are cut off"


def test_the_capacity_line_stands_at_the_capacity(page: Tree) -> None:
    top = memory_bars.scale_of(page_of(document()).bars).top
    at = [float(a["x1"][:-1]) for a in page.all("line", "capacity")]
    wanted = sorted(100 * row[4] * GB / top for row in MACHINES)
    assert sorted(at) == pytest.approx(wanted, abs=0.002)


def test_a_need_far_beyond_every_card_is_cut_off_with_a_torn_end_and_its_number(page: Tree) -> None:
    assert len(page.all("path", "torn")) == 1
    assert "256 of 24.9 GB" in page.text


def test_a_term_has_one_colour_in_all_bars(page: Tree) -> None:
    styles = [a["class"] for a in page.all("rect", "segment")]
    for index in range(len(TERMS)):
        assert len(set(styles[index :: len(TERMS)])) == 1
    assert len(set(styles)) == len(TERMS)


def test_bars_stack_their_terms_in_one_order_whatever_is_largest() -> None:
    whole = document()
    for row in whole["choices"]:
        row["memory"]["terms"].sort(key=lambda term: term["bytes"] * (-1) ** row["gpus"])
    orders = {tuple(term.name for term in memory_bars.segments(bar)) for bar in map(bar_of, page_of(whole).bars)}
    assert len(orders) == 1
    assert orders.pop()[:2] == ("weights", "master weights")


def test_every_chart_is_an_image_with_words(page: Tree) -> None:
    for chart in page.all("svg"):
        hidden, inner = chart.get("aria-hidden") == "true", "overflow" in chart
        assert hidden or inner or (chart["role"] == "img" and len(chart["aria-label"]) > 30)


def test_verdicts_are_words_not_only_colours(page: Tree) -> None:
    assert page.text.count("does not fit") >= 2
    assert page.text.count("may not fit") >= 2


def test_the_fastest_and_the_cheapest_are_named_and_the_front_is_what_nothing_beats() -> None:
    points = page_of(document()).points
    best = scatter.front(points)
    assert [choice.label for choice in (best[0], best[-1])] == ["8× B200", "4× H100 SXM5 80GB"]
    for choice in points:
        hours, dollars = (figure.value for figure in scatter.time_and_cost(choice))
        beaten = [
            other
            for other in points
            if scatter.time_and_cost(other)[0].value < hours and scatter.time_and_cost(other)[1].value < dollars
        ]
        assert (choice in best) == (not beaten)
    drawn = scatter.scatter(points, Limits(), scatter.WIDE, "words")
    assert "8× B200 (fastest)" in drawn
    assert "(cheapest)" in drawn


def test_what_costs_more_per_hour_than_allowed_is_drawn_but_never_best() -> None:
    whole = document()
    for row in whole["choices"]:
        if row["gpu"] == "b200":
            row["verdict"] = "dear"
    points = page_of(whole).points
    assert "8× B200" in [choice.label for choice in points]
    assert "B200" not in [choice.gpu for choice in scatter.front(points)]


def test_the_budget_and_the_price_per_hour_are_lines_where_they_belong() -> None:
    page = page_of(document())
    assert page.limits == Limits(dollars=90.0, dollars_per_hour=22.0)
    drawn = scatter.scatter(page.points, page.limits, scatter.WIDE, "words")
    assert "budget $90" in drawn and "at most $22/h" in drawn
    assert "budget" not in scatter.scatter(page.points, Limits(), scatter.WIDE, "words")


def test_flags_typed_as_text_are_limits_too() -> None:
    page = page_of(changed("question", dollars="", budget="$1,000", max_price="10.5"))
    assert page.limits == Limits(dollars=1000.0, dollars_per_hour=10.5)


def test_where_dollars_are_the_goal_the_page_says_what_they_buy() -> None:
    whole = document(goal={"kind": "dollars", "amount": 90})
    for row in whole["choices"]:
        row["tokens"] = figure(8.1e9, "tokens", "what the dollars pay for")
    tree = Tree(html(whole))
    assert "What it buys" in tree.text and "8.1B" in tree.text
    assert "Cost against time" not in tree.text
    whole["chosen"]["bill"]["tokens"] = figure(7.3e9, "tokens", "what the dollars pay for")
    assert "for 7.3B tokens" in Tree(html(whole)).text


def test_the_batch_table_is_a_heat_map_with_its_numbers(page: Tree) -> None:
    heat = heat_of(page_of(document()).cells)
    assert len(heat.rows) * len(heat.lengths) == len(batch_table())
    shades = [heat.shade(cell) for _, cells in heat.rows for cell in cells]
    assert min(shades) == 0 and max(shades) == 7
    assert heat.shade(Cell("a", 1, 2)) <= heat.shade(Cell("a", 1, 20)) <= heat.shade(Cell("a", 1, 200))
    assert "none" in page.text and "51,300 tokens/s per GPU, bf16" in json.dumps([a for _, a in page.found])


EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">"\'&</style></title>{{ 1234 * 4321 }}'


def evil(value: Any) -> Any:
    """Every text of a document is hostile; what selects a part of it stays."""
    if isinstance(value, dict):
        return {key: part if key in ("verdict", "unit") else evil(part) for key, part in value.items()}
    if isinstance(value, list):
        return [evil(part) for part in value]
    return EVIL + value if isinstance(value, str) else value


def test_hostile_texts_anywhere_are_only_texts() -> None:
    whole = evil(document())
    whole["question"][EVIL] = EVIL
    whole["chosen"]["speed"]["parts"][EVIL] = 0.1
    whole["chosen"]["changes"] = [{"what": EVIL, "setting": EVIL, "costs": EVIL, "saves": 1e9, "fits": True}]
    whole["notes"] = [EVIL]
    text = html(whole)
    tree, plain = Tree(text), Tree(html(document()))
    assert len(tree.all("script")) == len(plain.all("script")) == 1
    assert not tree.all("img")
    assert not [a for _, attributes in tree.found for a in attributes if a.startswith("on")]
    assert EVIL in tree.text and "5332114" not in text, "no text is a template"


def test_hostile_verdicts_and_units_are_only_texts() -> None:
    whole = document()
    whole["choices"][3]["verdict"] = whole["choices"][4]["hours"]["unit"] = whole["chosen"]["verdict"] = EVIL
    tree = Tree(html(whole))
    assert len(tree.all("script")) == 1 and not tree.all("img")


@pytest.mark.parametrize("missing", sorted(document()))
def test_a_part_that_is_missing_is_not_shown(missing: str) -> None:
    whole = document()
    del whole[missing]
    Tree(html(whole))
    Tree(html(document(**{missing: None})))


@pytest.mark.parametrize("missing", ["setup", "memory", "speed", "bill", "gpu", "verdict"])
def test_a_part_of_the_chosen_setup_may_be_missing(missing: str) -> None:
    tree = Tree(html(changed("chosen", **{missing: None})))
    assert "nanochat d24" in tree.text


def test_an_empty_document_is_a_page_that_says_that_nothing_fits() -> None:
    assert "fits none of these GPUs" in Tree(html({})).text


def test_one_choice_without_range_is_still_a_plot() -> None:
    choice = {"gpu": "l4", "gpus": 1, "verdict": "fits", "hours": 3, "dollars": 2.1, "micro_batch": 0}
    tree = Tree(html(document(choices=[choice], chosen=None, question={})))
    assert "1× L4 (fastest, cheapest)" in tree.text


def test_a_refused_plan_says_what_it_needs_and_what_would_make_it_fit() -> None:
    change = {"what": "recompute activations", "setting": "train.checkpointing=full", "costs": "33% time", "fits": True}
    refused = memory(24.9, 0.71, "refused")
    whole = changed("chosen", gpus=1, gpu="rtx4090", verdict="refused", memory=refused, speed=None, bill=None)
    whole["chosen"]["changes"] = [change | {"saves": 30e9, "flags": "--checkpointing full", "host": 250e9}]
    tree = Tree(html(whole))
    assert "nanochat d24 does not fit on 1× RTX 4090" in tree.text
    assert "Each GPU would need 46.6 GB and has 24.9 GB." in tree.text
    assert "train.checkpointing=full" in tree.text and "30.0 GB" in tree.text
    assert "--checkpointing full" in tree.text and "250 GB of each machine's RAM" in tree.text


def test_a_total_without_terms_is_a_bar_too() -> None:
    row = {"gpu": "b200", "gpus": 2, "verdict": "fits", "memory_total": 50e9, "capacity": 190e9}
    (choice,) = page_of({"choices": [row]}).bars
    assert choice.memory and choice.memory.total == 50e9
    assert len(Tree(html({"choices": [row]})).all("rect", "segment")) == 1


def test_the_chosen_machine_is_in_the_list_once_and_in_full() -> None:
    whole = document()
    for row in whole["choices"]:
        del row["memory"]
    page = page_of(whole)
    assert [choice.chosen for choice in page.choices].count(True) == 1
    assert len(page.choices) == len(MACHINES)
    chosen = next(choice for choice in page.choices if choice.chosen)
    assert isinstance(chosen, Choice) and chosen.memory and len(chosen.memory.terms) == len(TERMS)


def test_cards_are_named_briefly_but_never_alike() -> None:
    from fleet.capacity.report.values import card
    from profiles.gpus import names

    said = [card(key) for key in names()]
    assert len(set(said)) == len(said)
    assert not [name for name in said if "NVIDIA" in name]
    assert card("some-new-card") == "some-new-card"
