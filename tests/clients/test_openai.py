"""OpenAI's client for Python: chat completions and legacy completions."""

import json

import openai
import pydantic
import pytest

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJg"
    "gg=="
)
MODEL = "llama3.1"
QUESTION = [{"role": "user", "content": "Why is the line long?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Says how the weather is.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "read_clock"}}


class Place(pydantic.BaseModel):
    city: str
    population: int
    twinned_with: list[str]


@pytest.fixture(scope="module")
def client(gateway):
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)


@pytest.fixture(scope="module")
def async_client(gateway):
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)


def joined(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_completion_has_all_that_the_client_reads(client):
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert answer.id and answer.object == "chat.completion" and answer.created > 1_700_000_000
    assert answer.model == MODEL
    [choice] = answer.choices
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "stop", "assistant")
    assert choice.message.content and choice.message.tool_calls is None
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert answer._request_id


async def test_the_asynchronous_client_gets_the_same_answer(client, async_client):
    answer = await async_client.chat.completions.create(model=MODEL, messages=QUESTION)
    same = client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert answer.choices[0].message.content == same.choices[0].message.content


def test_a_stream_joins_to_the_whole_answer(client):
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION)
    chunks = list(client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True))
    assert joined(chunks) == whole.choices[0].message.content
    assert len(chunks) > 5
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].delta.role for chunk in chunks if chunk.choices[0].delta.role] == ["assistant"]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    # Without being asked for, usage would come in a chunk without choices, which naive clients trip over.
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_an_asynchronous_stream_joins_to_the_whole_answer(client, async_client):
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION)
    stream = await async_client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
    assert joined([chunk async for chunk in stream]) == whole.choices[0].message.content


def test_usage_comes_last_in_a_stream_when_asked_for(client):
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION)
    options = {"include_usage": True}
    stream = client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True, stream_options=options)
    *chunks, last = stream
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert last.choices == []
    assert last.usage.completion_tokens == whole.usage.completion_tokens
    assert last.usage.total_tokens == whole.usage.total_tokens


def test_the_stream_collector_of_the_client_is_content(client):
    with client.chat.completions.stream(model=MODEL, messages=QUESTION) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.role == "assistant" and final.choices[0].finish_reason == "stop"


def test_max_tokens_by_either_name_cuts_the_answer(client):
    for name in ("max_tokens", "max_completion_tokens"):
        answer = client.chat.completions.create(model=MODEL, messages=QUESTION, **{name: 4})
        assert answer.choices[0].finish_reason == "length", name
        assert answer.usage.completion_tokens == 4, name


def test_a_stop_string_ends_the_answer_and_is_left_out(client):
    for stop in (".", ["zzz", "."]):
        answer = client.chat.completions.create(model=MODEL, messages=QUESTION, stop=stop)
        assert answer.choices[0].message.content and "." not in answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"


def test_the_usual_parameters_are_taken(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0.2, top_p=0.9, seed=7, presence_penalty=0.1, frequency_penalty=0.1,
        n=1, user="somebody", metadata={"a": "b"}, store=False,
    )
    assert answer.choices[0].message.content


def test_content_comes_in_parts_and_in_every_role(client):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be polite."}]},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "user", "content": "Again"},
    ]
    assert client.chat.completions.create(model=MODEL, messages=messages).choices[0].message.content


def test_a_picture_changes_the_answer(client):
    def ask(*pictures):
        content = [{"type": "text", "text": "What is it?"}, *pictures]
        answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
        return answer.choices[0].message.content

    assert ask({"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}) != ask()


def test_a_tool_is_called_and_its_result_is_taken(client):
    messages = [{"role": "user", "content": "Use get_weather for 'Oslo'."}]
    asked = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    [choice] = asked.choices
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert call.id and (call.type, call.function.name) == ("function", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    messages += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "Rain."}]
    answer = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    assert answer.choices[0].finish_reason == "stop" and answer.choices[0].message.content


def test_two_tools_are_called_at_once_and_streamed_apart(client):
    messages = [{"role": "user", "content": "get_weather and read_clock"}]
    tools = [WEATHER, CLOCK]
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=tools) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather", "read_clock"]
    assert len({call.id for call in calls}) == 2
    assert json.loads(calls[1].function.arguments) == {}
    assert final.choices[0].finish_reason == "tool_calls"


def test_tool_choice_none_offers_none_and_a_named_tool_only_that(client):
    messages = [{"role": "user", "content": "get_weather and read_clock"}]

    def names(choice):
        answer = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER, CLOCK], tool_choice=choice)
        return [call.function.name for call in answer.choices[0].message.tool_calls or []]

    assert names("none") == []
    assert names("auto") == ["get_weather", "read_clock"]
    assert names({"type": "function", "function": {"name": "read_clock"}}) == ["read_clock"]


def test_structured_output_is_parsed_into_the_class_asked_for(client):
    answer = client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Place)
    assert isinstance(answer.choices[0].message.parsed, Place)
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, response_format=Place) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == answer.choices[0].message.parsed


def test_parsed_tools_have_arguments_of_their_class(client):
    tool = openai.pydantic_function_tool(Place, name="find_place")
    messages = [{"role": "user", "content": "find_place 'Oslo' 700000"}]
    answer = client.chat.completions.parse(model=MODEL, messages=messages, tools=[tool])
    [call] = answer.choices[0].message.tool_calls
    assert call.function.parsed_arguments == Place(city="Oslo", population=700_000, twinned_with=[])


def test_json_mode_answers_an_object(client):
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_reasoning_stands_beside_the_content(client):
    answer = client.chat.completions.create(model="qwen3", messages=QUESTION)
    message = answer.choices[0].message
    assert message.content and message.reasoning_content and message.reasoning_content not in message.content
    quiet = client.chat.completions.create(model="qwen3", messages=QUESTION, reasoning_effort="none")
    assert getattr(quiet.choices[0].message, "reasoning_content", None) is None


def test_a_legacy_completion_is_answered_whole_and_in_pieces(client):
    whole = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=12)
    assert whole.object == "text_completion" and whole.choices[0].text
    assert whole.choices[0].finish_reason == "length" and whole.usage.completion_tokens == 12
    stream = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=12, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == whole.choices[0].text


def test_raw_answers_say_who_answered_and_how(client):
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
    assert raw.headers["x-gateway-provider"] == "ollama"
    assert raw.headers["x-gateway-attempts"] == "1"
    assert raw.headers["x-request-id"]
    assert raw.parse().choices
