//! actix's mailboxes: how many messages they hold, and what becomes of one that is not taken.

use actix::dev::SendError;
use actix::{Actor, Addr, Context, Handler, Message};

use super::soon;

const CAPACITY: usize = 4;

struct Clerk {
    sets_capacity_late: bool,
}

#[derive(Message, Debug, PartialEq)]
#[rtype(result = "()")]
struct Letter(usize);

#[derive(Message)]
#[rtype(result = "()")]
struct Bomb;

impl Actor for Clerk {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.sets_capacity_late {
            context.set_mailbox_capacity(CAPACITY);
        }
    }
}

impl Handler<Letter> for Clerk {
    type Result = ();

    fn handle(&mut self, _: Letter, _: &mut Self::Context) {}
}

impl Handler<Bomb> for Clerk {
    type Result = ();

    fn handle(&mut self, _: Bomb, _: &mut Self::Context) {
        panic!("on purpose");
    }
}

/// An actor with this capacity. It handles nothing before the test awaits something.
fn clerk() -> Addr<Clerk> {
    Clerk::create(|context| {
        context.set_mailbox_capacity(CAPACITY);
        Clerk { sets_capacity_late: false }
    })
}

/// How many letters go through this one address.
fn accepted(address: &Addr<Clerk>) -> usize {
    (0..1000).take_while(|number| address.try_send(Letter(*number)).is_ok()).count()
}

#[actix::test]
async fn a_mailbox_holds_its_capacity_and_one_more_for_every_further_address() {
    let address = clerk();
    assert_eq!(accepted(&address), CAPACITY);
    for _ in 0..10 {
        assert_eq!(accepted(&address.clone()), 1, "a clone has a place of its own");
    }
    assert_eq!(accepted(&address), 0);
}

#[actix::test]
async fn a_capacity_set_when_the_actor_starts_is_too_late_for_the_first_messages() {
    let address = Clerk { sets_capacity_late: true }.start();
    assert_eq!(accepted(&address), 16);
}

#[actix::test]
async fn a_full_mailbox_hands_the_message_back() {
    let address = clerk();
    accepted(&address);
    match address.try_send(Letter(77)) {
        Err(SendError::Full(letter)) => assert_eq!(letter, Letter(77)),
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn do_send_ignores_the_bound() {
    let address = clerk();
    accepted(&address);
    for number in 0..100 {
        address.do_send(Letter(number));
    }
    // All of them are there: this one comes behind them and is answered last.
    soon("all letters are handled", address.send(Letter(100))).await.unwrap();
    assert_eq!(accepted(&address), CAPACITY);
}

#[actix::test]
async fn the_address_of_an_actor_that_panicked_says_closed_and_hands_the_message_back() {
    let address = clerk();
    // The answer to the message is lost with the actor.
    soon("the actor dies", address.send(Bomb)).await.unwrap_err();
    match address.try_send(Letter(77)) {
        Err(SendError::Closed(letter)) => assert_eq!(letter, Letter(77)),
        other => panic!("{other:?}"),
    }
    assert!(!address.connected());
}
