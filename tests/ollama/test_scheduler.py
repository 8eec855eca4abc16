"""How Ollama schedules models: each script is played on the real one and on `llm-gateway sim`, with one outcome.

No time is asserted: who was answered in which order, what was loaded and how often. What a reader would get wrong: what
the real one does for a graphics card alone, memory that comes back late and models that do not fit, is not seen here.
"""

import time

import pytest

from engines import ask, awaits
from targets import stage

HOUR = "1h"


@pytest.fixture(params=["real", "sim"])
def play(request, home, tmp_path):
    """Opens the stage: `play(room)`."""
    return lambda room, **settings: stage(request.param, home, tmp_path, room, **settings)


def test_a_call_for_a_loaded_model_passes_all_that_wait_for_a_load(play):
    with play(room=1, slots=2) as at:
        busy = at.asks("a")
        at.begun("a")
        at.asks_briefly("b")
        at.asks_briefly("a", "another a").ends()
        at.begun("another a")
        busy.leaves()
        at.begun("b")
        assert at.target.begun() == 2


def test_loads_are_done_one_at_a_time_in_the_order_of_the_calls(play):
    with play(room=1) as at:
        busy = at.asks("a")
        at.begun("a")
        for number, model in enumerate(("b", "c", "b", "c")):
            at.asks_briefly(model, f"{model}{number}")
        busy.leaves()
        at.begun("b0", "c1", "b2", "c3")
        assert at.target.begun() == 5


def test_with_room_the_second_load_waits_for_the_first(play):
    with play(room=3) as at:
        for model in ("a", "b", "c"):
            at.asks_briefly(model)
        at.begun("a", "b", "c")
        assert (set(at.loaded()), at.target.begun()) == ({"a", "b", "c"}, 3)


def test_a_full_queue_refuses_at_once_who_needs_a_load_and_nobody_else(play):
    with play(room=1, slots=2, queue=1) as at:
        busy = at.asks("a")
        at.begun("a")
        at.asks_briefly("b")
        at.asks_briefly("c")
        refused = at.answers("embeds", "/api/embed", input="why")
        assert (refused.status, refused.headers["retry-after"]) == (503, None)
        assert refused.text.startswith('{"error":"server busy, please try again.')
        assert at.answers("a").status == 200
        busy.leaves()
        at.begun("b", "c")


def test_a_place_in_the_full_queue_is_taken_until_its_turn_comes(play):
    with play(room=1, queue=1) as at:
        busy = at.asks("a")
        at.begun("a")
        at.asks_briefly("b")
        at.asks("c").leaves()
        assert at.answers("embeds", "/api/embed", input="why").status == 503
        busy.leaves()
        at.begun("b")


def test_the_idle_model_with_the_shortest_keep_alive_goes_and_not_the_one_used_longest_ago(play):
    with play(room=2) as at:
        at.loads("a", keep_alive="2h")
        at.loads("b", keep_alive=HOUR)
        assert at.answers("c").status == 200
        assert set(at.loaded()) == {"a", "c"}


def test_an_idle_model_goes_before_a_busy_one_that_stays_for_less(play):
    with play(room=2) as at:
        at.asks("a", keep_alive="1m")
        at.begun("a")
        at.loads("b", keep_alive=HOUR)
        at.asks_briefly("c").ends()
        assert set(at.loaded()) == {"a", "c"}


def test_of_busy_models_the_one_with_the_shortest_keep_alive_is_awaited(play):
    with play(room=2) as at:
        long, short = at.asks("a", keep_alive="2h"), at.asks("b", keep_alive=HOUR)
        at.begun("a", "b")
        at.asks_briefly("c")
        long.leaves()
        # It is idle now, and is not taken.
        at.asks_briefly("a", "again").ends()
        at.begun("again")
        short.leaves()
        at.begun("c")
        assert (set(at.loaded()), at.target.begun()) == ({"a", "c"}, 3)


def test_whatever_is_unloaded_meanwhile_makes_room_as_well(play):
    with play(room=2) as at:
        other, awaited = at.asks("a", keep_alive="2h"), at.asks("b", keep_alive=HOUR)
        at.begun("a", "b")
        at.asks_briefly("c")
        at.loads("a", keep_alive=0)
        other.leaves()
        at.begun("c")
        assert set(at.loaded()) == {"b", "c"}
        awaited.leaves()
        # It was told to go when it was the victim.
        at.is_gone("b")


def test_newcomers_keep_a_model_that_was_to_go(play):
    with play(room=1, slots=2) as at:
        first = at.asks("a")
        at.begun("a")
        at.asks_briefly("b")
        second = at.asks("a", "second")
        at.begun("second")
        first.leaves()
        third = at.asks("a", "third")
        at.begun("third")
        second.leaves()
        assert at.loaded().keys() == {"a"}
        third.leaves()
        at.begun("b")


def test_a_newcomer_s_keep_alive_keeps_a_model_that_was_to_go_when_it_is_idle(play):
    with play(room=1, slots=2) as at:
        busy = at.asks("a")
        at.begun("a")
        at.asks_briefly("b")
        at.asks_briefly("a", "newcomer", keep_alive=HOUR).ends()
        at.begun("newcomer")
        busy.leaves()
        # It is there for others while the load, and every load, waits.
        at.asks_briefly("a", "late").ends()
        at.begun("late")
        assert at.loaded().keys() == {"a"}
        at.loads("a", keep_alive=0)
        at.begun("b")


def test_a_newcomer_without_a_keep_alive_changes_none(play):
    with play(room=1, slots=2) as at:
        busy = at.asks("a", keep_alive=HOUR)
        at.begun("a")
        at.asks_briefly("b")
        at.asks_briefly("a", "newcomer").ends()
        at.begun("newcomer")
        busy.leaves()
        at.begun("b")
    with play(room=2) as at:
        at.loads("a", keep_alive="2h")
        at.loads("b", keep_alive=HOUR)
        # Five minutes, if it set any.
        at.answers("a")
        at.answers("c")
        assert set(at.loaded()) == {"a", "c"}


def test_who_leaves_the_queue_is_skipped(play):
    with play(room=1) as at:
        busy = at.asks("a")
        at.begun("a")
        at.asks_briefly("b")
        at.asks_briefly("c").leaves()
        at.asks_briefly("b", "last")
        busy.leaves()
        at.begun("b", "last")
        assert at.target.begun() == 2


def test_who_leaves_during_the_eviction_has_evicted_and_loads_nothing(play):
    with play(room=1) as at:
        busy = at.asks("a")
        at.begun("a")
        at.asks_briefly("b").leaves()
        busy.leaves()
        at.is_gone("a")
        assert at.answers("c").status == 200
        assert at.loaded().keys() == {"c"}


def test_a_load_ends_with_the_client_that_began_it_and_begins_anew_for_the_next(play):
    with play(room=1) as at:
        first = at.asks("a", "first")
        awaits(at.target.is_loading, "it loads")
        at.asks_briefly("a", "second")
        first.leaves()
        at.begun("second")
        assert at.target.begun() == 2


def test_a_model_that_loads_is_not_listed(play):
    with play(room=2) as at:
        at.loads("b")
        at.asks("a")
        awaits(lambda: at.target.begun() == 2, "it loads")
        assert set(at.loaded()) == {"b"}
        at.begun("a")
        assert set(at.loaded()) == {"a", "b"}


@pytest.mark.parametrize("first, second, reloads", [
    ({"num_ctx": 1024}, {"num_ctx": 1024}, False),
    ({"num_ctx": 1024}, {"num_ctx": 2048}, True),
    ({"num_ctx": 1024}, {}, True),
    ({}, {"num_ctx": 1024}, True),
    ({}, {"num_ctx": 4096}, False),
    ({"num_ctx": 4096}, {}, False),
    ({"num_ctx": 2}, {"num_ctx": 4}, False),
    ({"num_ctx": 1 << 20}, {"num_ctx": 1 << 21}, False),
    ({}, {"num_batch": 64}, True),
    ({"num_batch": 64}, {"num_batch": 64}, False),
    ({}, {"num_thread": 1}, True),
    ({}, {"draft_num_predict": 3}, True),
    ({}, {"temperature": 0.5, "top_k": 3, "seed": 7}, False),
])
def test_options_of_the_runner_reload_the_model_and_others_do_not(play, first, second, reloads):
    with play(room=1) as at:
        for options in (first, second, second):
            assert at.answers("a", options=options).status == 200
        assert (at.loaded().keys(), at.target.begun()) == ({"a"}, 2 if reloads else 1)


def test_shift_reloads_and_an_embedding_never_sets_it(play):
    with play(room=1) as at:
        assert at.answers("a", shift=False).status == 200
        assert at.answers("a", shift=False).status == 200
        assert at.target.begun() == 1
        assert at.answers("a", "/api/embed", input=[]).status == 200
        assert at.target.begun() == 2
        assert at.answers("a", shift=True).status == 200
        assert at.answers("a").status == 200
        assert at.target.begun() == 2


def test_other_options_reload_for_everybody_once_the_model_is_idle(play):
    with play(room=2, slots=2) as at:
        busy = at.asks("a")
        at.begun("a")
        at.asks_briefly("a", "longer", options={"num_ctx": 2048})
        at.asks_briefly("b")
        at.asks_briefly("a", "as before").ends()
        at.begun("as before")
        busy.leaves()
        at.begun("longer", "b")
        assert (at.loaded()["a"], at.target.begun()) == (2048, 3)


def test_a_context_longer_than_the_model_s_is_cut_to_it(play):
    with play(room=1) as at:
        own = ask(at.target.url, "/api/show", {"model": at.target.names["a"]}).json()["model_info"]
        own = next(value for name, value in own.items() if name.endswith(".context_length"))
        at.answers("a", options={"num_ctx": 10 * own})
        assert at.loaded() == {"a": own}
        at.answers("a", options={"num_ctx": own})
        assert at.target.begun() == 1


def test_openai_s_endpoint_cannot_say_a_context_and_reloads(play):
    with play(room=1) as at:
        at.answers("a", options={"num_ctx": 2048})
        answer = at.answers("a", "/v1/chat/completions", messages=[{"role": "user", "content": "why"}], max_tokens=1)
        assert answer.status == 200, answer
        assert (at.loaded(), at.target.begun()) == ({"a": 4096}, 2)


def test_a_model_runs_as_many_calls_as_it_has_slots_and_the_rest_in_order(play):
    with play(room=1, slots=2) as at:
        first, second = at.asks("a", "first"), at.asks("a", "second")
        awaits(lambda: len(at.order) == 2, "both run")
        at.order.clear()
        names = ["third", "fourth", "fifth"]
        for name in names:
            at.asks_briefly("a", name)
        assert not at.order
        first.leaves()
        at.begun(*names)
        second.leaves()


def test_the_listed_context_is_that_of_one_slot(play):
    with play(room=1, slots=3) as at:
        at.answers("a", options={"num_ctx": 1024})
        assert at.loaded() == {"a": 1024}


def test_the_time_of_a_load_includes_what_was_awaited_for_it(play):
    with play(room=1) as at:
        busy = at.asks("a")
        at.begun("a")
        cold = at.asks_briefly("b")
        began = time.monotonic_ns()
        at.asks_briefly("c")
        busy.leaves()
        held = time.monotonic_ns() - began
        assert cold.ends()["load_duration"] >= held


def test_a_load_without_a_question_only_loads(play):
    with play(room=3) as at:
        assert at.loads("a")["done_reason"] == "load"
        assert at.answers("b", messages=[]).json()["done_reason"] == "load"
        assert at.answers("embeds", "/api/embed", input=[]).json()["embeddings"] == []
        assert (at.loaded().keys(), at.target.begun()) == ({"a", "b", "embeds"}, 3)


@pytest.mark.parametrize("path, does", [("/api/generate", "generate"), ("/api/chat", "chat")])
def test_a_model_that_only_embeds_is_loaded_by_embeddings_alone(play, path, does):
    with play(room=1) as at:
        refused = at.answers("embeds", path, **({"messages": []} if does == "chat" else {}))
        assert (refused.status, f"does not support {does}" in refused.text) == (400, True), refused
        assert at.target.begun() == 0


def test_an_unload_is_answered_at_once_and_done_when_the_model_is_idle(play):
    with play(room=3) as at:
        busy = at.asks("a")
        at.begun("a")
        assert at.loads("a", keep_alive=0)["done_reason"] == "unload"
        assert at.loaded().keys() == {"a"}
        busy.leaves()
        at.is_gone("a")
        at.answers("embeds", "/api/embed", input=[])
        assert at.answers("embeds", "/api/generate", keep_alive=0).json()["done_reason"] == "unload"
        at.is_gone("embeds")
        assert at.answers("a", keep_alive=0).status == 200
        at.is_gone("a")


def test_a_shorter_keep_alive_by_an_empty_request_chooses_the_victim(play):
    with play(room=2) as at:
        at.loads("a", keep_alive=HOUR)
        at.loads("b", keep_alive=-1)
        at.loads("b", keep_alive="30m")
        assert at.answers("c").status == 200
        assert set(at.loaded()) == {"a", "c"}


def test_a_model_that_is_to_stay_for_ever_goes_last(play):
    with play(room=2) as at:
        at.loads("a", keep_alive=-1)
        at.loads("b", keep_alive="20000h")
        assert at.answers("c").status == 200
        assert set(at.loaded()) == {"a", "c"}


def test_two_names_of_one_model_share_what_is_loaded(play):
    with play(room=2) as at:
        assert at.answers("a").status == 200
        assert at.answers("twin").status == 200
        assert (at.loaded().keys(), at.target.begun()) == ({"a"}, 1)
        listed = {one["model"]: one["digest"] for one in ask(at.target.url, "/api/tags").json()["models"]}
        a, twin = (listed[f"{at.target.names[name]}:latest"] for name in ("a", "twin"))
        assert a == twin
        at.loads("twin", keep_alive=0)
        at.is_gone("a")
        assert at.answers("twin").status == 200
        assert at.loaded().keys() == {"twin"}


def test_a_model_is_evicted_between_two_calls_that_follow_each_other(play):
    with play(room=1) as at:
        busy = at.asks("a", "first")
        at.begun("first")
        at.asks_briefly("b")
        at.asks_briefly("a", "second")
        busy.leaves()
        # The second has stood in the model's own line.
        at.begun("second", "b")
        at.asks_briefly("a", "third")
        at.begun("third")
        assert at.target.begun() == 3
