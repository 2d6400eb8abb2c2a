"""`settings("orders", Model)`: what `[plugins.orders]` of the configuration says, checked by the plugin's own model."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, overload

from freshet.definitions.names import check_name, nearest_hint
from freshet.definitions.tables import Tables, is_reference, references
from freshet.errors import DefinitionError, SettingsError
from freshet.masking import conceal
from freshet.secrets import MissingSecret, Secrets

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

__all__ = ["given", "settings", "unasked", "use"]

Model = TypeVar("Model", bound="BaseModel")
Keys = tuple[str, ...]

_REMEDY = 'say where it is: "env:NAME", "file:PATH" or "cred:NAME"'

_tables = Tables()
_asked: set[str] = set()


def use(tables: Tables) -> Tables:
    """From now on, `settings` answers from these; returns those of before. The secrets that they name are shown by
    nothing that this process writes."""
    global _tables
    before, _tables = _tables, tables
    _asked.clear()
    Secrets(Path()).read_all(list(references(tables.values)))
    return before


def given() -> Tables:
    """Those in use."""
    return _tables


def unasked() -> list[str]:
    """The names of tables that nobody has asked for since `use`."""
    return sorted(_tables.values.keys() - _asked)


@overload
def settings(name: str, model: type[Model]) -> Model: ...


@overload
def settings(name: str, model: None = None) -> dict[str, Any]: ...


def settings(name: str, model: type[Model] | None = None) -> Model | dict[str, Any]:
    """`[plugins.NAME]` of the configuration, as it is when the plugin is loaded; without such a table, an empty one.

        class Orders(BaseModel):
            bucket: str
            token: SecretStr  # token = "env:ORDERS_TOKEN" in the configuration
            batch: int = 100

        ORDERS = settings("orders", Orders)

    Call it at the top of the plugin: what is wrong is then said by `freshet check`, and keeps an edit from coming into
    force, before anything runs by it. A key that the model does not have is an error, unless the model says `extra=`.
    What is annotated `SecretStr` or `SecretBytes` is a reference, "env:NAME", "file:PATH" (relative to `root`) or
    "cred:NAME" (systemd's LoadCredential), and is read each time that `settings` is called; nothing that Freshet writes
    shows it. Without a model: a dict, in which each text that is such a reference is a `SecretStr`.

    Dates of the configuration are texts here, which a model's `date` or `datetime` reads. Raises `SettingsError` naming
    the file, the line and the key of everything that is wrong.
    """
    check_name(name, what="settings", identifier=False)
    given: Any = model
    if given is not None and not (isinstance(given, type) and hasattr(given, "model_validate")):
        raise DefinitionError(
            f"settings({name!r}): {model!r:.80} is no pydantic model", hint="derive a class from pydantic.BaseModel"
        )
    _asked.add(name)
    reader = _Reader(name, _tables)
    return reader.plain() if model is None else reader.typed(model)


class _Reader:
    """One table, read once."""

    def __init__(self, name: str, tables: Tables) -> None:
        self._name, self._tables = name, tables
        self._table: Mapping[str, Any] = tables.values.get(name, {})
        self._secrets = Secrets(Path())
        self._problems: dict[Keys, tuple[str, str]] = {}
        self._hidden: set[Keys] = set()

    def plain(self) -> dict[str, Any]:
        """With a `SecretStr` for each reference."""
        found = {key: self._filled(value, Any, (key,)) for key, value in self._table.items()}
        self._raise()
        return found

    def typed(self, model: type[Model]) -> Model:
        """As the model has it."""
        from pydantic import ValidationError

        filled = self._filled(dict(self._table), model, ())
        made: Model | None = None
        try:
            made = model.model_validate(filled, extra=None if "extra" in model.model_config else "forbid")
        except ValidationError as error:
            for one in error.errors(include_url=False, include_context=False):
                keys = tuple(str(key) for key in one["loc"])
                if not any(keys[: len(known)] == known for known in self._problems):
                    self._problems[keys] = self._problem(one, keys, model)
        self._raise()
        assert made is not None, "else there was a problem"
        return made

    # --- secrets -------------------------------------------------------------------------------------------

    def _filled(self, value: Any, annotation: Any, keys: Keys) -> Any:
        """With what its references name."""
        if isinstance(value, str):
            return self._text(value, annotation, keys)
        if isinstance(value, Mapping):
            pairs: Mapping[str, Any] = value  # pyright: ignore[reportUnknownVariableType]  # plain data
            return {key: self._filled(one, _of_key(annotation, key), (*keys, key)) for key, one in pairs.items()}
        if isinstance(value, list):
            items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]  # plain data
            of = _of_item(annotation)
            return [self._filled(one, of, (*keys, str(number))) for number, one in enumerate(items)]
        return value

    def _text(self, value: str, annotation: Any, keys: Keys) -> Any:
        named, takes = is_reference(value), _takes_secret(annotation)
        if takes:
            self._hidden.add(keys)
        if named and (takes or annotation is Any):
            return self._read(value, keys, wrap=annotation is Any)
        if named and not value.startswith("file:"):
            self._problems[keys] = f"{value!r} names a secret, and {keys[-1]} is no SecretStr", "annotate it SecretStr"
        elif takes and not named and not self._tables.plain and str not in _members(annotation):
            self._problems[keys] = "the secret itself stands in the configuration", _REMEDY
        elif takes:
            conceal(value)
        return value

    def _read(self, reference: str, keys: Keys, *, wrap: bool) -> Any:
        try:
            found = self._secrets.read(reference).decode()
        except MissingSecret as error:
            self._problems[keys] = error.message, error.hint
            return reference
        except UnicodeDecodeError:
            self._problems[keys] = f"the secret {reference!r} is no UTF-8", "write it as text"
            return reference
        if not wrap:
            return found
        from pydantic import SecretStr

        return SecretStr(found)

    # --- what is wrong -------------------------------------------------------------------------------------

    def _problem(self, error: ErrorDetails, keys: Keys, model: type[BaseModel]) -> tuple[str, str]:
        if error["type"] == "extra_forbidden":
            return "unknown key", nearest_hint(keys[-1], _fields(model, keys[:-1]))
        if error["type"] == "missing":
            others = self._tables.values.keys() - {self._name}
            near = nearest_hint(self._name, others) if self._name not in self._tables.values else ""
            here = f"set it in [plugins.{self._name}]"
            return "is missing", f"{here}; or is the table called otherwise: {near}" if near.startswith("did") else here
        said = error["msg"].removeprefix("Value error, ")
        said = f"{said[:1].lower()}{said[1:]}"
        found = self._found(keys)
        return (said if found is None else f"{said}, found {found!r:.80}"), ""

    def _found(self, keys: Keys) -> Any:
        """What stands there, if it may be shown."""
        value: Any = self._table
        for depth, key in enumerate(keys):
            if keys[: depth + 1] in self._hidden:
                return None
            if isinstance(value, Mapping) and key in value:
                value = value[key]  # pyright: ignore[reportUnknownVariableType]  # plain data
            elif isinstance(value, list) and key.isdigit() and int(key) < len(value):  # pyright: ignore[reportUnknownArgumentType]  # plain data
                value = value[int(key)]  # pyright: ignore[reportUnknownVariableType]  # plain data
            else:
                return None
        return value if isinstance(value, str | int | float | bool) else None

    def _raise(self) -> None:
        if not self._problems:
            return
        told: list[tuple[str, str]] = []
        for keys, (said, hint) in self._problems.items():
            dotted = ".".join(("plugins", self._name, *keys))
            joint = " " if said.startswith("is ") else ": "
            told.append((f"{self._tables.place(self._name, *keys)}: {dotted}{joint}{said}", hint))
        if len(told) == 1:
            raise SettingsError(told[0][0], hint=told[0][1]) from None
        raise SettingsError("\n".join(f"{message} ({hint})" if hint else message for message, hint in told)) from None


# --- annotations ---------------------------------------------------------------------------------------------


def _members(annotation: Any) -> Sequence[Any]:
    """Of a union, those it is made of."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [one for member in get_args(annotation) for one in _members(member)]
    if hasattr(annotation, "__metadata__"):  # Annotated
        return _members(get_args(annotation)[0])
    return [annotation]


def _takes_secret(annotation: Any) -> bool:
    names = {base.__name__ for one in _members(annotation) for base in getattr(get_origin(one) or one, "__mro__", ())}
    return not names.isdisjoint(("_SecretBase", "SecretStr", "SecretBytes", "Secret"))


def _of_key(annotation: Any, key: str) -> Any:
    """What a mapping's value is annotated with: of a model's field, or of all of a dict's."""
    for one in _members(annotation):
        if hasattr(one, "model_fields"):
            for name, field in one.model_fields.items():
                if key in (name, field.alias, field.validation_alias):
                    return field.annotation
        elif isinstance(origin := get_origin(one), type) and issubclass(origin, Mapping) and get_args(one):
            return get_args(one)[1]
    return Any


def _of_item(annotation: Any) -> Any:
    for one in _members(annotation):
        origin = get_origin(one)
        if isinstance(origin, type) and not issubclass(origin, Mapping) and get_args(one):
            return get_args(one)[0]
    return Any


def _fields(model: Any, keys: Keys) -> list[str]:
    """The names that a model has at a place within it."""
    annotation: Any = model
    for key in keys:
        annotation = _of_item(annotation) if key.isdigit() else _of_key(annotation, key)
    found = [one for one in _members(annotation) if hasattr(one, "model_fields")]
    return [field.alias or name for one in found for name, field in one.model_fields.items()]
