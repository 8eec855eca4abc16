"""OpenAI's client for Python: the Responses API."""

import json

import openai
import pydantic
import pytest

MODEL = "llama3.1"
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
    },
    "strict": True,
}


class Place(pydantic.BaseModel):
    city: str
    population: int


@pytest.fixture(scope="module")
def client(gateway):
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)


def test_a_response_has_all_that_the_client_reads(client):
    answer = client.responses.create(model=MODEL, input="Why?", instructions="Be brief.")
    assert answer.id.startswith("resp_") and answer.object == "response" and answer.status == "completed"
    assert answer.error is None and answer.incomplete_details is None
    [message] = answer.output
    assert (message.type, message.role, message.status) == ("message", "assistant", "completed")
    assert answer.output_text == message.content[0].text != ""
    usage = answer.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens_details.cached_tokens == 0 and usage.output_tokens_details.reasoning_tokens == 0


def test_a_stream_is_in_order_and_joins_to_the_whole_answer(client):
    whole = client.responses.create(model=MODEL, input="Why?")
    events = list(client.responses.create(model=MODEL, input="Why?", stream=True))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events[4:-4]) == whole.output_text
    assert events[-1].response.output_text == whole.output_text
    assert events[-1].response.usage == whole.usage


def test_the_stream_collector_of_the_client_is_content(client):
    with client.responses.stream(model=MODEL, input="Why?") as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert "response.completed" in kinds and final.output_text


async def test_the_asynchronous_client_streams(gateway):
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        stream = await client.responses.create(model=MODEL, input="Why?", stream=True)
        kinds = [event.type async for event in stream]
    assert kinds[-1] == "response.completed"


def test_a_tool_is_called_and_its_result_is_taken(client):
    turns = [{"role": "user", "content": "get_weather 'Oslo'"}]
    asked = client.responses.create(model=MODEL, input=turns, tools=[WEATHER])
    [call] = asked.output
    assert (call.type, call.name, call.status) == ("function_call", "get_weather", "completed")
    assert json.loads(call.arguments) == {"city": "Oslo"}
    turns += [call.to_dict(), {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}]
    answer = client.responses.create(model=MODEL, input=turns, tools=[WEATHER])
    assert answer.status == "completed" and answer.output_text


def test_a_streamed_tool_call_is_collected(client):
    with client.responses.stream(model=MODEL, input="get_weather 'Oslo'", tools=[WEATHER]) as stream:
        kinds = [event.type for event in stream]
        [call] = stream.get_final_response().output
    assert kinds.index("response.output_item.added") < kinds.index("response.function_call_arguments.delta")
    assert kinds.index("response.function_call_arguments.done") < kinds.index("response.output_item.done")
    assert json.loads(call.arguments) == {"city": "Oslo"}


def test_structured_output_is_parsed_into_the_class_asked_for(client):
    answer = client.responses.parse(model=MODEL, input="Where?", text_format=Place)
    assert isinstance(answer.output_parsed, Place)
    with client.responses.stream(model=MODEL, input="Where?", text_format=Place) as stream:
        assert stream.get_final_response().output_parsed == answer.output_parsed


def test_an_answer_cut_short_is_incomplete(client):
    answer = client.responses.create(model=MODEL, input="Why?", max_output_tokens=16)
    assert answer.status == "incomplete" and answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage.output_tokens == 16
    *_, last = client.responses.create(model=MODEL, input="Why?", max_output_tokens=16, stream=True)
    assert last.type == "response.incomplete"


def test_reasoning_is_an_item_of_its_own(client):
    answer = client.responses.create(model="qwen3", input="Why?", reasoning={"effort": "low", "summary": "auto"})
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    # What was answered is what an agent sends back.
    turns = [{"role": "user", "content": "Why?"}, *(item.to_dict() for item in answer.output)]
    again = client.responses.create(model="qwen3", input=[*turns, {"role": "user", "content": "And then?"}])
    assert again.output_text
    with client.responses.stream(model="qwen3", input="Why?", reasoning={"effort": "low", "summary": "auto"}) as stream:
        final = stream.get_final_response()
    assert [item.type for item in final.output] == ["reasoning", "message"]


def test_a_response_that_is_not_remembered_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model=MODEL, input="Why?", previous_response_id="resp_1")
    assert "store: false" in caught.value.message


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model="no-such-model", input="Why?")
    assert caught.value.code == "model_not_found"


def test_a_stream_that_dies_says_that_the_response_failed_and_is_cut(client):
    events = []
    # Who reads the events is told by the last one; who does not look is stopped by the end of the connection.
    with pytest.raises(openai.APIConnectionError):
        for event in client.responses.create(model="fail-cut", input="Why?", stream=True):
            events.append(event)
    last = events[-1]
    assert last.type == "response.failed" and last.response.status == "failed" and last.response.error.message
