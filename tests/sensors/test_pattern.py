"""The algebra of patterns and keys."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from freshet import DefinitionError
from freshet_sensors.pattern import KeyTemplate, Pattern, temporary

values = st.text("abcXYZ019 äß", min_size=1, max_size=6)
literals = st.sampled_from([".csv", "-", "_", "(", "[a]", "+", "$", "^x", "|", "\\"])


@given(st.lists(st.tuples(values, st.sampled_from(["-", "_", ".", "/", "+"])), min_size=1, max_size=5), literals)
def test_fields_parted_by_text_that_they_do_not_hold_come_back(parts: list[tuple[str, str]], end: str) -> None:
    names = [f"f{at}" for at in range(len(parts))]
    pattern = Pattern("".join(f"{{{name}}}{sep}" for name, (_, sep) in zip(names, parts, strict=True)) + "x" + end)
    path = "".join(value + sep for value, sep in parts) + "x" + end
    assert pattern.fields == tuple(names)
    assert pattern.match(path) == {name: value for name, (value, _) in zip(names, parts, strict=True)}


def reference(pattern: list[str], path: list[str]) -> bool:
    """Wildcards the slow way, folder by folder and letter by letter."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return reference(pattern[1:], path) or (len(path) > 1 and path[0] != "" and reference(pattern, path[1:]))
    return bool(path) and letters(pattern[0], path[0]) and reference(pattern[1:], path[1:])


def letters(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return letters(pattern[1:], name) or (bool(name) and letters(pattern, name[1:]))
    return bool(name) and pattern[0] in ("?", name[0]) and letters(pattern[1:], name[1:])


segments = st.lists(st.sampled_from(["a", "b", ".", "?"]), min_size=1, max_size=3).map("".join) | st.lists(
    st.sampled_from(["a", "?", "a*", "*b"]), min_size=1, max_size=2
).map("".join)
names = st.text("ab.", min_size=1, max_size=4)


@given(st.lists(segments | st.just("**"), min_size=1, max_size=4), st.lists(names, min_size=1, max_size=4))
def test_wildcards_mean_what_the_slow_reference_says(pattern: list[str], path: list[str]) -> None:
    assume(pattern[-1] != "**" and not any(map(temporary, pattern)) and "." not in pattern)
    assume(not any("**" in part and part != "**" for part in pattern))
    parsed = Pattern("/".join(pattern))
    assert bool(parsed.matches("/".join(path))) == reference(pattern, path)


@given(st.lists(segments | st.just("**"), min_size=1, max_size=4), st.lists(names, min_size=1, max_size=4))
def test_every_folder_above_a_match_is_entered(pattern: list[str], path: list[str]) -> None:
    assume(not any(map(temporary, pattern)) and not any("**" in part and part != "**" for part in pattern))
    parsed = Pattern("/".join(pattern))
    if parsed.matches("/".join(path)):
        assert all(parsed.enters("/".join(path[:depth])) for depth in range(1, len(path)))


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("{batch}.csv", "orders.csv", {"batch": "orders"}),
        ("{batch}.csv", "a.b.csv", {"batch": "a.b"}),
        ("{batch}.csv", "sub/orders.csv", None),
        ("{batch}.csv", ".csv", None),
        ("{batch}.csv", "orders.csv.gz", None),
        ("{batch}.csv", "orders.CSV", None),
        ("{batch}.csv", "ordersxcsv", None),
        ("{date}/{name}.csv", "2026-11-20/a.csv", {"date": "2026-11-20", "name": "a"}),
        ("{date}/{date}-{name}.csv", "1/1-a.csv", {"date": "1", "name": "a"}),
        ("{date}/{date}-{name}.csv", "1/2-a.csv", None),
        ("{a}-{b}.csv", "x-y-z.csv", {"a": "x", "b": "y-z"}),
        ("**/{name}.csv", "a.csv", {"name": "a"}),
        ("**/{name}.csv", "x/y/a.csv", {"name": "a"}),
        ("in/**", "in/x/y", {}),
        ("in/**", "in", None),
        ("{{{x}}}.csv", "{a}.csv", {"x": "a"}),
        ("line\n{x}", "line\na", {"x": "a"}),
        ("{x}", "a\n", {"x": "a\n"}),
    ],
)
def test_examples(pattern: str, path: str, fields: dict[str, str] | None) -> None:
    assert Pattern(pattern).match(path) == fields


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "no relative path"),
        ("/abs/{x}", "no relative path"),
        ("../{x}", "no relative path"),
        ("a//b", "no relative path"),
        ("{x}.tmp", "taken for unfinished"),
        (".hidden/{x}", "taken for unfinished"),
        ("{a}{b}", "leaves open"),
        ("{a}*", "leaves open"),
        ("a**b", "leaves open"),
        ("{a-b}", r"the field \{a-b\}"),
        ("{}", r"the field \{\}"),
        ("{x", "stray '{'"),
        ("x}", "stray '}'"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason) as caught:
        Pattern(pattern, what="landing: pattern")
    assert caught.value.message.startswith("landing: pattern")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "key", "path", "expected"),
    [
        ("{batch}.csv", None, "orders.csv", "orders"),
        ("{date}/{name}.csv", None, "d/n.csv", "d-n"),
        ("{date}/{name}.csv", "{name} of {date}", "d/n.csv", "n of d"),
        ("{date}/{name}.csv", "{date}", "d/n.csv", "d"),
        ("{date}/{name}.csv", "{{{date}}}", "d/n.csv", "{d}"),
        ("**/*.csv", None, "a/b.csv", "a/b.csv"),
        ("*", "latest", "a", "latest"),
    ],
)
def test_keys(pattern: str, key: str | None, path: str, expected: str) -> None:
    parsed = Pattern(pattern)
    fields = parsed.match(path)
    assert fields is not None
    assert KeyTemplate(key, parsed).key(path, fields) == expected


@pytest.mark.parametrize(("key", "reason"), [("{day}", "it has date, name"), ("{date", "stray"), ("", "empty")])
def test_a_key_that_the_pattern_cannot_fill_is_refused(key: str, reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        KeyTemplate(key, Pattern("{date}/{name}.csv"))


@pytest.mark.parametrize("name", [".x", "x.tmp", "x.part", "x.partial", "x.TMP", "x~", ".", ".csv.swp"])
def test_temporary_names(name: str) -> None:
    assert temporary(name)


@pytest.mark.parametrize("name", ["x", "tmp", "part.csv", "x.tmp.csv", "~x"])
def test_finished_names(name: str) -> None:
    assert not temporary(name)
