"""What a model server remembers of the prompts that it has read: a real Ollama, and ours that simulates it.

What a reader would get wrong: the real one, up to 0.33, counts remembered tokens as read. What it read is in its log;
its answers tell it by their duration alone.
"""

import contextlib
import re

import pytest

from engines import Ollama, ask, awaits, serving
from running import running

# The first message: about as many tokens, of 8 KiB each for the model that is used.
WORDS = 1500
READS = re.compile(r"prompt eval time = .*?/ +(\d+) tokens")


class Real:
    """One slot, and a cache in which two conversations have room besides."""

    model = "slow"

    def __init__(self, home):
        self.engine = Ollama(home, LLAMA_ARG_CACHE_RAM="28", OLLAMA_NUM_PARALLEL="1", OLLAMA_KEEP_ALIVE="10m")
        self.url = self.engine.url

    def read(self, before):
        """The tokens that the last call had read."""
        return int(self.engine.awaits(READS)[1])


class Simulated:
    """The same, of our own."""

    model = "mistral"
    options = [
        "--prompt-cache", "4500", "--read", "8000", "--counts", "ollama-0.33", "--load-ms", "1", "--first-token-ms", "1",
        "--tokens-per-second", "1000",
    ]

    def __init__(self, process):
        self.url = process.address("simulated Ollama listening on")

    def total(self):
        return ask(self.url, "/sim").json()["prompt_read"]

    def read(self, before):
        return self.total() - before


@pytest.fixture(params=["real", "simulated"])
def server(request, tmp_path):
    with contextlib.ExitStack() as stack:
        if request.param == "real":
            real = Real(request.getfixturevalue("home"))
            stack.enter_context(serving(real.engine))
            yield real
        else:
            yield Simulated(stack.enter_context(running(["sim", "--listen", "127.0.0.1:0", *Simulated.options], tmp_path)))


class Conversation:
    """A conversation with the model of a server, of its own first words."""

    def __init__(self, server, name):
        self.server, self.spent = server, []
        self.messages = [{"role": "user", "content": f"{name}: " + "line " * WORDS}]

    def turn(self):
        """One turn; how many tokens of its prompt were read."""
        body = {
            "model": self.server.model, "messages": self.messages, "stream": False,
            "options": {"num_predict": 4, "num_ctx": 4096, "seed": 1},
        }
        before = self.server.total() if isinstance(self.server, Simulated) else None
        answer = ask(self.server.url, "/api/chat", body)
        assert answer.status == 200, answer
        told = answer.json()
        assert told["prompt_eval_count"] > WORDS, f"remembered tokens count as read: {told}"
        self.messages += [told["message"], {"role": "user", "content": "and then?"}]
        self.spent.append(told["prompt_eval_duration"])
        return self.server.read(before)


def test_a_turn_reads_what_is_new_until_others_take_the_room_or_the_model_is_unloaded(server):
    first = Conversation(server, "first")
    others = [Conversation(server, name) for name in ("second", "third", "fourth", "fifth")]
    new = WORDS // 10
    assert first.turn() > WORDS
    assert first.turn() < new, "its beginning is in the slot"
    for other in others:
        assert other.turn() > WORDS
    assert others[-2].turn() < new, "it was stored when the last one came"
    assert first.turn() > WORDS, "it was unused longest"
    assert first.turn() < new
    ask(server.url, "/api/generate", {"model": server.model, "keep_alive": 0})
    awaits(lambda: not ask(server.url, "/api/ps").json()["models"], "the model is unloaded")
    assert first.turn() > WORDS, "it went with the model"
    # The first prompt after a load is read more slowly, so that its two do not count.
    cold = [first.spent[2], *(other.spent[0] for other in others)]
    warm = [first.spent[1], first.spent[3], others[-2].spent[1]]
    assert sum(warm) / len(warm) < sum(cold) / len(cold), "durations tell it"
