//! Rust text reduced to what a rule about names needs: code without comments and literals, code
//! without unit tests, and the paths that code names.
//!
//! It understands Rust's lexical rules and none of its grammar.

/// The text with comments, strings and characters replaced by spaces; lines stay where they were.
pub fn code(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let length = literal(&letters, at);
        for &letter in &letters[at..at + length.max(1)] {
            code.push(if length == 0 || letter == '\n' { letter } else { ' ' });
        }
        // A word is taken whole, so that the `r` of `for"x"` does not begin a raw string.
        at += length.max(1);
        while length == 0 && is_word(letters[at - 1]) && at < letters.len() && is_word(letters[at])
        {
            code.push(letters[at]);
            at += 1;
        }
    }
    code
}

/// The code without items marked `#[cfg(test)]`, and the names of the modules among them that live
/// in files of their own.
pub fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut modules = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        let item = &rest[start + MARK.len()..];
        let (item, after) = item.split_at(item_length(item));
        let words: Vec<&str> = item.split(|letter: char| !is_word(letter)).collect();
        if let (Some(at), true) =
            (words.iter().position(|word| *word == "mod"), item.ends_with(';'))
        {
            modules
                .extend(words[at + 1..].iter().find(|word| !word.is_empty()).map(|n| (*n).into()));
        }
        kept.push_str(&rest[..start]);
        rest = after;
    }
    kept.push_str(rest);
    (kept, modules)
}

/// A path as code names it.
pub struct Named {
    /// Its names, from the left.
    pub names: Vec<String>,
    /// How many `mod name { … }` of its file it stands in.
    pub inline_depth: usize,
}

/// Every path of two names or more, and every path of a `use`, with its groups spelled out.
pub fn paths(code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    // One entry per open brace: whether it opened an inline module.
    let mut braces = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            "{" => braces.push(at > 1 && tokens[at - 2] == "mod"),
            "}" => drop(braces.pop()),
            _ => {}
        }
        let continues = at > 0 && matches!(tokens[at - 1], "::" | ".");
        if continues || !is_name(tokens[at]) {
            at += 1;
            continue;
        }
        let is_use = at > 0 && tokens[at - 1] == "use";
        let mut read = Vec::new();
        at = read_path(&tokens, at, &[], &mut read);
        let inline_depth = braces.iter().filter(|is_module| **is_module).count();
        let named = read.into_iter().filter(|path| is_use || path.len() > 1);
        found.extend(named.map(|names| Named { names, inline_depth }));
    }
    found
}

/// Whether the code re-exports: `pub use`, in any visibility but the private one.
pub fn re_exports(code: &str) -> bool {
    let tokens = tokens(code);
    tokens.iter().enumerate().any(|(at, token)| {
        let before = tokens[..at].iter().rev().take(5).copied().collect::<Vec<_>>();
        let after_parenthesis = before.iter().position(|token| *token == "(").map(|at| at + 1);
        *token == "use"
            && match before.first() {
                Some(&"pub") => true,
                Some(&")") => after_parenthesis.and_then(|at| before.get(at)) == Some(&"pub"),
                _ => false,
            }
    })
}

/// Reads the path that starts at `at`; returns where it ends.
fn read_path(tokens: &[&str], at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    let mut at = at;
    loop {
        path.push(tokens[at].to_owned());
        at += 1;
        if tokens.get(at) != Some(&"::") {
            break;
        }
        match tokens.get(at + 1) {
            Some(name) if is_name(name) => at += 1,
            Some(&"{") => return read_group(tokens, at + 2, &path, found),
            _ => break,
        }
    }
    found.push(path);
    at
}

fn read_group(
    tokens: &[&str],
    at: usize,
    prefix: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut at = at;
    while let Some(token) = tokens.get(at) {
        at = match *token {
            "}" => return at + 1,
            name if is_name(name) => read_path(tokens, at, prefix, found),
            _ => at + 1,
        };
    }
    at
}

fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if is_word(first) {
            rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

/// How many letters from `at` belong to a comment or a literal; 0 when none begins here.
fn literal(letters: &[char], at: usize) -> usize {
    let rest = &letters[at..];
    match rest {
        ['/', '/', ..] => rest.iter().position(|letter| *letter == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => 1 + quoted(&rest[1..], '"'),
        ['b', '"', ..] | ['c', '"', ..] => 2 + quoted(&rest[2..], '"'),
        ['b', '\'', ..] => 2 + quoted(&rest[2..], '\''),
        ['r', '"' | '#', ..] => raw(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] => raw(rest, 2),
        // A lifetime has no closing quote right after its first letter.
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => 1 + quoted(&rest[1..], '\''),
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => depth += 1,
            ['*', '/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The letters up to and with the closing quote.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 0;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// A raw string whose `r` is just before `hashes_at`; 0 when it is a raw identifier.
fn raw(rest: &[char], hashes_at: usize) -> usize {
    let hashes = rest[hashes_at..].iter().take_while(|letter| **letter == '#').count();
    let body = hashes_at + hashes + 1;
    if rest.get(body - 1) != Some(&'"') {
        return 0;
    }
    let mut end = vec!['"'];
    end.extend(std::iter::repeat_n('#', hashes));
    let found = rest[body..].windows(end.len()).position(|part| part == end.as_slice());
    found.map_or(rest.len(), |found| body + found + end.len())
}

/// An item ends at its first semicolon or after its outermost braces.
fn item_length(item: &str) -> usize {
    let mut depth = 0;
    for (at, letter) in item.char_indices() {
        match letter {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth -= 1;
                if depth == 0 && letter == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
