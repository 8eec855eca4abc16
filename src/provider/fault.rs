//! Digests that tell requests, and failures, apart.
//!
//! Owns the keys of the digests, which are random in each process, so that no caller can craft a
//! request with another's digest. It keeps nothing of what it digests.
//!
//! The one thing to know: a digest reads the whole request. It is made only after a failure, and
//! once per request.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::LazyLock;

use crate::chat::{Ask, RawRequest};
use crate::job::Job;

static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The digest of the job's caller and its whole request.
pub(super) fn request(job: &mut Job) -> u64 {
    let Job { tried, caller, request, carry, .. } = job;
    *tried.digest.get_or_insert_with(|| {
        let mut digest = Digest(KEYS.build_hasher());
        digest.0.write(caller.name.as_bytes());
        digest.0.write_u8(0xff);
        // A request that was read from JSON can be written as JSON.
        drop(serde_json::to_writer(&mut digest, &**request));
        // A request that cannot be translated was only outlined, so its body counts.
        if let Some(carry) = carry.as_ref().filter(|carry| carry.refusal.is_some()) {
            digest.0.write(&carry.body);
        }
        if let Some(raw) = request.raw() {
            pieces(raw).for_each(|piece| digest.0.write(piece));
        }
        digest.0.finish()
    })
}

/// The body of a request that is passed on, without the boundary that is another whenever a form is
/// sent.
fn pieces(raw: &RawRequest) -> impl Iterator<Item = &[u8]> {
    let boundary = raw.boundary.as_deref().unwrap_or_default().as_bytes();
    let mut at = 0;
    let is_form = !boundary.is_empty();
    let places = memchr::memmem::find_iter(&raw.body, boundary).take_while(move |_| is_form);
    places.chain([raw.body.len()]).map(move |place| {
        let piece = raw.body.get(at..place).unwrap_or_default();
        at = place + boundary.len();
        piece
    })
}

/// The digest of a provider's words. Numbers are skipped: they are times, ports and ids, which
/// differ each time.
pub(super) fn words(said: &str) -> u64 {
    let mut digest = KEYS.build_hasher();
    said.bytes().filter(|byte| !byte.is_ascii_digit()).for_each(|byte| digest.write_u8(byte));
    digest.finish()
}

/// Whether a provider's words may quote the request: three words in a row, or one long word, that
/// occur in it.
pub(super) fn quotes(said: &str, ask: &Ask) -> bool {
    /// Shorter words occur in any text.
    const SHORTEST: usize = 12;
    /// Searching a larger request would block the thread for too long.
    const LONGEST: usize = 1024 * 1024;
    let mut asked = Bounded { bytes: Vec::new(), most: LONGEST };
    let has_body = |raw: &RawRequest| io::Write::write_all(&mut asked, &raw.body);
    let is_too_long = ask.raw().map(has_body).is_some_and(|written| written.is_err());
    if is_too_long || serde_json::to_writer(&mut asked, ask).is_err() {
        return true;
    }
    let asked = String::from_utf8_lossy(&asked.bytes).to_lowercase();
    let mut said = said.to_lowercase();
    if let Some(model) = ask.model().filter(|model| !model.is_empty()) {
        // The model's name is no secret, and many errors contain it.
        said = said.replace(&model.to_lowercase(), "");
    }
    let words: Vec<_> = said.split_whitespace().map(|word| word.trim_matches(QUOTES)).collect();
    let long = words.iter().map(|word| (*word).to_owned());
    let runs = words.windows(3).map(|three| three.join(" "));
    long.chain(runs).any(|part| part.chars().count() >= SHORTEST && asked.contains(&part))
}

/// Characters around a quotation.
const QUOTES: [char; 8] = ['"', '\'', '`', ',', '.', ':', '(', ')'];

/// A writer of bytes up to a bound; more bytes are an error.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Digest<H>(H);

impl<H: Hasher> io::Write for Digest<H> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::EmbedRequest;

    fn asking(text: &str) -> Ask {
        let (model, input) = (Some("some-model:70b-instruct".to_owned()), vec![text.to_owned()]);
        Ask::Embed(EmbedRequest { model, input, ..EmbedRequest::default() })
    }

    #[test]
    fn words_have_one_digest_whatever_numbers_they_contain() {
        assert_eq!(words("EOF at 127.0.0.1:4123"), words("EOF at 127.0.0.1:999"));
        assert_ne!(words("EOF"), words("timeout"));
    }

    #[test]
    fn words_quoted_from_the_request_are_noticed() {
        let ask = asking("My neighbour's name is Ellinor Quist, tell nobody");
        for quoting in [
            "cannot parse 'name is Ellinor' in the prompt",
            "unexpected token near my NEIGHBOUR'S NAME is",
        ] {
            assert!(quotes(quoting, &ask), "{quoting}");
        }
        let named = "model 'some-model:70b-instruct' failed";
        for own in ["model runner has unexpectedly stopped", "dial tcp: no such host", named, ""] {
            assert!(!quotes(own, &ask), "{own}");
        }
    }
}
