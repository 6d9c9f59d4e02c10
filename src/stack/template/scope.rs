//! What names stand for at one place of a template.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Expr, Form, Node};
use super::value::Known;

/// What an expression may be when it is rendered; it is defined in either case.
#[derive(Clone, Debug)]
pub enum Abstract<'v> {
    /// One of these; none where the body of an empty loop asks.
    OneOf(Vec<&'v Known>),
    /// One of these texts: the keys of a map.
    Texts(Vec<&'v str>),
    /// Defined, with nothing known of its inside.
    Any,
    /// `loop`, which Tera itself checks.
    Loop,
    /// Already a fault: whatever is asked of it is no further one.
    Faulty,
}

#[derive(Clone, Default)]
pub struct Scope<'v> {
    pub names: BTreeMap<String, Abstract<'v>>,
    /// Paths that a condition around this place has found to be defined.
    pub proved: BTreeSet<String>,
}

impl<'v> Scope<'v> {
    /// A new value for a name: nothing is proved of it any more.
    pub fn bind(&mut self, name: &str, value: Abstract<'v>) {
        let inside = format!("{name}.");
        self.proved.retain(|path| path != name && !path.starts_with(&inside));
        self.names.insert(name.to_owned(), value);
    }

    pub fn with(&self, proved: &[String]) -> Scope<'v> {
        let mut scope = self.clone();
        scope.proved.extend(proved.iter().cloned());
        scope
    }
}

/// Keys and values that a loop over one of these goes through.
pub fn items<'v>(targets: &[&'v Known]) -> (Abstract<'v>, Abstract<'v>) {
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for target in targets {
        match target {
            Known::List(list) => values.extend(list),
            Known::Map(map) => {
                let present = map.iter().filter(|(_, value)| !matches!(value, Known::Absent));
                for (key, value) in present {
                    keys.push(key.as_str());
                    values.push(value);
                }
            }
            _ => return (Abstract::Any, Abstract::Any),
        }
    }
    (Abstract::Texts(keys), Abstract::OneOf(values))
}

/// Names that a loop's body sets, and whether the value outlives the loop.
pub fn set_in<'v>(nodes: &'v [Node<'v>]) -> Vec<(&'v str, bool)> {
    let mut names = Vec::new();
    for node in nodes {
        match node {
            Node::Set { name, global, .. } => names.push((*name, *global)),
            Node::SetBlock { name, body, global, .. } => {
                names.push((*name, *global));
                names.extend(set_in(body));
            }
            Node::If { arms, otherwise } => {
                names.extend(arms.iter().flat_map(|(_, body)| set_in(body)));
                names.extend(set_in(otherwise));
            }
            Node::For { body, otherwise, .. } => {
                names.extend(set_in(body));
                names.extend(set_in(otherwise));
            }
            Node::FilterSection { body, .. } => names.extend(set_in(body)),
            Node::Print(_) | Node::Include { .. } | Node::Jump => {}
        }
    }
    names
}

/// Names that both ways define; what differs is no longer known from inside.
pub fn merge<'v>(
    one: BTreeMap<String, Abstract<'v>>,
    other: &BTreeMap<String, Abstract<'v>>,
) -> BTreeMap<String, Abstract<'v>> {
    let both = one.into_iter().filter_map(|(name, value)| {
        let value = match (value, other.get(&name)?) {
            (Abstract::OneOf(mut a), Abstract::OneOf(b)) => {
                for value in b {
                    if !a.iter().any(|known| std::ptr::eq(*known, *value)) {
                        a.push(value);
                    }
                }
                Abstract::OneOf(a)
            }
            (Abstract::Loop, Abstract::Loop) => Abstract::Loop,
            _ => Abstract::Any,
        };
        Some((name, value))
    });
    both.collect()
}

/// The expression as a message shows it.
pub fn path(expr: &Expr<'_>) -> String {
    match &expr.form {
        Form::Name(name) => (*name).to_owned(),
        Form::Field(base, name) => format!("{}.{name}", path(base)),
        Form::Item(base, index) => match &index.form {
            Form::Text(text) => format!("{}.{text}", path(base)),
            _ => format!("{}[{}]", path(base), path(index)),
        },
        _ => "...".to_owned(),
    }
}

/// The expression as a dotted path, where it is one and nothing in it is computed.
pub fn fixed_path(expr: &Expr<'_>) -> Option<String> {
    match &expr.form {
        Form::Name(name) => Some((*name).to_owned()),
        Form::Field(base, name) => Some(format!("{}.{name}", fixed_path(base)?)),
        Form::Item(base, index) => match &index.form {
            Form::Text(text) => Some(format!("{}.{text}", fixed_path(base)?)),
            _ => None,
        },
        _ => None,
    }
}

/// Paths that are defined where the condition holds, and where it does not.
pub fn proofs(condition: &Expr<'_>) -> (Vec<String>, Vec<String>) {
    let path = |expr| fixed_path(expr).into_iter().collect();
    match &condition.form {
        Form::Name(_) | Form::Field(..) | Form::Item(..) => (path(condition), Vec::new()),
        Form::Test(base, "defined", _) => (path(base), Vec::new()),
        Form::Test(base, "undefined", _) => (Vec::new(), path(base)),
        Form::Not(inner) => {
            let (holds, fails) = proofs(inner);
            (fails, holds)
        }
        Form::And(left, right) => ([proofs(left).0, proofs(right).0].concat(), Vec::new()),
        Form::Or(left, right) => (Vec::new(), [proofs(left).1, proofs(right).1].concat()),
        _ => (Vec::new(), Vec::new()),
    }
}
