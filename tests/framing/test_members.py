"""Top-level members: read raw, patched in place, given once."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from extproc.errors import BadRequest
from extproc.framing.members import MAX_MEMBERS, patch, patched, read_members, remove

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=6)
SPELLINGS = [
    {"separators": (",", ":"), "ensure_ascii": False},
    {"separators": (",", ":")},
    {"separators": (" , ", "\t:\n")},
    {"indent": 3, "ensure_ascii": False},
]


@given(value=OBJECTS, spelling=st.sampled_from(SPELLINGS))
def test_members_are_what_a_json_parser_sees(value, spelling):
    body = json.dumps(value, **spelling).encode()
    members = read_members(body)
    assert {key: json.loads(bytes(raw)) for key, raw in members.items()} == value


@given(value=OBJECTS, changes=OBJECTS, spelling=st.sampled_from(SPELLINGS))
def test_a_patch_sets_what_it_names_and_keeps_the_rest(value, changes, spelling):
    body = json.dumps(value, **spelling).encode()
    new = {key: json.dumps(change).encode() for key, change in changes.items()}
    patched = patch(body, read_members(body), new)
    assert json.loads(patched) == value | changes
    assert list(read_members(patched)) == [
        *(key for key in changes if key not in value),
        *value,
    ]


def test_a_patch_leaves_every_other_byte_alone():
    body = b' {"a" : [1,  2.50] ,"model":"x" , "z":1e2}\n'
    assert patch(body, read_members(body), {"model": b'"other"'}) == (
        b' {"a" : [1,  2.50] ,"model":"other" , "z":1e2}\n'
    )
    assert patch(body, read_members(body), {}) == body


@given(
    value=OBJECTS,
    spelling=st.sampled_from(SPELLINGS),
    names=st.sets(st.text(max_size=2)),
    data=st.data(),
)
def test_what_is_removed_is_gone_and_the_rest_keeps_its_bytes(
    value, spelling, names, data
):
    body = json.dumps(value, **spelling).encode()
    gone = names | data.draw(st.sets(st.sampled_from(sorted(value) or [""])))
    members = read_members(body)
    left = read_members(remove(body, members, gone))
    assert left == {k: raw for k, raw in members.items() if k not in gone}
    assert list(left) == [k for k in members if k not in gone]


def test_a_removed_member_takes_its_comma_with_it():
    body = b' {"a" : [1,  2.50] ,"b":"x" , "c":1e2}\n'
    members = read_members(body)
    assert remove(body, members, {"a"}) == b' {"b":"x" , "c":1e2}\n'
    assert remove(body, members, {"b"}) == b' {"a" : [1,  2.50] , "c":1e2}\n'
    assert remove(body, members, {"c", "d"}) == b' {"a" : [1,  2.50] ,"b":"x"}\n'
    assert remove(body, members, {"a", "b", "c"}) == b" {}\n"
    assert remove(body, members, {"d"}) is body


@given(value=OBJECTS.filter(bool), spelling=st.sampled_from(SPELLINGS), data=st.data())
def test_a_key_given_twice_is_refused(value, spelling, data):
    """However it is spelled, wherever it stands, and whatever its two values are."""
    key = data.draw(st.sampled_from(sorted(value)))
    again = data.draw(VALUES)
    front = data.draw(st.booleans())
    pair = f"{json.dumps(key, ensure_ascii=data.draw(st.booleans()))}:" + json.dumps(
        again
    )
    text = json.dumps(value, **spelling).strip()
    text = "{" + pair + "," + text[1:] if front else text[:-1] + "," + pair + "}"
    with pytest.raises(BadRequest) as caught:
        read_members(text.encode())
    assert (caught.value.code, caught.value.param) == ("duplicate_key", key)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a":1', "not valid JSON"),
        (b'{"a":1}x', "not valid JSON"),
        (b'{"a":1,}', "not valid JSON"),
        (b'{"a":01}', "not valid JSON"),
        (b'{"a":"\x00"}', "not valid JSON"),
        (b'{"a":"\xff"}', "not UTF-8 at byte 6"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(body, words):
    with pytest.raises(BadRequest, match=words) as caught:
        read_members(body)
    assert caught.value.code == "invalid_json"


def test_a_key_spelled_with_escapes_is_the_same_key():
    members = read_members(b'{"mod\\u0065l":"x"}')
    assert bytes(members["model"]) == b'"x"'
    with pytest.raises(BadRequest):
        read_members(b'{"mod\\u0065l":"x","model":"x"}')


def test_more_members_than_any_api_has_are_refused():
    within = {f"n{number}": number for number in range(MAX_MEMBERS)}
    assert len(read_members(json.dumps(within).encode())) == MAX_MEMBERS
    beyond = json.dumps({**within, "one": 1}).encode()
    with pytest.raises(BadRequest, match="more than 1000 members"):
        read_members(beyond)


@given(value=OBJECTS, spelling=st.sampled_from(SPELLINGS), first=OBJECTS, then=OBJECTS)
def test_what_was_patched_can_be_patched_again(value, spelling, first, then):
    body, members = json.dumps(value, **spelling).encode(), None
    expected = dict(value)
    for change in (first, then):
        members = read_members(body) if members is None else members
        raw = {key: json.dumps(one).encode() for key, one in change.items()}
        body, members = patch(body, members, raw), patched(members, raw)
        assert list(members.items()) == list(read_members(body).items())
        expected |= change
        assert json.loads(body) == expected
