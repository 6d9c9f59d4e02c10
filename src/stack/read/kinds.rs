//! What single values of stack.toml may be.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::super::schema::Pattern;
use crate::diagnostic::{Fault, shown};
use crate::registry::values::Name;
use crate::toml_reader::Value;

/// A DNS label: the stack's name is a Compose project and a folder too.
pub fn label(text: &str) -> Result<String, Fault> {
    Name::parse(text).map(|name| name.to_string())
}

/// A service of a Compose file.
pub fn service_name(text: &str) -> Result<String, Fault> {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if first && rest && text.len() <= 63 {
        return Ok(text.to_owned());
    }
    let fault = Fault::new(format!("{} is no name of a service", shown(text)));
    Err(fault.expected("up to 63 letters, digits, -, _ and ., starting with a letter or digit"))
}

/// A path below a folder.
pub fn relative_path(text: &str) -> Result<String, Fault> {
    let refuse = |why: &str| {
        let fault = Fault::new(format!("{} {why}", shown(text)));
        Err(fault.expected("a relative path such as nginx/nginx.conf, without .."))
    };
    match text {
        "" => Err(Fault::new("is empty").expected("a relative path such as nginx/nginx.conf")),
        _ if text.starts_with('/') => refuse("is absolute"),
        _ if text.split('/').any(|part| part == "..") => refuse("leaves its folder"),
        _ if text.split('/').any(|part| part.is_empty() || part == ".") => refuse("has an empty part"),
        _ if text.contains('\\') || text.contains(':') => {
            refuse("holds a character that paths here cannot have")
        }
        _ if text.len() > 255 => refuse("is too long"),
        _ => Ok(text.to_owned()),
    }
}

/// A path below the source, which may be the source itself.
pub fn source_path(text: &str) -> Result<String, Fault> {
    if text == "." { Ok(text.to_owned()) } else { relative_path(text) }
}

/// A pattern of rsync.
pub fn exclude(text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(Fault::new("is empty").expected("a pattern of rsync such as node_modules/ or *.pyc"));
    }
    Ok(text.to_owned())
}

/// Permission bits in octal.
pub fn mode(text: &str) -> Result<u32, Fault> {
    let digits = text.len() == 4 && text.starts_with('0') || text.len() == 3;
    match u32::from_str_radix(text, 8) {
        Ok(mode) if digits && mode & 0o400 != 0 => Ok(mode),
        Ok(_) if digits => Err(Fault::new(format!("{} lets not even the owner read it", shown(text)))),
        _ => {
            let fault = Fault::new(format!("{} are no permissions", shown(text)));
            Err(fault.expected("octal digits such as \"0644\" or \"0600\""))
        }
    }
}

/// Path of a URL, from its slash.
pub fn url_path(text: &str) -> Result<String, Fault> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b));
    if text.starts_with('/') && !text.starts_with("//") && plain {
        return Ok(text.to_owned());
    }
    let fault = Fault::new(format!("{} is no path of a URL", shown(text)));
    let fault = fault.expected("one that starts with a slash, such as /api/health");
    match text.starts_with('/') {
        false if plain && !text.contains("://") => Err(fault.hint(format!("did you mean `/{text}`?"))),
        _ => Err(fault),
    }
}

/// Name or user of a PostgreSQL database, written without quotes.
pub fn identifier(text: &str) -> Result<String, Fault> {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if first && rest && text.len() <= 63 {
        return Ok(text.to_owned());
    }
    let fault = Fault::new(format!("{} is no name for PostgreSQL", shown(text)));
    Err(fault.expected("up to 63 of a-z, 0-9 and _, not starting with a digit"))
}

/// A regular expression for a whole value.
pub fn pattern(text: &str) -> Result<Pattern, Fault> {
    Pattern::new(text).map_err(|error| {
        // The last line of regex's message says what is wrong; those before draw where.
        let reason = error.to_string();
        let reason =
            reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
        let fault = Fault::new(format!("{} is no regular expression: {reason}", shown(text)));
        fault.expected("one that the whole value must match, such as \"[0-9]+[dhm]\"")
    })
}

/// A command as words.
pub fn command(value: Value<'_>) -> Option<Vec<String>> {
    let words = crate::toml_reader::list(crate::toml_reader::string)(value.clone())?;
    if words.first().is_none_or(String::is_empty) {
        return value.fault(
            Fault::new("is empty")
                .expected("a command as a list of words, such as [\"nginx\", \"-s\", \"reload\"]"),
        );
    }
    Some(words)
}

/// A string, number or boolean as its text.
pub fn scalar_text(value: Value<'_>) -> Option<String> {
    match value.item() {
        DeValue::Boolean(answer) => Some(answer.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::String(_) => crate::toml_reader::string(value),
        _ => value.wrong_type("a string, a number or a boolean"),
    }
}

/// Dotted paths into a JSON answer and the values expected there.
pub fn json(value: Value<'_>) -> Option<BTreeMap<String, serde_json::Value>> {
    let values = value.into_table()?.take_all();
    let count = values.len();
    let expected: BTreeMap<_, _> =
        values.into_iter().filter_map(|value| Some((value.key().to_owned(), json_value(&value)?))).collect();
    (expected.len() == count).then_some(expected)
}

fn json_value(value: &Value<'_>) -> Option<serde_json::Value> {
    match value.item() {
        DeValue::String(text) => Some(text.to_string().into()),
        DeValue::Boolean(answer) => Some((*answer).into()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(number.into()),
            Err(_) => value.fault(Fault::new(format!("{number} is out of range"))),
        },
        _ => value.wrong_type("a string, an integer or a boolean"),
    }
}
