"""YAML as plain data: YAML 1.2's scalars, variables, lines, and every refusal."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from extproc.config.document import MAX_NODES, read_document


def read(text: str, **environ: str):
    return read_document(text, environ)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("010", "010"),
        ("0x1f", "0x1f"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("2024-01-02", "2024-01-02"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
    ],
)
def test_scalars_are_what_they_look_like(text, value):
    document = read(f"a: {text}")
    assert document.plain == {"a": value}
    assert not document.problems


def test_structures_keep_their_lines():
    document = read("a:\n  b:\n    - x\n    - c: y\n")
    assert document.plain == {"a": {"b": ["x", {"c": "y"}]}}
    assert document.line(("a", "b", 1, "c")) == 4
    assert document.line(("a", "b", 1, "missing")) == 4
    assert document.line(("nothing",)) == 1


def test_an_anchor_may_be_used_twice():
    document = read("a: &x {k: 1}\nb: *x\n")
    assert document.plain == {"a": {"k": 1}, "b": {"k": 1}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${SET}", "value"),
        ("x-${SET}-${SET}", "x-value-value"),
        ("${NOT_SET:-else}", "else"),
        ("${EMPTY:-else}", "else"),
        ("${EMPTY}", ""),
        ("${NOT_SET:-}", ""),
        ("${SET:-else}", "value"),
        ("$${SET}", "${SET}"),
        ("$SET and $$", "$SET and $$"),
        ('"${SET}"', "value"),
    ],
)
def test_variables_are_expanded(text, value):
    document = read(f"a: {text}", SET="value", EMPTY="")
    assert (document.plain, document.problems) == ({"a": value}, [])


def test_what_is_in_a_variable_is_never_structure():
    document = read("a: ${V}", V="1\nb: {c: ${V}}")
    assert document.plain == {"a": "1\nb: {c: ${V}}"}


@pytest.mark.parametrize(
    ("text", "line", "path", "message"),
    [
        ("a: 1\na: 2", 2, ("a",), "given twice, first on line 1"),
        ("x: {a: 1, a: 2}", 1, ("x", "a"), "given twice, first on line 1"),
        ("true: 1", 1, (), "the key 'true' is a boolean in YAML: put it in quotes"),
        ("a:\n  4: 1", 2, ("a",), "the key '4' is a number in YAML"),
        ("~: 1", 1, (), "is nothing (null) in YAML"),
        ("[1]: 1", 1, (), "a key must be a plain word"),
        ("<<: {a: 1}", 1, (), "merge keys (<<) are not supported"),
        ("a${B}: 1", 1, (), "never in keys"),
        ("a: !!binary aa==", 1, ("a",), "tags (!) are not supported"),
        ("a:\n- ${NOPE}", 2, ("a", 0), "the environment variable NOPE is not set"),
        ("a: ${1X}", 1, ("a",), "${ begins a variable"),
        ("a: ${OPEN", 1, ("a",), "${ begins a variable"),
        ("a: &x [*x]", 1, ("a",), "nested too deeply, or an alias to itself"),
        ("a: " + "[" * 1_500 + "]" * 1_500, 1, (), "not YAML: it is nested too deeply"),
        ("a: [1", 1, (), "not YAML: "),
        ("a: b: c", 1, (), "not YAML: "),
        ("\ta: 1", 1, (), "not YAML: "),
        ("a: \x00", 1, (), "characters that YAML forbids"),
        ("a: 1\n---\nb: 2", 2, (), "not YAML: "),
        ("a: {b: ${C}}", 1, (), 'a variable stands in quotes: "${NAME}"'),
    ],
)
def test_what_is_refused_is_named(text, line, path, message):
    [(got_line, got_path, got)] = read(text).problems
    assert (got_line, got_path) == (line, path)
    assert message in got


def test_aliases_cannot_blow_a_file_up():
    lines = ["l0: &l0 [" + ",".join("x" * 9) + "]"]
    lines += [f"l{n}: &l{n} [{','.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9)]
    document = read("\n".join(lines))
    assert len(document.problems) == 1
    assert len(document.lines) < 2 * MAX_NODES


@given(st.text())
def test_any_text_is_read_or_refused(text):
    document = read_document(text, {})
    assert all(message for _, _, message in document.problems)
