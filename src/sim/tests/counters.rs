//! The simulator's own counters.

use super::*;

#[actix_web::test]
async fn the_counters_have_their_own_route_and_serial_families_run_one_call_at_a_time() {
    let models = vec!["llama3.1".to_owned(), "qwen3vl".to_owned()];
    let settings = SimSettings { slots: 4, models, ..quick() };
    let settings = SimSettings { first_token: Duration::from_millis(50), ..settings };
    let sim = start(settings.with_models(5)).expect("started");
    let tags = value(get(&sim, "/api/tags").await).await;
    let names: Vec<&str> =
        tags["models"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names[2..], ["model-1:latest", "model-2:latest", "model-3:latest"]);
    for (model, most) in [("qwen3vl", 1), ("llama3.1", 4)] {
        let body = unary(chat(model, "why?"));
        let asked = (0..4).map(|_| post(&sim, "/api/chat", &body));
        let asked = futures_util::future::join_all(asked).await;
        assert!(asked.iter().all(|answer| answer.status() == StatusCode::OK));
        let counters = value(get(&sim, "/sim").await).await;
        assert_eq!(counters["most_running"], most, "{counters}");
    }
    let counters = value(get(&sim, "/sim").await).await;
    assert_eq!((&counters["requests"], &counters["loads"]), (&json!(8), &json!(2)));
}

#[actix_web::test]
async fn each_model_may_take_its_own_time_to_load() {
    let loads = vec![("Mistral:latest".to_owned(), Duration::from_millis(300))];
    let sim = start(SimSettings { loads, ..quick() }).expect("started");
    let loaded = async |model| {
        let answer = value(post(&sim, "/api/chat", &unary(chat(model, "why?"))).await).await;
        Duration::from_nanos(answer["load_duration"].as_u64().unwrap())
    };
    assert!(loaded("mistral").await >= Duration::from_millis(300));
    assert!(loaded("llama3.1").await < Duration::from_millis(300), "all others load at once");
}

#[actix_web::test]
async fn memory_decides_what_is_loaded_beside_what() {
    let size = |name: &str, gib: u64| (name.to_owned(), gib << 30);
    let alias = |name: &str, model: &str| (name.to_owned(), model.to_owned());
    let sim = start(SimSettings {
        memory: Some(24 << 30),
        sizes: vec![size("mistral", 10), size("mine", 8), size("large", 20)],
        aliases: vec![alias("helper", "mine")],
        ..quick()
    });
    let sim = sim.expect("started");
    let tags = value(get(&sim, "/api/tags").await).await;
    let listed = tags["models"].as_array().expect("a list");
    let of = |name: &str| listed.iter().find(|one| one["name"] == name).expect("installed");
    assert_eq!((&of("mine:latest")["size"]), &json!(8_u64 << 30));
    assert_eq!(of("helper:latest")["digest"], of("mine:latest")["digest"]);
    for (model, loaded) in [("mistral", 1), ("mine", 2), ("helper", 2), ("large", 1)] {
        let answer = post(&sim, "/api/chat", &unary(chat(model, "why?"))).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(sim.snapshot().loaded, loaded, "{model}");
    }
    assert_eq!((sim.snapshot().loads, sim.snapshot().unloads), (3, 2));
}
