//! The rules, each a function from the files to complaints.
//!
//! The two tables are what one edits when the shape of the tree changes; the rest follows them.

use crate::rings::rings;
use crate::text::{self, Named};

/// The floors, from the ground up; a module may name modules of lower floors.
const FLOORS: [&[&str]; 8] = [
    &["chat", "policy", "units", "secret"],
    &["dialect", "backend", "wire", "job", "redis", "telemetry", "listener"],
    &["admission", "cache", "limit"],
    &["provider"],
    &["router"],
    &["http", "admin", "sim", "plan"],
    &["app", "config"],
    &["main", "lib"],
];

/// Who may name whom on the same floor.
const SIDEWAYS: [(&str, &str); 7] = [
    ("app", "config"),
    // The console shows and turns what the front end owns.
    ("admin", "http"),
    ("dialect", "wire"),
    ("backend", "wire"),
    ("job", "telemetry"),
    // Capacity planning schedules loads as the simulated server does.
    ("plan", "sim"),
    ("redis", "telemetry"),
];

/// Files and folders that compute and do nothing else.
const PURE: [&str; 34] = [
    "chat",
    "dialect",
    "backend",
    "wire",
    "job/continuation",
    "router/route",
    "admission/backoff",
    "admission/breaker",
    "admission/budget",
    "admission/concurrency",
    "admission/cooldown",
    "admission/cost",
    "admission/estimate",
    "admission/evidence",
    "admission/gate",
    "admission/leases/lease",
    "admission/line",
    "admission/models",
    "admission/quarantine",
    "admission/ramp",
    "admission/remembered",
    "admission/sliding_window",
    "admission/types",
    "admission/unready",
    "admission/warm",
    "provider/fallback",
    "provider/retry",
    "cache/eligible",
    "cache/entry",
    "cache/key",
    "cache/log",
    "limit/bucket",
    "limit/meters",
    "limit/terms",
];

/// What a pure file may not name: how a path begins.
const IMPURE_STARTS: [&[&str]; 7] =
    [&["log"], &["tokio"], &["actix"], &["awc"], &["fastrand"], &["std", "fs"], &["std", "net"]];

/// What a pure file may not call: how a path ends.
const IMPURE_ENDS: [&[&str]; 2] = [&["Instant", "now"], &["SystemTime", "now"]];

/// The only files, with the files below them, that name the HTTP client: one calls providers, and
/// one the gateway itself.
const NAMES_AWC: [&str; 2] = ["provider/client", "admin/playground"];

const MOST_LINES: usize = 420;

struct File<'a> {
    /// Without `.rs`.
    name: &'a str,
    text: &'a str,
    /// Without comments, literals and unit tests.
    code: String,
    is_test: bool,
}

/// Every complaint about these files, given as path below `src/` and text.
pub fn violations(files: &[(String, String)]) -> Vec<String> {
    let files = read(files);
    let mut found = Vec::new();
    for file in &files {
        let mut complain = |what: String| found.push(format!("src/{}.rs: {what}", file.name));
        shape(file).into_iter().for_each(&mut complain);
        if file.is_test {
            continue;
        }
        floors(file).into_iter().for_each(&mut complain);
        purity(file).into_iter().for_each(&mut complain);
        if text::re_exports(&file.code) && !is_front(file.name, &files) {
            complain("only a folder's front may say `pub use`".to_owned());
        }
    }
    let sources = files.iter().filter(|file| !file.is_test && file.name != "lib");
    let sources: Vec<_> = sources.map(|file| (file.name, file.code.as_str())).collect();
    found.extend(
        rings(&sources).iter().map(|ring| format!("a ring: src/{{{}}}.rs", ring.join(", "))),
    );
    found
}

fn read(files: &[(String, String)]) -> Vec<File<'_>> {
    let mut read = Vec::new();
    let mut test_modules: Vec<String> = Vec::new();
    for (path, text) in files {
        let name = path.trim_end_matches(".rs");
        let (code, modules) = text::without_tests(&text::code(text));
        let folder =
            if matches!(name, "lib" | "main") { String::new() } else { format!("{name}/") };
        test_modules.extend(modules.iter().map(|module| format!("{folder}{module}")));
        read.push(File { name, text, code, is_test: false });
    }
    for file in &mut read {
        let is_below = |module: &String| is_in(file.name, module);
        file.is_test = is_in_tests(file.name) || test_modules.iter().any(is_below);
    }
    read
}

fn shape(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let lines = file.text.lines().count();
    if !file.text.starts_with("//!") {
        found.push("does not open with `//!`".to_owned());
    }
    if lines > MOST_LINES {
        found.push(format!("has {lines} lines, more than {MOST_LINES}"));
    }
    if file.name == "mod" || file.name.ends_with("/mod") {
        found.push("is a mod.rs; name it after its folder".to_owned());
    }
    found
}

fn floors(file: &File) -> Vec<String> {
    let own = file.name.split('/').next().unwrap_or_default();
    let Some(own_floor) = floor(own) else {
        return vec![format!("`{own}` has no floor; give it one in tests/floors")];
    };
    let mut found = Vec::new();
    for path in text::paths(&file.code) {
        let Some(module) = top_module(file.name, &path) else { continue };
        let is_sideways = module == own || SIDEWAYS.contains(&(own, module.as_str()));
        match floor(&module) {
            Some(floor) if floor < own_floor || is_sideways => {}
            Some(floor) => found.push(format!(
                "`{own}` (floor {own_floor}) names `{module}` (floor {floor}) as `{}`",
                path.names.join("::")
            )),
            None => found.push(format!("names `{module}`, which has no floor")),
        }
    }
    found
}

/// The module right below the crate's root that `path` names from `file`, if it goes by the root.
fn top_module(file: &str, path: &Named) -> Option<String> {
    let first = path.names.first()?;
    if first == "crate" || first == "llm_gateway" {
        return path.names.get(1).cloned();
    }
    let ups = path.names.iter().take_while(|name| *name == "super").count();
    // `super` in `provider/line.rs` is `provider`, and twice `super` is the root.
    let depth = if file == "lib" { 0 } else { file.split('/').count() } + path.inline_depth;
    (ups > 0 && ups == depth).then(|| path.names.get(ups).cloned()).flatten()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn purity(file: &File) -> Vec<String> {
    let is_pure = PURE.iter().any(|pure| is_in(file.name, pure));
    let mut found = Vec::new();
    for path in text::paths(&file.code) {
        let names: Vec<&str> = path.names.iter().map(String::as_str).collect();
        let is_impure = IMPURE_STARTS.iter().any(|start| names.starts_with(start))
            || IMPURE_ENDS.iter().any(|end| names.ends_with(end))
            || names.first().is_some_and(|first| first.starts_with("actix_"));
        if is_pure && is_impure {
            found.push(format!("is pure, but names `{}`", path.names.join("::")));
        } else if names.first() == Some(&"awc")
            && !NAMES_AWC.iter().any(|caller| is_in(file.name, caller))
        {
            let callers = NAMES_AWC.join(" and ");
            found.push(format!("names `{}`; only {callers} may name awc", path.names.join("::")));
        }
    }
    found
}

/// Whether the file has a folder of its own name, so that it is what others see of it.
fn is_front(name: &str, files: &[File]) -> bool {
    let folder = format!("{name}/");
    name == "lib" || files.iter().any(|file| file.name.starts_with(&folder))
}

fn is_in_tests(name: &str) -> bool {
    name.split('/').any(|part| part == "tests")
}

/// Whether `name` is `module` or below it.
fn is_in(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
