//! Reads stack.toml: every fault at once, each with its place, what was expected and what to do.

mod env;
mod kinds;
mod parts;
mod service;

use std::collections::BTreeMap;

use super::schema::{BackupSpec, BuildPlace, FileSpec, Source, Stack};
use crate::diagnostic::{Diagnostics, Fault, nearest, shown};
use crate::toml_reader::{
    Document, Placed, Table, Value, boolean, integer, list, one_of, parsed, placed, string, table,
};

use kinds::{label, mode, relative_path, service_name};

/// Reads a stack.toml. `folder` is the stack's folder as the operator knows it, `contents` every other
/// file in it.
///
/// # Errors
/// All that is wrong with it, in the order of the file.
pub fn read(text: &str, folder: &str, contents: BTreeMap<String, Vec<u8>>) -> Result<Stack, Diagnostics> {
    let document = Document::parse(text, &format!("{folder}/stack.toml"))?;
    document.read(|root| {
        let name = root.required("name", parsed(label));
        let description = root.optional("description", string);
        let memory_mb = root.optional("memory_mb", integer(64..=1_048_576_u64));
        let compose = root.optional("compose", placed(parsed(relative_path)));
        let dotenv = root.optional("dotenv", placed(parsed(relative_path)));
        let extra = root.optional("extra_env", boolean).unwrap_or(false);
        let source = root.optional("source", table(source));
        let files = root.optional("files", |files| file_specs(files, &contents));
        let read_all = files.as_ref().is_some_and(|files| files.all) || !root.has("files");
        let files = files.map(|files| files.read).unwrap_or_default();
        let env = root.optional("env", section(env::name, env::variable)).unwrap_or_default();
        let services = root.optional("services", section(service_name, service::service)).unwrap_or_default();
        let names = Names { services: &services, env: &env };
        names.builds(source.as_ref());
        let database = root.optional("database", table(|database| parts::database(database, &names)));
        let migrations = root.optional("migrations", placed(table(parts::migrations)));
        let backup = root.optional("backup", placed(table(parts::backup)));
        let tls = root.optional("tls", table(|tls| parts::tls(tls, &names)));
        let health = root.optional("health", table(parts::front_health));
        let sentry = root.optional("sentry", table(|sentry| parts::sentry(sentry, &names)));
        let hooks = root.optional("hooks", table(|hooks| parts::hooks(hooks, &names))).unwrap_or_default();
        let checks = root.optional("checks", |checks| parts::checks(checks, &names)).unwrap_or_default();
        if let (Some(migrations), false) = (&migrations, root.has("database")) {
            let fault = Fault::new("there is no [database] to migrate");
            migrations.place.fault(fault).unwrap_or_default()
        }
        if let Some(backup) = backup.as_ref().filter(|backup| backup.value.database && !root.has("database"))
        {
            let fault = Fault::new("`database = true`, but there is no [database]");
            backup.place.fault(fault).unwrap_or_default()
        }
        distinct(&files);
        let wanted = Destinations { files: &files, all: read_all };
        let compose = wanted.find(root, compose, "compose", "docker-compose.yml");
        let dotenv = match dotenv {
            None if !files.iter().any(|file| file.value.destination == ".env") => Some(None),
            dotenv => wanted.find(root, dotenv, "dotenv", ".env").map(Some),
        };
        let mut env = names.schema(extra);
        env.sentry = sentry.as_ref().map(|sentry| sentry.names.clone()).unwrap_or_default();
        Some(Stack {
            folder: folder.to_owned(),
            name: name?,
            description,
            memory_mb,
            compose: compose?,
            dotenv: dotenv?,
            source,
            files: files.into_iter().map(|file| file.value).collect(),
            env,
            services: services.read.into_iter().map(|service| service.value.service).collect(),
            database,
            migrations: migrations.map(|migrations| migrations.value),
            backup: backup.map_or_else(BackupSpec::default, |backup| backup.value),
            tls,
            health,
            sentry,
            hooks,
            checks,
            contents,
        })
    })
}

/// A table of tables with free names: those that could be read, and all that are there, so that a
/// fault in one is not a fault of all that name it.
struct Section<'d, T> {
    read: Vec<Placed<'d, T>>,
    declared: Vec<&'d str>,
}

impl<T> Default for Section<'_, T> {
    fn default() -> Self {
        Section { read: Vec::new(), declared: Vec::new() }
    }
}

fn section<'d, T>(
    name: impl Fn(&str) -> Result<String, Fault>,
    read: impl Fn(String, &mut Table<'d>) -> Option<T>,
) -> impl Fn(Value<'d>) -> Option<Section<'d, T>> {
    move |value| {
        let mut section = Section::default();
        for value in value.into_table()?.take_all() {
            section.declared.push(value.key());
            let name = name(value.key()).or_else(|fault| value.label().fault(fault).ok_or(())).ok();
            let place = value.label();
            // What is in it is checked even where its name is wrong.
            let read = table(|table: &mut Table<'d>| read(name.clone().unwrap_or_default(), table))(value);
            section.read.extend(read.filter(|_| name.is_some()).map(|value| Placed { value, place }));
        }
        Some(section)
    }
}

/// What other tables may name.
struct Names<'r, 'd> {
    services: &'r Section<'d, service::Read<'d>>,
    env: &'r Section<'d, env::Read>,
}

impl<'d> Names<'_, 'd> {
    /// A service's name; an unknown one is a fault at its place.
    fn service(&self, found: &Placed<'d, String>) -> Option<String> {
        known(found, &self.services.declared, "service", "services")
    }

    /// A variable's name, likewise.
    fn variable(&self, found: &Placed<'d, String>) -> Option<String> {
        known(found, &self.env.declared, "variable", "env")
    }

    fn schema(&self, extra: bool) -> super::schema::EnvSchema {
        let variables =
            self.env.read.iter().map(|read| (read.value.name.clone(), read.value.variable.clone()));
        super::schema::EnvSchema { variables: variables.collect(), extra, sentry: Default::default() }
    }

    /// A build needs a source, and an image of another service needs that to be built.
    fn builds(&self, source: Option<&Source>) {
        for service in &self.services.read {
            let read = &service.value;
            if let (Some(place), true) =
                (&read.build, source.is_none_or(|source| source.build == BuildPlace::None))
            {
                let fault = Fault::new("there is no source to build it from");
                place.fault(fault.hint("add `[source]`, whose `build` is not \"none\"")).unwrap_or_default()
            }
            let Some(from) = &read.image_from else { continue };
            let Some(name) = self.service(from) else { continue };
            let built = self
                .services
                .read
                .iter()
                .any(|other| other.value.service.name == name && other.value.build.is_some());
            if !built {
                let fault = Fault::new(format!("the service `{name}` has no `build`"));
                from.place.fault(fault.expected("a service whose image is built")).unwrap_or_default()
            }
        }
    }
}

fn known(found: &Placed<'_, String>, names: &[&str], what: &str, section: &str) -> Option<String> {
    if names.contains(&found.value.as_str()) {
        return Some(found.value.clone());
    }
    let fault = Fault::new(format!("no {what} {} in this stack", shown(&found.value)));
    let hint = match nearest(&found.value, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => format!("declare it as [{section}.{}]", found.value),
        None => format!("declare it as [{section}.{}]; there are {}", found.value, names.join(", ")),
    };
    found.place.fault(fault.hint(hint))
}

fn source(source: &mut Table<'_>) -> Option<Source> {
    let exclude = source.optional("exclude", list(parsed(kinds::exclude))).unwrap_or_default();
    let places =
        &[("host", BuildPlace::Host), ("operator", BuildPlace::Operator), ("none", BuildPlace::None)];
    let build = source.optional("build", one_of(places)).unwrap_or_default();
    Some(Source { exclude, build })
}

struct Files<'d> {
    read: Vec<Placed<'d, FileSpec>>,
    /// Whether every one could be read.
    all: bool,
}

fn file_specs<'d>(files: Value<'d>, contents: &BTreeMap<String, Vec<u8>>) -> Option<Files<'d>> {
    let files = files.into_elements()?;
    let count = files.len();
    let read: Vec<_> = files.into_iter().filter_map(table(|file| file_spec(file, contents))).collect();
    Some(Files { all: read.len() == count, read })
}

fn file_spec<'d>(file: &mut Table<'d>, contents: &BTreeMap<String, Vec<u8>>) -> Option<Placed<'d, FileSpec>> {
    let template = file.required("template", placed(parsed(relative_path)));
    let template = template.and_then(|template| match contents.contains_key(&template.value) {
        true => Some(template.value),
        false => {
            let fault = Fault::new(format!("no file `{}` in the stack's folder", template.value));
            let near = fault.suggest(&template.value, contents.keys().map(String::as_str));
            template.place.fault(near)
        }
    });
    let destination = file.required("destination", placed(parsed(relative_path)));
    let mode = file.optional("mode", parsed(mode)).unwrap_or(0o644);
    let secret = file.optional("secret", placed(boolean));
    if let Some(secret) = secret.as_ref().filter(|secret| secret.value && mode & 0o077 != 0) {
        let fault = Fault::new(format!("the file is secret, but its mode {mode:04o} lets others read it"));
        return secret.place.fault(fault.hint("write mode = \"0600\""));
    }
    let secret = secret.map_or(mode & 0o077 == 0, |secret| secret.value);
    let Placed { value: destination, place } = destination?;
    Some(Placed { value: FileSpec { template: template?, destination, mode, secret }, place })
}

/// No two files are written to one place, and none into another.
fn distinct(files: &[Placed<'_, FileSpec>]) {
    for (index, file) in files.iter().enumerate() {
        for earlier in &files[..index] {
            let (one, other) = (&earlier.value.destination, &file.value.destination);
            let inside = |outer: &str, inner: &str| {
                inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
            };
            let line = earlier.place.line();
            let message = if one == other {
                format!("line {line} writes to `{other}` already")
            } else if inside(one, other) || inside(other, one) {
                format!("`{one}` of line {line} and `{other}` cannot both be: one is a folder of the other")
            } else {
                continue;
            };
            file.place.fault::<()>(Fault::new(message)).unwrap_or_default();
            break;
        }
    }
}

struct Destinations<'r, 'd> {
    files: &'r [Placed<'d, FileSpec>],
    /// Whether there are no others, which could not be read.
    all: bool,
}

impl<'d> Destinations<'_, 'd> {
    /// The destination that `key` names, or the usual one: a file must be written there.
    fn find(
        &self,
        root: &Table<'d>,
        named: Option<Placed<'d, String>>,
        key: &'static str,
        usual: &str,
    ) -> Option<String> {
        let wanted = named.as_ref().map_or(usual, |named| named.value.as_str());
        let mut destinations = self.files.iter().map(|file| file.value.destination.as_str());
        if !self.all || destinations.any(|destination| destination == wanted) {
            return Some(wanted.to_owned());
        }
        let fault = Fault::new(format!("no file of [[files]] has the destination `{wanted}`"));
        match &named {
            Some(named) => {
                let destinations = self.files.iter().map(|file| file.value.destination.as_str());
                named.place.fault(fault.suggest(wanted, destinations))
            }
            None => {
                let hint = format!("give one that destination, or name the file: {key} = \"...\"");
                root.missing(key, fault.hint(hint))
            }
        }
    }
}
