//! Decides by the words of an error whether the request or the server is to blame, if the status
//! does not tell.
//!
//! It owns the phrases by which servers mean "this request" under a status that means "this
//! server". It does not guess: with unknown words the class of the status stays.
//!
//! The one thing to know: a phrase that wrongly blames the request hides a broken model, and a
//! missing phrase counts a caller's mistake against the model. The lists therefore hold whole
//! phrases, as servers write them.

use super::RejectionClass;

/// Refines the class of a status by the provider's words, in lower case.
pub(super) fn refine(class: RejectionClass, words: &str) -> RejectionClass {
    match class {
        RejectionClass::BadRequest if is_lost_runner(words) => RejectionClass::Crashed,
        RejectionClass::Broken if is_lost_runner(words) || tells_of_crash(words) => {
            RejectionClass::Crashed
        }
        RejectionClass::Broken if is_too_large(words) => RejectionClass::ContextTooLong,
        RejectionClass::Broken if blames_request(words) => RejectionClass::BadRequest,
        RejectionClass::Overloaded if says_nothing_begun(words) => RejectionClass::NotBegun,
        // llama.cpp's router, whose models are all at work.
        RejectionClass::Broken if words.contains("model limit reached") => RejectionClass::NotBegun,
        RejectionClass::Forbidden if is_about_model(words) => RejectionClass::UnknownModel,
        RejectionClass::Forbidden if is_about_content(words) => RejectionClass::ContentFilter,
        class => class,
    }
}

/// Whether the words of a 5xx name something that the request asked for.
fn blames_request(words: &str) -> bool {
    /// Ollama (options, capabilities, images), llama.cpp (modalities, grammars, templates), vLLM,
    /// LocalAI.
    const PHRASES: &[&str] = &[
        "not supported",
        "not support ",
        "does not support",
        "doesn't support",
        "do not support",
        "unsupported content",
        "unsupported image",
        "unsupported parameter",
        "must be of type",
        "failed to load image",
        "failed to decode image",
        "failed to process image",
        "invalid image",
        "unknown format",
        "failed to parse grammar",
        "failed to parse messages",
        "failed to parse tools",
        "invalid option",
        "invalid parameter",
        "invalid format",
        "must be a ",
        "elements must be",
        "must not be empty",
        "type must be",
        "json.exception",
    ];
    // What the hardware or a build does not support is the server's fault, whatever the request
    // asked for.
    const OF_THE_SERVER: &[&str] = &["cuda", "rocm", "metal", "vulkan", "driver", "ptx", "kernel"];
    contains_any(words, PHRASES) && !contains_any(words, OF_THE_SERVER)
}

/// Whether Ollama says that it cannot reach the process that runs the model; it says so even with
/// 400.
fn is_lost_runner(words: &str) -> bool {
    words.contains("post \"http://127.0.0.1:")
        && contains_any(words, &["eof", "connection refused", "connection reset", "broken pipe"])
}

/// Whether the process that runs the model died during the request: Ollama's runner, vLLM's engine.
fn tells_of_crash(words: &str) -> bool {
    const PHRASES: &[&str] = &[
        "unexpected eof",
        ": eof",
        "runner has unexpectedly stopped",
        "runner process has terminated",
        "server process has terminated",
        "runner process no longer running",
        "model runner has crashed",
        "connection reset by peer",
        "signal: ",
        "core dumped",
        "segmentation fault",
        "enginedeaderror",
        "engine process died",
        "engine core",
        "worker died",
        "exit status",
    ];
    words == "eof" || contains_any(words, PHRASES)
}

/// Whether it is llama.cpp's 500 for an input larger than its batch.
fn is_too_large(words: &str) -> bool {
    contains_any(words, &["too large to process", "increase the physical batch size"])
}

/// Whether a 503 says that the request has not begun: Ollama's queue is full, or llama.cpp, TGI or
/// another server is still loading a model.
fn says_nothing_begun(words: &str) -> bool {
    /// TGI writes "is currently loading", others "still loading" or "being loaded".
    const PHRASES: &[&str] = &[
        "server busy",
        "maximum pending requests",
        "loading model",
        "model loading",
        "loading the model",
        "model is loading",
        "currently loading",
        "still loading",
        "being loaded",
        "not loaded yet",
        "not yet loaded",
        "model is not ready",
        "model not ready",
        "warming up",
    ];
    contains_any(words, PHRASES)
}

/// Whether a 403 is about the requested model.
fn is_about_model(words: &str) -> bool {
    words.contains("model")
        && contains_any(
            words,
            &[
                "access",
                "unavailable",
                "not found",
                "not exist",
                "not available",
                "not allowed",
                "not enabled",
            ],
        )
}

/// Whether a 403 is about the content of the request.
fn is_about_content(words: &str) -> bool {
    const PHRASES: &[&str] = &[
        "flagged",
        "moderation",
        "content policy",
        "content filter",
        "content_filter",
        "content management policy",
        "safety",
        "usage policies",
        "usage policy",
    ];
    contains_any(words, PHRASES)
}

fn contains_any(words: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| words.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_name_a_part_of_the_request_blame_the_request() {
        for words in [
            "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
            "option \"num_ctx\" must be of type integer",
            "invalid format: \"\"yaml\"\"; expected \"json\" or a valid json schema object",
            "\"prompt\" elements must be a string, a list of tokens, or a list of mixed strings",
            "\"all-minilm\" does not support chat",
            "this model doesn't support images",
            "failed to parse grammar",
        ] {
            assert_eq!(
                refine(RejectionClass::Broken, words),
                RejectionClass::BadRequest,
                "{words}"
            );
        }
        let words = "input (5005 tokens) is too large to process. increase the physical batch size";
        assert_eq!(refine(RejectionClass::Broken, words), RejectionClass::ContextTooLong);
    }

    #[test]
    fn words_of_a_broken_server_blame_the_server() {
        for words in [
            "cuda error: operation not supported on this device",
            "unsupported ptx version, update your driver",
            "internal server error",
            "",
        ] {
            assert_eq!(refine(RejectionClass::Broken, words), RejectionClass::Broken, "{words}");
        }
    }

    #[test]
    fn a_process_that_died_is_distinguished_from_one_that_failed() {
        for words in [
            "unexpected eof",
            "model runner has unexpectedly stopped, this may be due to resource limitations",
            "llama runner process has terminated: exit status 2",
            "post \"http://127.0.0.1:41233/completion\": eof",
        ] {
            assert_eq!(refine(RejectionClass::Broken, words), RejectionClass::Crashed, "{words}");
        }
    }

    #[test]
    fn a_400_about_a_lost_process_does_not_blame_the_request() {
        let words = "do embedding request: post \"http://127.0.0.1:35599/v1/embeddings\": eof";
        assert_eq!(refine(RejectionClass::BadRequest, words), RejectionClass::Crashed);
        let words = "cannot parse: unexpected eof";
        assert_eq!(refine(RejectionClass::BadRequest, words), RejectionClass::BadRequest);
    }

    #[test]
    fn a_503_means_not_begun_only_if_it_says_so() {
        for (words, class) in [
            (
                "server busy, please try again.  maximum pending requests exceeded",
                RejectionClass::NotBegun,
            ),
            ("loading model", RejectionClass::NotBegun),
            ("model bert-base is currently loading", RejectionClass::NotBegun),
            ("the engine is overloaded", RejectionClass::Overloaded),
            ("service unavailable", RejectionClass::Overloaded),
        ] {
            assert_eq!(refine(RejectionClass::Overloaded, words), class, "{words}");
        }
    }

    #[test]
    fn a_500_means_not_begun_if_all_models_of_a_router_are_at_work() {
        let words = "model limit reached, try again later";
        assert_eq!(refine(RejectionClass::Broken, words), RejectionClass::NotBegun);
    }

    #[test]
    fn a_403_is_about_the_model_or_the_content_if_it_says_so() {
        for (words, class) in [
            ("project does not have access to model 'm2'", RejectionClass::UnknownModel),
            (
                "the model `m` does not exist or you do not have access to it",
                RejectionClass::UnknownModel,
            ),
            ("ollama cloud is disabled: remote model is unavailable", RejectionClass::UnknownModel),
            ("input flagged", RejectionClass::ContentFilter),
            ("your prompt violates our usage policies", RejectionClass::ContentFilter),
            ("request blocked", RejectionClass::Forbidden),
        ] {
            assert_eq!(refine(RejectionClass::Forbidden, words), class, "{words}");
        }
    }
}
