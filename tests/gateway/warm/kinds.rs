//! Kinds of work at models that compete for one place: busy and rare ones, batch work, embeddings,
//! long answers, unequal crowds, clients that want a model to stay.

use std::cell::Cell;

use futures_util::future::{join, join_all};

use llm_gateway::policy::Priority;

use super::*;

/// Two models, an embedding model, and room for one.
fn server(load: u64) -> Simulator {
    let models = ["m0", "m1", "nomic-embed-text"].map(str::to_owned).to_vec();
    Simulator::start(SimSettings { models, ..settings(1, load) })
}

/// Asks again and again until it is over, and counts the answers.
async fn busy(
    gateway: &Gateway,
    key: &str,
    model: &str,
    (asked, is_over): (&Cell<usize>, &Cell<bool>),
) {
    while !is_over.get() {
        assert_eq!(ask(gateway, key, model).await.status, 200);
        asked.set(asked.get() + 1);
    }
}

async fn loads(simulator: &Simulator) -> u64 {
    let [loads, aborted, reloads] = simulator.counted(["loads", "aborted_loads", "reloads"]).await;
    assert_eq!((aborted, reloads), (0, 0));
    loads
}

#[tokio::test]
async fn a_model_that_is_rarely_asked_for_has_its_turns_beside_a_busy_one() {
    let simulator = server(50);
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    let (asked, is_over) = (Cell::new(0), Cell::new(false));
    let rare = async {
        for _ in 0..4 {
            assert_eq!(ask(&gateway, "d", "m1").await.status, 200);
            // It comes back when the other one has long been busy again.
            let until = asked.get() + 20;
            eventually(
                || format!("{until} answers of the busy one, not {}", asked.get()),
                async || (asked.get() >= until).then_some(()),
            )
            .await;
        }
        is_over.set(true);
    };
    let busy = ["a", "b", "c"].map(|key| busy(&gateway, key, "m0", (&asked, &is_over)));
    join(join_all(busy), rare).await;
    // The first one, and for each turn of the rare one two.
    let loads = loads(&simulator).await;
    assert!(loads <= 9, "{loads}");
    gateway.end(4 + asked.get()).await;
}

#[tokio::test]
async fn one_key_with_a_model_of_its_own_is_served_beside_a_crowd_at_another() {
    let simulator = server(50);
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    let (asked, is_over) = (Cell::new(0), Cell::new(false));
    let alone = async {
        // It does not wait for its answers one after the other.
        let many = join_all((0..12).map(|_| ask(&gateway, "f", "m1"))).await;
        assert!(many.iter().all(|answer| answer.status == 200));
        is_over.set(true);
    };
    let crowd = ["a", "b", "c", "d", "e"].map(|key| busy(&gateway, key, "m0", (&asked, &is_over)));
    join(join_all(crowd), alone).await;
    let loads = loads(&simulator).await;
    assert!(loads <= 8, "{loads}");
    gateway.end(12 + asked.get()).await;
}

#[tokio::test]
async fn batch_work_takes_no_model_from_people_who_go_on_asking() {
    let simulator = server(1000);
    let config = Config::new().provider(Provider::new("ollama", "ollama", &simulator.url));
    let config = config.key(Key::new("a")).key(Key::new("night").priority(Priority::Batch));
    let gateway = spawn_gateway(config).await;
    // It is known then that both do not fit.
    for model in ["m0", "m1", "m0"] {
        assert_eq!(ask(&gateway, "a", model).await.status, 200);
    }
    let is_batch_done = Cell::new(false);
    let batch = async {
        assert_eq!(ask(&gateway, "night", "m1").await.status, 200);
        is_batch_done.set(true);
    };
    let person = async {
        for _ in 0..20 {
            assert_eq!(ask(&gateway, "a", "m0").await.status, 200);
            assert!(!is_batch_done.get(), "the model has gone for batch work");
        }
    };
    join(batch, person).await;
    assert_eq!(loads(&simulator).await, 4);
    gateway.end(24).await;
}

#[tokio::test]
async fn embeddings_and_chats_are_all_answered_with_a_few_loads() {
    let simulator = server(50);
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    let chats = async |key: &str| {
        for _ in 0..10 {
            assert_eq!(ask(&gateway, key, "m0").await.status, 200);
        }
    };
    let embeddings = async |key: &str| {
        let wanted = json!({"model": "nomic-embed-text", "input": "a line of text"});
        for _ in 0..10 {
            let key = format!("sk-{key}");
            let headers = [("x-api-key", &*key)];
            let answer = post_json_with(&gateway.url("/v1/embeddings"), &headers, &wanted).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    };
    join(join(chats("a"), chats("b")), join(embeddings("c"), embeddings("d"))).await;
    // In the order of arrival each of the forty would load its model.
    let loads = loads(&simulator).await;
    assert!((2..=20).contains(&loads), "{loads}");
    gateway.end(40).await;
}

#[tokio::test]
async fn a_long_answer_ends_before_its_model_goes() {
    let simulator = Simulator::start(SimSettings {
        models: ["m0", "m1"].map(str::to_owned).to_vec(),
        tokens_per_second: 100.0,
        ..settings(1, 50)
    });
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    let mut long = streamed_chat("hi");
    (long["model"], long["max_tokens"]) = ("m0".into(), 200.into());
    let long = stream_with(&gateway.url("/v1/chat"), &[("x-api-key", "sk-a")], &long).await;
    // It is being written.
    let (rest, other) = join(long.rest(), ask(&gateway, "b", "m1")).await;
    assert!(rest.ended_properly && rest.text().contains("[DONE]"), "{}", rest.text());
    assert_eq!(other.status, 200);
    assert_eq!(loads(&simulator).await, 2);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_client_that_wants_its_model_to_stay_for_ever_keeps_nobody_out() {
    let simulator = server(50);
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    let messages = json!([{"role": "user", "content": "hi"}]);
    let stays = json!({"model": "m0", "keep_alive": -1, "stream": false, "messages": messages});
    for _ in 0..2 {
        let headers = [("x-api-key", "sk-a")];
        let answer = post_json_with(&gateway.url("/api/chat"), &headers, &stays).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("x-gateway-dropped").unwrap().contains("keep_alive"));
        assert_eq!(ask(&gateway, "b", "m1").await.status, 200);
    }
    assert_eq!(loads(&simulator).await, 4);
    gateway.end(4).await;
}
