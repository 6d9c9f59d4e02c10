//! What becomes of each service, and why.

use std::collections::BTreeSet;

use super::compose::{Compose, Node};
use super::text::changed_names;
use crate::facts::{Container, Facts};
use crate::plan::Desired;
use crate::plan::release::up_to_date;

/// What is done to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its image is built anew, then its container is replaced.
    Rebuild,
    /// A new container, from other settings, files or another image.
    Replace,
    /// It has no container that runs.
    Start,
    Remove,
    Nothing,
}

impl Action {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Action::Rebuild => "rebuild",
            Action::Replace => "replace",
            Action::Start => "start",
            Action::Remove => "remove",
            Action::Nothing => "nothing",
        }
    }
}

/// The image that a service runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub name: String,
    /// Id on the host, where it has that image.
    pub id: Option<String>,
    /// What it was pulled by.
    pub digest: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceChange {
    pub service: String,
    pub action: Action,
    pub why: Vec<String>,
    /// What runs now, and what shall run; the second is absent where the Compose file does not tell.
    pub from: Option<Image>,
    pub to: Option<Image>,
}

struct View<'a> {
    desired: &'a Desired,
    facts: &'a Facts,
    /// `None` when what the host has cannot be told.
    old: Option<Compose>,
    new: Option<Compose>,
    /// Names of the variables whose values change.
    env: BTreeSet<String>,
}

impl<'a> View<'a> {
    fn new(desired: &'a Desired, facts: &'a Facts) -> Self {
        let wanted = |name: &str| desired.rendered().find(|(path, _)| *path == name).map(|(_, file)| file);
        let before = |name: &str| match facts.old.get(name) {
            Some(old) => old.whole().then(|| old.content.as_slice()),
            None if facts.written.contains(name) => wanted(name).map(|file| file.content.as_slice()),
            None => None,
        };
        let project = &desired.release.project;
        let env = project.dotenv.as_deref().and_then(|name| {
            let new = wanted(name)?;
            Some(changed_names(before(name)?, &new.content))
        });
        // Without the environment that was, nothing is known of what the services were made from.
        let known = project.dotenv.is_none() || env.is_some();
        let old = before(&project.file).filter(|_| known).and_then(Compose::read);
        let new = wanted(&project.file).and_then(|file| Compose::read(&file.content));
        View { desired, facts, old, new, env: env.unwrap_or_default() }
    }

    fn container(&self, service: &str) -> Option<&'a Container> {
        self.facts.containers.iter().rfind(|container| container.service == service)
    }

    fn image(&self, name: &str) -> Image {
        Image {
            name: crate::secret::clean(name).into_owned(),
            id: self.facts.images.get(name).cloned(),
            digest: self.facts.digests.get(name).cloned(),
        }
    }

    fn names(&self) -> Vec<String> {
        match &self.new {
            Some(new) => new.services.iter().map(|(name, _)| name.clone()).collect(),
            None => self.desired.release.health.iter().map(|(name, _)| name.clone()).collect(),
        }
    }

    /// Why a service is not as it was, by the files; `None` when they do not tell.
    fn reasons(&self, service: &str) -> Option<Vec<String>> {
        let new = self.new.as_ref()?.service(service)?;
        let Some(old) = self.old.as_ref()?.service(service) else {
            return Some(vec!["new service".to_owned()]);
        };
        let mut why = Vec::new();
        let names: BTreeSet<&String> = old.keys.keys().chain(new.keys.keys()).collect();
        let mut definition = Vec::new();
        for name in names {
            let (before, after) = (old.keys.get(name), new.keys.get(name));
            if before.map(|node| node.digest) == after.map(|node| node.digest) {
                continue;
            }
            match name.as_str() {
                "image" => why.push(self.image_reason(service)),
                "environment" => definition.push(environment(before.map(|it| &**it), after.map(|it| &**it))),
                "volumes" => why.extend(volumes(before.map(|it| &**it), after.map(|it| &**it))),
                other => definition.push(plain(other)),
            }
        }
        if !definition.is_empty() {
            why.push(format!("definition changed: {}", definition.join(", ")));
        }
        let from_file = new.keys.contains_key("env_file");
        let used = self.env.iter().filter(|name| from_file || new.vars.contains(*name));
        let used: Vec<&str> = used.map(String::as_str).collect();
        if !used.is_empty() {
            why.push(format!("environment changed: {}", used.join(", ")));
        }
        if relative(new) {
            why.push("it mounts a path of the release folder".to_owned());
        }
        Some(why)
    }

    fn image_reason(&self, service: &str) -> String {
        let release = &self.desired.release;
        let built = release.builds.iter().any(|build| Some(&build.tag) == release.images.get(service));
        if built { "build context changed".to_owned() } else { "image changed".to_owned() }
    }

    fn builds(&self, service: &str) -> bool {
        let release = &self.desired.release;
        let tag = release.images.get(service);
        tag.is_some_and(|tag| !self.facts.images.contains_key(tag))
            && release.builds.iter().any(|build| Some(&build.tag) == tag)
    }

    fn change(&self, service: &str) -> ServiceChange {
        let release = &self.desired.release;
        let container = self.container(service);
        let new = self.new.as_ref().and_then(|new| new.service(service));
        let image = new.and_then(|node| node.keys.get("image")).and_then(|node| node.text.clone());
        let image = release.images.get(service).cloned().or(image).filter(|name| !name.contains('$'));
        let hash = self.facts.services.get(service);
        let same = hash.map(|hash| container.is_some_and(|container| container.config_hash == *hash));
        let mut why = self.reasons(service).unwrap_or_default();
        let left_out = !release.services.is_empty() && !release.services.iter().any(|name| name == service);
        let action = if left_out {
            why = vec!["not named".to_owned()];
            Action::Nothing
        } else if self.facts.state.is_none() {
            why = vec!["first release".to_owned()];
            if self.builds(service) { Action::Rebuild } else { Action::Start }
        } else if container.is_none() {
            why.insert(0, "it has no container".to_owned());
            if self.builds(service) { Action::Rebuild } else { Action::Start }
        } else if same == Some(true) || (same.is_none() && why.is_empty() && self.old.is_some()) {
            let stopped = container.filter(|container| container.status != "running");
            why = stopped.map(|it| format!("it is {}", plain(&it.status))).into_iter().collect();
            if stopped.is_some() { Action::Start } else { Action::Nothing }
        } else {
            if why.is_empty() {
                let known = same.is_some();
                why.push(
                    if known { "made from other settings" } else { "the release before cannot be read" }
                        .to_owned(),
                );
            }
            if self.builds(service) { Action::Rebuild } else { Action::Replace }
        };
        ServiceChange {
            service: service.to_owned(),
            action,
            why,
            from: container.map(|container| self.image(&container.image)),
            to: image.map(|name| self.image(&name)),
        }
    }
}

pub fn of(desired: &Desired, facts: &Facts) -> Vec<ServiceChange> {
    if up_to_date(desired, facts) && facts.services.is_empty() {
        return Vec::new();
    }
    let view = View::new(desired, facts);
    let mut list: Vec<ServiceChange> = view.names().iter().map(|name| view.change(name)).collect();
    if desired.release.services.is_empty()
        && let (Some(old), Some(new)) = (&view.old, &view.new)
    {
        for (service, _) in old.services.iter().filter(|(name, _)| new.service(name).is_none()) {
            let container = view.container(service);
            list.push(ServiceChange {
                service: plain(service),
                action: Action::Remove,
                why: vec!["no service of the new release".to_owned()],
                from: container.map(|container| view.image(&container.image)),
                to: None,
            });
        }
    }
    list
}

pub fn replaces(desired: &Desired, facts: &Facts, service: &str) -> Option<bool> {
    View::new(desired, facts).reasons(service).map(|why| !why.is_empty())
}

/// A word of a file as it may be shown.
fn plain(name: &str) -> String {
    name.chars().map(|char| if char.is_ascii_graphic() { char } else { '?' }).take(60).collect()
}

fn environment(old: Option<&Node>, new: Option<&Node>) -> String {
    let names = |node: Option<&Node>| {
        let mut names: BTreeSet<(String, [u8; 32])> = BTreeSet::new();
        let Some(node) = node else { return names };
        names.extend(node.keys.iter().map(|(name, value)| (name.clone(), value.digest)));
        for item in &node.items {
            let name = item.text.as_deref().and_then(|text| text.split('=').next()).unwrap_or_default();
            names.insert((name.to_owned(), item.digest));
        }
        names
    };
    let (old, new) = (names(old), names(new));
    let changed: BTreeSet<String> = old.symmetric_difference(&new).map(|(name, _)| plain(name)).collect();
    format!("environment ({})", changed.into_iter().collect::<Vec<_>>().join(", "))
}

/// What of the mounts changed: rendered files by their names, the rest in one word.
fn volumes(old: Option<&Node>, new: Option<&Node>) -> Vec<String> {
    let texts = |node: Option<&Node>| -> BTreeSet<String> {
        let items = node.map(|node| node.items.as_slice()).unwrap_or_default();
        items.iter().filter_map(|item| item.text.clone()).collect()
    };
    let (before, after) = (texts(old), texts(new));
    let added: Vec<&String> = after.difference(&before).collect();
    let mut why: Vec<String> =
        added.iter().filter_map(|text| mounted(text)).map(|name| format!("{name} changed")).collect();
    if why.len() < added.len() || before.difference(&after).count() != added.len() || why.is_empty() {
        why.push("definition changed: volumes".to_owned());
    }
    why
}

/// The rendered file of a mount such as `/opt/stack/files/DIGEST/nginx.conf:/etc/nginx.conf:ro`.
fn mounted(text: &str) -> Option<String> {
    let (_, rest) = text.split(':').next()?.split_once("/files/")?;
    rest.split_once('/').map(|(_, name)| plain(name))
}

/// Whether it mounts by a path that is relative to the release folder, which is a new one each time.
fn relative(service: &Node) -> bool {
    let items = service.keys.get("volumes").map(|node| node.items.as_slice()).unwrap_or_default();
    items.iter().any(|item| {
        let source = match &item.text {
            Some(text) => text.split(':').next(),
            None => item.keys.get("source").and_then(|node| node.text.as_deref()),
        };
        source.is_some_and(|source| source.starts_with("./") || source.starts_with("../"))
    })
}
