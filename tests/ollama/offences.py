"""What one client asks in error, and others must not notice.

What a reader would get wrong: an offence is told by its own words, and its status is the one that the client is given,
which mostly is not the one that the model server gave.
"""

from concurrent.futures import ThreadPoolExecutor

from engines import ask

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
QUESTION = [{"role": "user", "content": "Why is the line long?"}]
KEYS = """
[[keys]]
name = "offender"
key = "sk-offender"
[[keys]]
name = "bystander"
key = "sk-bystander"
"""
# As often as a client's loop sends it again.
TIMES = 20


def offends(gateway, path, body, good):
    """Sends it again and again while somebody else asks what is good, and returns what the offender was told."""
    told = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(TIMES):
            offender = pool.submit(ask, gateway.url, path, body, "sk-offender")
            bystander = pool.submit(ask, gateway.url, *good, "sk-bystander")
            told.append(offender.result())
            assert bystander.result().status == 200, (bystander.result(), told[-1])
            assert ask(gateway.url, *good, "sk-bystander").status == 200
    return told


def is_told(told, status, words):
    """Whether the offender was told each time what is wrong, in words and not in JSON within JSON."""
    for number, answer in enumerate(told):
        text = answer.text.replace('\\"', '"')
        assert answer.status == status and words in text and '"{' not in text, (number, answer)
