//! Which failures of a load are refusals of the model rather than failures of the server.

use crate::provider::failed::Failed;
use crate::provider::retry::Failure;

/// Whether the server does not load such a model in this way, or not for us: then its requests are
/// sent as they come, and get the answer themselves.
pub(super) fn is_refused(failed: &Failed) -> bool {
    match failed.failure {
        Failure::Rejected
        | Failure::OfRequest
        | Failure::NoModel
        | Failure::Forbidden
        | Failure::ContextLength
        | Failure::ContentFilter
        | Failure::Auth
        | Failure::AuthDoubted
        | Failure::DoNotRetry
        | Failure::RateLimited { .. }
        | Failure::Quota { .. } => true,
        Failure::LocalResource
        | Failure::Connect
        | Failure::ResetReused
        | Failure::FirstEventTimeout
        | Failure::DiedBeforeFirstEvent
        | Failure::Crashed
        | Failure::Status { .. }
        | Failure::NotBegun
        | Failure::Cut
        | Failure::Stalled
        | Failure::Differs
        | Failure::DeadlinePassed
        | Failure::ClientGone => false,
    }
}
