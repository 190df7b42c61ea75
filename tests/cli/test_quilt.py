"""`earmark quilt`: patches from the command line."""

import json
from getpass import getuser

import pytest

from support.shell import Shell


def test_a_patch_is_put_and_got(books: Shell) -> None:
    """A patch put from JSON, from a file or from nothing but its name is read back."""
    put = books.json("quilt", "put", "control", "cloud_lu_autonomous", '{"enabled": false}')
    assert (put["version"], put["data"], put["author"]) == (1, {"enabled": False}, getuser())
    books.write("on.json", '{"enabled": true}')
    books.ok("quilt", "put", "control", "cloud_lu_autonomous", "@on.json", "--author", "AG Lu")
    found = books.json("quilt", "get", "control", "cloud_lu_autonomous")
    assert (found["version"], found["data"], found["author"]) == (2, {"enabled": True}, "AG Lu")
    said = books.ok("quilt", "get", "control", "cloud_lu_autonomous").out
    head, _, data = said.partition("\n")
    assert head.startswith("control cloud_lu_autonomous, version 2 by AG Lu, 20")
    assert json.loads(data) == {"enabled": True}


def test_a_put_from_another_version_is_refused(books: Shell) -> None:
    """`--expected` refuses with code 2 and says which version stands; nothing is changed."""
    books.ok("quilt", "put", "control", "flag", "{}", "--expected", "0")
    answer = books("quilt", "put", "control", "flag", "{}", "--expected", "0", "--json")
    assert answer.code == 2
    assert answer.json["error"]["code"] == "version_conflict"
    assert (answer.json["error"]["expected"], answer.json["error"]["stands"]) == (0, 1)
    assert "is at version 1, none was expected" in answer.err
    assert len(books.json("quilt", "history", "control", "flag")["patches"]) == 1


def test_patches_are_listed(books: Shell) -> None:
    """The list is by type and name, and can be narrowed; the history is the newest first."""
    for number, (type_, name) in enumerate([("b", "1"), ("a", "2"), ("b", "10"), ("b", "1")]):
        books.ok("quilt", "put", type_, name, json.dumps({"number": number, "long": "x" * 100}))
    rows = books.json("quilt", "list")["patches"]
    assert [(row["type"], row["name"]) for row in rows] == [("a", "2"), ("b", "1"), ("b", "10")]
    narrow = books.json("quilt", "list", "--type", "b", "--prefix", "1", "--limit", "1")
    assert [row["name"] for row in narrow["patches"]] == ["1"]
    history = books.json("quilt", "history", "b", "1")["patches"]
    assert [row["data"]["number"] for row in history] == [3, 0]
    lines = books.ok("quilt", "list").out.splitlines()
    assert lines[0].split() == ["type", "name", "version", "author", "written", "data"]
    assert lines[2].endswith("…")
    assert books.ok("quilt", "list", "--type", "c").out == "no patches\n"


BAD = {
    "no JSON": (["put", "t", "n", "{"], "cannot read 'JSON': not JSON"),
    "no object": (["put", "t", "n", "[1]"], "give a JSON object"),
    "not a number": (["put", "t", "n", '{"a": NaN}'], "NaN"),
    "no such file": (["put", "t", "n", "@missing"], "there is no such file"),
    "nothing there": (["get", "t", "n"], "no patch 't n': `earmark quilt list` shows"),
    "no history": (["history", "t", "n"], "no patch 't n'"),
    "no type": (["put", "", "n", "{}"], "printable characters"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_said_in_a_sentence(books: Shell, what: str) -> None:
    """What cannot be done is one sentence, code 1, and nothing is written."""
    arguments, said = BAD[what]
    answer = books("quilt", *arguments)
    assert answer.code == 1
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert books.json("quilt", "list")["patches"] == []


def test_no_books_are_made(shell: Shell) -> None:
    """A quilt is beside books; a mistyped place makes no new ones."""
    for arguments in (["list"], ["put", "t", "n", "{}"]):
        answer = shell("quilt", *arguments)
        assert answer.code == 1
        assert "no store" in answer.err
    assert list(shell.folder.iterdir()) == []
