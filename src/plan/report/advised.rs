//! A change of limits that helps, as it is reported.

use std::time::Duration;

use serde::Serialize;

use crate::plan::Scenario;

/// A change of limits with which the load fits. What is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Advice {
    /// Calls at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// Requests that may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queue: Option<u32>,
    /// How long a request may wait, in whole seconds.
    #[serde(rename = "max_wait_seconds", skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<u64>,
    /// How long a request may take in total, in whole seconds.
    #[serde(rename = "deadline_seconds", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// The share of requests that is still lost, 0 to 1.
    pub lost_share: f64,
    /// Nineteen in twenty of the admitted requests would wait no longer, in seconds.
    pub wait_p95_seconds: f64,
}

impl Advice {
    /// The scenario with these limits.
    #[must_use]
    pub fn applied(&self, scenario: &Scenario) -> Scenario {
        let seconds = |value: Option<u64>| value.map(Duration::from_secs);
        Scenario {
            slots: self.slots.unwrap_or(scenario.slots),
            max_queue: self.max_queue.unwrap_or(scenario.max_queue),
            max_wait: seconds(self.max_wait).unwrap_or(scenario.max_wait),
            deadline: seconds(self.deadline).unwrap_or(scenario.deadline),
            ..scenario.clone()
        }
    }
}
