//! Which failures count against the model and which against the request.

use super::*;

const STRICT: Leniency = Leniency { only_one_fails: false, discount: 0 };

struct Case {
    evidence: Evidence,
    now: Instant,
}

impl Case {
    fn new() -> Self {
        Self { evidence: Evidence::default(), now: Instant::now() }
    }

    fn answered(&mut self, caller: &str) {
        self.evidence.answered(&Arc::from(caller), self.now);
    }

    fn failed(&mut self, caller: &str, request: u64, words: u64, repeated: bool) -> Weight {
        let fault = Fault { request, said: Some(words), repeated };
        self.evidence.failed(&Arc::from(caller), fault, self.now)
    }

    /// A failure without a text from the provider.
    fn cut(&mut self, caller: &str, request: u64) -> Weight {
        let fault = Fault { request, said: None, repeated: false };
        self.evidence.failed(&Arc::from(caller), fault, self.now)
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn counts(count: u32) -> Weight {
    Weight::Model { count, leniency: STRICT }
}

#[test]
fn a_request_counts_once_however_often_it_is_tried_and_once_a_minute() {
    let mut case = Case::new();
    assert_eq!(case.cut("a", 1), counts(1));
    assert_eq!(case.cut("a", 1), counts(0));
    assert_eq!(case.cut("a", 2), counts(1));
    case.pass(61);
    assert_eq!(case.cut("a", 1), counts(1));
}

#[test]
fn the_same_error_twice_is_the_request_s_fault_while_others_are_answered() {
    let mut case = Case::new();
    case.answered("b");
    case.failed("a", 1, 7, false);
    assert_eq!(case.failed("a", 1, 7, true), Weight::Request { retract: true });
    // Another request of the same caller gets the same error, and the others are still answered.
    case.failed("a", 2, 7, false);
    assert_eq!(case.failed("a", 2, 7, true), Weight::Request { retract: true });
}

#[test]
fn no_failure_is_a_request_s_fault_while_no_caller_is_answered() {
    let mut case = Case::new();
    case.failed("a", 1, 7, false);
    assert_eq!(case.failed("a", 1, 7, true), counts(0));
    case.answered("a");
    case.pass(61);
    case.failed("a", 2, 7, false);
    assert_eq!(case.failed("a", 2, 7, true), counts(0));
}

#[test]
fn a_model_that_dies_gives_every_request_the_same_error_and_all_of_them_count() {
    let mut case = Case::new();
    case.answered("a");
    assert_eq!(case.failed("a", 1, 7, false), counts(1));
    assert_eq!(case.failed("a", 1, 7, true), Weight::Request { retract: true });
    // The only caller's next request gets the same error: the first failure was the model's after
    // all.
    assert_eq!(case.failed("a", 2, 7, false), counts(2));
    assert_eq!(case.failed("a", 2, 7, true), counts(0));
    assert_eq!(case.failed("a", 3, 7, false), counts(1));
}

#[test]
fn an_error_that_another_caller_gets_too_is_the_model_s_fault() {
    let mut case = Case::new();
    case.answered("b");
    case.failed("a", 1, 7, false);
    assert_eq!(case.failed("a", 1, 7, true), Weight::Request { retract: true });
    assert_eq!(
        case.failed("b", 2, 7, false),
        counts(2),
        "the other's request, and the first one's"
    );
    assert_eq!(case.failed("b", 2, 7, true), counts(0));
}

#[test]
fn one_caller_does_not_open_the_breaker_while_others_are_answered() {
    let mut case = Case::new();
    case.answered("b");
    let Weight::Model { leniency, .. } = case.cut("a", 1) else { panic!("counts") };
    assert_eq!(leniency, Leniency { only_one_fails: true, discount: 1 });
    // The other caller fails as well.
    let Weight::Model { leniency, .. } = case.cut("b", 2) else { panic!("counts") };
    assert!(!leniency.only_one_fails);
    case.pass(61);
    let Weight::Model { leniency, .. } = case.cut("a", 3) else { panic!("counts") };
    assert_eq!(leniency, STRICT, "nobody was answered lately");
}

#[test]
fn failures_in_a_row_are_remembered_however_far_apart_they_are() {
    let mut case = Case::new();
    for request in 0..3 {
        assert_eq!(case.cut("a", request), counts(1));
        case.pass(300);
    }
    assert!(case.evidence.has_failed_others(0));
    assert!(!case.evidence.is_pristine(case.now));
    case.answered("a");
    assert!(!case.evidence.has_failed_others(0));
    assert!(case.evidence.is_pristine(case.now));
}

#[test]
fn the_number_of_remembered_failures_is_bounded() {
    let mut case = Case::new();
    for request in 0..10_000 {
        case.cut("a", request);
    }
    assert_eq!(case.evidence.failures.len(), MOST_FAILURES);
}
