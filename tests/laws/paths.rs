//! What a Rust file names: paths, fully spelled, and macros. Comments, texts and test modules are
//! left out. A reader of tokens, not of Rust: good enough for code that rustfmt has formatted.

use std::collections::BTreeSet;

/// What the code of one file names.
#[derive(Debug, Default)]
pub struct Code {
    /// `crate::...` for what is in this crate, else as it is written.
    pub paths: BTreeSet<String>,
    /// Without the `!`.
    pub macros: BTreeSet<String>,
}

/// The module that a file is: `src/a/b.rs` is `crate::a::b`.
pub fn module_of(path: &str) -> Vec<String> {
    let below = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut steps: Vec<String> =
        std::iter::once("crate").chain(below.split('/')).map(str::to_owned).collect();
    if matches!(steps.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        steps.pop();
    }
    steps
}

impl Code {
    pub fn read(text: &str, module: &[String]) -> Code {
        let tokens = without_tests(tokens(text));
        let mut code = Code::default();
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at] == "use" {
                let end =
                    at + tokens[at..].iter().position(|token| token == ";").unwrap_or(tokens.len() - at);
                tree(&tokens[at + 1..end], &mut Vec::new(), &mut |path| {
                    code.paths.insert(resolve(path, module));
                });
                at = end + 1;
                continue;
            }
            let mut path = Vec::new();
            while at < tokens.len() && is_name(&tokens[at]) {
                path.push(tokens[at].clone());
                at += 1;
                match tokens.get(at).map(String::as_str) {
                    Some("::") if tokens.get(at + 1).is_some_and(|next| is_name(next)) => at += 1,
                    _ => break,
                }
            }
            match path.as_slice() {
                [] => at += 1,
                [name] => {
                    let next = tokens.get(at + 1).map(String::as_str);
                    if tokens.get(at).is_some_and(|token| token == "!")
                        && matches!(next, Some("(" | "[" | "{"))
                    {
                        code.macros.insert(name.clone());
                    }
                }
                path => {
                    code.paths.insert(resolve(path, module));
                }
            }
        }
        code
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The paths of a `use` tree: `a::{b, c::d as e}` is `a::b` and `a::c::d`.
fn tree(tokens: &[String], prefix: &mut Vec<String>, found: &mut impl FnMut(&[String])) {
    let depth = prefix.len();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => {
                let mut open = 1;
                let start = at + 1;
                let mut from = start;
                at = start;
                while open > 0 && at < tokens.len() {
                    match tokens[at].as_str() {
                        "{" => open += 1,
                        "}" => open -= 1,
                        _ => {}
                    }
                    if (open == 1 && tokens[at] == ",") || open == 0 {
                        if from < at {
                            tree(&tokens[from..at], &mut prefix.clone(), found);
                        }
                        from = at + 1;
                    }
                    at += 1;
                }
                prefix.truncate(depth);
                return;
            }
            "as" => break,
            "::" => at += 1,
            name => {
                if name != "self" || prefix.is_empty() {
                    prefix.push(name.to_owned());
                }
                at += 1;
            }
        }
    }
    found(prefix);
    prefix.truncate(depth);
}

fn resolve(path: &[String], module: &[String]) -> String {
    let mut base: Vec<String> = Vec::new();
    let mut rest = path;
    if let Some("super" | "self") = path.first().map(String::as_str) {
        base = module.to_vec();
        while let Some((first, left)) = rest.split_first() {
            match first.as_str() {
                "self" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            rest = left;
        }
    }
    base.extend(rest.iter().cloned());
    base.join("::")
}

/// Takes out what stands behind `#[cfg(test)]`: a module in braces, or one in another file.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    let mark: Vec<&str> = vec!["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].iter().map(String::as_str).take(mark.len()).eq(mark.iter().copied()) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut open = 0;
        at += mark.len();
        while at < tokens.len() {
            match tokens[at].as_str() {
                "{" => open += 1,
                "}" => open -= 1,
                _ => {}
            }
            let ends = open == 0 && matches!(tokens[at].as_str(), "}" | ";");
            at += 1;
            if ends {
                break;
            }
        }
    }
    kept
}

/// Names, `::` and single characters; no comments, no texts.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        match (chars[at], get(at + 1)) {
            ('/', '/') => {
                while at < chars.len() && chars[at] != '\n' {
                    at += 1;
                }
            }
            ('/', '*') => {
                at += 2;
                while at < chars.len() && !(chars[at] == '*' && get(at + 1) == '/') {
                    at += 1;
                }
                at += 2;
            }
            ('r', '"' | '#') if raw(&chars[at..]).is_some() => at += raw(&chars[at..]).unwrap_or(1),
            ('b', '"') => at += 1,
            ('"', _) => {
                at += 1;
                while at < chars.len() && chars[at] != '"' {
                    at += if chars[at] == '\\' { 2 } else { 1 };
                }
                at += 1;
            }
            // A character, not a lifetime.
            ('\'', '\\') => {
                at += 3;
                while at < chars.len() && chars[at] != '\'' {
                    at += 1;
                }
                at += 1;
            }
            ('\'', _) if get(at + 2) == '\'' => at += 3,
            (':', ':') => {
                tokens.push("::".to_owned());
                at += 2;
            }
            (c, _) if c.is_alphanumeric() || c == '_' => {
                let start = at;
                while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                    at += 1;
                }
                tokens.push(chars[start..at].iter().collect());
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                at += 1;
            }
        }
    }
    tokens
}

/// Length of the raw text `r#"..."#` that begins here.
fn raw(chars: &[char]) -> Option<usize> {
    let hashes = chars[1..].iter().take_while(|c| **c == '#').count();
    if chars.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let body = 2 + hashes;
    let closes = |at: &usize| {
        chars[*at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    (body..chars.len()).find(closes).map(|at| at + 1 + hashes)
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = r##"
        //! use std::fs;
        use std::{fs::{self, File}, io as other};
        use super::b::{C, D as E};
        pub use self::inner::X;
        fn f<'a>(x: &'a str) -> char { let _ = "std::process"; let _ = r#"tokio " "#; tokio::spawn(g()); '"' }
        fn h() { println!("{}", crate::ui::tell('\'')); }
        #[cfg(test)]
        mod tests { use std::process::Command; fn f() { dbg!(1); } }
        #[cfg(test)]
        #[path = "x_tests.rs"]
        mod tests;
        fn last() { std::env::var("A").is_ok_and(|a| a != "b") }
    "##;
    let code = Code::read(text, &module_of("src/room/file.rs"));
    let paths: Vec<&str> = code.paths.iter().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "crate::room::b::C",
            "crate::room::b::D",
            "crate::room::file::inner::X",
            "crate::ui::tell",
            "std::env::var",
            "std::fs",
            "std::fs::File",
            "std::io",
            "tokio::spawn",
        ]
    );
    assert_eq!(code.macros.iter().collect::<Vec<_>>(), ["println"]);
}
