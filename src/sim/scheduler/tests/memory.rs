//! Memory that is short, and memory that comes back late.

use super::*;

#[test]
fn memory_is_freed_late_and_until_then_no_end_is_noticed() {
    let mut bench = Bench::of(bounds(512, 2));
    bench.load("a");
    bench.load("b");
    let busy = bench.arrive("b").expect("loaded");
    let cold = bench.arrive("c").expect("room");
    assert_eq!((bench.loaded(), bench.seen().loading), (vec!["b".to_owned()], false));
    // Its slot is free at once, but the model does not count as idle: it cannot be evicted now.
    bench.leave(busy, End::Finished);
    bench.scheduler.unload(bench.now, &want("b").model);
    assert_eq!(bench.loaded(), ["b"]);
    bench.pass(RECOVERY);
    assert_eq!(bench.seen().loaded, 0);
    bench.pass(RECOVERY + LOAD);
    assert!(bench.granted.contains(&cold));
}

#[test]
fn where_memory_is_short_models_go_one_after_the_other_until_the_wanted_one_fits() {
    let bounds = Bounds { memory: Some(100), ..bounds(512, 9) };
    let mut bench = Bench::of(bounds);
    let sized = |model, size| Want { size, ..want(model) };
    // The first always fits; the next must take at most four fifths of the rest.
    for (model, size, loaded) in [("a", 30, 1), ("b", 20, 2), ("c", 40, 3), ("a", 30, 3)] {
        let id = bench.arrive_with(sized(model, size)).expect("room");
        bench.pass(LOAD);
        bench.leave(id, End::Finished);
        assert_eq!((bench.granted.pop(), bench.seen().loaded), (Some(id), loaded), "{model}");
    }
    // 10 are free. Without `a` and `b` 60 are, of which 48 may be used.
    let id = bench.arrive_with(sized("d", 45)).expect("room");
    bench.pass(RECOVERY * 2);
    assert_eq!((bench.loaded(), bench.seen().unloads), (vec!["c".to_owned()], 2));
    bench.pass(LOAD);
    bench.leave(id, End::Finished);
    // One that never fits is loaded alone.
    let id = bench.arrive_with(sized("e", 400)).expect("room");
    bench.pass(RECOVERY * 2 + LOAD);
    assert_eq!(bench.loaded(), ["e"]);
    assert_eq!(bench.granted.last(), Some(&id));
}

#[test]
fn a_load_after_an_unload_finds_the_memory_taken_and_evicts_one_more() {
    let bounds = Bounds { memory: Some(100), ..bounds(512, 9) };
    for (waits, left) in [(RECOVERY, vec!["b"]), (Duration::ZERO, vec![])] {
        let mut bench = Bench::of(bounds);
        for model in ["a", "b"] {
            let id = bench.arrive_with(Want { size: 30, ..want(model) }).expect("room");
            bench.pass(LOAD);
            bench.leave(id, End::Finished);
        }
        bench.scheduler.unload(bench.now, &want("a").model);
        bench.pass(waits);
        bench.arrive_with(Want { size: 40, ..want("c") }).expect("room");
        bench.pass(RECOVERY * 3 / 2);
        assert_eq!(bench.loaded(), left);
    }
}
