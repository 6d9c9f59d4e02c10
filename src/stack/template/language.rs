//! What a template may call: the part of Tera whose results are always defined, and our own filters.

use super::value::Known;
use crate::diagnostic::nearest;

/// Left out of Tera's: those that answer nothing where an entry is missing (`get`, `first`, `nth`,
/// `group_by`...), and those for HTML.
pub const FILTERS: [&str; 27] = [
    "dotenv",
    "yaml",
    "compose",
    "urlencode",
    "shell",
    "nginx",
    "default",
    "upper",
    "lower",
    "trim",
    "trim_start",
    "trim_end",
    "replace",
    "capitalize",
    "title",
    "truncate",
    "indent",
    "int",
    "float",
    "length",
    "reverse",
    "split",
    "round",
    "join",
    "sort",
    "unique",
    "keys",
];

pub const TESTS: [&str; 14] = [
    "defined",
    "undefined",
    "string",
    "number",
    "map",
    "array",
    "integer",
    "float",
    "odd",
    "even",
    "divisible_by",
    "starting_with",
    "ending_with",
    "containing",
];

pub const FUNCTIONS: [&str; 3] = ["mount", "range", "throw"];

/// "did you mean", or what there is when nothing is near.
pub fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(near) = nearest(word, known.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut known: Vec<_> = known.collect();
    known.sort_unstable();
    Some(format!("known here: {}", known.join(", "))).filter(|_| !known.is_empty())
}

/// Message and hint for a name that is not in `base`.
pub fn no_member(shown: &str, name: &str, base: &Known) -> (String, Option<String>) {
    let Known::Map(entries) = base else {
        return (format!("`{shown}` is not defined"), Some("what stands before it has no fields".to_owned()));
    };
    let message = match shown.ends_with(&format!(".{name}")) {
        true => format!("`{shown}` is not defined"),
        false => format!("`{shown}` is not defined for `{name}`"),
    };
    let near = suggest(name, entries.keys().map(String::as_str));
    match shown.strip_prefix("env.") {
        Some(variable) if near.as_ref().is_none_or(|near| near.starts_with("known")) => {
            (message, Some(format!("declare it as `[env.{variable}]` in stack.toml")))
        }
        _ => (message, near),
    }
}
