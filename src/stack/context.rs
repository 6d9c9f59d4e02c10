//! The names that templates and `from` know, filled with one client's values.

use std::collections::BTreeMap;

use super::env::ResolvedEnv;
use super::render::RenderInput;
use super::schema::Stack;
use super::template::Known;
use crate::registry::Client;
use crate::secret::Secret;

/// What `from` may name.
pub const PATHS: [&str; 8] = [
    "client.name",
    "client.domain",
    "client.url",
    "client.address",
    "client.email",
    "client.environment",
    "client.user",
    "fleet.name",
];

/// The value of one of [`PATHS`] for a client; `None` where the client has none.
pub fn lookup(path: &str, client: &Client, fleet: &str) -> Option<String> {
    Some(match path {
        "client.name" => client.name.to_string(),
        "client.domain" => client.domain.to_string(),
        "client.url" => format!("https://{}", client.domain),
        "client.address" => client.address.to_string(),
        "client.email" => return client.email.as_ref().map(ToString::to_string),
        "client.environment" => client.sentry.environment.to_string(),
        "client.user" => client.user.to_string(),
        "fleet.name" => fleet.to_owned(),
        _ => return None,
    })
}

/// `client`: every field that a client may have; those it lacks are known, without a value.
fn client_values(client: &Client) -> Known {
    let sentry = &client.sentry;
    let dsn = sentry.dsn.as_ref().map_or(Known::Absent, |dsn| Known::Secret(Secret::from(dsn.reveal())));
    Known::map([
        ("name", Known::from(client.name.as_str())),
        ("domain", client.domain.as_str().into()),
        ("aliases", Known::list(client.aliases.iter().map(ToString::to_string))),
        ("url", format!("https://{}", client.domain).into()),
        ("address", client.address.to_string().into()),
        ("port", client.port.to_string().into()),
        ("user", client.user.as_str().into()),
        ("email", Known::optional(client.email.as_deref())),
        ("tags", Known::list(client.tags.iter().map(ToString::to_string))),
        ("environment", sentry.environment.as_str().into()),
        (
            "sentry",
            Known::map([
                ("dsn", dsn),
                ("environment", sentry.environment.as_str().into()),
                ("traces_rate", Known::Number(sentry.traces_rate)),
            ]),
        ),
        ("backup", Known::map([("schedule", Known::from(client.backup.schedule.to_string()))])),
    ])
}

fn env_values(env: &ResolvedEnv) -> BTreeMap<String, Known> {
    let absent = env.absent.iter().map(|name| (name.clone(), Known::Absent));
    let values = env.values.iter().map(|(name, value)| {
        let known = match value.secret {
            true => Known::Secret(value.value.clone()),
            false => Known::Text(value.value.reveal().clone()),
        };
        (name.clone(), known)
    });
    absent.chain(values).collect()
}

/// All names for the templates of one release.
pub fn build(stack: &Stack, input: &RenderInput<'_>, release: &Release<'_>) -> BTreeMap<String, Known> {
    let mut env = env_values(input.env);
    if let Some(name) = &stack.env.sentry.release
        && !input.env.values.contains_key(name)
    {
        env.insert(name.clone(), stack.sentry_release(input.images, release.version).into());
    }
    let services = stack.services.iter().map(|service| {
        Known::map([
            ("name", Known::from(service.name.as_str())),
            ("image", Known::optional(image(stack, input.images, &service.name))),
        ])
    });
    let images = stack.services.iter().filter_map(|service| {
        Some((service.name.clone(), Known::from(image(stack, input.images, &service.name)?)))
    });
    let fleet = Known::map([("name", Known::from(input.fleet))]);
    let values = [
        ("client", client_values(input.client)),
        ("fleet", fleet),
        ("env", Known::Map(env)),
        ("release", release.known()),
        ("images", Known::Map(images.collect())),
        ("services", Known::List(services.collect())),
        ("stack", Known::map([("name", Known::from(stack.name.as_str()))])),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The tag that a service runs: of its own build, or of another's.
pub fn image<'i>(stack: &Stack, images: &'i BTreeMap<String, String>, service: &str) -> Option<&'i str> {
    let from = stack.service(service).and_then(|service| service.image_from.as_deref());
    images.get(from.unwrap_or(service)).map(String::as_str)
}

/// `release`, as templates see it.
pub struct Release<'r> {
    pub id: &'r str,
    pub version: &'r str,
    pub dir: &'r str,
    pub source_dir: &'r str,
    pub tls_dir: &'r str,
    pub acme_dir: &'r str,
}

impl Release<'_> {
    fn known(&self) -> Known {
        Known::map([
            ("id", Known::from(self.id)),
            ("version", self.version.into()),
            ("dir", self.dir.into()),
            ("source_dir", self.source_dir.into()),
            ("tls_dir", self.tls_dir.into()),
            ("acme_dir", self.acme_dir.into()),
        ])
    }
}
