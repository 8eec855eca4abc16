"""OpenAI's client for Python: speech, transcriptions and images, at paths that are passed on."""

import io

import openai
import pytest

from media import PIECE, PIECES

SOUND = b"RIFF\x00\r\n--" + bytes(range(256)) * 100


@pytest.fixture(scope="module")
def client(gateway):
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)


def test_a_transcription_has_its_text_and_what_it_cost(client):
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a b.wav", io.BytesIO(SOUND)), language="de")
    assert heard.text == f"whisper-1 heard {len(SOUND)} bytes, the last 255"
    assert heard.usage.total_tokens == 13


def test_an_alias_of_a_transcription_is_what_runs(client):
    heard = client.audio.transcriptions.create(model="dictation", file=("a.wav", SOUND))
    assert heard.text.startswith("whisper-1 heard")


def test_speech_is_streamed_and_whole(client):
    with client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="hello") as speech:
        assert speech.headers["content-type"] == "audio/mpeg"
        assert speech.headers["x-gateway-provider"] == "media"
        pieces = list(speech.iter_bytes(4096))
    assert len(pieces) > 1 and b"".join(pieces) == PIECE * PIECES
    assert client.audio.speech.create(model="tts-1", voice="alloy", input="hello").content == PIECE * PIECES


def test_speech_that_breaks_off_is_an_error(client):
    with pytest.raises(Exception) as caught:
        client.audio.speech.create(model="cut", voice="alloy", input="hello")
    assert "peer closed connection" in str(caught.value) or isinstance(caught.value, openai.APIConnectionError)


async def test_the_asynchronous_client_hears_the_same(gateway):
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        speech = await client.audio.speech.create(model="tts-1", voice="alloy", input="hello")
        assert speech.content == PIECE * PIECES


def test_pictures_are_made_and_changed(client):
    drawn = client.images.generate(model="image-1", prompt="a cat", n=2)
    assert [picture.b64_json for picture in drawn.data] == ["AAAA", "AAAA"]
    assert drawn.data[0].revised_prompt == "a cat"
    changed = client.images.edit(model="image-1", prompt="a dog", image=("a.png", SOUND))
    assert changed.data[0].b64_json == str(len(SOUND))


def test_a_key_hears_only_its_own_models(gateway):
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.narrow_key, max_retries=0)
    with pytest.raises(openai.PermissionDeniedError):
        client.audio.speech.create(model="tts-1", voice="alloy", input="hello")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-none", max_retries=0).images.generate(prompt="a cat")


def test_a_path_that_nobody_lists_is_not_found(client):
    with pytest.raises(openai.NotFoundError):
        client.moderations.create(model="image-1", input="hello")
