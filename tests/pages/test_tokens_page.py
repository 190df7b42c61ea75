"""The page of tokens: whose they are, what they spend on, and what is left of that."""

from earmark.money import Money
from earmark.workspace.gateway_access import GatewayAccess
from support.page_house import HOSTILE, PageHouse, page_house


def make(house: PageHouse, name: str, budget: str) -> tuple[str, str]:
    """Make a token; return its id and itself."""
    access = GatewayAccess(budget=budget, models=("gpt-4o*",), most_per_request=Money("0.5"))
    service = house.app.state.service
    row, secret = service.tokens.create_for_gateway(name, access)
    return row.id, secret


def test_a_token_is_shown_with_its_budget_and_what_is_left() -> None:
    """A link to the budget's page, never a secret; a rotated and a revoked one say so."""
    with page_house("memory:") as house:
        house.workspace.ledger.set_budget("own", limits=["7 usd total"])
        house.workspace.ledger.reserve("own/agent", "2")
        _, secret = make(house, HOSTILE, "own/agent")
        turned, _ = make(house, "turned", "own/agent")
        ended, _ = make(house, "ended", "nowhere")
        tokens = house.app.state.service.tokens
        _, new = tokens.rotate(turned, "2h")
        tokens.revoke(ended)
        page = house.visitor("admin").read("/tokens")
        assert page.all("a", href="/budgets/own/agent")
        for words in (
            HOSTILE, "5 USD", "no limit in USD", "gpt-4o*, at most 0.5 USD a request",
            "the secret before opens until", "revoked",
        ):  # fmt: skip
            assert words in page.text, words
        for each in (secret, new):
            assert each[37:] not in page.text


def test_a_mode_is_shown_where_a_token_or_its_tree_observes() -> None:
    """With what follows from both; one that enforces where limits bind has no word."""
    with page_house("memory:") as house:
        ledger = house.workspace.ledger
        ledger.set_budget("own", limits=["7 usd total"], observed=True)
        made = GatewayAccess(budget="own/agent", mode="observe")
        tokens = house.app.state.service.tokens
        tokens.create_for_gateway("watcher", made, budget_at=ledger.store.budget)
        make(house, "plain", "own/agent")
        admin = house.visitor("admin")
        page = admin.read("/tokens").text
        for words in ("observe", "enforce; its tree is observed: calls are refused"):
            assert words in page, words
        assert "limits bind" not in page
        ledger.set_budget("own", observed=False)
        page = admin.read("/tokens").text
        assert "observe; its tree does not: its limits bind" in page
        assert "enforce" not in page


def test_tokens_are_shown_to_admins_alone() -> None:
    """Others neither see the page nor its place in the navigation."""
    with page_house("memory:") as house:
        make(house, "agent", "c8")
        for scope in ("read", "spend"):
            visitor = house.visitor(scope)
            assert "c8" not in visitor.read("/tokens", 403).text
            assert not visitor.read("/budgets").all("a", href="/tokens")
        assert house.visitor("admin").read("/budgets").all("a", href="/tokens")


def test_many_tokens_have_pages() -> None:
    """Each is on one of them."""
    with page_house("memory:") as house:
        for number in range(101):
            make(house, f"agent {number}.", "c8")
        admin = house.visitor("admin")
        first = admin.read("/tokens")
        second = admin.read(first.all("a", rel="next")[0]["href"])
        assert "agent 99." in first.text
        assert "agent 100." not in first.text
        assert "agent 100." in second.text
