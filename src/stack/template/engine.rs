//! Tera itself, with our filters and functions, and its errors as ours.
//!
//! A message of Tera's may quote a value ("`hunter2` cannot be converted to an int"). Only messages
//! that are known to name no value come through; of the others it is said that and where they were.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use tera::{ErrorKind, Kwargs, State, Tera, Value};

use crate::stack::quote::{self, Unquotable};

/// Begins each message that this file makes, so that it is known to hold no value.
const OURS: &str = "fleet: ";

/// Beginnings of Tera's messages that hold only names of the template and of types.
const HARMLESS: [&str; 10] = [
    "Field `",
    "Variable `",
    "Tried to render a variable that is undefined",
    "Cannot index into an undefined value",
    "Missing keyword argument",
    "Invalid type for the value, expected",
    "Iteration not possible on type",
    "Key/value iteration is not possible on type",
    "`+` requires both operands to be numbers",
    "Math operations can only be done on numbers",
];

/// What went wrong in a template, and where in its source in bytes.
#[derive(Debug)]
pub struct Failure {
    pub template: String,
    pub span: Option<(usize, usize)>,
    pub message: String,
}

/// Where mounted files lie on the host, by destination: those rendered so far.
pub type Mounts = Arc<RwLock<BTreeMap<String, String>>>;

/// Tera with these templates.
///
/// # Errors
/// What Tera does not accept.
pub fn engine<'t>(
    templates: impl IntoIterator<Item = (&'t str, &'t str)>,
    mounts: Mounts,
) -> Result<Tera, Failure> {
    let mut tera = Tera::new();
    // Not HTML: quoting is asked for by name, by the format of each place.
    tera.autoescape_on(Vec::<&str>::new());
    filter(&mut tera, "dotenv", quote::dotenv);
    filter(&mut tera, "yaml", |text| Ok(quote::yaml(text)));
    filter(&mut tera, "compose", |text| Ok(quote::compose(text)));
    filter(&mut tera, "urlencode", |text| Ok(quote::urlencode(text)));
    filter(&mut tera, "shell", quote::shell);
    filter(&mut tera, "nginx", quote::nginx);
    tera.register_function("mount", move |args: Kwargs, _: &State<'_>| -> tera::TeraResult<Value> {
        let file = args.must_get::<&str>("file")?;
        let known = mounts.read().ok();
        let path = known.and_then(|known| known.get(file).map(|path| Value::from(path.as_str())));
        path.ok_or_else(|| ours(format!("no rendered file `{file}` to mount")))
    });
    tera.register_function("throw", |args: Kwargs, _: &State<'_>| -> tera::TeraResult<Value> {
        Err(ours(args.must_get::<&str>("message")?))
    });
    tera.add_raw_templates(templates).map_err(|error| failure(&error, ""))?;
    Ok(tera)
}

fn filter(
    tera: &mut Tera,
    name: &'static str,
    quote: impl Fn(&str) -> Result<String, Unquotable> + Send + Sync + 'static,
) {
    tera.register_filter(name, move |value: &Value, _: Kwargs, _: &State<'_>| -> tera::TeraResult<String> {
        let text = match value.as_str() {
            Some(text) => text.to_owned(),
            None if value.is_number() || value.is_bool() => value.to_string(),
            None => return Err(ours(format!("`{name}` quotes one value, not {}", value.name()))),
        };
        quote(&text).map_err(ours)
    });
}

fn ours(message: impl std::fmt::Display) -> tera::Error {
    tera::Error::message(format!("{OURS}{message}"))
}

/// Tera's error without any value in it.
pub fn failure(error: &tera::Error, template: &str) -> Failure {
    match error.kind() {
        ErrorKind::SyntaxError(report) => Failure {
            template: report.filename().to_owned(),
            span: Some((report.span().range.start, report.span().range.end)),
            message: lower(report.message()),
        },
        ErrorKind::RenderingError(report) => Failure {
            template: report.filename().to_owned(),
            span: Some((report.span().range.start, report.span().range.end)),
            message: harmless(report.message()),
        },
        ErrorKind::CircularInclude { .. } | ErrorKind::TemplateNotFound(_) => {
            Failure { template: template.to_owned(), span: None, message: lower(&error.to_string()) }
        }
        _ => Failure { template: template.to_owned(), span: None, message: harmless(&error.to_string()) },
    }
}

fn harmless(message: &str) -> String {
    if let Some(ours) = message.strip_prefix(OURS) {
        return ours.to_owned();
    }
    if HARMLESS.iter().any(|beginning| message.starts_with(beginning)) {
        return lower(message);
    }
    "this expression has no result (the reason may quote a value, so it is not shown)".to_owned()
}

/// A fragment as our messages are: lowercase, without a final stop.
fn lower(message: &str) -> String {
    let mut letters = message.trim_end_matches('.').chars();
    let first = letters.next().map(|first| first.to_lowercase().collect::<String>());
    first.unwrap_or_default() + letters.as_str()
}
