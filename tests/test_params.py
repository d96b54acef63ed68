"""What is said of wrong parameters, and how parameters are given on a command line."""

import shlex
from typing import Literal

import pytest
from pydantic import Field

from lng_kedro.params import Params, as_option, problems


class Member(Params):
    size: int = Field(ge=2, multiple_of=2)
    kind: Literal["large", "small"] = "large"


class Group(Params):
    share: float = Field(gt=0, lt=1, default=0.5)
    size: int = Field(ge=2, multiple_of=2, default=2)
    exact: bool = False
    members: dict[str, Member] = Field(default={})
    named: tuple[Member, ...] = ()
    word: str = Field(pattern="^[a-z]+$", default="a")


@pytest.mark.parametrize(
    ("given", "place", "said"),
    [
        ({"shar": 1}, ("shar",), "there is no parameter 'shar': did you mean 'share'?"),
        (
            {"members": {"a": {"size": 2, "kin": 1}}},
            ("members", "a", "kin"),
            "there is no parameter 'members.a.kin': did you mean 'kind'?",
        ),
        (
            {"named": [{"size": 2, "q": 1}]},
            ("named", 0, "q"),
            "there is no parameter 'named.0.q': there are kind, size",
        ),
        ({"share": 1}, ("share",), "'share' is 1, and has to be less than 1"),
        ({"share": 0.0}, ("share",), "'share' is 0.0, and has to be greater than 0"),
        ({"share": "half"}, ("share",), "'share' is 'half', and has to be a number"),
        ({"exact": "maybe"}, ("exact",), "'exact' is 'maybe', and has to be true or false"),
        ({"size": 0}, ("size",), "'size' is 0, and has to be 2 or more"),
        ({"size": 3}, ("size",), "'size' is 3, and has to be a multiple of 2"),
        ({"size": 2.5}, ("size",), "'size' is 2.5, and has to be a whole number"),
        (
            {"members": {"a": {"size": 2, "kind": "smal"}}},
            ("members", "a", "kind"),
            "'members.a.kind' is 'smal', and has to be 'large' or 'small': did you mean 'small'?",
        ),
        ({"members": {"a": {}}}, ("members", "a"), "'members.a' lacks size"),
        ({"members": [1]}, ("members",), "'members' is [1], and has to be a mapping"),
        ({"members": None}, ("members",), "'members' has no value, and has to be a mapping"),
        ({"named": 3}, ("named",), "'named' is 3, and has to be a list"),
        ({"word": "A1"}, ("word",), "'word' is 'A1', and has to be a text of the form ^[a-z]+$"),
    ],
)
def test_a_sentence_of_our_own(given: dict, place: tuple, said: str) -> None:
    assert list(problems(Group, given)) == [(place, said)]


def test_another_member_may_be_meant() -> None:
    given = {"members": {"first": {"size": 2}, "frst": {"kind": "small"}}}
    assert list(problems(Group, given)) == [
        (("members", "frst"), "'members.frst' lacks size: did you mean 'first'?")
    ]


def test_what_is_right_has_no_problem() -> None:
    assert list(problems(Group, {"members": {"a": {"size": 4}}})) == []


def test_an_option_for_a_shell() -> None:
    assert as_option({}) == ""
    assert as_option({"a": {"b": {"c": 1e-05}, "d": None}, "e": "x"}) == " --params a.b.c=1e-05,a.d=null,e=x"
    assert shlex.split(as_option({"a": {"b": "it's; $HOME"}})) == ["--params", "a.b=it's; $HOME"]
