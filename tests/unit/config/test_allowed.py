"""A configuration that was found sets nothing but a store of its own folder until it is allowed."""

import os
from pathlib import Path

import pytest

from earmark.config.allowed import AllowedFile, AllowedFiles
from earmark.config.load import load_settings, read_config, reload_settings
from earmark.config.summary import summary
from earmark.errors import ConfigNotAllowed, InvalidConfig

#: One of every kind of setting.
SETTINGS = {
    "code": '[stages.x]\nkind = "python"\nfunction = "evil:f"\n',
    "a program": '[stages.x]\nkind = "process"\nargv = ["evil"]\n',
    "a remote": '[stages.x]\nkind = "remote"\nurl = "https://elsewhere.example/x"\n',
    "a server": '[providers.a]\napi = "anthropic"\nbase_url = "https://elsewhere.example"\n'
    'api_key_env = "ANTHROPIC_API_KEY"\n',
    "a command": '[nudges.x]\nkind = "command"\nargv = ["evil"]\n',
    "a grader": '[heartbeat.grade]\ncommand = ["evil"]\n',
    "a hook": '[nudges.x]\nkind = "webhook"\nurl = "https://elsewhere.example"\n',
    "limits": '[budgets."acme"]\nlimits = ["1000000 usd per day"]\n',
    "prices": '[prices."openai/gpt-4o"]\ninput_mtok = "0.01"\noutput_mtok = "0.01"\n',
    "admission": '[admission]\nallow_unpriced = ["network"]\n',
    "the service": '[service]\nhost = "0.0.0.0"\n',
    "a number": "[run]\nconcurrency = 3\n",
    "a store above": '[store]\nurl = "sqlite:///../books.db"\n',
    "a store elsewhere": '[store]\nurl = "sqlite:////srv/books.db"\n',
    "a store behind a link": '[store]\nurl = "sqlite:///link/books.db"\n',
    "the folder itself": '[store]\nurl = "sqlite:///."\n',
    "a server's store": '[store]\nurl = "postgresql://elsewhere.example/books"\n',
    "no lasting store": '[store]\nurl = "memory:"\n',
    "a store and more": '[store]\nurl = "sqlite:///b.db"\n[run]\nconcurrency = 3\n',
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who allowed nothing."""
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a link out of it."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    return folder


def allow(file: Path, environ: dict[str, str]) -> None:
    """Allow what *file* holds."""
    config = read_config(file)
    record = AllowedFile(file=str(file), sha256=config.sha256, sets=summary(config.tables))
    AllowedFiles.of_user(environ).allow(record)


@pytest.mark.parametrize("text", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_found_file_sets_nothing_until_it_is_allowed(
    checkout: Path, environ: dict[str, str], text: str
) -> None:
    """Refused with its content's digest; allowed once it counts, named it always does."""
    file = checkout / "earmark.toml"
    file.write_text(text)
    with pytest.raises(ConfigNotAllowed) as refused:
        load_settings(None, environ, start=checkout)
    error = refused.value
    assert (error.file, error.changed, error.sha256) == (str(file), False, read_config(file).sha256)
    assert error.command == f"earmark config allow {file}"
    named = load_settings(file, environ)
    assert load_settings(None, environ | {"EARMARK_CONFIG": str(file)}) == named
    allow(file, environ)
    found = load_settings(None, environ, start=checkout)
    assert (found.found, found.model_copy(update={"found": False})) == (True, named)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "sqlite:///earmark.db"),
        ("# nothing\n", "sqlite:///earmark.db"),
        ('[store]\nurl = "sqlite:///books.db"\n', "sqlite:///{folder}/books.db"),
        ('[store]\nurl = "sqlite:///a/b.db"\n', "sqlite:///{folder}/a/b.db"),
    ],
)
def test_a_found_file_may_name_a_store_of_its_folder(
    checkout: Path, environ: dict[str, str], text: str, url: str
) -> None:
    """No permission is needed for books that lie in the folder the file was found in."""
    (checkout / "earmark.toml").write_text(text)
    deep = checkout / "a" / "b"
    deep.mkdir(parents=True)
    settings = load_settings(None, environ, start=deep)
    assert settings.store.url == url.format(folder=checkout)


def test_a_change_of_an_allowed_file_is_refused(checkout: Path, environ: dict[str, str]) -> None:
    """One other byte needs permission again, and what was allowed before is no help."""
    file = checkout / "earmark.toml"
    file.write_text(SETTINGS["a number"])
    allow(file, environ)
    settings = load_settings(None, environ, start=checkout)
    file.write_text(SETTINGS["a number"] + "\n")
    for read in (
        lambda: load_settings(None, environ, start=checkout),
        lambda: reload_settings(settings, environ),
    ):
        with pytest.raises(ConfigNotAllowed) as refused:
            read()
        assert refused.value.changed
    file.write_text(SETTINGS["a number"])
    assert reload_settings(settings, environ) == settings


def test_the_same_content_elsewhere_is_not_allowed(checkout: Path, environ: dict[str, str]) -> None:
    """Its paths would lead to other programs: neither a copy nor a link to it is allowed."""
    file = checkout / "earmark.toml"
    file.write_text(SETTINGS["code"])
    allow(file, environ)
    for name in ("copy", "link"):
        other = checkout.parent / name
        other.mkdir()
        there = other / "earmark.toml"
        there.symlink_to(file) if name == "link" else there.write_bytes(file.read_bytes())
        with pytest.raises(ConfigNotAllowed):
            load_settings(None, environ, start=other)
    # The same folder by another way is the same folder.
    (checkout.parent / "way").symlink_to(checkout)
    assert load_settings(None, environ, start=checkout.parent / "way").file == file


def test_a_store_of_somebody_else_needs_permission(checkout: Path, environ: dict[str, str]) -> None:
    """A file that another user owns does not even say where the books are."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    file = checkout / "earmark.toml"
    file.write_text('[store]\nurl = "sqlite:///books.db"\n')
    os.chown(file, 65_534, 65_534)
    with pytest.raises(ConfigNotAllowed):
        load_settings(None, environ, start=checkout)


def test_what_is_allowed_is_kept_for_its_user_alone(
    checkout: Path, environ: dict[str, str]
) -> None:
    """A folder of mode 0700, a file of 0600; where others may write, nothing counts as allowed."""
    file = checkout / "earmark.toml"
    file.write_text(SETTINGS["code"])
    allow(file, environ)
    folder = Path(environ["XDG_STATE_HOME"]) / "earmark" / "allowed"
    (record,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, record.stat().st_mode & 0o777) == (0o700, 0o600)
    for path, mode in ((folder, 0o770), (folder, 0o707), (record, 0o660), (record, 0o606)):
        before = path.stat().st_mode & 0o777
        path.chmod(mode)
        with pytest.raises(InvalidConfig, match="others own it or may write in it"):
            load_settings(None, environ, start=checkout)
        path.chmod(before)
    assert load_settings(None, environ, start=checkout).found
    content = record.read_bytes()
    (checkout / "record").write_bytes(content)
    record.unlink()
    record.symlink_to(checkout / "record")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        load_settings(None, environ, start=checkout)


def test_a_record_of_another_file_allows_nothing(checkout: Path, environ: dict[str, str]) -> None:
    """A record counts for the file that is written in it, whatever its own name is."""
    files = [checkout / "earmark.toml", checkout / "b" / "earmark.toml"]
    files[1].parent.mkdir()
    folder, records = Path(environ["XDG_STATE_HOME"], "earmark", "allowed"), list[Path]()
    for file in files:
        file.write_text(SETTINGS["code"])
        allow(file, environ)
        records += set(folder.iterdir()) - set(records)
    records[0].replace(records[1])
    for file in files:
        with pytest.raises(ConfigNotAllowed):
            load_settings(None, environ, start=file.parent)


def test_a_relative_state_folder_is_no_state_folder(tmp_path: Path) -> None:
    """A checkout cannot bring the user's permissions along under a relative path."""
    home = {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": "state"}
    file = tmp_path / "earmark.toml"
    file.write_text(SETTINGS["code"])
    allow(file, home)
    assert list((tmp_path / "home/.local/state/earmark/allowed").iterdir())


def test_a_summary_shows_what_runs_and_who_is_asked_first_and_no_secret() -> None:
    """Programs, then servers, then variables; passwords and options of a URL are left out."""
    tables = {
        "run": {"concurrency": 4},
        "store": {"url": "postgresql://me:secret@db.example/books?password=secret"},
        "providers": {
            "a": {"api": "openai", "base_url": "https://x.example/v1", "api_key_env": "K"}
        },
        "stages": {"s\x1b[2K": {"kind": "python", "function": "evil:f"}},
        "heartbeat": {"grade": {"command": ["evil", "\u202eoops"]}},
    }
    lines = summary(tables)
    unshown = "(user, password and options are not shown)"
    assert lines == (
        'runs: heartbeat.grade.command = ["evil", "\\u202eoops"]',
        'runs: stages."s\\u001b[2K".function = "evil:f"',
        'sends to: providers.a.base_url = "https://x.example/v1"',
        'reads the variable: providers.a.api_key_env = "K"',
        f'keeps the books in: store.url = "postgresql://db.example/books" {unshown}',
        'sets: providers.a.api = "openai"',
        "sets: run.concurrency = 4",
        'sets: stages."s\\u001b[2K".kind = "python"',
    )
    long = [summary({"stages": {"s": {"prompt": "x" * 499 + end}}}) for end in "xy"]
    assert long[0] != long[1], "a change behind what is shown is seen"
