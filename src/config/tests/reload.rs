//! Which configuration may replace which in a reload.

use super::map;
use crate::config::{Again, Before, Bound, Environment, Loaded, load, reload};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const KEYS: &str = "[server]\ndrain = '5s'\n[[keys]]\nname = 'a'\nkey = 'sk-a'\n\
    [[keys]]\nname = 'b'\nkey = 'sk-b'\ndata_policy = 'local'\n";
const PROVIDERS: &str = "[providers.ollama]\ntrust = 'cloud'\n[providers.gpu]\n\
    backend = 'ollama'\nmax_queue = 9\n";
const ROUTE: &str = "[[routes]]\nmodel = 'x'\ntargets = [{ provider = 'ollama' }]\n";

/// A file, and the configuration that was read from it.
struct Running {
    folder: TempDir,
    before: Loaded,
    bound: Bound,
}

impl Running {
    /// A gateway that is bound beyond loopback.
    fn with(text: &str, environment: &Environment) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), text).unwrap();
        let before = load(Some(&folder.path().join("f")), environment).unwrap();
        let bound =
            Bound { main: "0.0.0.0:8000".parse().unwrap(), admin: "[::]:9901".parse().unwrap() };
        Self { folder, before, bound }
    }

    fn on_loopback(text: &str) -> Self {
        let running = Self::with(text, &map(&[]));
        let bound = Bound {
            main: "127.0.0.1:8000".parse().unwrap(),
            admin: "[::ffff:127.0.0.1]:9901".parse().unwrap(),
        };
        Self { bound, ..running }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("f")
    }

    fn again(&self, environment: Environment) -> Again {
        let before =
            Before { config: &self.before.config, read: &self.before.read, bound: self.bound };
        reload(Some(&self.file()), before, Ok(environment))
    }

    /// The problems of this text; empty if it is accepted.
    fn told(&self, text: &str) -> String {
        std::fs::write(self.file(), text).unwrap();
        self.told_with(map(&[]))
    }

    fn told_with(&self, environment: Environment) -> String {
        let problems = self.again(environment).outcome.err();
        let told = problems.map(|problems| problems.to_string()).unwrap_or_default();
        told.replace(&self.file().display().to_string(), "f")
    }
}

fn dotenv(text: &str) -> Environment {
    let mut environment = Environment::default();
    for variable in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = variable.unwrap();
        environment.variables.insert(name, value);
    }
    environment.dotenv.variables = environment.variables.len();
    environment.dotenv.text = Some(text.to_owned());
    environment
}

/// Adds a token, so that the admin listener may be beyond loopback.
fn guarded(text: &str) -> String {
    format!("[admin]\ntoken = 't0ken'\n{text}")
}

#[test]
fn a_file_that_is_missing_or_not_text_is_never_replaced_by_defaults() {
    let running = Running::on_loopback(KEYS);
    std::fs::write(running.file(), b"\xff\xfe").unwrap();
    let again = running.again(map(&[]));
    assert!(again.outcome.unwrap_err().to_string().contains("cannot be read: invalid utf-8"));
    assert_ne!(again.fingerprint, running.before.read.fingerprint);
    std::fs::remove_file(running.file()).unwrap();
    assert!(running.told_with(map(&[])).starts_with("error: f: cannot be read: No such file"));
    std::fs::create_dir(running.file()).unwrap();
    let again = running.again(map(&[]));
    assert!(again.outcome.unwrap_err().to_string().contains("cannot be read: it is not a file"));
    assert_eq!(again.fingerprint, crate::config::Fingerprint::default());
}

#[test]
fn a_file_that_became_empty_is_refused_even_on_loopback() {
    for empty in ["", "\n \n", "# moved\n"] {
        let running = Running::on_loopback(KEYS);
        let told = running.told(empty);
        assert!(told.contains("f: says nothing any more"), "{empty:?}: {told}");
    }
    assert_eq!(Running::on_loopback("# by variables\n").told("# by variables alone\n"), "");
    assert_eq!(Running::on_loopback("").told(KEYS), "");
}

#[test]
fn no_cut_off_file_grants_more_than_the_whole() {
    let whole = guarded(&format!("{KEYS}{PROVIDERS}{ROUTE}"));
    let running = Running::on_loopback(&whole);
    // At every length, up to all but the end of the last line.
    for end in 0..whole.len() - 1 {
        let cut = &whole[..end];
        let told = running.told(cut);
        assert!(!told.is_empty(), "{cut:?} is taken");
        assert!(!told.contains("sk-"), "{told}");
        if let Ok(after) = load(Some(&running.file()), &map(&[])) {
            assert!(told.contains("cut off") || told.contains("nothing"), "{after:?}: {told}");
        }
    }
    assert_eq!(running.told(&whole), "");
}

#[test]
fn whole_keys_and_providers_may_be_removed_at_the_end_while_keys_are_left() {
    let running = Running::with(&guarded(&format!("{PROVIDERS}{KEYS}")), &map(&[]));
    let (one, _) = KEYS.split_once("[[keys]]\nname = 'b'").unwrap();
    assert_eq!(running.told(&guarded(&format!("{PROVIDERS}{one}"))), "");
    let (none, _) = KEYS.split_once("[[keys]]").unwrap();
    let told = running.told(&guarded(&format!("{PROVIDERS}{none}")));
    let lines = told.lines().collect::<Vec<_>>();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].starts_with("error: f: is cut off: ") && lines[0].contains("up to line 9"));
    assert!(lines[1].contains("keys: there are none"), "{told}");
    let running = Running::with(&guarded(&format!("{KEYS}{PROVIDERS}# last\n")), &map(&[]));
    assert_eq!(running.told(&guarded(&format!("{KEYS}{PROVIDERS}"))), "", "a comment");
    let (one, _) = PROVIDERS.split_once("[providers.gpu]").unwrap();
    assert_eq!(running.told(&guarded(&format!("{KEYS}{one}"))), "");
    // An operator who means it writes something else in place of the lost part.
    let shorter =
        guarded(&format!("{KEYS}{}# the usual queue\n", &PROVIDERS[..PROVIDERS.len() - 14]));
    assert!(!shorter.contains("max_queue"), "{shorter}");
    assert_eq!(running.told(&shorter), "");
}

#[test]
fn a_new_comment_at_the_top_does_not_hide_a_cut() {
    let written = |time: &str| format!("# written at {time}\n\n{}", guarded(KEYS));
    let running = Running::on_loopback(&written("12:00"));
    let whole = written("12:01");
    let cut = &whole[..whole.find("data_policy").unwrap()];
    assert!(running.told(cut).contains("is cut off"), "{cut}");
    assert_eq!(running.told(&format!("{cut}# no policy\n")), "", "the way to insist");
    assert_eq!(running.told(&whole), "");
}

#[test]
fn keys_stay_while_the_bound_listener_needs_them_whatever_listen_says() {
    let running = Running::with(&guarded(KEYS), &map(&[]));
    let without = "[admin]\ntoken = 't'\n[server]\nlisten = '127.0.0.1:8000'\n";
    let told = running.told(without);
    assert!(told.starts_with("error: defaults: keys: there are none, and "), "{told}");
    assert!(told.contains("bound to 0.0.0.0:8000"), "{told}");
    let open = "[server]\nlisten = '0.0.0.0:8000'\n";
    assert!(running.told(&guarded(open)).contains("f:4: server.listen: beyond loopback"));
    let said = format!("{without}[auth]\nanonymous = true\n");
    assert_eq!(running.told(&said), "");
    // A variable that allowed anonymous callers before there were keys does not count now.
    std::fs::write(running.file(), without).unwrap();
    let variable = map(&[("LLM_GATEWAY__AUTH__ANONYMOUS", "true")]);
    assert!(running.told_with(variable).contains("there are none"));
    let emptied = format!("{without}[auth]\nanonymous = false\n");
    assert!(running.told(&emptied).contains("there are none"));
    assert_eq!(Running::on_loopback(KEYS).told(without), "", "deliberately, on loopback");
}

#[test]
fn a_gateway_open_to_everyone_can_be_reloaded_while_its_file_says_so() {
    let open = guarded("[auth]\nanonymous = true\n");
    let running = Running::with(&open, &map(&[]));
    assert_eq!(running.told(&format!("{open}[server]\ndrain = '1s'\n")), "");
    assert!(running.told(&guarded("[server]\ndrain = '1s'\n")).contains("there are none"));
}

#[test]
fn the_token_stays_while_the_bound_admin_listener_needs_it() {
    let running = Running::with(&guarded(KEYS), &map(&[]));
    let told = running.told(&format!("[admin]\nlisten = '127.0.0.1:9901'\n{KEYS}"));
    assert!(told.contains("f:1: admin.token: is empty") && told.contains("[::]:9901"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert_eq!(running.told(&guarded(KEYS).replace("t0ken", "other")), "");
    assert_eq!(Running::on_loopback(&guarded(KEYS)).told(KEYS), "");
}

#[test]
fn a_file_found_by_default_is_read_again_even_if_another_is_named() {
    let running = Running::with(&guarded(KEYS), &map(&[]));
    let environment = map(&[("LLM_GATEWAY_CONFIG", "/nonexistent/other.toml")]);
    let before =
        Before { config: &running.before.config, read: &running.before.read, bound: running.bound };
    let again = reload(None, before, Ok(environment));
    let loaded = again.outcome.unwrap();
    assert_eq!(loaded.read.file, Some(running.file()));
    assert!(loaded.warnings.iter().any(|warning| warning.message.contains("names another file")));
    std::fs::remove_file(running.file()).unwrap();
    let told = reload(None, before, Ok(map(&[]))).outcome.unwrap_err().to_string();
    assert!(told.contains("cannot be read"), "{told}");
}

#[test]
fn a_pipe_is_not_read_again() {
    let running = Running::with(&guarded(KEYS), &map(&[]));
    let mut read = running.before.read.clone();
    read.is_kept = false;
    let before = Before { config: &running.before.config, read: &read, bound: running.bound };
    let told = reload(None, before, Ok(map(&[]))).outcome.unwrap_err().to_string();
    assert!(told.contains("it was no file but a pipe"), "{told}");
}

#[test]
fn keys_stay_when_their_variables_are_missing() {
    let text = guarded("[[keys]]\nname = 'a'\nenv = 'TEAM_A_KEY'\n");
    let running = Running::with(&text, &dotenv("TEAM_A_KEY=sk-a\n"));
    for environment in [map(&[]), dotenv(""), dotenv("# TEAM_A_KEY=sk-a\n")] {
        let told = running.told_with(environment);
        assert!(told.contains("`TEAM_A_KEY` is not set"), "{told}");
    }
    assert!(running.told_with(dotenv("TEAM_A_KEY=\n")).contains("`TEAM_A_KEY` is empty"));
    let running = Running::with(&guarded(""), &dotenv("OTHER=1\nAPI_KEYS=sk-a,sk-b\n"));
    let told = running.told_with(map(&[]));
    assert!(told.contains(".env: is gone") && told.contains("keys: there are none"), "{told}");
    assert!(running.told_with(dotenv("OTHER=2\n")).contains("keys: there are none"));
}

#[test]
fn a_missing_empty_or_cut_off_dotenv_changes_nothing() {
    let text = guarded(KEYS);
    let whole = "LLM_GATEWAY__PROVIDERS__OLLAMA__TRUST=cloud\nAPI_KEYS=sk-one,sk-twenty\n";
    let running = Running::with(&text, &dotenv(whole));
    assert!(running.told_with(map(&[])).contains(".env: is gone"));
    assert!(running.told_with(dotenv("")).contains(".env: sets nothing any more"));
    for end in 1..whole.len() {
        let cut = &whole[..end];
        if dotenvy::from_read_iter(cut.as_bytes()).any(|variable| variable.is_err()) {
            continue;
        }
        let told = running.told_with(dotenv(cut));
        let takes_whole_keys = ["sk-one", "sk-one,", "sk-twenty"].iter().any(|e| cut.ends_with(e));
        let keeps_the_rest = cut.contains("=cloud") && !cut.contains("API_KEYS=");
        let is_harmless = takes_whole_keys || keeps_the_rest || cut.ends_with("API_KEYS=");
        assert_eq!(told.is_empty(), is_harmless, "{cut:?}: {told}");
    }
    let others = Running::with(&text, &dotenv("DATABASE_URL=x\n"));
    assert_eq!(others.told_with(map(&[])), "", "it was somebody else's");
    assert_eq!(running.told_with(dotenv("API_KEYS=sk-one\n")), "", "changed on purpose");
}

#[test]
fn changes_in_the_file_that_a_variable_overrides_are_reported() {
    let text = |limit: u32, wait: &str| {
        guarded(&format!(
            "{KEYS}[providers.ollama]\nmax_concurrency = {limit}\nmax_queue_wait = '{wait}'\n\
             timeouts = {{ total = '{wait}' }}\n"
        ))
    };
    let variables = [
        ("LLM_GATEWAY__PROVIDERS__OLLAMA__MAX_CONCURRENCY", "8"),
        ("PROVIDER_TIMEOUT_SECONDS", "7"),
        ("API_KEYS", "sk-c"),
    ];
    let running = Running::with(&text(2, "5s"), &map(&variables));
    let overridden = |text: &str| {
        std::fs::write(running.file(), text).unwrap();
        let loaded = running.again(map(&variables)).outcome.unwrap();
        let told = loaded.overridden.iter();
        told.map(|told| format!("{} {}", told.key, told.variable)).collect::<Vec<_>>()
    };
    let by = "providers.ollama.max_concurrency LLM_GATEWAY__PROVIDERS__OLLAMA__MAX_CONCURRENCY";
    let of_time = "providers.ollama.timeouts.total PROVIDER_TIMEOUT_SECONDS";
    assert_eq!(overridden(&text(3, "5s")), [by]);
    assert_eq!(overridden(&text(8, "5s")), [""; 0], "what the variable says");
    assert_eq!(overridden(&text(2, "6s")), [of_time]);
    assert_eq!(overridden(&text(2, "5s")), [""; 0], "nothing has changed");
    let (_, gone) = KEYS.split_once("[[keys]]").unwrap();
    let without = guarded(&format!("[[keys]]{gone}[providers.ollama]\nmax_queue = 9\n"));
    assert_eq!(overridden(&without), [by, of_time], "taken out");
    assert_eq!(overridden(&guarded("[providers.ollama]\n")).len(), 2, "API_KEYS only adds");
}

#[test]
fn a_file_is_compared_by_its_content_and_not_its_path() {
    let running = Running::on_loopback(KEYS);
    let target = running.folder.path().join("elsewhere");
    std::fs::write(&target, "").unwrap();
    std::fs::remove_file(running.file()).unwrap();
    std::os::unix::fs::symlink(&target, running.file()).unwrap();
    assert!(running.told_with(map(&[])).contains("says nothing any more"));
    std::fs::write(&target, KEYS).unwrap();
    assert_eq!(running.told_with(map(&[])), "");
    std::fs::remove_file(&target).unwrap();
    assert!(running.told_with(map(&[])).contains("cannot be read"));
    assert!(Path::new(&running.file()).is_symlink());
}
