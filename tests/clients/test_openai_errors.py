"""OpenAI's client for Python: every failure arrives as the exception that clients catch."""

import openai
import pytest

QUESTION = [{"role": "user", "content": "Why?"}]


@pytest.fixture(scope="module")
def client(gateway):
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)


def refused(client, kind, **request):
    """The exception that a request is refused with; what all have in common is checked here."""
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**{"model": "llama3.1", "messages": QUESTION, **request})
    error = caught.value
    assert type(error) is kind
    assert error.request_id
    assert isinstance(error.body, dict) and error.body["message"], error.body
    assert {"message", "type", "param", "code"} <= error.body.keys()
    return error


def test_an_unknown_model_is_not_found(client):
    error = refused(client, openai.NotFoundError, model="no-such-model")
    assert error.code == "model_not_found" and "no-such-model" in error.message


def test_a_wrong_key_is_an_authentication_error(client):
    error = refused(client.with_options(api_key="sk-wrong"), openai.AuthenticationError)
    assert error.code == "invalid_api_key" and "sk-wrong" not in error.message


def test_a_model_out_of_a_keys_reach_is_denied(client, gateway):
    narrow = client.with_options(api_key=gateway.narrow_key)
    assert narrow.chat.completions.create(model="mistral", messages=QUESTION).choices
    assert refused(narrow, openai.PermissionDeniedError).code == "not_allowed"


def test_a_key_that_has_used_its_requests_is_a_rate_limit_error_that_says_where_it_stands(client, gateway):
    limited = client.with_options(api_key=gateway.limited_key)
    question = {"model": "llama3.1", "messages": QUESTION, "max_tokens": 5}
    for left in ["1", "0"]:
        answer = limited.chat.completions.with_raw_response.create(**question)
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == left
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) < int(answer.headers["x-ratelimit-limit-tokens"])
        assert answer.parse().choices
    error = refused(limited, openai.RateLimitError)
    assert (error.code, error.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert "has used its requests" in error.message
    headers = error.response.headers
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"].endswith("s")
    assert 1 <= int(headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": []},
        {"messages": "hello"},
        {"temperature": "hot"},
        {"n": 2},
        {"stream_options": {"include_usage": True}},
        {"model": ""},
        {"tools": [{"type": "function"}]},
    ],
    ids=str,
)
def test_a_wrong_request_is_a_bad_request(client, wrong):
    error = refused(client, openai.BadRequestError, **wrong)
    assert error.type == "invalid_request_error"


@pytest.mark.parametrize(
    "odd",
    [
        {"messages": [{"role": "nobody", "content": "x"}]},
        {"temperature": 3},
        {"max_tokens": -1},
    ],
    ids=str,
)
def test_what_is_the_providers_to_judge_is_left_to_it(client, odd):
    request = {"model": "llama3.1", "messages": QUESTION, **odd}
    assert client.chat.completions.create(**request).choices[0].message.content


def test_a_body_too_large_is_413(client, gateway):
    large = [{"role": "user", "content": "x" * (gateway.max_body + 1)}]
    error = refused(client, openai.APIStatusError, messages=large)
    assert error.status_code == 413


def test_a_busy_provider_is_a_rate_limit_with_retry_after(client):
    error = refused(client, openai.RateLimitError, model="fail-429")
    assert 1 <= int(error.response.headers["retry-after"]) <= 60


@pytest.mark.parametrize(("model", "status"), [("fail-503", 503), ("fail-500", 502), ("fail-401", 502)])
def test_a_failing_provider_is_a_server_error(client, model, status):
    error = refused(client, openai.InternalServerError, model=model)
    assert error.status_code == status
    if status == 503:
        assert 1 <= int(error.response.headers["retry-after"]) <= 60


@pytest.mark.parametrize("model", ["fail-cut", "fail-late"])
def test_a_stream_that_dies_raises_instead_of_ending(client, model):
    # Where the failure arrives together with the first piece, there is no stream to begin with.
    with pytest.raises(openai.APIError):
        for chunk in client.chat.completions.create(model=model, messages=QUESTION, stream=True):
            assert chunk.choices[0].finish_reason is None


@pytest.mark.parametrize("model", ["fail-cut", "fail-late"])
def test_a_whole_answer_that_dies_is_a_bad_gateway(client, model):
    assert refused(client, openai.InternalServerError, model=model).status_code == 502
