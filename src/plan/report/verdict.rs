//! Says in a sentence or two what the numbers mean and what would help.

use super::{Report, digits, time};
use crate::chat::RefusalReason;

/// The most load that leaves a reserve. Above it, even a small peak makes a long line.
const COMFORTABLE: f64 = 0.7;
/// The most requests that may be lost while the setup still counts as working.
const BEARABLE: f64 = 0.01;

/// Says what the numbers mean.
pub(super) fn verdict(report: &Report) -> String {
    let lost = report.share(report.refusals() + report.cut_off);
    let load = report.offered / f64::from(report.slots);
    let percent = format!("{:.1} %", 100.0 * lost);
    if report.requests == 0 {
        return "Nothing arrives, so nothing can be said.".to_owned();
    }
    if load >= 1.0 {
        return format!(
            "Too much: {} slots would be busy and there are {}, so the line grows until requests are refused, whatever its \
             length; {percent} of them were lost. More patience only makes everybody wait; about {} slots would do.",
            digits(report.offered),
            report.slots,
            enough(report)
        );
    }
    if lost > BEARABLE {
        return format!(
            "Not enough for the peaks: {percent} of the requests are lost. {}",
            remedy(report)
        );
    }
    if load > COMFORTABLE {
        return format!(
            "Works without reserve: the slots are busy {:.0} % of the time, one request in twenty waits longer than {}, and a \
             little more load makes that much longer. About {} slots would be at ease.",
            100.0 * report.busy,
            time(report.wait.p95),
            enough(report)
        );
    }
    if report.wait.p95 > report.hold {
        return format!(
            "Works, with waits: one request in twenty waits longer than {}, which is more than its call takes. That comes from \
             requests that arrive together; more slots or fewer at a time help, a longer line does not.",
            time(report.wait.p95)
        );
    }
    format!("Fits: nineteen requests in twenty wait no longer than {}.", time(report.wait.p95))
}

/// The number of slots with which this load leaves a reserve, at least one more than there are.
fn enough(report: &Report) -> u64 {
    let comfortable = (report.offered / COMFORTABLE).ceil() as u64;
    comfortable.max(u64::from(report.slots) + 1)
}

/// What would help against the most frequent loss.
fn remedy(report: &Report) -> String {
    let most = report.refused.iter().max_by_key(|(_, count)| **count);
    let slots = enough(report);
    match most.filter(|(_, count)| **count >= report.cut_off).map(|(reason, _)| *reason) {
        Some(RefusalReason::QueueFull | RefusalReason::OverShare | RefusalReason::PushedOut) => {
            format!(
                "The line is too short for them: a longer one (--queue), which costs waits of up to {}, or about {slots} slots.",
                time(report.max_wait)
            )
        }
        Some(RefusalReason::PredictedWait | RefusalReason::WaitedTooLong) => {
            format!("They would wait too long: more patience (--max-wait), or about {slots} slots.")
        }
        Some(RefusalReason::DeadlinePassed) => {
            format!(
                "Their deadline passes in the line: a later one (--deadline), or about {slots} slots."
            )
        }
        // The calls themselves take too long; the listed reasons do not occur at a provider that
        // never fails.
        Some(
            RefusalReason::BreakerOpen
            | RefusalReason::CoolingDown
            | RefusalReason::AuthFailed
            | RefusalReason::Quarantined
            | RefusalReason::Draining,
        )
        | None => format!(
            "Their calls are cut off by the deadline of {}: a later one (--deadline), or shorter answers.",
            time(report.deadline)
        ),
    }
}
