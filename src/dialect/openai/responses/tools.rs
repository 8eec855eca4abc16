//! The tools of a responses request: their form for the model, and the mapping of calls back to the
//! client's tools.
//!
//! Models behind a gateway know only functions. A free-form tool becomes a function with one
//! string, the client's shell one with a command, and a namespace's tools are listed with the
//! others. Tools that OpenAI runs on its own servers are dropped and named, and so is every unknown
//! kind; only a choice that forces one is rejected.
//!
//! The one thing to know: a name that two namespaces use gets its namespace as a prefix.
//! [`Offer::given`] returns the model's name of a tool, [`Offer::parts`] the forms that map it
//! back.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::free_text::FIELD;
use crate::chat::{CallForm, CallKind, Tool, ToolChoice};
use crate::dialect::openai::UNSUPPORTED_VALUE;
use crate::dialect::openai::request::shown;
use crate::dialect::openai::tools::{check_choice, function, mode};
use crate::wire::fields::{Fields, Object, take};

/// The name of the function that replaces the client's shell.
pub(super) const SHELL: &str = "local_shell";

/// The tools that the model is offered.
#[derive(Default)]
pub(super) struct Offer {
    entries: Vec<Entry>,
    /// The position of each, by the client's names.
    places: HashMap<(Option<String>, String), usize>,
    /// The kinds of the dropped tools.
    pub(super) dropped: Vec<String>,
}

struct Entry {
    /// With the name that the model knows.
    tool: Tool,
    form: CallForm,
}

impl Offer {
    /// Adds the tools of the list at the current path. A tool that is there already is replaced.
    pub(super) fn add(&mut self, fields: &mut Fields, list: Vec<Value>) {
        for (index, item) in list.into_iter().enumerate() {
            if let Some(item) = fields.item(index, item) {
                fields.within(index, |fields| self.add_one(fields, item, None));
            }
        }
    }

    fn add_one(&mut self, fields: &mut Fields, mut item: Object, group: Option<&Group>) {
        let kind = fields.text(&mut item, "type");
        let entry = match kind.as_deref() {
            None | Some("function") => {
                function(fields, &mut item).map(|tool| (tool, CallKind::Function))
            }
            Some("custom") => free_text(fields, &mut item).map(|tool| (tool, CallKind::FreeText)),
            Some("local_shell") => Some((shell(), CallKind::LocalShell)),
            Some("namespace") if group.is_none() => return self.add_group(fields, item),
            Some(kind) => return self.dropped.push(plain(kind)),
        };
        let Some((mut tool, kind)) = entry else { return };
        let form = CallForm {
            name: tool.name.clone(),
            namespace: group.map(|group| group.name.clone()),
            kind,
        };
        if let Some(about) = group.and_then(Group::about) {
            let own = tool.description.unwrap_or_default();
            tool.description = Some(format!("{own}\n\n{about}").trim_start().to_owned());
        }
        let end = self.entries.len();
        let place = *self.places.entry((form.namespace.clone(), form.name.clone())).or_insert(end);
        match self.entries.get_mut(place) {
            Some(place) => *place = Entry { tool, form },
            None => self.entries.push(Entry { tool, form }),
        }
    }

    fn add_group(&mut self, fields: &mut Fields, mut item: Object) {
        let Some(name) = fields.required_text(&mut item, "name") else { return };
        let description = fields.text(&mut item, "description");
        let group = Group { name, description };
        let list = fields.list(&mut item, "tools").unwrap_or_default();
        fields.each("tools", list, |fields, item| self.add_one(fields, item, Some(&group)));
    }

    /// Gives every tool a unique name, when all have been added.
    pub(super) fn settle(&mut self) {
        let mut taken: HashSet<String> = HashSet::new();
        let mut shared: HashSet<String> = HashSet::new();
        for entry in &self.entries {
            if !taken.insert(entry.form.name.clone()) {
                shared.insert(entry.form.name.clone());
            }
        }
        for Entry { tool, form } in &mut self.entries {
            if let Some(group) = form.namespace.as_ref().filter(|_| shared.contains(&form.name)) {
                tool.name = format!("{group}__{}", form.name);
                while !taken.insert(tool.name.clone()) {
                    tool.name.push('_');
                }
            }
        }
    }

    /// The model's name of a tool.
    pub(super) fn given<'a>(&'a self, namespace: Option<&str>, name: &'a str) -> &'a str {
        let place = self.places.get(&(namespace.map(str::to_owned), name.to_owned()));
        let entry = place.and_then(|place| self.entries.get(*place));
        entry.map_or(name, |entry| &entry.tool.name)
    }

    /// Takes `tool_choice`, which may exclude tools.
    pub(super) fn choice(&mut self, fields: &mut Fields, body: &mut Object) -> ToolChoice {
        const KEY: &str = "tool_choice";
        let choice = match take(body, KEY) {
            None => ToolChoice::Auto,
            Some(Value::String(word)) => mode(fields, KEY, &word, &[]),
            Some(Value::Object(object)) => {
                fields.within(KEY, |fields| self.chosen(fields, object)).unwrap_or_default()
            }
            Some(_) => {
                fields.problem(KEY, "string_type", "should be a word or an object");
                ToolChoice::Auto
            }
        };
        if choice == ToolChoice::Required && self.entries.is_empty() && !self.dropped.is_empty() {
            let take_dropped = self.dropped.join(", ");
            let message = format!(
                "insists on a call, and this gateway runs none of the tools ({take_dropped}); \
                 leave it out or add a function"
            );
            fields.problem(KEY, UNSUPPORTED_VALUE, message);
            return ToolChoice::Auto;
        }
        let tools: Vec<Tool> = self.entries.iter().map(|entry| entry.tool.clone()).collect();
        check_choice(fields, KEY, &choice, &tools);
        choice
    }

    fn chosen(&mut self, fields: &mut Fields, mut object: Object) -> Option<ToolChoice> {
        let kind = fields.required_text(&mut object, "type")?;
        match kind.as_str() {
            "function" | "custom" => {
                let name = fields.required_text(&mut object, "name")?;
                let namespace = fields.text(&mut object, "namespace");
                let given = self.given(namespace.as_deref(), &name);
                // The namespace may be omitted if the name is unique.
                let alone = self.entries.iter().find(|entry| entry.form.name == name);
                let is_known = self.entries.iter().any(|entry| entry.tool.name == given);
                let found = alone.filter(|_| !is_known && namespace.is_none());
                Some(ToolChoice::Named(found.map_or(given, |entry| &entry.tool.name).to_owned()))
            }
            "local_shell" => Some(ToolChoice::Named(self.given(None, SHELL).to_owned())),
            "allowed_tools" => {
                let word = fields.required_text(&mut object, "mode");
                let list = fields.required_list(&mut object, "tools")?;
                let allowed: Vec<Allowed> = list.into_iter().filter_map(Allowed::of).collect();
                self.entries.retain(|entry| allowed.iter().any(|one| one.names(&entry.form)));
                self.places.clear();
                word.map(|word| mode(fields, "mode", &word, &[]))
            }
            kind => {
                let message = format!(
                    "`{}` runs on OpenAI's servers and not behind this gateway, so it cannot be \
                     insisted on; leave `tool_choice` out or name a function",
                    shown(kind)
                );
                fields.problem("type", UNSUPPORTED_VALUE, message);
                None
            }
        }
    }

    /// The tools for the model, and the client's forms of those that are not plain functions.
    pub(super) fn parts(self) -> (Vec<Tool>, Vec<(String, CallForm)>) {
        let is_plain =
            |entry: &Entry| entry.form.kind == CallKind::Function && entry.form.namespace.is_none();
        let forms = self.entries.iter().filter(|entry| !is_plain(entry));
        let forms = forms.map(|entry| (entry.tool.name.clone(), entry.form.clone())).collect();
        (self.entries.into_iter().map(|entry| entry.tool).collect(), forms)
    }
}

/// A namespace.
struct Group {
    name: String,
    description: Option<String>,
}

impl Group {
    /// The description for the model, which sees the tools of the namespace one by one.
    fn about(&self) -> Option<String> {
        let description = self.description.as_ref().filter(|text| !text.trim().is_empty())?;
        Some(format!("Part of {}: {description}", self.name))
    }
}

/// One tool that a choice allows.
struct Allowed {
    kind: String,
    name: Option<String>,
    namespace: Option<String>,
}

impl Allowed {
    fn of(value: Value) -> Option<Self> {
        let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
        Some(Self { kind: text("type")?, name: text("name"), namespace: text("namespace") })
    }

    fn names(&self, form: &CallForm) -> bool {
        match self.kind.as_str() {
            "namespace" => form.namespace.is_some() && form.namespace == self.name,
            SHELL => form.kind == CallKind::LocalShell,
            _ => {
                self.name.as_ref() == Some(&form.name)
                    && (self.namespace.is_none() || self.namespace == form.namespace)
            }
        }
    }
}

/// A tool that takes a text, as a function.
fn free_text(fields: &mut Fields, item: &mut Object) -> Option<Tool> {
    let name = fields.required_text(item, "name");
    let description = fields.text(item, "description").unwrap_or_default();
    let format = fields.object(item, "format").unwrap_or_default();
    let text = |key: &str| format.get(key).and_then(Value::as_str);
    let mut about = description.trim_end().to_owned();
    if !about.is_empty() {
        about.push_str("\n\n");
    }
    about.push_str("`input` is free text, passed on as it is: no JSON, no quotes around it.");
    if let Some(definition) = text("definition") {
        let syntax = text("syntax").unwrap_or("given");
        about.push_str(&format!(" It must follow this {syntax} grammar:\n{definition}"));
    }
    let parameters = json!({
        "type": "object",
        "properties": { FIELD: {"type": "string", "description": "The text."} },
        "required": [FIELD],
        "additionalProperties": false,
    });
    Some(Tool {
        name: name?,
        description: Some(about),
        parameters: Some(parameters),
        ..Tool::default()
    })
}

/// The client's shell, as a function with the fields of its calls.
fn shell() -> Tool {
    let parameters = json!({
        "type": "object",
        "properties": {
            "command": {
                "type": "array", "items": {"type": "string"},
                "description": "The program and its arguments, such as [\"bash\", \"-lc\", \"ls\"].",
            },
            "working_directory": {"type": "string", "description": "Where it runs."},
            "timeout_ms": {"type": "integer", "description": "The longest that it may take."},
            "env": {
                "type": "object", "additionalProperties": {"type": "string"},
                "description": "Environment variables to set.",
            },
        },
        "required": ["command"],
    });
    Tool {
        name: SHELL.to_owned(),
        description: Some(
            "Runs a command on the user's computer and gives what it prints.".to_owned(),
        ),
        parameters: Some(parameters),
        ..Tool::default()
    }
}

/// A client's text, limited to characters that a header allows.
pub(super) fn plain(word: &str) -> String {
    const MOST: usize = 64;
    let letter = |letter: char| {
        let is_plain = letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        if is_plain { letter } else { '_' }
    };
    word.chars().take(MOST).map(letter).collect()
}
