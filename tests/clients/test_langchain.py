"""LangChain's standard suite for chat models, through ChatOpenAI and ChatOllama.

The suite decides what to ask from the capabilities declared below. What it skips for want of them:

| skipped | reason |
| --- | --- |
| forced tool calls (`test_tool_choice`) | Ollama cannot be told to call a tool: a forced one is the only one offered, and "Hello" does not call for it |
| images, also from tools | the suite fetches its pictures from the internet; there is a test with one of our own below |
| PDF from tools, audio, Anthropic's blocks | neither client sends them to Ollama; a PDF in the question goes to a provider that takes it, below |
| recorded calls (VCR) | recordings are of other servers |
"""

import types

import pytest
from langchain_core.messages import HumanMessage
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests, chat_models

PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


class Standard(ChatModelIntegrationTests):
    """What holds for both clients."""

    @pytest.fixture(autouse=True)
    def _gateway(self, gateway):
        # The suite builds its models from properties, which cannot ask for a fixture.
        type(self).gateway = gateway

    @property
    def has_tool_choice(self):
        return False

    @property
    def supports_json_mode(self):
        return True

    @property
    def model_override_value(self):
        return "mistral"

    def test_a_picture_changes_the_answer(self, model):
        picture = {"type": "image", "base64": PICTURE, "mime_type": "image/png"}
        text = {"type": "text", "text": "What is it?"}
        assert model.invoke([HumanMessage([text, picture])]).content != model.invoke([HumanMessage([text])]).content

    def test_a_stream_joins_to_the_whole_answer(self, model):
        assert "".join(chunk.content for chunk in model.stream("Why?")) == model.invoke("Why?").content


class TestChatOpenAI(Standard):
    @property
    def chat_model_class(self):
        return ChatOpenAI

    def test_the_responses_api_answers_the_same(self, model):
        by_responses = self.chat_model_class(**self.chat_model_params, use_responses_api=True)
        assert by_responses.invoke("Why?").text == model.invoke("Why?").text
        assert "".join(chunk.text for chunk in by_responses.stream("Why?")) == model.invoke("Why?").text

    @property
    def chat_model_params(self):
        return {"model": "llama3.1", "base_url": f"{self.gateway.url}/v1", "api_key": self.gateway.key, "stream_usage": True}


class TestChatOllama(Standard):
    @property
    def chat_model_class(self):
        return ChatOllama

    def test_reasoning_is_kept_apart_from_the_content(self, gateway):
        model = self.chat_model_class(**{**self.chat_model_params, "model": "qwen3", "reasoning": True})
        answer = model.invoke("Why?")
        assert answer.content and answer.additional_kwargs["reasoning_content"]

    @property
    def chat_model_params(self):
        headers = {"authorization": f"Bearer {self.gateway.key}"}
        return {"model": "llama3.1", "base_url": self.gateway.url, "client_kwargs": {"headers": headers}}


class Documents(ChatModelIntegrationTests):
    """The suite's own test of a PDF, at a provider that takes it."""

    chat_model_class = ChatOpenAI
    supports_pdf_inputs = True


def test_a_pdf_reaches_a_provider_that_takes_it(gateway, monkeypatch):
    pdf = b"%PDF-1.4\n" + bytes(range(256))
    # The suite fetches its document from the internet.
    monkeypatch.setattr(chat_models.httpx, "get", lambda *_, **__: types.SimpleNamespace(content=pdf))
    answers = []

    class Model(ChatOpenAI):
        def invoke(self, *arguments, **named):
            answers.append(super().invoke(*arguments, **named))
            return answers[-1]

    Documents().test_pdf_inputs(Model(model="reads", base_url=f"{gateway.url}/v1", api_key=gateway.key))
    assert [answer.content for answer in answers] == [f"{len(pdf)} %PDF-"] * 2
