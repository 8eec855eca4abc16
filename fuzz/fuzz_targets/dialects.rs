//! Any bytes, read by every dialect. What one of them takes for a request, every backend writes or refuses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_gateway::backend::Target;
use llm_gateway::dialect::DIALECTS;
use llm_gateway::provider::settings::BackendName;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, body)) = bytes.split_first() else { return };
    let dialect = DIALECTS[usize::from(*which) % DIALECTS.len()];
    let Ok(ask) = dialect.decode(body) else { return };
    for backend in BackendName::ALL {
        drop(backend.spoken().encode(&ask, Target::new("model", None)));
    }
});
