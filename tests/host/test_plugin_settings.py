"""`settings("orders", Model)`: what a plugin gets, and what it is told of what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr, field_validator

from freshet import DefinitionError, settings
from freshet.errors import SettingsError
from freshet.host.plugin_settings import unasked, use
from freshet.masking import masked
from freshet.pluginconfig import read_tables


class Place(BaseModel):
    url: str
    key: SecretBytes | None = None


class Orders(BaseModel):
    bucket: str
    token: SecretStr | None = None
    batch: int = 100
    since: date | None = None
    places: list[Place] = []
    by_shop: dict[str, SecretStr] = {}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = use(read_nothing())
    yield
    use(before)


def read_nothing() -> Any:
    from freshet.definitions.tables import Tables

    return Tables()


def _given(folder: Path, text: str) -> Path:
    (folder / "plugins").mkdir(exist_ok=True)
    path = folder / "freshet.toml"
    path.write_text(f'state_dir = "state"\nplugins_dir = "plugins"\n{text}\n')
    use(read_tables(path))
    return path


def _refused(model: Any = Orders) -> str:
    with pytest.raises(SettingsError) as error:
        settings("orders", model)
    return str(error.value)


def test_a_model_gets_types_defaults_and_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERS_TOKEN", "tok-8311")
    (tmp_path / "key").write_text("key-5127\n")
    _given(
        tmp_path,
        """[plugins.orders]
bucket = "file:///not/a/secret"
token = "env:ORDERS_TOKEN"
since = 2026-03-01
by_shop = { berlin = "env:ORDERS_TOKEN" }
[[plugins.orders.places]]
url = "https://example.org"
key = "file:key"
""",
    )
    found = settings("orders", Orders)
    assert (found.bucket, found.batch, found.since) == ("file:///not/a/secret", 100, date(2026, 3, 1))
    assert found.token is not None
    assert found.token.get_secret_value() == found.by_shop["berlin"].get_secret_value() == "tok-8311"
    assert found.places[0].key is not None
    assert found.places[0].key.get_secret_value() == b"key-5127"
    assert "tok-8311" not in repr(found)
    assert masked(f"{found.token.get_secret_value()} and key-5127") == "********** and **********"


def test_without_a_model_it_is_a_dict_with_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_TOKEN", "tok-8311")
    _given(tmp_path, '[plugins.orders]\nbucket = "b"\nnested = { tokens = ["env:ORDERS_TOKEN", "plain"], n = 1 }')
    found = settings("orders")
    assert (found["bucket"], found["nested"]["n"], found["nested"]["tokens"][1]) == ("b", 1, "plain")
    assert found["nested"]["tokens"][0] == SecretStr("tok-8311")
    assert settings("others") == {}


def test_a_secret_is_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_TOKEN", "tok-8311")
    _given(tmp_path, '[plugins.orders]\nbucket = "b"\ntoken = "env:ORDERS_TOKEN"')
    assert settings("orders", Orders).token == SecretStr("tok-8311")
    monkeypatch.setenv("ORDERS_TOKEN", "tok-9312")
    assert settings("orders", Orders).token == SecretStr("tok-9312")


def test_the_environment_goes_above_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHET_PLUGINS__ORDERS__BATCH", "7")
    _given(tmp_path, '[plugins.orders]\nbucket = "b"\nbatch = 5')
    assert settings("orders", Orders).batch == 7


@pytest.mark.parametrize(
    ("text", "place", "says", "hint"),
    [
        ('bucket = "b"\nbatsh = 5', 5, "plugins.orders.batsh: unknown key", "did you mean 'batch'?"),
        ('bucket = "b"\nbatch = "many"', 5, "plugins.orders.batch: input should be a valid integer", "found 'many'"),
        ("batch = 5", 3, "plugins.orders.bucket is missing", "set it in [plugins.orders]"),
        ('bucket = "b"\ntoken = "hush-hush"', 5, "plugins.orders.token: the secret itself stands in", '"env:NAME"'),
        ('bucket = "b"\ntoken = "env:NOT_SET"', 5, "the secret 'env:NOT_SET' is not there, or empty", "set NOT_SET"),
        ('bucket = "env:BUCKET"', 4, "'env:BUCKET' names a secret, and bucket is no SecretStr", "annotate it"),
        ('bucket = "b"\nplaces = [{ uri = "x", url = "y" }]', 5, "places.0.uri: unknown key", "did you mean 'url'?"),
        ('bucket = "b"\nby_shop = { a = "hush-hush" }', 5, "by_shop.a: the secret itself stands in", "cred:NAME"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, place: int, says: str, hint: str) -> None:
    path = _given(tmp_path, f"[plugins.orders]\n{text}")
    said = _refused()
    assert f"{path}:{place}: plugins.orders" in said
    assert says in said
    assert hint in said
    assert "hush-hush" not in said


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    _given(tmp_path, '[plugins.orders]\nbatch = "x"\nmore = 1\ntoken = "hush-hush"')
    said = _refused()
    for one in ("batch: input", "more: unknown key", "token: the secret itself", "bucket is missing"):
        assert one in said


def test_a_table_under_another_name_is_offered(tmp_path: Path) -> None:
    path = _given(tmp_path, '[plugins.ordrs]\nbucket = "b"')
    assert f"{path}: plugins.orders.bucket is missing" in (said := _refused())
    assert "did you mean 'ordrs'?" in said
    assert unasked() == ["ordrs"]


def test_what_the_model_says_itself(tmp_path: Path) -> None:
    class Strict(BaseModel):
        bucket: str = Field(alias="where")

        @field_validator("bucket")
        @classmethod
        def _short(cls, value: str) -> str:
            if len(value) > 3:
                raise ValueError("Buckets are short")
            return value

    class Loose(BaseModel):
        model_config = ConfigDict(extra="allow")

    _given(tmp_path, '[plugins.orders]\nwhere = "much too long"')
    assert "plugins.orders.where: buckets are short, found 'much too long'" in _refused(Strict)
    assert settings("orders", Loose).model_extra == {"where": "much too long"}
    _given(tmp_path, '[plugins.orders]\nwhere = "b"\nbucket = "b"')
    assert "plugins.orders.bucket: unknown key" in _refused(Strict)


def test_what_is_no_model_or_no_name_is_refused() -> None:
    with pytest.raises(DefinitionError, match="is no pydantic model"):
        settings("orders", {"bucket": str})  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="is not a name"):
        settings("or ders")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[plugins]\norders = "hush-hush"', "freshet.toml:4: plugins.orders: is no table"),
        ('[plugins."a b"]\nx = 1', "freshet.toml:3: plugins.a b"),
        ("[plugins.orders]\nx = 99999999999999999999", "freshet.toml:3: plugins.orders: Integer exceeds 64-bit range"),
        ("[plugins.orders]\nx = 1\n[htpp]\nport = 1", "freshet.toml:5: unknown setting 'htpp'"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        _given(tmp_path, text)
    assert says in str(error.value)
    assert "hush-hush" not in str(error.value)
