"""`earmark price`: a model's price and a call's cost."""

from support.shell import Shell

CLAUDE = "claude-sonnet-4-20250514"


def test_the_cost_of_a_call_is_exact(shell: Shell) -> None:
    """163 input and 3,025 output tokens on Claude Sonnet 4 cost exactly 0.045864 USD."""
    found = shell.json("price", CLAUDE, "--input-tokens", "163", "--output-tokens", "3025")
    assert found["name"] == f"anthropic/{CLAUDE}"
    assert found["call"]["cost"] == "0.045864"
    assert found["tariffs"]["standard"]["input_tokens"] == "3"
    said = shell.ok("price", CLAUDE, "--input-tokens", "163", "--output-tokens", "3025").out
    assert "163 input_tokens, 3,025 output_tokens: 0.045864 USD" in said


def test_without_counts_there_is_only_the_price(shell: Shell) -> None:
    """A price needs no call, and a call of nothing is not made up."""
    assert shell.json("price", CLAUDE)["call"] is None
    assert "USD" not in shell.ok("price", CLAUDE).out


def test_a_price_of_ones_own_comes_first(shell: Shell) -> None:
    """`[prices]` of earmark.toml price what no list knows."""
    shell.configure('[prices."local/mine"]\ninput_mtok = "0.10"\noutput_mtok = "0.40"\n')
    found = shell.json("price", "local/mine", "--output-tokens", "1000000")
    assert (found["source"], found["call"]["cost"]) == ("own", "0.4")


def test_other_units_of_a_call(shell: Shell) -> None:
    """`--usage KIND=N` counts what is not plain input or output."""
    found = shell.json(
        *("price", CLAUDE, "--input-tokens", "1000", "--usage", "cache_read_tokens=1000"),
    )
    assert found["call"]["cost"] == "0.0003"


def test_a_call_of_a_tier_costs_what_that_tier_does(shell: Shell) -> None:
    """Another tier may answer it, so that the most it can be billed is another number."""
    asked = ("price", "openai/gpt-5", "--at", "2026-11-01", "--output-tokens", "1000000")
    found = shell.json(*asked, "--tier", "flex")["call"]
    assert (found["cost"], found["worst"]) == ("5", "10")


def test_a_price_as_of_a_day(shell: Shell) -> None:
    """`--at` asks for the price of another day."""
    assert shell.json("price", CLAUDE, "--at", "2026-01-31")["at"] == "2026-01-31T00:00:00Z"


def test_an_unknown_model_has_no_price(shell: Shell) -> None:
    """No price is a refusal, exit code 2: it is never 0."""
    answer = shell("price", "nosuch", "--json")
    assert answer.code == 2
    assert answer.json["error"]["code"] == "budget_exceeded"
    assert answer.json["error"]["reason"] == "unpriced"
