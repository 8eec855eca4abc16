//! Puts system messages first, in one message, for servers whose template demands that.
//!
//! Many chat templates refuse a second system message, or one that is not the first. The system
//! messages at the beginning are joined in their order. A later one stays in its place, as marked
//! text of the user: if it were moved to the front, the beginning of the prompt would change, and
//! the server would have to process all of it again.
//!
//! The one thing to know: if nothing has to change, nothing is copied.

use std::borrow::Cow;

use crate::backend::degrade::as_instructions;
use crate::backend::quirks::SystemPlace;
use crate::chat::{ChatRequest, Message, Part, Role};

/// The request with its system messages where the server accepts them.
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
    // Whether the last message was made here from a system message. A user message that follows is
    // joined with it: templates often demand that the roles alternate.
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

/// Joins two system messages; parts other than text stay, so that the encoder refuses them by name.
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
    fn system_messages_at_the_beginning_are_joined_and_later_ones_stay() {
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
    fn a_longer_conversation_begins_like_the_shorter_one() {
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
    fn a_conversation_that_needs_no_change_is_not_copied() {
        let request = said(&[(Role::System, "a"), (Role::User, "hi")]);
        assert!(matches!(placed(&request, SystemPlace::First), Cow::Borrowed(_)));
    }
}
