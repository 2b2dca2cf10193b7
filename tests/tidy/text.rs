//! Source read as text: finds the code and the functions in it.
//!
//! It is no parser; where it is too coarse it errs towards silence, and the compiler and clippy
//! hold what they can.

/// Blanks comments, strings and characters, keeping every line break and column.
pub(crate) fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let before = code.chars().next_back();
        let length = literal_length(rest, before);
        if length == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment, string or character that `rest` begins with, or 0.
fn literal_length(rest: &str, before: Option<char>) -> usize {
    let end = |found: Option<usize>| found.unwrap_or(rest.len());
    if rest.starts_with("//") {
        return end(rest.find('\n'));
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let raw = rest.trim_start_matches(['b', 'c']).strip_prefix('r').filter(|_| !in_word);
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = rest.len() - raw.len() + hashes + 1;
            return end(rest[open..].find(&close).map(|at| open + at + close.len()));
        }
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    // A lifetime has no closing quote after one (possibly escaped) character.
    let mut chars = rest.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('\''), Some('\\'), _) | (Some('\''), Some(_), Some('\'')) => {
            quoted_length(rest, '\'')
        }
        _ => 0,
    }
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Blanks the bodies of modules that are only there for tests.
pub(crate) fn without_tests(code: &str) -> String {
    let mut shipped = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        shipped.push_str(&rest[..at]);
        let item = &rest[at..];
        let length = match item.find(['{', ';']) {
            Some(open) if item[open..].starts_with('{') => {
                closing_brace(&item[open..]).map_or(item.len(), |close| open + close + 1)
            }
            Some(end) => end + 1,
            None => item.len(),
        };
        shipped.extend(item[..length].chars().filter(|c| *c == '\n'));
        rest = &item[length..];
    }
    shipped + rest
}

/// A function that has a body.
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) line: usize,
    /// The lines above it: its attributes.
    pub(crate) attributes: &'a str,
    pub(crate) body: &'a str,
}

/// The functions that have a body, the inner ones too.
pub(crate) fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + 3..];
        let Some(name) = words(rest).next().filter(|name| rest.starts_with(name)) else {
            continue;
        };
        let mut depth = 0;
        let open = rest.char_indices().find(|(_, c)| {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                _ => {}
            }
            depth == 0 && (*c == '{' || *c == ';')
        });
        let Some((open, '{')) = open else { continue };
        let Some(close) = closing_brace(&rest[open..]) else { continue };
        let line = code[..at].matches('\n').count() + 1;
        let above = code[..at].rfind(['}', ';', '{']).map_or(0, |end| end + 1);
        let attributes = &code[above..at];
        found.push(Function { name, line, attributes, body: &rest[open..=open + close] });
    }
    found
}

/// Where the modules lie that have their body in the file.
pub(crate) fn inline_modules(code: &str) -> Vec<std::ops::Range<usize>> {
    let found = code.match_indices("mod ").filter_map(|(at, _)| {
        let open = at + code[at..].find(['{', ';'])?;
        let close = code[open..].starts_with('{').then(|| closing_brace(&code[open..]))??;
        Some(open..open + close)
    });
    found.collect()
}

/// Where the brace that opens `code` is closed.
fn closing_brace(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The identifiers and numbers of a text.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn comments_strings_and_characters_are_no_code() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("g\"h", i)"#, "f(      , i)"),
        ("x(r#\"a\"b\"#, 'c', '\\'', b'd')", "x(        ,    ,     , b   )"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("\"two\nlines\"", "    \n      "),
    ] {
        assert_eq!(blank(text), code, "{text}");
    }
    let tested = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}";
    assert_eq!(without_tests(tested), "fn a() {}\n\n\n\n\nfn c() {}");
}
