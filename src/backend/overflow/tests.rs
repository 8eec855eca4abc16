//! Tests of the errors of many kinds of servers.

use serde_json::{Value, json};

use super::*;

fn is_too_long(status: u16, error: &Value) -> bool {
    let report = Report::find(&json!({ "error": error })).unwrap();
    is_prompt_too_long(&report, Some(status))
}

#[test]
fn a_prompt_that_is_too_long_is_recognised_in_every_server_s_error() {
    for said in [
        // OpenAI and many imitators.
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4500 in the messages, 500 in the completion). Please reduce the length of the messages or completion.",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        // vLLM.
        "This model's maximum context length is 32768 tokens. However, your request has 40000 input tokens. Please reduce the length of the input messages.",
        "You passed 4097 input tokens and requested 0 output tokens. However, the model's context length is only 4096 tokens, resulting in a maximum input length of 4096 tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=4097)",
        "You passed 57345 input tokens and requested 8192 output tokens. However, the model's context length is only 65536 tokens, resulting in a maximum input length of 57344 tokens.",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        // SGLang.
        "The input (5001 tokens) is longer than the model's context length (4096 tokens).",
        "Input length (5001 tokens) exceeds the maximum allowed length (4090 tokens). Use a shorter input or enable --allow-auto-truncate.",
        "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5000 tokens: 4000 tokens from the input messages and 1000 tokens for the completion.",
        // llama.cpp.
        "request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it",
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        "Context size has been exceeded.",
        // LM Studio.
        "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 10978 >= n_ctx: 8192). Try to load the model with a larger context length, or provide a shorter input",
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough.",
        // Ollama.
        "the input length exceeds the context length",
        "the prompt is longer than the context length currently available to the model",
        // xAI.
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        // Anthropic.
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 21333 > 200000, decrease input length or `max_tokens` and try again",
        // Google.
        "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
        // Mistral, Together, Moonshot, Zhipu, Qwen, Cohere, Bedrock, text-generation-inference.
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        "Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)",
        "Prompt exceeds max length",
        "Range of input length should be [1, 30720]",
        "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5001",
        "Input is too long for requested model.",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 100 `max_new_tokens`",
        "Input validation error: `inputs` must have less than 512 tokens. Given: 1000",
        // OpenRouter.
        "This endpoint's maximum context length is 128000 tokens. However, you requested about 140000 tokens (130000 of text input, 10000 in the output).",
    ] {
        for status in [400, 413, 422, 500] {
            assert!(is_too_long(status, &json!({ "message": said })), "{said}");
        }
        for status in [401, 404, 429, 503] {
            assert!(!is_too_long(status, &json!({ "message": said })), "{said}");
        }
    }
}

#[test]
fn a_prompt_that_is_too_long_is_recognised_by_code_and_type() {
    for error in [
        json!({ "message": "no", "code": "context_length_exceeded" }),
        json!({ "message": "no", "code": 400, "type": "exceed_context_size_error" }),
        json!({ "message": "no", "code": "model_max_prompt_tokens_exceeded" }),
        json!({ "message": "no", "type": "context_window_exceeded" }),
    ] {
        assert!(is_too_long(400, &error), "{error}");
    }
}

#[test]
fn a_limit_that_is_too_large_is_distinguished() {
    for said in [
        // vLLM.
        "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is 32768 tokens and your request has 17000 input tokens (32000 > 32768 - 17000).",
        "max_tokens=32000 cannot be greater than max_model_len=max_total_tokens=4096.",
        "You passed 769 input tokens and requested 32000 output tokens. However, the model's context length is only 32768 tokens, resulting in a maximum input length of 768 tokens.",
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (904 in the messages, 4096 in the completion).",
        // SGLang.
        "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5000 tokens: 1000 tokens from the input messages and 4000 tokens for the completion.",
        // Anthropic.
        "input length and `max_tokens` exceed context limit: 9000 + 195000 > 200000",
        "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for this model",
        // OpenAI, Groq.
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model",
        // text-generation-inference.
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 10 `inputs` tokens and 5000 `max_new_tokens`",
    ] {
        assert!(!is_too_long(400, &json!({ "message": said })), "{said}");
    }
    let named = json!({ "message": "exceeds the context length", "param": "max_tokens" });
    assert!(!is_too_long(400, &named));
}

#[test]
fn a_prompt_that_fills_the_context_alone_is_to_blame_whatever_the_limit() {
    let said = "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens (4100 in the messages, 4900 in the completion).";
    assert!(is_too_long(400, &json!({ "message": said })));
}

#[test]
fn other_errors_are_not_overflows() {
    for said in [
        "option \"num_ctx\" must be of type integer",
        "stop: at most 4 texts",
        "\"llama\" does not support tools",
        "invalid image: too large",
        "temperature must be less than 2",
    ] {
        assert!(!is_too_long(400, &json!({ "message": said })), "{said}");
    }
}
