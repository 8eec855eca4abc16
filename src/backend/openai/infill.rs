//! Writes an infill (fill in the middle): `/completions` with a `suffix`, as servers of code models
//! offer it.
//!
//! It refuses, with the name of the field, what that older API cannot express: instructions,
//! pictures, a format, tools.
//!
//! The one thing to know: the server decides whether a model can do this. OpenAI's current models
//! cannot; llama.cpp and vLLM can with models that were trained for it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::common::{Settings, check, name_unsupported};
use super::reasoning::Replay;
use crate::backend::history::{infill, name_cache_marks, refuse_images};
use crate::backend::{Target, UpstreamRequest, bearer, foreign_fields};
use crate::chat::{Api, ChatRequest, Format, GatewayError, TokenLogprob};
use crate::wire::json;

/// The fields that the gateway itself sets; a client's own fields of these names are not passed on.
const OWN: &[&str] =
    &["model", "prompt", "suffix", "stream", "stream_options", "n", "best_of", "echo"];

/// Builds the call that writes the text between the prompt and `suffix`.
pub(super) fn completion(
    suffix: &str,
    request: &ChatRequest,
    target: Target<'_>,
    mut dropped: Vec<String>,
) -> Result<UpstreamRequest, GatewayError> {
    let Target { model, api_key, .. } = target;
    let stop = check(request)?;
    let infill = infill(request)?;
    refuse_images(infill.message)?;
    let has_no_place = [
        ("system", infill.instructions.is_some()),
        ("format", request.format != Format::Text),
        ("tools", !request.tools.is_empty()),
    ];
    if let Some((name, _)) = has_no_place.into_iter().find(|(_, is_set)| *is_set) {
        let message = format!("{name}: this provider fills a gap without it, leave it out");
        return Err(GatewayError::invalid(message));
    }
    let passed = foreign_fields(request, Api::OpenAi, &mut dropped)?;
    name_unsupported(request, Replay::Nothing, &mut dropped);
    name_cache_marks(request, &mut dropped);
    if request.effort.is_some() {
        dropped.push("reasoning_effort".to_owned());
    }
    let body = Body {
        model,
        prompt: infill.message.joined_text(),
        suffix,
        settings: Settings::of(request, target, stop),
        logprobs: request.logprobs,
        passed: passed.into_iter().filter(|(name, _)| !OWN.contains(name)).collect(),
    };
    Ok(UpstreamRequest::post("/completions", bearer(api_key), &body, dropped))
}

/// Log probabilities as that API writes them: as parallel lists.
#[derive(Deserialize)]
pub(super) struct Lists {
    tokens: Vec<String>,
    #[serde(default)]
    token_logprobs: Vec<Option<f64>>,
    #[serde(default)]
    top_logprobs: Option<Vec<Option<Map<String, Value>>>>,
}

impl Lists {
    /// The tokens with a known probability, each with its alternatives, the likeliest first.
    pub(super) fn into_tokens(self) -> Vec<TokenLogprob> {
        let one = |token: String, logprob: f64, top| {
            // A token that is not valid text is written as its bytes.
            let bytes = (!token.starts_with("bytes:")).then(|| token.clone().into_bytes());
            TokenLogprob { token, logprob, bytes, top }
        };
        let mut tops = self.top_logprobs.unwrap_or_default().into_iter();
        let told = self.tokens.into_iter().zip(self.token_logprobs);
        let tokens = told.filter_map(|(token, logprob)| {
            let top = tops.next().flatten().unwrap_or_default().into_iter();
            let mut top: Vec<TokenLogprob> = top
                .filter_map(|(token, value)| Some(one(token, value.as_f64()?, Vec::new())))
                .collect();
            top.sort_by(|a, b| b.logprob.total_cmp(&a.logprob));
            Some(one(token, logprob?, top))
        });
        tokens.collect()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    prompt: String,
    suffix: &'a str,
    #[serde(flatten)]
    settings: Settings<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u8>,
    #[serde(flatten, serialize_with = "json::entries")]
    passed: Vec<(&'a str, &'a Value)>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::backend::Backend;
    use crate::backend::openai::OpenAi;
    use crate::backend::testing::{decode, done, encode, message, stream, text, user};
    use crate::chat::{Ask, ChatEvent, Finish, Role, Usage};

    fn asked() -> ChatRequest {
        ChatRequest { suffix: Some("return c".into()), ..user("def f(a, b):\n") }
    }

    #[test]
    fn an_infill_is_sent_to_the_older_route() {
        let mut request = asked();
        request.logprobs = Some(2);
        request.sampling.max_tokens = Some(16);
        let (body, dropped) = encode(&OpenAi, &request, "coder");
        let expected = json!({"model": "coder", "prompt": "def f(a, b):\n", "suffix": "return c",
            "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 16, "logprobs": 2});
        assert_eq!((body, dropped.len()), (expected, 0));
        let call = OpenAi.encode(&Ask::Chat(request), Target::new("coder", None)).unwrap();
        assert_eq!(call.path, "/completions");
    }

    #[test]
    fn fields_that_the_older_route_does_not_have_are_refused() {
        type Change = fn(&mut ChatRequest);
        let changes: [(&str, Change); 3] = [
            ("system", |request| {
                request.messages.insert(0, message(Role::System, vec![text("x")]))
            }),
            ("format", |request| request.format = Format::Json),
            ("suffix", |request| request.messages.push(message(Role::User, vec![text("x")]))),
        ];
        for (name, change) in changes {
            let mut request = asked();
            change(&mut request);
            let error = OpenAi.encode(&Ask::Chat(request), Target::new("m", None)).unwrap_err();
            assert!(error.message.starts_with(name), "{}", error.message);
        }
    }

    #[test]
    fn its_chunks_are_read_with_log_probabilities() {
        let body = stream(&[
            r#"{"choices":[{"index":0,"text":" c =","logprobs":{"tokens":[" c"," ="],
                "token_logprobs":[-0.5,null],"top_logprobs":[{"x":-2,"y":-1},null]},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"text":" a","logprobs":null,"finish_reason":"stop"}]}"#,
            "[DONE]",
        ]);
        let body = body.replace("\n                ", "");
        let (events, ended) = decode(&OpenAi, &asked(), &[body.as_bytes()]);
        assert_eq!(ended, Ok(()));
        let [first, ChatEvent::Logprobs(tokens), second, end] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(*first, ChatEvent::Text(" c =".into()));
        assert_eq!((tokens.len(), tokens[0].top[0].token.as_str()), (1, "y"));
        assert_eq!(*second, ChatEvent::Text(" a".into()));
        assert_eq!(*end, done(Finish::Stop, Usage::default()));
    }
}
