//! Recorded answers of providers, replayed byte for byte from `tests/fixtures/upstream`.
//!
//! `http.json` names the exchange, `body.*` holds the bytes and `chunks.json` the sizes in which a
//! stream's bytes were written; `expected.json` is what they mean.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;

use super::script::Script;

/// One recorded exchange.
pub struct Fixture {
    /// `provider/case`.
    pub name: String,
    /// The body that a gateway sends to get this answer.
    pub request: Value,
    /// Method, path, status and headers of both sides.
    pub http: Value,
    /// The answer's bytes.
    pub body: Bytes,
    /// In which sizes the bytes were written; `None` for an answer written at once.
    pub chunks: Option<Vec<usize>>,
    /// What the answer means.
    pub expected: Value,
}

impl Fixture {
    /// Reads one, such as `ollama/stream`.
    pub fn load(name: &str) -> Self {
        let folder = root().join(name);
        let read = |file: &str| fs::read(folder.join(file)).ok();
        let value = |file: &str| -> Value {
            let bytes = read(file).unwrap_or_else(|| panic!("no {file} in {}", folder.display()));
            serde_json::from_slice(&bytes).unwrap()
        };
        let body = ["body.json", "body.ndjson", "body.sse"].into_iter().find_map(read).unwrap();
        let chunks = read("chunks.json").map(|bytes| serde_json::from_slice(&bytes).unwrap());
        Self {
            name: name.to_owned(),
            request: value("request.json"),
            http: value("http.json"),
            body: body.into(),
            chunks,
            expected: value("expected.json"),
        }
    }

    /// Every recorded exchange with `provider`, in the order of their names.
    pub fn all_of(provider: &str) -> Vec<Self> {
        let mut cases: Vec<String> = fs::read_dir(root().join(provider))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        cases.sort();
        cases.iter().map(|case| Self::load(&format!("{provider}/{case}"))).collect()
    }

    /// The answer, written in the recorded sizes.
    pub fn script(&self) -> Script {
        let response = &self.http["response"];
        let code = response["status"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap();
        let mut script = Script::status(code);
        for (name, value) in response["headers"].as_object().unwrap() {
            script = script.header(name, value.as_str().unwrap());
        }
        let Some(chunks) = &self.chunks else { return script.piece(self.body.clone()) };
        let mut rest = self.body.clone();
        script.chunked().pieces(chunks.iter().map(|size| rest.split_to(*size)).collect::<Vec<_>>())
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upstream")
}
