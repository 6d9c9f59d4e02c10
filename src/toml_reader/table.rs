//! The cursor over a document: tables, values, and the places that faults are pinned to.

use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;

use toml::de::{DeTable, DeValue};

use super::Document;
use crate::diagnostic::{Fault, nearest, shown};

/// Path of a table, shared by all that stands in it; `None` is the root.
pub type Path<'d> = Option<Rc<Node<'d>>>;

/// One step of a path and what leads to it.
pub struct Node<'d> {
    parent: Path<'d>,
    step: Step<'d>,
}

#[derive(Clone, Copy)]
enum Step<'d> {
    Root,
    Key(&'d str),
    Index(usize),
}

/// Somewhere in a document: what a fault can be pinned to.
#[derive(Clone)]
pub struct Place<'d> {
    document: &'d Document<'d>,
    parent: Path<'d>,
    step: Step<'d>,
    /// Bytes of the text; `None` for the document as a whole.
    span: Option<Range<usize>>,
}

impl<'d> Place<'d> {
    /// Reports a fault here. Gives `None`, so that a kind can end with it.
    pub fn fault<T>(&self, fault: Fault) -> Option<T> {
        if let Some(span) = self.span.clone().filter(|_| fault.secret) {
            self.document.conceal(span);
        }
        self.document.report(self.span.clone(), self.path(), fault);
        None
    }

    /// One-based line; 1 for the document as a whole.
    #[must_use]
    pub fn line(&self) -> usize {
        self.span.as_ref().map_or(1, |span| self.document.source.line(span.start))
    }

    /// First byte in the text: the order of two places in the file.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.span.as_ref().map_or(0, |span| span.start)
    }

    /// Path of the key as TOML writes it: `clients."a b".tags[0]`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut steps = vec![self.step];
        let mut next = &self.parent;
        while let Some(node) = next {
            steps.push(node.step);
            next = &node.parent;
        }
        let mut path = String::new();
        for step in steps.into_iter().rev() {
            match step {
                Step::Root => {}
                Step::Index(index) => write!(path, "[{index}]").unwrap_or_default(),
                Step::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&bare_or_quoted(key));
                }
            }
        }
        path
    }

    fn node(&self) -> Path<'d> {
        match self.step {
            Step::Root => None,
            step => Some(Rc::new(Node { parent: self.parent.clone(), step })),
        }
    }
}

fn bare_or_quoted(key: &str) -> String {
    if !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return key.to_owned();
    }
    let escaped = shown(key).replace('"', "\\\"");
    let inner = escaped.strip_prefix('`').and_then(|inner| inner.strip_suffix('`')).unwrap_or(&escaped);
    format!("\"{inner}\"")
}

/// A value together with where it was written.
#[derive(Clone)]
pub struct Placed<'d, T> {
    pub value: T,
    pub place: Place<'d>,
}

/// One value of a document, not yet understood.
#[derive(Clone)]
pub struct Value<'d> {
    place: Place<'d>,
    /// The key in front of the value, or the value itself inside an array.
    label: Range<usize>,
    item: &'d DeValue<'d>,
}

impl<'d> Value<'d> {
    /// Where the value stands.
    #[must_use]
    pub fn place(&self) -> &Place<'d> {
        &self.place
    }

    /// The key in front of the value; empty inside an array.
    #[must_use]
    pub fn key(&self) -> &'d str {
        match self.place.step {
            Step::Key(key) => key,
            Step::Root | Step::Index(_) => "",
        }
    }

    /// Where the key in front of the value stands; the value itself inside an array.
    #[must_use]
    pub fn label(&self) -> Place<'d> {
        Place { span: Some(self.label.clone()), ..self.place.clone() }
    }

    /// Reports a fault of this value.
    pub fn fault<T>(&self, fault: Fault) -> Option<T> {
        self.place.fault(fault)
    }

    /// Reports that the value has the wrong type. `expected` has its article: "an integer".
    pub fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        let mut fault = Fault::new(format!("found {}", self.type_name())).expected(expected);
        if expected.contains("string") && matches!(self.item, DeValue::Integer(_) | DeValue::Float(_)) {
            fault = fault.hint("put it in quotes");
        } else if let DeValue::String(text) = self.item {
            if expected.contains("list") {
                fault = fault.hint("put it in brackets: [\"...\"]");
            } else if text.parse::<f64>().is_ok() || text == "true" || text == "false" {
                fault = fault.hint("write it without quotes");
            }
        }
        self.fault(fault)
    }

    /// The raw value, for a kind that accepts more than one type.
    #[must_use]
    pub fn item(&self) -> &'d DeValue<'d> {
        self.item
    }

    /// Hides this value from every source line that is shown.
    pub fn conceal(&self) {
        if let Some(span) = &self.place.span {
            self.place.document.conceal(span.clone());
        }
    }

    /// The table that this value is; anything else is reported.
    pub fn into_table(self) -> Option<Table<'d>> {
        match self.item {
            DeValue::Table(items) => {
                let path = self.place.node();
                Some(Table {
                    items,
                    place: self.label(),
                    path,
                    asked: Vec::with_capacity(24),
                    elsewhere: Vec::new(),
                    found: 0,
                })
            }
            _ => self.wrong_type("a table"),
        }
    }

    /// The elements of the array that this value is; anything else is reported.
    pub fn into_elements(self) -> Option<Vec<Value<'d>>> {
        let DeValue::Array(items) = self.item else { return self.wrong_type("a list") };
        let parent = self.place.node();
        let element = |(index, item): (usize, &'d toml::Spanned<DeValue<'d>>)| Value {
            place: Place {
                document: self.place.document,
                parent: parent.clone(),
                step: Step::Index(index),
                span: Some(item.span()),
            },
            label: item.span(),
            item: item.get_ref(),
        };
        Some(items.iter().enumerate().map(element).collect())
    }

    fn type_name(&self) -> &'static str {
        match self.item {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }
}

/// A table being read: what is asked of it is what it may hold.
pub struct Table<'d> {
    items: &'d DeTable<'d>,
    place: Place<'d>,
    path: Path<'d>,
    asked: Vec<&'static str>,
    elsewhere: Vec<(&'static [&'static str], &'static str)>,
    found: usize,
}

impl<'d> Table<'d> {
    pub(super) fn root(document: &'d Document<'d>) -> Self {
        let place = Place { document, parent: None, step: Step::Root, span: None };
        Table { items: &document.root, place, path: None, asked: Vec::new(), elsewhere: Vec::new(), found: 0 }
    }

    /// Where the table is named, for faults of the table as a whole.
    #[must_use]
    pub fn place(&self) -> &Place<'d> {
        &self.place
    }

    /// The key that names this table; empty for the root and inside an array.
    #[must_use]
    pub fn name(&self) -> &'d str {
        match self.place.step {
            Step::Key(key) => key,
            Step::Root | Step::Index(_) => "",
        }
    }

    /// A key that may be absent. `None` also when its value is wrong: that has been reported.
    pub fn optional<T>(&mut self, key: &'static str, kind: impl FnOnce(Value<'d>) -> Option<T>) -> Option<T> {
        kind(self.take(key)?)
    }

    /// A key that must be there.
    pub fn required<T>(&mut self, key: &'static str, kind: impl FnOnce(Value<'d>) -> Option<T>) -> Option<T> {
        match self.take(key) {
            Some(value) => kind(value),
            None => self.missing(key, Fault::new("is missing")),
        }
    }

    /// Reports a fault of a key that is absent, pinned to the table.
    pub fn missing<T>(&self, key: &'d str, fault: Fault) -> Option<T> {
        Place { parent: self.path.clone(), step: Step::Key(key), ..self.place.clone() }.fault(fault)
    }

    /// The value of a key, to be understood by hand; the key counts as asked for.
    pub fn take(&mut self, key: &'static str) -> Option<Value<'d>> {
        self.asked.push(key);
        // In the few keys of a table that a person wrote, comparing is quicker than hashing.
        let (label, item) = match self.items.len() {
            0 => None,
            1..=12 => self.items.iter().find(|(label, _)| label.get_ref() == key),
            _ => self.items.get_key_value(key),
        }?;
        self.found += 1;
        Some(self.value(label, item))
    }

    /// Whether the table holds a key; it does not count as asked for.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.items.contains_key(key)
    }

    /// Hides a text under this key from every source line that is shown, whether or not the key is known.
    pub fn conceal_text(&self, key: &str) {
        if let Some((label, item)) = self.items.get_key_value(key)
            && matches!(item.get_ref(), DeValue::String(_))
        {
            self.value(label, item).conceal();
        }
    }

    /// Says where keys belong that are often put into this table by mistake: "[fleet]".
    pub fn elsewhere(&mut self, keys: &'static [&'static str], place: &'static str) {
        self.elsewhere.push((keys, place));
    }

    /// Everything the table holds, in the order of the file, for a table whose keys are free.
    pub fn take_all(&mut self) -> Vec<Value<'d>> {
        self.found = self.items.len();
        let mut all: Vec<_> = self.items.iter().map(|(label, item)| self.value(label, item)).collect();
        // A table whose header comes after one of its sub-tables is stored late.
        all.sort_by_key(|value| value.label.start);
        all
    }

    fn value(
        &self,
        label: &'d toml::Spanned<toml::de::DeString<'d>>,
        item: &'d toml::Spanned<DeValue<'d>>,
    ) -> Value<'d> {
        Value {
            place: Place {
                document: self.place.document,
                parent: self.path.clone(),
                step: Step::Key(label.get_ref()),
                span: Some(item.span()),
            },
            label: label.span(),
            item: item.get_ref(),
        }
    }

    /// Reports the keys that were not asked for. Kinds call it; only [`Value::into_table`] by hand
    /// needs it.
    pub fn finish(self) {
        if self.found == self.items.len() {
            return;
        }
        for (label, item) in self.items {
            let key: &str = label.get_ref();
            if !self.asked.contains(&key) {
                self.unknown(&self.value(label, item));
            }
        }
    }

    fn unknown(&self, value: &Value<'d>) {
        let fault = Fault::new("unknown key");
        let key = value.key();
        let near = || nearest(key, self.asked.iter().copied());
        let hint = match self.elsewhere.iter().find(|(keys, _)| keys.contains(&key)) {
            Some((_, place)) => format!("`{key}` belongs in {place}"),
            None => match near() {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            },
        };
        value.label().fault(fault.hint(hint)).unwrap_or_default()
    }
}
