"""Everything but chat that clients ask for: models, embeddings, token counts, and what they find where nothing is."""

import asyncio
import json
import math
import urllib.request

import anthropic
import ollama
import openai
import pytest
from langchain_ollama import OllamaEmbeddings
from langchain_openai import OpenAIEmbeddings

from running import PATIENCE

MODEL = "llama3.1"
EMBEDDER = "nomic-embed-text"
TEXTS = ["a long line", "a short line", "a long line"]
# The clients go through single precision.
NEAR = 1e-6


@pytest.fixture(scope="module")
def by_openai(gateway):
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)


@pytest.fixture(scope="module")
def by_anthropic(gateway):
    return anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0)


@pytest.fixture(scope="module")
def by_ollama(gateway):
    return ollama.Client(host=gateway.url, headers={"authorization": f"Bearer {gateway.key}"})


def test_openais_client_lists_and_finds_models(by_openai):
    models = list(by_openai.models.list())
    assert all(model.id and model.object == "model" and isinstance(model.created, int) and model.owned_by for model in models)
    listed = models[0].id
    assert by_openai.models.retrieve(listed).id == listed
    with pytest.raises(openai.NotFoundError) as caught:
        by_openai.models.retrieve("no-such-model/of:anybody")
    assert caught.value.code == "model_not_found"


def test_a_narrow_key_lists_only_what_it_may_use(by_openai, gateway):
    narrow = by_openai.with_options(api_key=gateway.narrow_key)
    assert {model.id.split(":")[0] for model in narrow.models.list()} == {"mistral"}


def test_openais_client_gets_the_same_embeddings_in_every_encoding(by_openai):
    # Not saying which, the client asks for base64 and decodes it.
    implicit = by_openai.embeddings.create(model=EMBEDDER, input=TEXTS)
    assert [item.index for item in implicit.data] == [0, 1, 2]
    assert implicit.usage.prompt_tokens > 0 and implicit.usage.total_tokens >= implicit.usage.prompt_tokens
    floats = by_openai.embeddings.create(model=EMBEDDER, input=TEXTS, encoding_format="float")
    for one, other in zip(implicit.data, floats.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=NEAR)
    assert floats.data[0].embedding == floats.data[2].embedding != floats.data[1].embedding
    assert math.hypot(*floats.data[0].embedding) == pytest.approx(1, abs=1e-3)
    [single] = by_openai.embeddings.create(model=EMBEDDER, input=TEXTS[0]).data
    assert single.embedding == pytest.approx(floats.data[0].embedding, abs=NEAR)


def test_embeddings_that_cannot_be_had_are_bad_requests(by_openai):
    for wrong in ([], "", [[1, 2, 3]]):
        with pytest.raises(openai.BadRequestError):
            by_openai.embeddings.create(model=EMBEDDER, input=wrong)
    with pytest.raises(openai.NotFoundError):
        by_openai.embeddings.create(model="no-such-model", input="x")


def test_langchains_embeddings_agree(gateway):
    headers = {"authorization": f"Bearer {gateway.key}"}
    one = OllamaEmbeddings(model=EMBEDDER, base_url=gateway.url, client_kwargs={"headers": headers})
    # Otherwise it sends the tokens of a model of OpenAI's, from a table that it fetches from the internet.
    other = OpenAIEmbeddings(
        model=EMBEDDER, base_url=f"{gateway.url}/v1", api_key=gateway.key, check_embedding_ctx_length=False,
    )
    for mine, theirs in zip(one.embed_documents(TEXTS), other.embed_documents(TEXTS), strict=True):
        assert mine == pytest.approx(theirs, abs=NEAR)


def test_ollamas_client_lists_and_shows_models(by_ollama):
    models = {model.model: model for model in by_ollama.list().models}
    model = models[f"{MODEL}:latest"]
    assert model.digest and model.size > 0 and model.modified_at.year > 2000 and model.details.family
    shown = by_ollama.show(MODEL)
    assert {"completion", "tools"} <= set(shown.capabilities)
    assert any(key.endswith(".context_length") for key in shown.modelinfo)
    assert "thinking" in by_ollama.show("qwen3").capabilities
    with pytest.raises(ollama.ResponseError) as caught:
        by_ollama.show("no-such-model")
    assert caught.value.status_code == 404


def test_editors_find_a_version_new_enough_without_a_key(gateway):
    # Editors' plugins compare it with the least that they support, before anything else.
    for method in ("GET", "HEAD"):
        request = urllib.request.Request(f"{gateway.url}/api/version", method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            body = answer.read()
            assert answer.status == 200 and answer.headers["content-type"].startswith("application/json")
        if method == "GET":
            major, minor, _ = (int(part) for part in json.loads(body)["version"].split("."))
            assert (major, minor) >= (0, 6)


def test_ollamas_client_sees_what_is_loaded(by_ollama):
    by_ollama.chat(MODEL, [{"role": "user", "content": "Hello"}])
    loaded = {model.model: model for model in by_ollama.ps().models}
    assert loaded[f"{MODEL}:latest"].expires_at


def test_ollamas_client_embeds_one_and_several(by_ollama):
    several = by_ollama.embed(EMBEDDER, TEXTS)
    assert len(several.embeddings) == 3 and several.embeddings[0] == several.embeddings[2]
    assert by_ollama.embed(EMBEDDER, TEXTS[0]).embeddings == several.embeddings[:1]
    assert len(by_ollama.embeddings(EMBEDDER, TEXTS[0]).embedding) == len(several.embeddings[0])


def test_models_cannot_be_managed_through_the_gateway(by_ollama):
    calls = [
        lambda: by_ollama.pull(MODEL),
        lambda: by_ollama.push(MODEL),
        lambda: by_ollama.delete(MODEL),
        lambda: by_ollama.copy(MODEL, "other"),
        lambda: by_ollama.create("other", from_=MODEL),
    ]
    for call in calls:
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert caught.value.status_code == 403 and not caught.value.error.startswith("{")


def test_anthropics_client_counts_tokens(by_anthropic):
    short = by_anthropic.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "Hello"}])
    long = by_anthropic.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "Hello " * 100}])
    assert 0 < short.input_tokens < long.input_tokens


def test_the_asynchronous_clients_embed_and_count_the_same(gateway, by_openai, by_anthropic):
    async def by_async():
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) as client:
            vectors = await client.embeddings.create(model=EMBEDDER, input=TEXTS)
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.key) as client:
            return vectors, await client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "Hello"}])

    vectors, count = asyncio.run(by_async())
    assert vectors.data[1].embedding == by_openai.embeddings.create(model=EMBEDDER, input=TEXTS).data[1].embedding
    assert count == by_anthropic.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "Hello"}])


def test_a_gap_is_filled_by_a_model_that_can(by_openai, by_ollama):
    gap = {"prompt": "def add(a, b):\n    ", "suffix": "\n    return c"}
    assert by_openai.completions.create(model="codellama", **gap).choices[0].text
    assert by_ollama.generate("codellama", **gap).response
    with pytest.raises(openai.BadRequestError, match="insert"):
        by_openai.completions.create(model=MODEL, **gap)


def test_anthropics_client_lists_models(by_anthropic):
    models = list(by_anthropic.models.list())
    assert any(model.id.startswith(MODEL) for model in models)
    assert all(model.type == "model" and model.display_name and model.created_at for model in models)


def test_anthropics_client_reads_the_requests_id(by_anthropic):
    ask = {"max_tokens": 50, "messages": [{"role": "user", "content": "Why?"}]}
    assert by_anthropic.messages.create(model=MODEL, **ask)._request_id
    with pytest.raises(anthropic.NotFoundError) as caught:
        by_anthropic.messages.create(model="no-such-model", **ask)
    assert caught.value.request_id == caught.value.body["request_id"]


def test_an_unknown_path_is_not_found_in_the_envelope_of_its_api(by_openai, by_anthropic):
    with pytest.raises(openai.NotFoundError) as caught:
        by_openai.responses.retrieve("resp_1")
    assert caught.value.body["message"]
    with pytest.raises(anthropic.NotFoundError) as caught:
        by_anthropic.messages.batches.retrieve("batch_1")
    assert caught.value.body["error"]["message"]
