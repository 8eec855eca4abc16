//! Reads the errors of the two APIs that hardly anybody but their vendor speaks: Anthropic's and
//! Google's.
//!
//! It owns the steps and the message; the `errors` module of each API classifies the error.
//!
//! The one thing to know: an answer without an error in JSON does not come from the vendor's API,
//! but from a server in front of it or from another address.

use std::time::Duration;

use serde_json::Value;

use super::report::Report;
use super::{Rejection, RejectionClass, class_of_status, shorten};

/// The rules for the errors of one API.
pub(super) struct VendorErrors {
    /// Tells the class of an error, and how long to wait before a retry if the body says so.
    pub(super) classify: fn(&VendorError<'_>) -> (RejectionClass, Option<Duration>),
    /// The end of the message of a 404 without an error in JSON: what the operator should check.
    pub(super) hint: &'static str,
}

/// An error to be classified.
pub(super) struct VendorError<'a> {
    pub(super) report: Report,
    pub(super) body: &'a Value,
    /// The status of the answer, else the one that the error itself deserves.
    pub(super) status: u16,
    /// The status of the answer; `None` for an error within an answer.
    pub(super) answer_status: Option<u16>,
}

impl VendorErrors {
    /// Reads an answer whose status is not 2xx.
    pub(super) fn read(&self, status: u16, body: &[u8], model: &str) -> Rejection {
        let body = &serde_json::from_slice::<Value>(body).unwrap_or_default();
        let answer_status = Some(status);
        match Report::find(body) {
            Some(report) => {
                self.rejection(&VendorError { report, body, status, answer_status }, model)
            }
            None => self.unreported(status),
        }
    }

    /// Reads an error within an answer that began as a success; `None` when there is none.
    pub(super) fn in_band(&self, body: &Value) -> Option<Rejection> {
        let report = Report::find(body)?;
        let status = report.status();
        Some(self.rejection(&VendorError { report, body, status, answer_status: None }, ""))
    }

    fn rejection(&self, error: &VendorError<'_>, model: &str) -> Rejection {
        let (class, retry_after) = (self.classify)(error);
        let message = if !error.report.message.is_empty() {
            shorten(&error.report.message)
        } else if class == RejectionClass::UnknownModel {
            format!("model '{model}' not found")
        } else {
            format!("status {}", error.status)
        };
        Rejection { class, message, retry_after }
    }

    /// The rejection of an answer that has no error in JSON.
    fn unreported(&self, status: u16) -> Rejection {
        let class = match class_of_status(status) {
            RejectionClass::UnknownModel => RejectionClass::Broken,
            class => class,
        };
        let hint = if status == 404 { self.hint } else { "" };
        Rejection { class, message: format!("status {status}{hint}"), retry_after: None }
    }
}
