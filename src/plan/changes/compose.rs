//! A Compose file as far as a comparison needs it: each node with a digest and the variables that it
//! names, and an alias as the node that it stands for, so that nothing is ever expanded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use saphyr_parser::{Event, Parser};
use sha2::{Digest as _, Sha256};

/// Limits of what is read: the file may be a hostile host's.
const MAX_NODES: usize = 20_000;
const MAX_DEPTH: usize = 40;

#[derive(Debug, Default)]
pub struct Node {
    pub digest: [u8; 32],
    /// Variables of the environment that it or anything below it names.
    pub vars: BTreeSet<String>,
    /// Of a scalar.
    pub text: Option<String>,
    /// Of a sequence.
    pub items: Vec<Rc<Node>>,
    /// Of a mapping, with what `<<` merges into it.
    pub keys: BTreeMap<String, Rc<Node>>,
}

/// Services in the order of the file, each with its keys.
pub struct Compose {
    pub services: Vec<(String, Rc<Node>)>,
}

impl Compose {
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Node> {
        self.services.iter().find(|(known, _)| known == name).map(|(_, node)| &**node)
    }

    /// `None` for what is no Compose file, or beyond all measure.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Compose> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut reader = Reader::default();
        for event in Parser::new_from_str(text) {
            reader.take(event.ok()?.0)?;
        }
        let root = reader.root?;
        let services = root.keys.get("services")?;
        let mut order = reader.order.into_iter().filter(|name| services.keys.contains_key(name));
        let mut list: Vec<(String, Rc<Node>)> = Vec::new();
        for name in order.by_ref() {
            if !list.iter().any(|(known, _)| *known == name) {
                let node = Rc::clone(&services.keys[&name]);
                list.push((name, node));
            }
        }
        Some(Compose { services: list })
    }
}

enum Open {
    Sequence(usize, Vec<Rc<Node>>),
    /// Anchor, pairs so far, and the key that waits for its value.
    Mapping(usize, Vec<(Rc<Node>, Rc<Node>)>, Option<Rc<Node>>),
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    nodes: usize,
    /// Names of the services as they come.
    order: Vec<String>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) -> Option<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || self.open.len() > MAX_DEPTH {
            return None;
        }
        match event {
            Event::Scalar(text, _, anchor, _) => {
                if let [Open::Mapping(_, _, Some(key)), Open::Mapping(_, _, None)] = self.open.as_slice()
                    && key.text.as_deref() == Some("services")
                {
                    self.order.push(text.clone().into_owned());
                }
                self.close(anchor, scalar(&text))
            }
            Event::Alias(anchor) => {
                let node = Rc::clone(self.anchors.get(&anchor)?);
                self.put(node)
            }
            Event::SequenceStart(anchor, _) => {
                self.open.push(Open::Sequence(anchor, Vec::new()));
                Some(())
            }
            Event::MappingStart(anchor, _) => {
                self.open.push(Open::Mapping(anchor, Vec::new(), None));
                Some(())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop()? {
                Open::Sequence(anchor, items) => self.close(anchor, sequence(items)),
                Open::Mapping(anchor, pairs, None) => self.close(anchor, mapping(pairs)),
                Open::Mapping(_, _, Some(_)) => None,
            },
            _ => Some(()),
        }
    }

    fn close(&mut self, anchor: usize, node: Node) -> Option<()> {
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.put(node)
    }

    fn put(&mut self, node: Rc<Node>) -> Option<()> {
        match self.open.last_mut() {
            None if self.root.is_none() => self.root = Some(node),
            None => return None,
            Some(Open::Sequence(_, items)) => items.push(node),
            Some(Open::Mapping(_, pairs, key)) => match key.take() {
                Some(key) => pairs.push((key, node)),
                None => *key = Some(node),
            },
        }
        Some(())
    }
}

fn scalar(text: &str) -> Node {
    let digest = Sha256::new().chain_update(b"scalar ").chain_update(text).finalize().into();
    Node { digest, vars: variables(text), text: Some(text.to_owned()), ..Node::default() }
}

fn sequence(items: Vec<Rc<Node>>) -> Node {
    let mut hasher = Sha256::new_with_prefix(b"sequence ");
    items.iter().for_each(|item| hasher.update(item.digest));
    let vars = items.iter().flat_map(|item| item.vars.iter().cloned()).collect();
    Node { digest: hasher.finalize().into(), vars, items, ..Node::default() }
}

fn mapping(pairs: Vec<(Rc<Node>, Rc<Node>)>) -> Node {
    let mut keys: BTreeMap<String, Rc<Node>> = BTreeMap::new();
    let own = |name: &str| name != "<<";
    for (key, value) in &pairs {
        match key.text.as_deref() {
            Some(name) if own(name) => drop(keys.insert(name.to_owned(), Rc::clone(value))),
            Some(_) => {
                let merged: Vec<&Rc<Node>> =
                    if value.items.is_empty() { vec![value] } else { value.items.iter().collect() };
                for (name, value) in merged.iter().flat_map(|node| node.keys.iter()) {
                    keys.entry(name.clone()).or_insert_with(|| Rc::clone(value));
                }
            }
            None => {}
        }
    }
    // A merge that comes first does not win over a key of the mapping itself.
    for (key, value) in &pairs {
        if let Some(name) = key.text.as_deref().filter(|name| own(name)) {
            keys.insert(name.to_owned(), Rc::clone(value));
        }
    }
    let mut hasher = Sha256::new_with_prefix(b"mapping ");
    let mut vars = BTreeSet::new();
    for (name, value) in &keys {
        hasher.update((name.len() as u64).to_be_bytes());
        hasher.update(name);
        hasher.update(value.digest);
        vars.extend(value.vars.iter().cloned());
    }
    Node { digest: hasher.finalize().into(), vars, keys, ..Node::default() }
}

/// Names that Compose fills in: `$NAME`, `${NAME}`, `${NAME:-...}`; `$$` is a dollar.
fn variables(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let body = rest.strip_prefix('{').unwrap_or(rest);
        let end = body.find(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
        let name = &body[..end.unwrap_or(body.len())];
        if !name.is_empty() {
            found.insert(name.to_owned());
        }
    }
    found
}
