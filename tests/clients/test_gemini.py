"""Google's client for Python: google-genai."""

import base64
import json

import pydantic
import pytest
from google import genai
from google.genai import errors, types

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
MODEL = "llama3.1"
EMBEDDER = "nomic-embed-text"
QUESTION = "Why is the line long?"


class Place(pydantic.BaseModel):
    city: str
    population: int


def get_weather(city: str) -> str:
    """Say how the weather is.

    Args:
        city: where
    """
    return f"rain in {city}"


def client_with(gateway, key):
    # Newer versions ask below /v1 unless they are told otherwise.
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=gateway.url, api_version="v1beta"))


@pytest.fixture(scope="module")
def client(gateway):
    return client_with(gateway, gateway.key)


def by_hand(**more):
    switch = types.AutomaticFunctionCallingConfig(disable=True)
    return types.GenerateContentConfig(tools=[get_weather], automatic_function_calling=switch, **more)


def test_an_answer_has_all_that_the_client_reads(client):
    answer = client.models.generate_content(model=MODEL, contents=QUESTION)
    assert answer.text and answer.model_version == MODEL and answer.response_id
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    usage = answer.usage_metadata
    assert usage.prompt_token_count > 0 and usage.candidates_token_count > 0
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count


def test_a_streamed_answer_joins_to_the_whole_one(client):
    whole = client.models.generate_content(model=MODEL, contents=QUESTION)
    pieces = list(client.models.generate_content_stream(model=MODEL, contents=QUESTION))
    assert "".join(piece.text or "" for piece in pieces) == whole.text
    assert len(pieces) > 5 and not any(piece.candidates[0].finish_reason for piece in pieces[:-1])
    assert pieces[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert pieces[-1].usage_metadata == whole.usage_metadata


async def test_the_asynchronous_client_gets_the_same_answer(client):
    whole = client.models.generate_content(model=MODEL, contents=QUESTION)
    assert (await client.aio.models.generate_content(model=MODEL, contents=QUESTION)).text == whole.text
    stream = await client.aio.models.generate_content_stream(model=MODEL, contents=QUESTION)
    assert "".join([piece.text or "" async for piece in stream]) == whole.text


def test_settings_are_passed_on(client):
    cut = client.models.generate_content(
        model=MODEL, contents=QUESTION,
        config=types.GenerateContentConfig(max_output_tokens=4, temperature=0.1, top_k=3, system_instruction="Be brief."),
    )
    assert cut.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert cut.usage_metadata.candidates_token_count == 4
    stopped = client.models.generate_content(
        model=MODEL, contents=QUESTION, config=types.GenerateContentConfig(stop_sequences=["."]),
    )
    assert stopped.text and "." not in stopped.text


def test_a_function_is_called_by_the_client_itself(client):
    answer = client.models.generate_content(
        model=MODEL, contents="get_weather 'Oslo'", config=types.GenerateContentConfig(tools=[get_weather]),
    )
    asked, result = answer.automatic_function_calling_history[1:3]
    assert asked.parts[-1].function_call.args == {"city": "Oslo"}
    assert result.parts[0].function_response.response == {"result": "rain in Oslo"}
    assert answer.text


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_comes_whole_with_an_id(client, stream):
    ask = client.models.generate_content_stream if stream else client.models.generate_content
    answer = ask(model=MODEL, contents="get_weather 'Oslo'", config=by_hand())
    calls = [call for piece in (answer if stream else [answer]) for call in piece.function_calls or []]
    assert [(call.name, call.args) for call in calls] == [("get_weather", {"city": "Oslo"})] and calls[0].id


def test_a_conversation_goes_on_after_streams(client):
    chat = client.chats.create(model=MODEL)
    first = "".join(piece.text or "" for piece in chat.send_message_stream(QUESTION))
    assert first and chat.send_message("And now?").text
    assert [content.role for content in chat.get_history(curated=True)][-2:] == ["user", "model"]
    said = [content for content in chat.get_history(curated=True) if content.role == "model"]
    assert "".join(part.text or "" for content in said[:-1] for part in content.parts) == first


def test_a_schema_shapes_the_answer(client):
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Place)
    answer = client.models.generate_content(model=MODEL, contents=QUESTION, config=config)
    assert isinstance(answer.parsed, Place)
    config = types.GenerateContentConfig(
        response_mime_type="application/json", response_json_schema=Place.model_json_schema(),
    )
    assert Place.model_validate_json(client.models.generate_content(model=MODEL, contents=QUESTION, config=config).text)
    config = types.GenerateContentConfig(response_mime_type="application/json")
    answer = client.models.generate_content(model=MODEL, contents=QUESTION, config=config)
    assert isinstance(json.loads(answer.text), dict)


def test_a_picture_changes_the_answer(client):
    shown = [types.Part.from_bytes(data=PICTURE, mime_type="image/png"), "What is it?"]
    plain = client.models.generate_content(model=MODEL, contents="What is it?")
    assert client.models.generate_content(model=MODEL, contents=shown).text != plain.text


def test_thoughts_are_kept_apart_and_shown_to_those_who_ask(client):
    def thought(answers):
        parts = [part for answer in answers for part in answer.candidates[0].content.parts]
        return "".join(part.text or "" for part in parts if part.thought), "".join(answer.text or "" for answer in answers)

    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    whole = client.models.generate_content(model="qwen3", contents=QUESTION, config=config)
    pieces = list(client.models.generate_content_stream(model="qwen3", contents=QUESTION, config=config))
    assert all(thought([whole])) and thought([whole]) == thought(pieces)
    quiet = client.models.generate_content(model="qwen3", contents=QUESTION)
    assert quiet.text and not thought([quiet])[0]
    off = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(thinking_budget=0, include_thoughts=True))
    assert not thought([client.models.generate_content(model="qwen3", contents=QUESTION, config=off)])[0]


def test_texts_are_embedded_and_tokens_counted(client):
    texts = ["a long line", "a short line", "a long line"]
    several = client.models.embed_content(model=EMBEDDER, contents=texts).embeddings
    assert len(several) == 3 and several[0].values == several[2].values != several[1].values
    [one] = client.models.embed_content(model=EMBEDDER, contents=texts[0]).embeddings
    assert one.values == several[0].values
    short = client.models.count_tokens(model=MODEL, contents="Hello").total_tokens
    assert 0 < short < client.models.count_tokens(model=MODEL, contents="Hello " * 50).total_tokens


def test_models_are_listed_and_found(client, gateway):
    listed = {model.name: model for model in client.models.list()}
    name = next(name for name in listed if name.startswith(f"models/{MODEL}"))
    assert "generateContent" in listed[name].supported_actions
    assert client.models.get(model=name) == listed[name]
    narrow = client_with(gateway, gateway.narrow_key)
    assert [model.name.split(":")[0] for model in narrow.models.list()] == ["models/mistral"]


def failed(call, kind, code, status):
    with pytest.raises(kind) as caught:
        call()
    assert (caught.value.code, caught.value.status) == (code, status) and caught.value.message


def test_failures_are_errors_with_code_status_and_words(client, gateway):
    def ask(model, by=client, **more):
        return lambda: by.models.generate_content(model=model, contents=QUESTION, **more)

    failed(ask("no-such-model"), errors.ClientError, 404, "NOT_FOUND")
    failed(ask("fail-429"), errors.ClientError, 429, "RESOURCE_EXHAUSTED")
    failed(ask("fail-500"), errors.ServerError, 502, "UNAVAILABLE")
    failed(ask("fail-503"), errors.ServerError, 503, "UNAVAILABLE")
    several = types.GenerateContentConfig(candidate_count=2)
    failed(ask(MODEL, config=several), errors.ClientError, 400, "INVALID_ARGUMENT")
    failed(ask(MODEL, client_with(gateway, "sk-wrong")), errors.ClientError, 401, "UNAUTHENTICATED")
    failed(ask(MODEL, client_with(gateway, gateway.narrow_key)), errors.ClientError, 403, "PERMISSION_DENIED")
    failed(lambda: client.models.get(model="no-such-model"), errors.ClientError, 404, "NOT_FOUND")


@pytest.mark.parametrize("model", ["fail-cut", "fail-late"])
def test_a_stream_that_dies_raises_instead_of_ending(client, model):
    with pytest.raises(errors.ServerError) as caught:
        for piece in client.models.generate_content_stream(model=model, contents=QUESTION):
            assert not piece.candidates[0].finish_reason
    assert caught.value.code == 502
