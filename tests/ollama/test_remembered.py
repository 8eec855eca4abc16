"""What an order by the prompt cache is worth on the real thing: the same agents at Ollama alone, and at gateways that serve
in the order of the line and by what the server remembers.

What a reader would get wrong: what was read is in the log of Ollama's runner; up to 0.33 its answers count remembered
tokens as read. Only that is asserted. The times are printed: they are another machine's elsewhere.
"""

import re
import statistics
import threading
import time

from conftest import provider
from engines import Ollama, ask, serving

AGENTS = ("alice", "bob", "carol", "dave", "erin", "frank")
TURNS = 5
WORDS = 1500
READ = re.compile(r"prompt eval time = .*?/ +(\d+) tokens")


def agent(url, name, waits):
    """One conversation, turn by turn; each turn follows its answer."""
    messages = [{"role": "user", "content": f"{name}: " + "line " * WORDS}]
    options = {"num_predict": 4, "num_ctx": 4096, "seed": 1}
    for _ in range(TURNS):
        asked = time.monotonic()
        body = {"model": "slow", "messages": messages, "stream": False, "options": options}
        answer = ask(url, "/api/chat", body, f"sk-{name}")
        assert answer.status == 200, answer
        waits.append(time.monotonic() - asked)
        messages += [answer.json()["message"], {"role": "user", "content": "and then?"}]


def measured(home, address_of):
    """All agents at once: the tokens that were read, the whole time and the waits for whole answers."""
    # One slot, and a cache in which two conversations have room besides.
    settings = {"LLAMA_ARG_CACHE_RAM": "28", "OLLAMA_NUM_PARALLEL": "1", "OLLAMA_KEEP_ALIVE": "10m"}
    with serving(Ollama(home, **settings)) as ollama:
        url, waits = address_of(ollama), []
        threads = [threading.Thread(target=agent, args=(url, name, waits)) for name in AGENTS]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        whole = time.monotonic() - began
        assert len(waits) == len(AGENTS) * TURNS
        read = sum(int(match[1]) for match in map(READ.search, list(ollama.log)) if match)
        return read, whole, sorted(waits)


def test_agents_are_read_again_less_often_when_the_line_follows_the_cache(home, front):
    keys = "".join(f'[[keys]]\nname = "{name}"\nkey = "sk-{name}"\n' for name in AGENTS)

    def through(remember):
        more = f'max_concurrency = 1\nmax_queue_wait = "10m"\nremember = {remember}'
        return lambda ollama: front(keys + provider("ollama", ollama.url, more=more)).url

    ways = {"alone": lambda ollama: ollama.url, "by the line": through("false"), "remembered": through("true")}
    found = {}
    for name, address_of in ways.items():
        found[name], whole, waits = measured(home, address_of)
        mean, median, late = statistics.mean(waits), statistics.median(waits), waits[int(0.95 * len(waits))]
        print(
            f"{name}: {found[name]} tokens read in {whole:.1f} s, "
            f"waits of {mean:.1f} s, p50 {median:.1f} s, p95 {late:.1f} s"
        )
    assert found["remembered"] * 10 <= found["by the line"] * 8, found
