"""A gateway for each test, in front of a scripted provider of the kind that the test asks for."""

import contextlib
import json
import os
import secrets
import types

import pytest

import script
from agents import AGENTS, KEY, Scratch, installed
from as_anthropic import Anthropic
from as_gemini import Gemini
from as_ollama import Ollama
from as_openai import OpenAi
from as_responses import Responses
from providers import MODEL, playing
from running import running

KINDS = {"ollama": Ollama, "openai": OpenAi, "anthropic": Anthropic, "gemini": Gemini}
# Beside these: an OpenAI whose Responses are asked for, which takes nothing else.
RESPONSES = "responses"

CONFIGURATION = """
[server]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[log]
format = "json"
[[keys]]
name = "agents"
key = "{key}"
[providers.scripted]
backend = "{backend}"
base_url = "{url}"
{more}
api_key = "sk-scripted"
default_model = "{model}"
"""


@pytest.fixture
def stage(tmp_path):
    """Sets up one run: `stage(agent, kind)` gives what the agent is run in, with the files of all tasks in its folder."""
    with contextlib.ExitStack() as stack:
        yield lambda agent, kind: stack.enter_context(_staged(tmp_path, agent, kind))


@contextlib.contextmanager
def _staged(folder, agent, kind):
    if not installed(agent):
        pytest.skip(f"{agent} could not be installed")
    work = folder / "work"
    work.mkdir()
    second, word = f"second-{secrets.token_hex(4)}.txt", f"kingfisher-{secrets.token_hex(4)}"
    (work / "first.txt").write_text(f"the next file is {second}\n")
    (work / second).write_text(f"the word is {word}\n")
    left, right = (f"{bird}-{secrets.token_hex(4)}" for bird in ("heron", "plover"))
    (work / "left.txt").write_text(f"the word is {left}\n")
    (work / "right.txt").write_text(f"the word is {right}\n")
    size = 20 + secrets.randbelow(100), 20 + secrets.randbelow(100)
    (work / "picture.png").write_bytes(script.picture(*size))
    (work / "paper.pdf").write_bytes(script.paper(f"the word is {word}"))
    backend, more = ("openai", 'apis = ["responses"]') if kind == RESPONSES else (kind, "")
    with playing(handler_of(kind), work) as play:
        file = folder / "gateway.toml"
        file.write_text(CONFIGURATION.format(key=KEY, backend=backend, url=play.url, model=MODEL, more=more))
        with running(["serve", "--config", file], folder) as serve:
            scratch = Scratch(folder, serve.address("gateway listening on"), MODEL)
            yield types.SimpleNamespace(
                do=lambda task, *more: AGENTS[agent](scratch, task, *more), play=play, word=word, both=(left, right),
                size=size, work=work, serve=serve,
            )


def handler_of(kind):
    return Responses if kind == RESPONSES else KINDS[kind]


def access_lines(serve):
    """The gateway's lines about requests."""
    lines = [json.loads(line) for line in serve.log if line.startswith("{")]
    return [line for line in lines if line.get("target") == "access"]
