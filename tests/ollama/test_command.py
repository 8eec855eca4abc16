"""The `ollama` command with OLLAMA_HOST at the gateway: what people type works as it does at Ollama itself."""

import json
import re

import pytest

from engines import ask, awaits, command

MODELS = ("talks", "thinks", "embeds")


@pytest.fixture
def typed(gateway, home):
    """Runs the command through the gateway, and returns what it wrote."""

    def run(*arguments):
        ran = command(gateway.url, home, *arguments)
        assert ran.returncode == 0, ran
        return plain(ran.stdout)

    return run


def plain(text):
    """A text without what moves the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def table(text):
    """The rows of a list by the name in their first column."""
    return {row.split()[0]: row.split()[1] for row in text.splitlines()[1:]}


def test_list_shows_what_is_installed(typed, ollama, home):
    own = table(command(ollama.url, home, "list").stdout)
    assert table(typed("list")) == own and {f"{model}:latest" for model in MODELS} <= set(own)


@pytest.mark.parametrize(
    "arguments", [("talks",), ("thinks", "--modelfile"), ("thinks", "--template"), ("embeds", "--verbose")],
)
def test_show_describes_a_model_as_ollama_does(typed, ollama, home, arguments):
    assert typed("show", *arguments) == command(ollama.url, home, "show", *arguments).stdout


def test_run_answers_a_question(typed):
    assert re.fullmatch(r"\s*\w[\w\s]*", typed("run", "talks", "--nowordwrap", "Why is the line long?"))


def test_run_shows_thinking_as_ollama_itself_does(typed, ollama, home):
    # Ollama tells a thought from the answer in chats, and for a prompt only where the template says how.
    arguments = ("run", "thinks", "--think", "--nowordwrap", "Why?")
    own, through = command(ollama.url, home, *arguments).stdout, typed(*arguments)
    for mark in ("Thinking...", "</think>"):
        assert (mark in through) == (mark in own), (own, through)
    assert "hinking" not in typed("run", "thinks", "--think=false", "--nowordwrap", "Why?")
    assert "hinking" not in typed("run", "thinks", "--think", "--hidethinking", "--nowordwrap", "Why?")


def test_run_writes_json_when_it_is_asked_to(typed):
    assert isinstance(json.loads(typed("run", "talks", "--format", "json", "--nowordwrap", "Why?")), dict)


def test_run_tells_timings(gateway, home):
    told = plain(command(gateway.url, home, "run", "talks", "--verbose", "Why?").stderr)
    for row in ("total duration", "prompt eval count", "eval count", "eval rate"):
        assert re.search(rf"\b{row}: +\d", told), told


def test_run_of_an_embedder_writes_the_vector(typed, ollama, home):
    own = json.loads(command(ollama.url, home, "run", "embeds", "the line is long").stdout)
    assert json.loads(typed("run", "embeds", "the line is long")) == pytest.approx(own, rel=1e-5)
    assert len(json.loads(typed("run", "embeds", "--dimensions", "8", "the line is long"))) == 8


def test_a_model_that_runs_is_listed_until_it_is_stopped(typed, ollama):
    typed("run", "also-talks", "--nowordwrap", "Why?")
    assert "also-talks:latest" in table(typed("ps"))
    typed("stop", "also-talks")
    awaits(lambda: not by_name(ask(ollama.url, "/api/ps"), "also-talks:latest"), "the model is unloaded")
    assert "also-talks:latest" not in table(typed("ps"))


def by_name(listed, name):
    return [model for model in listed.json()["models"] if model["name"] == name]


def test_what_is_not_there_is_told_and_fails(gateway, home):
    for arguments in (("show", "no-such"), ("run", "no-such", "Why?"), ("stop", "no-such")):
        ran = command(gateway.url, home, *arguments)
        assert ran.returncode != 0 and "Error: " in ran.stderr, ran
    for arguments in (("pull", "talks"), ("rm", "talks"), ("cp", "talks", "other")):
        ran = command(gateway.url, home, *arguments)
        assert ran.returncode != 0 and "not managed through this gateway" in ran.stderr, ran
    # Who has not installed it is told who can: that is what it asks for when it finds no such model.
    ran = command(gateway.url, home, "run", "no-such", "Why?")
    assert "no provider here has the model `no-such`" in ran.stderr and "`ollama pull no-such`" in ran.stderr, ran
