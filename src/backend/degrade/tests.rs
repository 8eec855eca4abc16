//! Tests of adapting a conversation to an API with few features.

use serde_json::json;

use super::*;
use crate::backend::testing::{answered, call, message, text, tool, user};
use crate::chat::{Extra, HostedTool};

const FEW: Features = Features {
    api: Api::Ollama,
    user_documents: Documents::None,
    tool_documents: Documents::None,
    late_system: false,
    keeps_volatile: false,
};

fn document(source: DocumentSource) -> Part {
    let title = Some("notes".to_owned());
    Part::Document(Document { source, title, context: None, citations: Some(json!({})) })
}

/// A PDF of two pages.
fn pdf() -> Part {
    // "<</Type/Page>> <</Type /Page/Parent 1 0 R>>"
    let base64 = "PDwvVHlwZS9QYWdlPj4gPDwvVHlwZSAvUGFnZS9QYXJlbnQgMSAwIFI+Pg==".to_owned();
    document(DocumentSource::Inline { media_type: pdf::MEDIA_TYPE.into(), base64 })
}

fn foreign(kind: &str, said: Option<&str>, is_decisive: bool) -> Part {
    let value = json!({"type": kind});
    let (kind, text) = (kind.to_owned(), said.map(str::to_owned));
    Part::Foreign(Foreign { api: Api::Anthropic, kind, text, is_decisive, value })
}

fn adapted(request: &ChatRequest) -> (Vec<Message>, Vec<String>) {
    let mut dropped = Vec::new();
    let said = adapt(request, FEW, &mut dropped).unwrap().into_owned();
    (said.messages, dropped)
}

fn refused(request: &ChatRequest, features: Features) -> String {
    adapt(request, features, &mut Vec::new()).unwrap_err().message.into_owned()
}

#[test]
fn a_conversation_of_texts_alone_is_not_copied() {
    let request = user("hi");
    let mut dropped = Vec::new();
    assert!(matches!(adapt(&request, FEW, &mut dropped), Ok(Cow::Borrowed(_))));
    assert!(dropped.is_empty());
}

#[test]
fn late_system_messages_keep_their_place_as_text_of_the_user() {
    let mut request = user("first");
    request.messages.insert(0, message(Role::System, vec![text("Be brief.")]));
    request.messages.push(message(Role::System, vec![text("late"), text("too")]));
    request.messages.push(message(Role::Assistant, vec![text("ok")]));
    request.messages.push(message(Role::System, vec![text("later")]));
    request.messages.push(message(Role::User, vec![text("second")]));
    let (messages, dropped) = adapted(&request);
    let marked = |said: &str| text(&format!("<system>\n{said}\n</system>"));
    let expected = [
        message(Role::System, vec![text("Be brief.")]),
        message(Role::User, vec![text("first"), marked("late\ntoo")]),
        message(Role::Assistant, vec![text("ok")]),
        message(Role::User, vec![marked("later"), text("second")]),
    ];
    assert_eq!(messages, expected);
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn a_document_in_a_tool_result_becomes_a_note() {
    let mut request = user("read it");
    request.messages.push(message(Role::Assistant, vec![call(Some("1"), "read", "{}")]));
    let answer = answered(Some("1"), vec![text("read"), pdf()], false);
    request.messages.push(message(Role::Tool, vec![answer]));
    // A user message beside tool results is not a question.
    request.messages.push(message(Role::User, vec![pdf()]));
    let (messages, dropped) = adapted(&request);
    let note = text("notes\n[a PDF of 2 pages that this model cannot read]");
    let answer = answered(Some("1"), vec![text("read"), note.clone()], false);
    assert_eq!(messages[2].content, [answer]);
    assert_eq!(messages[3].content, [note]);
    assert_eq!(dropped, ["citations", "document"]);
}

#[test]
fn a_document_in_the_question_is_refused_unless_it_is_text() {
    let asked = |source: Part| ChatRequest {
        messages: vec![message(Role::User, vec![source, text("what does it say?")])],
        ..ChatRequest::default()
    };
    let words = document(DocumentSource::Text("all is well".into()));
    assert_eq!(adapted(&asked(words)).0[0].content[0], text("notes\nall is well"));
    let told = refused(&asked(pdf()), FEW);
    assert_eq!(told, "document: this provider cannot read a PDF of 2 pages, send its text");
    let inline = Features { user_documents: Documents::Inline, ..FEW };
    let linked = document(DocumentSource::Url("https://example.org/x.pdf".into()));
    let told = refused(&asked(linked.clone()), inline);
    assert!(told.ends_with("https://example.org/x.pdf, send its content as base64"), "{told}");
    let mut history = asked(linked);
    history.messages.push(message(Role::Assistant, vec![text("well")]));
    history.messages.push(message(Role::User, vec![text("and now?")]));
    let note = "notes\n[the document at https://example.org/x.pdf that this model cannot read]";
    assert_eq!(adapted(&history).0[0].content[0], text(note));
}

#[test]
fn a_foreign_part_becomes_its_text_or_is_reported() {
    let mut request = user("hi");
    let searched = foreign("web_search_tool_result", Some("a title"), false);
    let silent = foreign("compaction_of_2030", None, false);
    let lost = foreign("container_upload", None, true);
    request.messages[0].content.push(lost);
    request.messages.push(message(Role::Assistant, vec![searched, silent.clone()]));
    request.messages.push(message(Role::Assistant, vec![silent]));
    request.messages.push(message(Role::User, vec![text("go on")]));
    let (messages, dropped) = adapted(&request);
    assert_eq!(messages[0].content[1], text("[`container_upload` that this model cannot read]"));
    assert_eq!(messages[1].content, [text("a title")]);
    assert_eq!(messages.len(), 3, "a message without parts is dropped");
    assert_eq!(dropped, ["container_upload", "web_search_tool_result", "compaction_of_2030"]);
    request.messages.truncate(1);
    assert!(refused(&request, FEW).starts_with("container_upload: "));
    let own = Features { api: Api::Anthropic, ..FEW };
    assert!(matches!(adapt(&request, own, &mut Vec::new()), Ok(Cow::Borrowed(_))));
}

#[test]
fn tools_of_another_provider_are_reported_and_refused_only_if_forced() {
    let kind = "web_search_20250305".to_owned();
    let (name, value) = ("web_search".to_owned(), json!({}));
    let hosted = HostedTool { api: Api::Anthropic, at: 0, kind, name, value };
    let mut own = tool("own");
    let fields = json!({"defer_loading": true}).as_object().unwrap().clone();
    own.extra = Some(Extra { api: Api::Anthropic, fields });
    let mut request = user("hi");
    request.hosted = vec![hosted];
    request.tools = vec![own];
    for choice in [ToolChoice::Auto, ToolChoice::Required, ToolChoice::Named("own".into())] {
        request.tool_choice = choice;
        assert_eq!(adapted(&request).1, ["web_search_20250305", "defer_loading"]);
    }
    request.tool_choice = ToolChoice::Named("web_search".into());
    assert!(refused(&request, FEW).contains("no `web_search_20250305`"));
    request.tool_choice = ToolChoice::Required;
    request.tools.clear();
    assert!(refused(&request, FEW).starts_with("tool_choice: "));
}

#[test]
fn the_line_that_changes_with_every_call_is_sent_only_to_anthropic() {
    let line = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch=fa690;";
    let mark = Part::CacheMark(json!({"type": "ephemeral"}));
    for (told, left) in [
        (vec![text(line), mark, text("You are an agent.")], "You are an agent."),
        (vec![text(&format!("{line}\n\nYou are an agent."))], "You are an agent."),
    ] {
        let mut request = user("hi");
        request.messages.insert(0, message(Role::System, told));
        let (messages, dropped) = adapted(&request);
        assert_eq!(messages[0].content, [text(left)]);
        assert_eq!(dropped, ["x-anthropic-billing-header"]);
        let anthropic = Features { api: Api::Anthropic, keeps_volatile: true, ..FEW };
        assert!(matches!(adapt(&request, anthropic, &mut Vec::new()), Ok(Cow::Borrowed(_))));
    }
    let mut alone = user("hi");
    alone.messages.insert(0, message(Role::System, vec![text(line)]));
    assert_eq!(adapted(&alone).0, user("hi").messages);
}
