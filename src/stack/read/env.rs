//! `[env.NAME]`.

use super::super::schema::Variable;
use super::super::{context, env};
use super::kinds::{pattern, scalar_text};
use crate::diagnostic::{Fault, nearest, shown};
use crate::registry::values;
use crate::secret::{Generator, GeneratorError};
use crate::toml_reader::{Table, boolean, parsed, placed, string};

/// A variable with its name.
pub struct Read {
    pub name: String,
    pub variable: Variable,
}

/// A variable's name: one that neither a shell nor Compose misunderstands.
pub fn name(text: &str) -> Result<String, Fault> {
    let name = values::variable(text)?;
    match env::RESERVED.iter().find(|prefix| name.starts_with(**prefix)) {
        None => Ok(name),
        Some(prefix) => {
            let fault = Fault::new(format!("{} is a word to Docker itself", shown(text)));
            Err(fault.expected(format!("a name that does not start with {prefix}")))
        }
    }
}

/// One of them.
pub fn variable(name: String, table: &mut Table<'_>) -> Option<Read> {
    let required = table.optional("required", placed(boolean));
    let default = table.optional("default", placed(scalar_text));
    let generate = table.optional("generate", placed(parsed(generator)));
    let pattern = table.optional("pattern", parsed(pattern));
    let secret = table.optional("secret", boolean);
    let help = table.optional("help", string);
    let example = table.optional("example", placed(scalar_text));
    let from = table.optional("from", placed(parsed(from)));
    let secret = secret.unwrap_or(generate.is_some());

    if let Some(generate) = &generate {
        let place = &generate.place;
        if default.is_some() {
            refuse(place, "a generated value has no default", "remove `default` or `generate`");
        }
        if from.is_some() {
            refuse(place, "a generated value comes from nowhere else", "remove `from` or `generate`");
        }
        if required.as_ref().is_some_and(|required| required.value) {
            refuse(place, "a generated value is never missing", "remove `required`");
        }
    }
    if let (Some(required), Some(_)) = (required.as_ref().filter(|required| required.value), &default) {
        refuse(&required.place, "a value with a default is never missing", "remove `required` or `default`");
    }
    if let (Some(default), true) = (&default, secret) {
        let fault = Fault::new("a secret has no default: whoever has the stack would know it").secret();
        default
            .place
            .fault(fault.hint("remove it, and write `generate` or set it with `fleet secrets set`"))
            .unwrap_or_default()
    }
    if let (Some(from), true) = (&from, secret) {
        refuse(&from.place, "a secret is not another value of the client", "remove `from` or `secret`");
    }
    for (what, found) in [("default", &default), ("example", &example)] {
        let (Some(found), Some(pattern)) = (found, &pattern) else { continue };
        let hidden = secret && what == "default";
        if !hidden && !pattern.regex.is_match(&found.value) {
            let message = format!("{} does not match {}", shown(&found.value), shown(&pattern.text));
            refuse(&found.place, &message, &format!("mend the {what} or the pattern"));
        }
    }
    let variable = Variable {
        required: required.is_some_and(|required| required.value),
        default: default.map(|default| default.value),
        generate: generate.map(|generate| generate.value),
        pattern,
        secret,
        help,
        example: example.map(|example| example.value),
        from: from.map(|from| from.value),
    };
    Some(Read { name, variable })
}

fn refuse(place: &crate::toml_reader::Place<'_>, message: &str, hint: &str) {
    place.fault(Fault::new(message).hint(hint)).unwrap_or_default()
}

fn generator(text: &str) -> Result<Generator, Fault> {
    text.parse().map_err(|error| {
        let fault = Fault::new(GeneratorError::to_string(&error));
        let (kind, size) = text.split_at(text.find(':').unwrap_or(text.len()));
        let kinds = ["alnum", "hex", "base64", "uuid", "ed25519"];
        match nearest(kind, kinds).filter(|_| matches!(error, GeneratorError::Unknown(_))) {
            Some(near) => fault.hint(format!("did you mean `{near}{size}`?")),
            None => fault,
        }
    })
}

fn from(text: &str) -> Result<String, Fault> {
    if context::PATHS.contains(&text) {
        return Ok(text.to_owned());
    }
    let fault = Fault::new(format!("{} is nothing that a client has", shown(text)));
    Err(fault.expected(format!("one of {}", context::PATHS.join(", "))).suggest(text, context::PATHS))
}
