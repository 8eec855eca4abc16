//! Conversations that do not simply go on: edited ones, branches, common beginnings.

use super::*;

#[tokio::test]
async fn a_conversation_that_is_edited_midway_is_remembered_up_to_there() {
    let simulator = server(65_536, 100_000.0);
    let gateway = in_front_of(&simulator, true).await;
    let mut agent = Agent::new("a", 1_000);
    for number in 0..4 {
        agent.say(&gateway, &format!("thing {number} ").repeat(200)).await;
    }
    // The system text and the first question and answer stay.
    agent.messages.truncate(3);
    let [before] = simulator.counted(["prompt_reused"]).await;
    let (told, total) = remembered(&agent.say(&gateway, &"another ".repeat(400)).await);
    let [after] = simulator.counted(["prompt_reused"]).await;
    let found = after - before;
    assert!(told * 3 > total && told < total, "{told} of {total}");
    assert!(told * 10 > found * 8 && told * 8 < found * 10, "told {told}, found {found}");
    let (told, total) = remembered(&agent.turn(&gateway).await);
    assert!(told * 10 > total * 8, "{told} of {total}");
    gateway.end(6).await;
}

#[tokio::test]
async fn branches_of_one_conversation_have_its_beginning_in_common() {
    let simulator = server(65_536, 100_000.0);
    let gateway = in_front_of(&simulator, true).await;
    let mut stem = Agent::new("a", 2_000);
    stem.turn(&gateway).await;
    let mut branches = ["x", "y", "z"].map(|name| (name, stem.clone()));
    for _ in 0..4 {
        for (name, branch) in &mut branches {
            let said = format!("branch {name}, {}", branch.messages.len());
            let (told, total) = remembered(&branch.say(&gateway, &said).await);
            assert!(told * 2 > total, "{told} of {total}");
        }
    }
    let [read, reused] = simulator.counted(["prompt_read", "prompt_reused"]).await;
    assert!(reused > 4 * read, "{read} read, {reused} reused");
    gateway.end(13).await;
}

#[tokio::test]
async fn a_common_system_text_is_read_once_and_told_to_nobody_else() {
    let simulator = server(65_536, 100_000.0);
    let gateway = in_front_of(&simulator, true).await;
    let rules = "these are the rules ".repeat(400);
    let mut first = true;
    for key in ["a", "b"] {
        let [before] = simulator.counted(["prompt_reused"]).await;
        let mut agent = Agent::with(key, &rules);
        assert_eq!(remembered(&agent.turn(&gateway).await).0, 0, "{key} has not sent it before");
        let [after] = simulator.counted(["prompt_reused"]).await;
        assert_eq!(after - before > 1_500, !first, "{before} {after}");
        assert!(remembered(&agent.turn(&gateway).await).0 > 1_500);
        first = false;
    }
    gateway.end(4).await;
}

#[tokio::test]
async fn keys_with_a_common_system_text_are_read_no_more_than_in_the_order_of_the_line() {
    let rules = "these are the rules ".repeat(200);
    let agents = || {
        let own =
            |key: &&str| Agent::with(key, &format!("{rules}{}", format!("{key} ").repeat(3_000)));
        KEYS.iter().map(own).collect()
    };
    let hosts = || vec![server(3_500, 10_000.0)];
    let [before, after] = read_for(hosts, provider, agents).await;
    assert!(after * 10 < before * 9, "{after} of {before}");
}

#[tokio::test]
async fn many_conversations_of_one_key_are_told_apart() {
    let agents = || {
        let own = |name: &&str| Agent { key: "sk-a".to_owned(), ..Agent::new(name, 2_000) };
        KEYS.iter().map(own).collect()
    };
    let hosts = || vec![server(2_500, 10_000.0)];
    let [before, after] = read_for(hosts, provider, agents).await;
    assert!(after * 10 < before * 8, "{after} of {before}");
}
