"""Coding agents do a task of two rounds through the gateway, in front of providers of their own kind and of others."""

import json

import pytest

import script
from agents import AGENTS, installed
from conftest import KINDS, RESPONSES, access_lines

# So many must have been installed, or nothing is known.
ENOUGH = 5


def test_most_agents_are_here():
    here = [name for name in AGENTS if installed(name)]
    assert len(here) >= ENOUGH, f"only {here}"


def settled(stage, done, answer):
    """What holds of every run that went well: no request was refused, and the agent said what the model did."""
    play = stage.play
    seen = f"status {done.status}\n{done.out[-3000:]}\n{done.errors[-3000:]}\n{play.moves}\n{play.offences}\n{stage.serve.log[-20:]}"
    assert not play.offences, seen
    assert done.status == 0, seen
    assert answer in done.out, seen
    # One for each of the model's turns at least, each of which is logged once its answer has gone out.
    for _ in play.moves:
        stage.serve.awaits('"target":"access"')
    lines = access_lines(stage.serve)
    assert lines and all(line["outcome"] == "ok" for line in lines), (lines, seen)


def goes_on(bodies):
    """Each request of a conversation begins with the one before it, or no server's prompt cache is of use."""
    for before, after in zip(bodies, bodies[1:]):
        before, after = said(before), said(after)
        for at, (one, other) in enumerate(zip(before, after)):
            assert one == other, f"part {at} of {len(before)}:\n{one[:3000]}\n{other[:3000]}"
        assert len(before) < len(after)


def said(body):
    """What a model reads of a request, in its order: not where Anthropic's clients mark what is to be cached."""
    without = lambda part: {name: value for name, value in part.items() if name != "cache_control"}
    body = json.loads(json.dumps(body), object_hook=without)
    parts = [body.get(name) for name in ("tools", "system", "instructions", "systemInstruction")]
    for name in ("messages", "input", "contents"):
        parts += body.get(name, [])
    return [json.dumps(part) for part in parts]


# Each agent in front of each kind, and Codex in front of what it speaks itself.
RUNS = [(agent, kind) for agent in AGENTS if agent != "aider" for kind in KINDS] + [("codex", RESPONSES)]


@pytest.mark.parametrize("agent, kind", RUNS)
def test_two_rounds_of_tools(stage, agent, kind):
    stage = stage(agent, kind)
    done = stage.do(script.TASK)
    settled(stage, done, f"It says {stage.word}.")
    assert counts(stage) == [1, 1, 0], stage.play.moves
    goes_on(stage.play.bodies)
    first, second = stage.play.results
    assert "the next file is" in first.text and stage.word in second.text


@pytest.mark.parametrize("agent, kind", RUNS)
def test_two_calls_in_one_turn(stage, agent, kind):
    stage = stage(agent, kind)
    done = stage.do(script.BOTH)
    settled(stage, done, "Left is {} and right is {}.".format(*stage.both))
    assert counts(stage) == [2, 0], stage.play.moves


@pytest.mark.parametrize("kind", KINDS)
def test_two_rounds_of_files_that_are_mentioned(stage, kind):
    stage = stage("aider", kind)
    done = stage.do(script.MENTION)
    settled(stage, done, f"It says {stage.word}.")


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_a_tool_read(stage, kind):
    stage = stage("claude", kind)
    done = stage.do(script.LOOK)
    settled(stage, done, said_of(stage.size))
    assert counts(stage) == [1, 0], stage.play.moves


@pytest.mark.parametrize("kind", [*KINDS, RESPONSES])
def test_a_picture_in_the_question(stage, kind):
    stage = stage("codex", kind)
    done = stage.do(script.LOOK, "-i", stage.work / "picture.png")
    settled(stage, done, said_of(stage.size))
    assert counts(stage) == [0], stage.play.moves


# Ollama takes no papers, so its model is told that there was one.
@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
def test_a_paper_that_a_tool_read(stage, kind):
    stage = stage("claude", kind)
    done = stage.do(script.STUDY)
    settled(stage, done, f"It says {stage.word}.")
    assert counts(stage) == [1, 0], stage.play.moves


def test_a_paper_that_a_tool_read_for_a_model_that_takes_none(stage):
    stage = stage("claude", "ollama")
    done = stage.do(script.STUDY)
    settled(stage, done, "I am lost")
    assert counts(stage) == [1, 0], stage.play.moves


def counts(stage):
    """How many tools each of the model's turns called."""
    return [len(move.calls) for move in stage.play.moves]


def said_of(size):
    return "It is {} wide and {} high.".format(*size)
