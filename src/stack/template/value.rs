//! What templates may name: a tree of values that also knows the names without a value.

use std::collections::BTreeMap;

use tera::Value;

use crate::secret::Secret;

/// A value in the context of a template.
#[derive(Clone, Debug)]
pub enum Known {
    /// A name that the schema has and this client has no value for.
    Absent,
    Text(String),
    /// Only for files that are themselves secret.
    Secret(Secret<String>),
    Number(f64),
    Map(BTreeMap<String, Known>),
    List(Vec<Known>),
}

impl Known {
    /// The text that it is; `None` for any other kind.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Known::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entry of a table; `None` where there is none, or it is no table.
    pub fn member(&self, name: &str) -> Option<&Known> {
        match self {
            Known::Map(entries) => entries.get(name),
            _ => None,
        }
    }

    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Known)>) -> Known {
        Known::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// `None` becomes [`Known::Absent`].
    pub fn optional(text: Option<impl Into<String>>) -> Known {
        text.map_or(Known::Absent, |text| Known::Text(text.into()))
    }

    pub fn list<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Known {
        Known::List(texts.into_iter().map(|text| Known::Text(text.into())).collect())
    }

    /// For Tera, where an absent name is undefined.
    pub fn to_tera(&self) -> Value {
        match self {
            Known::Absent => Value::undefined(),
            Known::Text(text) => Value::from(text.as_str()),
            Known::Secret(secret) => Value::from(secret.reveal().as_str()),
            Known::Number(number) => Value::from(*number),
            Known::Map(entries) => {
                let present = entries.iter().filter(|(_, value)| !matches!(value, Known::Absent));
                Value::from(
                    present.map(|(key, value)| (key.clone(), value.to_tera())).collect::<BTreeMap<_, _>>(),
                )
            }
            Known::List(items) => Value::from(items.iter().map(Known::to_tera).collect::<Vec<_>>()),
        }
    }
}

impl From<&str> for Known {
    fn from(text: &str) -> Self {
        Known::Text(text.to_owned())
    }
}

impl From<String> for Known {
    fn from(text: String) -> Self {
        Known::Text(text)
    }
}
