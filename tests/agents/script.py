"""The model that agents talk to: what it says next, in a conversation of any API.

The task has two rounds: a file names another one, and that holds a word. The model knows neither; it reads both from
the results of the agent's own tools, and names the word in its answer, so an answer with the word shows that both rounds
came through whole. What a reader would get wrong: an agent also asks on the side, for a title say, without tools or
without the task; those get a short answer and count for nothing.
"""

import re
import struct
import types
import zlib

TASK = "Read first.txt, then the file that it names, and say which word is in there."
LOOK = "Look at picture.png and say how large it is."
BOTH = "Read left.txt and right.txt at once, and say which word is in each."
STUDY = "Read paper.pdf and say which word is in it."
# For an agent that has no tools, but adds to the conversation every file that is mentioned.
MENTION = "Say which word is in the file that first.txt names."
FIRST, SECOND = re.compile(r"the next file is (second-[0-9a-f]+\.txt)"), re.compile(r"the word is ([a-z]+-[0-9a-f]+)")

READERS = ("Read", "read", "read_file", "ReadFile", "view")
SHELLS = ("exec_command", "shell", "shell_command", "Bash", "bash", "run_shell_command", "local_shell")


def next_move(asked, folder):
    """What the model does: `text` to say, or `calls` of tools with their arguments, and whether it is the `main` task."""
    said = "\n".join(asked.texts)
    if LOOK in said:
        return _looks(asked, folder)
    if MENTION in said:
        return _mentions(said)
    if STUDY in said:
        return _studies(asked, folder)
    if BOTH in said and asked.tools:
        return _compares(asked, folder)
    if TASK not in said or not asked.tools:
        return _says("A short title", main=False)
    if not asked.results:
        return _calls(asked, ["first.txt"], folder, READERS + SHELLS)
    if len(asked.results) == 1:
        named = FIRST.search(asked.results[0].text)
        return _calls(asked, [named[1]], folder, SHELLS + READERS) if named else _lost(asked)
    word = SECOND.search(asked.results[1].text)
    return _says(f"It says {word[1]}.") if word else _lost(asked)


def _compares(asked, folder):
    """Two calls in one turn; which result is which is known by what it is the result of."""
    if not asked.results:
        return _calls(asked, ["left.txt", "right.txt"], folder, READERS + SHELLS)
    words = {side: SECOND.search(result.text) for result in asked.results for side in ("left", "right") if side in result.about}
    if len(words) < 2 or not all(words.values()):
        return _lost(asked)
    return _says(f"Left is {words['left'][1]} and right is {words['right'][1]}.")


def _looks(asked, folder):
    if asked.pictures:
        width, height = struct.unpack(">II", asked.pictures[-1][16:24])
        return _says(f"It is {width} wide and {height} high.")
    return _lost(asked) if asked.results or not asked.tools else _calls(asked, ["picture.png"], folder, READERS)


def _studies(asked, folder):
    for paper in asked.papers:
        word = SECOND.search(paper.decode("latin-1"))
        return _says(f"It says {word[1]}.") if word else _lost(asked)
    return _lost(asked) if asked.results or not asked.tools else _calls(asked, ["paper.pdf"], folder, READERS)


def _mentions(said):
    word, named = SECOND.search(said), FIRST.search(said)
    if word:
        return _says(f"It says {word[1]}.")
    return _says(f"I have to see {named[1]} first." if named else "I have to see first.txt first.")


def _says(text, main=True):
    return types.SimpleNamespace(text=text, calls=[], main=main)


def _lost(asked):
    return _says(f"I am lost: {asked.results!r}")


def _calls(asked, names, folder, wanted):
    tool = next((tool for tool in wanted if tool in asked.tools), None)
    if tool is None:
        return _says(f"I have no tool of {wanted}, only {sorted(asked.tools)}")
    calls = [(tool, _arguments(asked.tools[tool], folder / name)) for name in names]
    return types.SimpleNamespace(text=None, calls=calls, main=True)


def _arguments(schema, path):
    """Fills in what the tool's schema requires, as a model that has read it."""
    properties = schema.get("properties", {})
    arguments = {}
    for name in schema.get("required") or list(properties)[:1]:
        kind = properties.get(name, {}).get("type")
        if name in ("command", "cmd"):
            command = ["cat", str(path)]
            arguments[name] = command if kind == "array" else " ".join(command)
        elif "path" in name.lower():
            arguments[name] = str(path)
        elif kind == "boolean":
            arguments[name] = False
        elif kind in ("number", "integer"):
            arguments[name] = 10
        else:
            arguments[name] = "Reads a file"
    return arguments


def picture(width, height):
    """A PNG of one colour."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\0" + b"\x30\x60\x90" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def paper(text):
    """A PDF of one page with this text, which can be found in its bytes."""
    content = f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    written, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(written))
    return written + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end
