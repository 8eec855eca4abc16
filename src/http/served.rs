//! The paths that the gateway serves itself, which `passthrough` must not list.
//!
//! The one thing to know: a path that is served here never reaches a provider unchanged, whatever
//! is listed. The check exists for operators who expect otherwise.

use super::{health, manage, models, openapi, responses};
use crate::chat::PathPattern;
use crate::dialect::DIALECTS;

/// A path of the gateway's own that the pattern would match; `None` when there is none.
#[must_use]
pub fn at(pattern: &PathPattern) -> Option<String> {
    let dialects = DIALECTS.iter().flat_map(|dialect| dialect.paths());
    let others = [&models::PATHS[..], &manage::PATHS, &responses::PATHS, &health::PATHS];
    let mut paths = dialects.chain(others.into_iter().flatten()).chain(&openapi::PATHS);
    paths.find_map(|path| {
        // What follows in the place of a name is any path.
        let text = match path.split_once('{') {
            Some((before, _)) => format!("{before}*"),
            None => (*path).to_owned(),
        };
        let own = PathPattern::read(&text).ok()?;
        pattern.overlaps(&own).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_path_is_known_to_be_served() {
        let document: serde_json::Value =
            serde_json::from_str(include_str!("openapi.json")).unwrap();
        for path in document["paths"].as_object().unwrap().keys().filter(|path| *path != "/") {
            let text =
                path.split_once('{').map_or(path.clone(), |(before, _)| format!("{before}*"));
            assert!(at(&PathPattern::read(&text).unwrap()).is_some(), "{path}");
        }
    }

    #[test]
    fn what_is_not_served_may_be_listed() {
        for text in
            ["/v1/audio/*", "/v1/images/*", "/v1/rerank", "/tokenize", "/v1/files/*/content"]
        {
            assert_eq!(at(&PathPattern::read(text).unwrap()), None, "{text}");
        }
        for text in ["/v1/*", "/api/pull", "/v1beta/models/x", "/v1/*/completions", "/readyz"] {
            assert!(at(&PathPattern::read(text).unwrap()).is_some(), "{text}");
        }
    }
}
