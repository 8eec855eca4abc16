"""Anthropic's client for Python: messages."""

import anthropic
import pytest

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
MODEL = "llama3.1"
QUESTION = [{"role": "user", "content": "Why is the line long?"}]
ASK = {"model": MODEL, "max_tokens": 500, "messages": QUESTION}
WEATHER = {
    "name": "get_weather",
    "description": "Says how the weather is.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLOCK = {"name": "read_clock", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def client(gateway):
    return anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0)


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_message_has_all_that_the_client_reads(client):
    message = client.messages.create(**ASK)
    assert message.id.startswith("msg_") and (message.type, message.role) == ("message", "assistant")
    assert message.model == MODEL and message.stop_reason == "end_turn" and message.stop_sequence is None
    [block] = message.content
    assert block.type == "text" and block.text
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0


async def test_the_asynchronous_client_gets_the_same_answer(gateway, client):
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as own:
        message = await own.messages.create(**ASK)
        assert text_of(message) == text_of(client.messages.create(**ASK))
        async with own.messages.stream(**ASK) as stream:
            assert "".join([text async for text in stream.text_stream]) == text_of(message)


def test_a_stream_is_in_order_and_joins_to_the_whole_answer(client):
    whole = client.messages.create(**ASK)
    events = [event for event in client.messages.create(**ASK, stream=True) if event.type != "ping"]
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert "".join(event.delta.text for event in events[2:-3]) == text_of(whole)
    assert events[-2].delta.stop_reason == "end_turn"
    assert events[-2].usage.output_tokens == whole.usage.output_tokens


def test_the_stream_collector_of_the_client_gives_the_whole_message(client):
    with client.messages.stream(**ASK) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == text_of(final) != ""
    assert final.stop_reason == "end_turn" and final.usage.output_tokens > 0


def test_system_text_is_taken_as_string_and_as_blocks(client):
    plain = text_of(client.messages.create(**ASK))
    as_string = text_of(client.messages.create(**ASK, system="Be brief."))
    blocks = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert text_of(client.messages.create(**ASK, system=blocks)) == as_string != plain


def test_content_comes_in_blocks_with_pictures(client):
    def ask(*pictures):
        content = [{"type": "text", "text": "What is it?"}, *pictures]
        return text_of(client.messages.create(**{**ASK, "messages": [{"role": "user", "content": content}]}))

    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
    assert ask(picture) != ask()


def test_max_tokens_cuts_the_answer(client):
    message = client.messages.create(**{**ASK, "max_tokens": 4})
    assert message.stop_reason == "max_tokens" and message.usage.output_tokens == 4


def test_a_stop_sequence_ends_the_answer_and_is_left_out(client):
    message = client.messages.create(**ASK, stop_sequences=["zzz", "."])
    assert text_of(message) and "." not in text_of(message)
    # Ollama does not say which string it stopped at, or whether it was one.
    assert message.stop_reason in ("end_turn", "stop_sequence")


def test_a_tool_is_used_and_its_result_is_taken(client):
    messages = [{"role": "user", "content": "get_weather 'Oslo'"}]
    asked = client.messages.create(**{**ASK, "messages": messages}, tools=[WEATHER])
    assert asked.stop_reason == "tool_use"
    [use] = asked.content
    assert (use.type, use.name, use.input) == ("tool_use", "get_weather", {"city": "Oslo"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "Rain."}]}
    messages += [{"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(**{**ASK, "messages": messages}, tools=[WEATHER])
    assert answer.stop_reason == "end_turn" and text_of(answer)


def test_two_tools_are_used_at_once_and_streamed_apart(client):
    messages = [{"role": "user", "content": "get_weather 'Oslo' and read_clock"}]
    with client.messages.stream(**{**ASK, "messages": messages}, tools=[WEATHER, CLOCK]) as stream:
        final = stream.get_final_message()
    assert [(use.name, use.input) for use in final.content] == [("get_weather", {"city": "Oslo"}), ("read_clock", {})]
    assert len({use.id for use in final.content}) == 2
    assert final.stop_reason == "tool_use"


def test_tool_choice_none_offers_none_and_a_named_tool_only_that(client):
    ask = {**ASK, "messages": [{"role": "user", "content": "get_weather and read_clock"}], "tools": [WEATHER, CLOCK]}

    def names(choice):
        message = client.messages.create(**ask, tool_choice=choice)
        return [block.name for block in message.content if block.type == "tool_use"]

    assert names({"type": "none"}) == []
    assert names({"type": "auto"}) == ["get_weather", "read_clock"]
    assert names({"type": "tool", "name": "read_clock"}) == ["read_clock"]


def test_thinking_is_a_block_of_its_own_and_may_be_sent_back(client):
    ask = {"model": "qwen3", "max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    message = client.messages.create(**ask, messages=QUESTION)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking
    with client.messages.stream(**ask, messages=QUESTION) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.content[0].thinking == message.content[0].thinking
    turns = [*QUESTION, {"role": "assistant", "content": message.content}, {"role": "user", "content": "And then?"}]
    assert text_of(client.messages.create(**ask, messages=turns))
    quiet = client.messages.create(**{**ask, "thinking": {"type": "disabled"}}, messages=QUESTION)
    assert [block.type for block in quiet.content] == ["text"]


def test_a_key_in_the_older_header_is_accepted(gateway):
    own = anthropic.Anthropic(base_url=gateway.url, auth_token="ignored", max_retries=0)
    headers = {"x-api-key": gateway.key, "anthropic-version": "2023-06-01"}
    assert text_of(own.messages.create(**ASK, extra_headers=headers, extra_body={"temperature": 0.3}))


def refused(client, kind, **request):
    with pytest.raises(kind) as caught:
        client.messages.create(**{**ASK, **request})
    error = caught.value
    assert error.body["request_id"] and error.body["type"] == "error" and error.body["error"]["message"], error.body
    return error


def test_failures_arrive_as_the_exceptions_that_clients_catch(client, gateway):
    assert refused(client, anthropic.NotFoundError, model="no-such-model").body["error"]["type"] == "not_found_error"
    stranger = client.with_options(api_key="sk-wrong")
    assert refused(stranger, anthropic.AuthenticationError).body["error"]["type"] == "authentication_error"
    narrow = client.with_options(api_key=gateway.narrow_key)
    assert refused(narrow, anthropic.PermissionDeniedError).body["error"]["type"] == "permission_error"
    refused(client, anthropic.BadRequestError, messages=[])
    refused(client, anthropic.BadRequestError, messages=[{"role": "nobody", "content": "x"}])
    large = [{"role": "user", "content": "x" * (gateway.max_body + 1)}]
    assert refused(client, anthropic.APIStatusError, messages=large).status_code == 413
    busy = refused(client, anthropic.RateLimitError, model="fail-429")
    assert busy.body["error"]["type"] == "rate_limit_error" and busy.response.headers["retry-after"]
    assert refused(client, anthropic.InternalServerError, model="fail-500").status_code == 502
    # Anthropic's own status for "come back later".
    later = refused(client, anthropic.APIStatusError, model="fail-503")
    assert later.status_code == 529 and later.body["error"]["type"] == "overloaded_error"
    assert later.response.headers["retry-after"]


@pytest.mark.parametrize("model", ["fail-cut", "fail-late"])
def test_a_stream_that_dies_raises_instead_of_ending(client, model):
    # Where the failure arrives together with the first piece, there is no stream to begin with.
    with pytest.raises(anthropic.APIError):
        with client.messages.stream(**{**ASK, "model": model}) as stream:
            for _ in stream.text_stream:
                pass
