//! System texts for servers whose template takes one, first.
//!
//! Many a chat template refuses a second system message, or one that is not the first. Those at the beginning are
//! joined in their order. One on the way stays where it is, as user text that is marked: moved to the front it would
//! change the beginning of the prompt, and the server would read all of it again.
//!
//! The one thing to know: where nothing has to change, nothing is copied.

use std::borrow::Cow;

use crate::backend::degrade::as_instructions;
use crate::backend::quirks::SystemPlace;
use crate::chat::{ChatRequest, Message, Part, Role};

/// The request with its system texts where the server takes them.
pub(super) fn placed(request: &ChatRequest, place: SystemPlace) -> Cow<'_, ChatRequest> {
    let is_system = |message: &Message| message.role == Role::System;
    let is_fine = match place {
        SystemPlace::Anywhere => true,
        SystemPlace::First => !request.messages.iter().skip(1).any(is_system),
    };
    if is_fine {
        return Cow::Borrowed(request);
    }
    let mut placed = request.clone();
    placed.messages = joined(std::mem::take(&mut placed.messages));
    Cow::Owned(placed)
}

fn joined(messages: Vec<Message>) -> Vec<Message> {
    let mut placed: Vec<Message> = Vec::with_capacity(messages.len());
    // Whether the last message is one that was marked here. A user's own goes on with it: templates often want the
    // speakers to take turns.
    let mut is_marked = false;
    for message in messages {
        let is_system = message.role == Role::System;
        match placed.last_mut() {
            Some(first) if is_system && first.role == Role::System => append(first, message),
            Some(last) if is_system && last.role == Role::User => {
                last.content.push(Part::Text(marked(&message)));
            }
            Some(_) if is_system => {
                placed.push(Message::text(Role::User, marked(&message)));
                is_marked = true;
                continue;
            }
            Some(last) if is_marked && message.role == Role::User => {
                last.content.extend(message.content);
            }
            Some(_) | None => placed.push(message),
        }
        is_marked = false;
    }
    placed
}

/// Joins two system messages; what is no text stays, to be refused by name.
fn append(first: &mut Message, more: Message) {
    let text = format!("{}\n\n{}", first.joined_text(), more.joined_text());
    let parts = std::mem::take(&mut first.content).into_iter().chain(more.content);
    let others = parts.filter(|part| !matches!(part, Part::Text(_)));
    first.content = std::iter::once(Part::Text(text.trim().to_owned())).chain(others).collect();
}

fn marked(message: &Message) -> String {
    as_instructions(&message.joined_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(messages: &[(Role, &str)]) -> ChatRequest {
        let messages = messages.iter().map(|(role, text)| Message::text(*role, *text)).collect();
        ChatRequest { messages, ..ChatRequest::default() }
    }

    fn heard(request: &ChatRequest) -> Vec<(Role, String)> {
        let placed = placed(request, SystemPlace::First);
        placed.messages.iter().map(|message| (message.role, message.joined_text())).collect()
    }

    #[test]
    fn texts_at_the_beginning_are_one_and_those_on_the_way_stay_there() {
        use Role::{Assistant, System, User};
        let request = said(&[
            (System, "a"),
            (System, "b"),
            (User, "hi"),
            (System, "c"),
            (Assistant, "yes"),
            (System, "d"),
            (User, "go"),
        ]);
        let own = |role, text: &str| (role, text.to_owned());
        let expected = [
            own(System, "a\n\nb"),
            own(User, "hi\n<system>\nc\n</system>"),
            own(Assistant, "yes"),
            own(User, "<system>\nd\n</system>\ngo"),
        ];
        assert_eq!(heard(&request), expected);
        assert_eq!(*placed(&request, SystemPlace::Anywhere), request);
    }

    #[test]
    fn a_longer_conversation_begins_as_the_shorter_one_did() {
        use Role::{Assistant, System, User};
        let turns = [
            (System, "a"),
            (User, "hi"),
            (System, "b"),
            (Assistant, "yes"),
            (User, "go"),
            (System, "c"),
            (Assistant, "done"),
            (User, "on"),
        ];
        let whole = heard(&said(&turns));
        for end in [3, 6] {
            let begun = heard(&said(&turns[..end]));
            assert_eq!(whole[..begun.len()], begun);
        }
    }

    #[test]
    fn nothing_is_copied_where_nothing_changes() {
        let request = said(&[(Role::System, "a"), (Role::User, "hi")]);
        assert!(matches!(placed(&request, SystemPlace::First), Cow::Borrowed(_)));
    }
}
