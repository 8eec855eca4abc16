//! A call as the client writes it: one that a backend has encoded, or a request that is passed on.
//!
//! It owns the method, whether the path is below or beside the provider's base address, a body that
//! is sent while it arrives, and the list of headers that are returned with an answer that is
//! passed on.
//!
//! The one thing to know: a request that is passed on has the client's own content type, or none.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_http::body::{BodySize, MessageBody};
use actix_http::{BoxedPayloadStream, Method as HttpMethod};
use awc::ClientResponse;
use bytes::Bytes;

use crate::backend::UpstreamRequest;
use crate::chat::{Method, RawHead};
use crate::job::Upload;

/// Headers of an answer that go back. They are about the content; everything else is the gateway's
/// or the provider's own.
const KEPT: [&str; 6] = [
    "content-type",
    "content-disposition",
    "content-language",
    "cache-control",
    "etag",
    "last-modified",
];

/// A call.
pub(in crate::provider) struct Call {
    /// What it says.
    pub request: UpstreamRequest,
    /// The method of what is passed on; `None` where a body decides.
    method: Option<Method>,
    /// Whether its path is beside the version at the end of the provider's address.
    pub at_root: bool,
    /// The body, if it is sent while it arrives.
    pub upload: Option<Upload>,
}

impl From<UpstreamRequest> for Call {
    fn from(request: UpstreamRequest) -> Self {
        Self { request, method: None, at_root: false, upload: None }
    }
}

impl Call {
    /// A call whose path is beside the version at the end of the provider's address.
    pub fn at_root(request: UpstreamRequest) -> Self {
        Self { at_root: true, ..Self::from(request) }
    }

    /// A call that passes a request on.
    pub fn passing_on(request: UpstreamRequest, method: Method, at_root: bool) -> Self {
        Self { request, method: Some(method), at_root, upload: None }
    }

    pub(super) fn is_passed_on(&self) -> bool {
        self.method.is_some()
    }

    /// Whether its body is one that a backend has written.
    pub(super) fn is_json(&self) -> bool {
        self.method.is_none() && !self.request.body.is_empty()
    }

    pub(super) fn method(&self) -> HttpMethod {
        match self.method {
            Some(Method::Get) => HttpMethod::GET,
            Some(Method::Head) => HttpMethod::HEAD,
            Some(Method::Post) => HttpMethod::POST,
            Some(Method::Delete) => HttpMethod::DELETE,
            None if self.request.body.is_empty() => HttpMethod::GET,
            None => HttpMethod::POST,
        }
    }
}

/// The part of an answer's head that goes back to the client.
pub(super) fn kept(response: &ClientResponse<BoxedPayloadStream>) -> RawHead {
    let headers = KEPT.into_iter().filter_map(|name| {
        let value = response.headers().get(name)?;
        Some((name, Arc::from(value.as_bytes())))
    });
    RawHead { status: response.status().as_u16(), headers: headers.collect() }
}

/// An address without the version at its end, as in `/v1`.
pub(super) fn without_version(base: &str) -> &str {
    match base.rsplit_once("/v") {
        Some((root, version))
            if !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            root
        }
        Some(_) | None => base,
    }
}

/// A body on its way. It ends early when the provider reads no more of it, and is sent in chunks,
/// since a body of a known length cannot end early.
pub(super) struct Uploading {
    pub upload: Upload,
    /// Whether the provider reads no more.
    pub stop: Rc<Cell<bool>>,
}

impl MessageBody for Uploading {
    type Error = crate::job::BrokeOff;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if this.stop.get() { Poll::Ready(None) } else { this.upload.poll_piece(context) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_at_the_end_of_an_address_is_left_out() {
        for (base, root) in [
            ("http://h:8000/v1", "http://h:8000"),
            ("http://h/openai/v1", "http://h/openai"),
            ("http://h/v1beta", "http://h/v1beta"),
            ("http://h/v", "http://h/v"),
            ("http://h:80", "http://h:80"),
        ] {
            assert_eq!(without_version(base), root, "{base}");
        }
    }
}
