"""`--stages FILE`: more stages for one command, from a `.toml`, `.json` or `.py` file.

A `.toml` has the tables `stages`, `providers` and `prices` of `earmark.toml`. A `.json` has a list
of stages in the composition format: enough to plan with. Of a `.py` every stage is taken that a
name of the module stands for.
"""

import importlib.util
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from earmark.cli.inputs import read_file, read_json
from earmark.config.assemble import stages_of
from earmark.config.load import load_settings
from earmark.config.settings import Document, Settings
from earmark.errors import InvalidConfig, InvalidFile, InvalidStage
from earmark.runs.prepare import AnyStage
from earmark.stages.library import Declared
from earmark.stages.stage import StageSpec, parse_stage

#: The tables of `earmark.toml` that a stages file may have.
TABLES: Final = ("stages", "providers", "prices")


@dataclass(frozen=True, slots=True)
class KnownStages:
    """The settings to go by, and the stages at hand."""

    settings: Settings
    stages: tuple[AnyStage, ...]


def known(settings: Settings, files: Iterable[str]) -> KnownStages:
    """Return *settings* and their stages, with what *files* have laid over them.

    Raises:
        InvalidFile, InvalidConfig, InvalidStage: A file is not what its name's ending says.
    """
    stages: list[AnyStage] = list(stages_of(settings))
    for file in files:
        match Path(file).suffix:
            case ".toml":
                more = _settings(file)
                settings = _merged(settings, more)
                stages += stages_of(more)
            case ".json":
                stages += _declared(file)
            case ".py":
                stages += _of_module(file)
            case ending:
                detail = f"'{ending}' is no kind of stages file: give a .toml, .json or .py"
                raise InvalidFile(path=file, detail=detail)
    return KnownStages(settings, tuple(stages))


def _settings(file: str) -> Settings:
    read_file(file)  # for its plainer words about what cannot be read
    found = load_settings(Path(file), {})
    usual = Document()
    for name in sorted(set(Document.model_fields) - set(TABLES)):
        if getattr(found, name) != getattr(usual, name):
            detail = f"a stages file has the tables {', '.join(TABLES)}: the rest is earmark.toml's"
            raise InvalidConfig(place=f"{name} in {file}", detail=detail)
    return found


def _merged(settings: Settings, more: Settings) -> Settings:
    tables = {name: {**getattr(settings, name), **getattr(more, name)} for name in TABLES}
    return settings.model_copy(update=tables)


def _declared(file: str) -> list[AnyStage]:
    found = read_json(file)
    if not isinstance(found, list):
        raise InvalidFile(path=file, detail="give a list of stages")
    listed = cast("list[Any]", found)
    return [Declared(_parsed(file, i, each)) for i, each in enumerate(listed)]


def _parsed(file: str, index: int, raw: Any) -> StageSpec:  # noqa: ANN401 - not checked yet
    try:
        return parse_stage(raw)
    except InvalidStage as error:
        raise InvalidStage(place=f"{file}/{index}{error.place}", detail=error.detail) from None


def _of_module(file: str) -> list[AnyStage]:
    read_file(file)
    module = _imported(file)
    found = [each for each in vars(module).values() if _is_stage(each)]
    if not found:
        detail = "no name in it stands for a stage: write @stage over a function"
        raise InvalidFile(path=file, detail=detail)
    return list({id(each): each for each in found}.values())


def _is_stage(value: object) -> bool:
    spec = getattr(value, "spec", None)
    return isinstance(spec, StageSpec) and not isinstance(value, type)


def _imported(file: str) -> ModuleType:
    path = Path(file).absolute()
    # A name of its own: a `json.py` must not take the place of the module everybody uses.
    spec = importlib.util.spec_from_file_location(f"earmark_stages_{path.stem}", path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    # As with `python FILE`: the modules beside it can be imported, and it can be found itself.
    sys.path.insert(0, str(path.parent))
    sys.modules[spec.name] = module
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        detail = f"importing it raised {type(error).__name__}: {error}"
        raise InvalidFile(path=file, detail=detail) from error
    return module
