"""Ollama's client for Python: chat and generate."""

import base64
import json

import ollama
import pydantic
import pytest

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
MODEL = "llama3.1"
QUESTION = [{"role": "user", "content": "Why is the line long?"}]


class Place(pydantic.BaseModel):
    city: str
    population: int


def get_weather(city: str) -> str:
    """Say how the weather is.

    Args:
        city: where

    Returns:
        str: the weather
    """
    return f"rain in {city}"


def headers(key):
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def client(gateway):
    return ollama.Client(host=gateway.url, headers=headers(gateway.key))


def test_a_chat_has_all_that_the_client_reads(client):
    answer = client.chat(MODEL, QUESTION)
    assert answer.model == MODEL and answer.created_at and answer.done and answer.done_reason == "stop"
    assert answer.message.role == "assistant" and answer.message.content
    assert answer.message.thinking is None and answer.message.tool_calls is None
    assert answer.prompt_eval_count > 0 and answer.eval_count > 0
    for duration in (answer.total_duration, answer.eval_duration):
        assert isinstance(duration, int) and duration > 0


def test_a_streamed_chat_joins_to_the_whole_answer(client):
    whole = client.chat(MODEL, QUESTION)
    *pieces, last = client.chat(MODEL, QUESTION, stream=True)
    assert "".join(piece.message.content for piece in pieces) == whole.message.content
    assert len(pieces) > 5 and not any(piece.done for piece in pieces)
    assert last.done and last.done_reason == "stop" and last.eval_count == whole.eval_count


async def test_the_asynchronous_client_gets_the_same_answer(gateway, client):
    whole = client.chat(MODEL, QUESTION)
    own = ollama.AsyncClient(host=gateway.url, headers=headers(gateway.key))
    assert (await own.chat(MODEL, QUESTION)).message.content == whole.message.content
    stream = await own.chat(MODEL, QUESTION, stream=True)
    assert "".join([piece.message.content async for piece in stream]) == whole.message.content


def test_generate_is_answered_whole_and_in_pieces(client):
    whole = client.generate(MODEL, "Why?", system="Be brief.")
    assert whole.response and whole.done and whole.done_reason == "stop" and whole.eval_count > 0
    *pieces, last = client.generate(MODEL, "Why?", system="Be brief.", stream=True)
    assert "".join(piece.response for piece in pieces) == whole.response
    assert last.done and last.eval_count == whole.eval_count


def test_options_are_passed_on(client):
    cut = client.chat(MODEL, QUESTION, options={"num_predict": 4, "temperature": 0.1, "num_ctx": 8192, "top_k": 3})
    assert (cut.done_reason, cut.eval_count) == ("length", 4)
    stopped = client.generate(MODEL, "Why?", options=ollama.Options(stop=["."]))
    assert stopped.response and "." not in stopped.response
    assert client.chat(MODEL, QUESTION, options={"seed": 5}).message.content != client.chat(MODEL, QUESTION).message.content


def test_a_function_is_a_tool_and_its_result_is_taken(client):
    messages = [{"role": "user", "content": "get_weather 'Oslo'"}]
    asked = client.chat(MODEL, messages, tools=[get_weather])
    [call] = asked.message.tool_calls
    assert call.function.name == "get_weather" and call.function.arguments == {"city": "Oslo"}
    result = get_weather(**call.function.arguments)
    messages += [asked.message, {"role": "tool", "tool_name": "get_weather", "content": result}]
    answer = client.chat(MODEL, messages, tools=[get_weather])
    assert answer.message.content and not answer.message.tool_calls


def test_a_streamed_tool_call_comes_whole(client):
    pieces = list(client.chat(MODEL, [{"role": "user", "content": "get_weather 'Oslo'"}], tools=[get_weather], stream=True))
    calls = [call for piece in pieces for call in piece.message.tool_calls or []]
    assert [call.function.arguments for call in calls] == [{"city": "Oslo"}]


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_shapes_the_content(client, stream):
    answer = client.chat(MODEL, QUESTION, format=Place.model_json_schema(), stream=stream)
    pieces = answer if stream else [answer]
    assert Place.model_validate_json("".join(piece.message.content for piece in pieces))


def test_json_mode_answers_an_object(client):
    assert isinstance(json.loads(client.generate(MODEL, "Why?", format="json").response), dict)


def test_a_picture_changes_the_answer(client):
    plain = client.chat(MODEL, [{"role": "user", "content": "What is it?"}])
    shown = client.chat(MODEL, [{"role": "user", "content": "What is it?", "images": [PICTURE]}])
    assert shown.message.content != plain.message.content
    assert client.generate(MODEL, "What?", images=[PICTURE]).response != client.generate(MODEL, "What?").response


def test_thinking_is_kept_apart_and_can_be_switched_off(client):
    answer = client.chat("qwen3", QUESTION, think=True)
    assert answer.message.thinking and answer.message.content
    pieces = list(client.chat("qwen3", QUESTION, think=True, stream=True))
    assert "".join(piece.message.thinking or "" for piece in pieces) == answer.message.thinking
    assert "".join(piece.message.content or "" for piece in pieces) == answer.message.content
    assert client.chat("qwen3", QUESTION, think=False).message.thinking is None
    assert client.generate("qwen3", "Why?", think="low").thinking


def test_an_empty_question_loads_the_model_or_unloads_it(client):
    loaded = client.chat(MODEL, [])
    assert loaded.done and loaded.done_reason == "load" and loaded.message.content == ""
    assert client.generate(MODEL, "").done_reason == "load"
    assert client.generate("mistral", "", keep_alive=0).done_reason == "unload"


def failed(call, status):
    with pytest.raises(ollama.ResponseError) as caught:
        call()
    error = caught.value
    assert error.status_code == status and error.error, error
    # The client takes the text from the envelope; otherwise it would show the whole body.
    assert not error.error.startswith("{"), error.error
    return error


def test_failures_are_response_errors_with_status_and_words(client, gateway):
    assert "no-such-model" in failed(lambda: client.chat("no-such-model", QUESTION), 404).error
    failed(lambda: client.generate("no-such-model", "Why?"), 404)
    failed(lambda: client.chat("fail-429", QUESTION), 429)
    failed(lambda: client.chat("fail-500", QUESTION), 502)
    failed(lambda: client.chat("fail-503", QUESTION), 503)
    failed(lambda: client.chat("codellama", QUESTION, tools=[get_weather]), 400)
    stranger = ollama.Client(host=gateway.url, headers=headers("sk-wrong"))
    failed(lambda: stranger.chat(MODEL, QUESTION), 401)
    narrow = ollama.Client(host=gateway.url, headers=headers(gateway.narrow_key))
    failed(lambda: narrow.chat(MODEL, QUESTION), 403)
    failed(lambda: client.generate(MODEL, "x" * (gateway.max_body + 1)), 413)


@pytest.mark.parametrize("model", ["fail-cut", "fail-late"])
def test_a_stream_that_dies_raises_instead_of_ending(client, model):
    with pytest.raises(ollama.ResponseError):
        for piece in client.generate(model, "Why?", stream=True):
            assert not piece.done
