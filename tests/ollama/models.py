"""Small models of the llama architecture, as GGUF files that any llama.cpp reads.

They are no random weights. Attention and the feed-forward layers add nothing, so each token follows from the one before
by a table that stands in the output matrix: an answer is words, ends by itself, thinks when it is asked to, calls the
tool that it is offered and closes the JSON that a grammar asks for. What a reader would get wrong: nothing of the
prompt but its last token matters, and the chat template chooses that token.
"""

import math

import gguf
import numpy as np

SPOKEN = """the line is long and every model waits for its turn while people ask again about small things that come back
with an answer when there is room""".split()
THOUGHT = """perhaps first they want something short so maybe consider what was meant before""".split()
NAMED = ["Oslo", "Rome", "Lima", "Cairo"]

END, THINK, THOUGHT_END, CALL, CALL_END, OFFERED = (
    "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<|offered|>",
)
START, BOTTOM = "<|im_start|>", "<|endoftext|>"

# Logits: what is not named in a table does not come, unless a grammar leaves nothing else.
NEVER = -40.0

PLAIN = """
{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}
"""

# As Qwen's models have it: tools in the system's turn, calls between tags, thinking before the answer.
CAPABLE = """
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{{- '# Tools\\n\\nYou may call one or more functions.\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\n\\nFor each call return a json object within tags:\\n<tool_call>\\n' }}
{{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' or message.role == 'system' %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}
{%- if message.reasoning_content %}{{- '<think>' + message.reasoning_content + '</think>' }}{%- endif %}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- if message.tool_calls %}
{%- for tool_call in message.tool_calls %}
{%- if (loop.first and message.content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
{%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
{{- '<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
{%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response><|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is true %}{{- '<think>' }}
{%- elif tools and messages[-1].role != 'tool' %}{{- '<|offered|>' }}{%- endif %}
{%- endif %}
"""


def characters():
    """GPT-2's printable stand-in for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


class Vocabulary:
    """Tokens: the marks of the templates, every byte, and the words with the pieces that merge to them."""

    def __init__(self):
        kinds = gguf.TokenType
        self.tokens, self.kinds, self.merges, self.number = [], [], [], {}
        for mark in (BOTTOM, START, END):
            self._add(mark, kinds.CONTROL)
        for mark in (THINK, THOUGHT_END, CALL, CALL_END, OFFERED):
            self._add(mark, kinds.USER_DEFINED)
        self.bytes = characters()
        for character in self.bytes:
            self._add(character, kinds.NORMAL)
        for spelled in [*map(self.word, SPOKEN + THOUGHT), *NAMED]:
            for end in range(2, len(spelled) + 1):
                if spelled[:end] not in self.number:
                    self._add(spelled[:end], kinds.NORMAL)
                    self.merges.append(f"{spelled[:end - 1]} {spelled[end - 1]}")

    def word(self, word):
        return self.bytes[ord(" ")] + word

    def _add(self, text, kind):
        self.number[text] = len(self.tokens)
        self.tokens.append(text)
        self.kinds.append(kind)


def follows(vocabulary, ends):
    """Which tokens put the model into which state, and how likely each token comes in each state."""
    newline, spoken, thought = vocabulary.bytes[10], *(
        {vocabulary.word(word) for word in words} for words in (SPOKEN, THOUGHT)
    )
    digits = set("0123456789")
    states = {
        "begins": {newline, THOUGHT_END}, "speaks": spoken, "thinks": {THINK} | thought, "offered": {OFFERED},
        "names": set(NAMED), "calls": {CALL}, "quote": {'"'}, "open": {"{"}, "list": {"["}, "colon": {":"},
        "comma": {","}, "digit": digits,
    }

    def all_of(tokens, logit):
        return dict.fromkeys(tokens, logit)

    # Where a grammar rules: objects, names between quotes, short numbers.
    value = {'"': 0.0, "{": -6.0, "[": -6.0, **all_of(digits, -3.0), "t": -3.0}
    closing = {"}": -6.0, "]": -6.0, ",": -8.0, ":": -6.0, END: -10.0}
    table = {
        "begins": {**all_of(spoken, 0.0), "{": -20.0},
        "speaks": {**all_of(spoken, 0.0), END: math.log(len(spoken)) - ends},
        "thinks": {**all_of(thought, 0.0), THOUGHT_END: math.log(len(thought)) - 2.5},
        "offered": {CALL: 0.0}, "calls": {newline: 0.0, "{": -6.0},
        "quote": {**all_of(NAMED, 0.0), **closing}, "names": {'"': 0.0}, "open": {'"': 0.0, "}": -8.0}, "list": value,
        "colon": value, "comma": {'"': 0.0, **all_of(digits, -6.0)}, "digit": {**closing, **all_of(digits, -8.0)},
        "other": {**closing, END: 0.0, CALL_END: -2.0, '"': -4.0, newline: -6.0},
    }
    return states, table


def make(path, *, capable=False, pooling=False, ends=3.0, layers=1, size=64, context=8192, seed=1):
    """Writes a model.

    `capable`: its template knows tools and thinking. `pooling`: it gives embeddings. `ends`: after about e^`ends` words
    an answer ends. `layers` and `size` make it slow, and `seed` makes it another one of the same shape.
    """
    vocabulary = Vocabulary()
    count, heads = len(vocabulary.tokens), size // 32
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"small-{seed}")
    writer.add_context_length(context)
    writer.add_embedding_length(size)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(32)
    writer.add_vocab_size(count)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.kinds)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.number[BOTTOM])
    writer.add_eos_token_id(vocabulary.number[END])
    writer.add_pad_token_id(vocabulary.number[BOTTOM])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CAPABLE if capable else PLAIN)
    if pooling:
        writer.add_pooling_type(gguf.PoolingType.MEAN)

    random = np.random.default_rng(seed)
    embedding, output = tables(vocabulary, ends, size)
    if pooling:
        # Each word its own direction, so that texts differ.
        embedding = random.standard_normal((count, size)).astype(np.float32)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(size, dtype=np.float32))
    shapes = {
        "attn_q": (size, size), "attn_k": (size, size), "attn_v": (size, size), "ffn_gate": (2 * size, size),
        "ffn_up": (2 * size, size),
    }
    for layer in range(layers):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(size, dtype=np.float32))
        for name, shape in shapes.items():
            weights = random.standard_normal(shape, dtype=np.float32) / math.sqrt(size)
            writer.add_tensor(f"blk.{layer}.{name}.weight", weights)
        # What the layers would add.
        writer.add_tensor(f"blk.{layer}.attn_output.weight", np.zeros((size, size), dtype=np.float32))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", np.zeros((size, 2 * size), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tables(vocabulary, ends, size):
    """The embedding, which says the state of each token, and the output, which says what follows in each state.

    A state is one axis, as long as the norm leaves it: the square root of `size`.
    """
    states, table = follows(vocabulary, ends)
    axis = {state: number for number, state in enumerate(table)}
    length = math.sqrt(size)
    embedding = np.zeros((len(vocabulary.tokens), size), dtype=np.float32)
    output = np.full((len(vocabulary.tokens), size), NEVER / length, dtype=np.float32)
    state_of = {token: state for state, tokens in states.items() for token in tokens}
    for token, number in vocabulary.number.items():
        embedding[number, axis[state_of.get(token, "other")]] = length
    for state, likely in table.items():
        for token, logit in likely.items():
            output[vocabulary.number[token], axis[state]] = logit / length
    # Broken UTF-8, spaces and marks that steer never come, not even where a grammar allows them.
    unfit = [BOTTOM, START, OFFERED, THINK, vocabulary.bytes[ord(" ")], vocabulary.bytes[9], vocabulary.bytes[13]]
    for token in unfit + vocabulary.bytes[127:]:
        output[vocabulary.number[token], :] = 4 * NEVER / length
    return embedding, output
