"""Ollama itself is busy, loads, or is gone: what passes is waited for, and what does not is told with its cause."""

import time
from concurrent.futures import ThreadPoolExecutor

from conftest import provider
from engines import Ollama, ask, asking, awaits, serving

QUESTION = [{"role": "user", "content": "Why is the line long?"}]
MODELS = ("talks", "also-talks", "thinks", "slow")
WIDE = "max_concurrency = 8"


def short(model, number=0, **options):
    """A question with a short answer. Those with different numbers share no call."""
    options = {"num_predict": 5, "seed": number, **options}
    return {"model": model, "messages": QUESTION, "stream": False, "options": options}


def test_a_busy_ollama_refuses_nobody_who_can_wait(home, front):
    with serving(Ollama(home, OLLAMA_MAX_QUEUE="1", OLLAMA_MAX_LOADED_MODELS="1")) as ollama:
        # In the order of the line: with scheduled loads it is never as busy as that.
        gateway = front(provider("ollama", ollama.url, more=f'{WIDE}\nscheduling = "fair"'))
        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(ask, gateway.url, "/api/chat", short(MODELS[number % 4], number)) for number in range(16)]
            answers = [one.result() for one in asked]
        assert [answer.status for answer in answers] == [200] * 16, answers
        # Otherwise nothing was shown.
        assert ollama.asked("/api/chat", 503) > 0


def test_a_load_goes_on_for_the_others_when_its_first_client_leaves(home, front):
    with serving(Ollama(home)) as ollama:
        gateway = front(provider("ollama", ollama.url, more=WIDE))
        with ThreadPoolExecutor(5) as pool:
            with asking(gateway.url, "/api/chat", short("slow")):
                awaits(ollama.runners, "a runner is started")
                others = [pool.submit(ask, gateway.url, "/api/chat", short("slow", number)) for number in range(1, 6)]
            answers = [one.result() for one in others]
        assert [answer.status for answer in answers] == [200] * 5, answers


def test_clients_that_want_different_contexts_in_turn_are_all_answered(home, front):
    with serving(Ollama(home, OLLAMA_MAX_LOADED_MODELS="1")) as ollama:
        gateway = front(provider("ollama", ollama.url, more=WIDE))
        with ThreadPoolExecutor(8) as pool:
            asked = [
                pool.submit(ask, gateway.url, "/api/chat", short("talks", number, num_ctx=1024 * (1 + number % 2)))
                for number in range(8)
            ]
            answers = [one.result() for one in asked]
        assert [answer.status for answer in answers] == [200] * 8, answers


def test_three_models_with_room_for_one_are_all_answered(home, front):
    with serving(Ollama(home, OLLAMA_MAX_LOADED_MODELS="1")) as ollama:
        gateway = front(provider("ollama", ollama.url, more=WIDE))
        with ThreadPoolExecutor(12) as pool:
            asked = [pool.submit(ask, gateway.url, "/api/chat", short(MODELS[number % 3], number)) for number in range(12)]
            answers = [one.result() for one in asked]
        assert [answer.status for answer in answers] == [200] * 12, answers


def test_an_ollama_that_is_gone_is_told_with_what_to_do_and_is_used_as_soon_as_it_is_back(home, front):
    with serving(Ollama(home)) as ollama:
        soon = 'breaker = { failures = 3, open = "1s", max_open = "1s" }'
        gateway = front(provider("ollama", ollama.url, more=soon))
        assert ask(gateway.url, "/api/chat", short("talks")).status == 200
        ollama.kill()
        for _ in range(6):
            gone = ask(gateway.url, "/api/chat", short("talks"))
            assert gone.status in (502, 503), gone
            assert "refused" in gone.text and "ollama serve" in gone.text, gone
        ollama.start()
        back = time.monotonic()
        awaits(lambda: ask(gateway.url, "/api/chat", short("talks")).status == 200, "Ollama is used again")
        assert time.monotonic() - back < 10


def test_a_stream_that_ends_with_its_ollama_ends_with_an_error(home, front):
    with serving(Ollama(home)) as ollama:
        gateway = front(provider("ollama", ollama.url))
        body = {"model": "slow", "messages": QUESTION, "options": {"num_predict": 2000}}
        with asking(gateway.url, "/api/chat", body) as answer:
            assert all(b'"done":false' in answer.readline() for _ in range(3))
            ollama.kill()
            rest = list(answer)
        assert b'"error"' in rest[-1] and not any(b'"done":true' in line for line in rest), rest[-1]
