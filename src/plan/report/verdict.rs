//! Says in a sentence or two what the numbers mean and what would help.

use std::time::Duration;

use super::{Advice, Report, digits, is_bearable, time};
use crate::units::format_duration;

/// The most load that leaves a reserve. Above it, even a small peak makes a long line.
const COMFORTABLE: f64 = 0.7;

/// Says what the numbers mean.
pub(super) fn verdict(report: &Report) -> String {
    if report.requests == 0 {
        return "Nothing arrives, so nothing can be said.".to_owned();
    }
    let load = report.offered / f64::from(report.slots);
    let percent = format!("{:.1} %", 100.0 * report.lost_share());
    if !is_bearable(report.lost(), report.requests) {
        let remedy = remedy(report);
        return if report.is_too_much() {
            format!(
                "Too much: {} slots would be busy and there are {}, so the line grows until requests are refused, whatever its \
                 length; {percent} of them are lost. A longer line or more patience only makes everybody wait. {remedy}",
                digits(report.offered),
                report.slots,
            )
        } else {
            format!("Not enough for the peaks: {percent} of the requests are lost. {remedy}")
        };
    }
    if load > COMFORTABLE {
        return format!(
            "Works without reserve: the slots are busy {:.0} % of the time, one request in twenty waits longer than {}, and a \
             little more load makes that much longer. {} slots would be busy {:.0} % at most.",
            100.0 * report.busy,
            time(report.wait.p95),
            (report.offered / COMFORTABLE).ceil(),
            100.0 * COMFORTABLE,
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

/// What was found to help, each by itself.
fn remedy(report: &Report) -> String {
    let found: Vec<String> = report.advice.iter().map(described).collect();
    match found.as_slice() {
        [] if report.cut_off > report.refusals() => format!(
            "Their calls are longer than the deadline of {}: shorter answers would help, and no limit would.",
            time(report.deadline)
        ),
        [] => "No limit changed by itself makes it less than 1 %: several have to change, or less has to arrive.".to_owned(),
        [one] => format!("Less than 1 % are lost with {one}."),
        [most @ .., last] => {
            format!("Less than 1 % are lost with {}, or with {last}.", most.join(", with "))
        }
    }
}

/// The options that say so, and what that costs.
fn described(advice: &Advice) -> String {
    let seconds = |seconds: u64| format_duration(Duration::from_secs(seconds));
    let options = [
        advice.slots.map(|slots| format!("--slots {slots}")),
        advice.max_queue.map(|queue| format!("--queue {queue}")),
        advice.max_wait.map(|wait| format!("--max-wait {}", seconds(wait))),
        advice.deadline.map(|deadline| format!("--deadline {}", seconds(deadline))),
    ];
    let options: Vec<String> = options.into_iter().flatten().collect();
    let wait = time(advice.wait_p95_seconds);
    format!("`{}` (one in twenty waits longer than {wait})", options.join(" "))
}
