//! The Sentry server, as clients.toml names it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::App;
use super::super::context::Fleet;
use crate::registry::{Client, values::Dsn};
use crate::sentry::{Api, ApiError, Project, Seen, Whereabouts};
use crate::status::sentry::{Last, Problem, Sentry, Server};
use crate::ui;

/// The API, where a token is named; `limit` is for all that is asked of it.
///
/// # Errors
/// A token that is named and not set.
pub fn open(fleet: &Fleet, limit: Duration) -> anyhow::Result<Option<Api>> {
    let settings = &fleet.registry.fleet.sentry;
    let Some(token) = &settings.token else { return Ok(None) };
    let token = fleet.secret(token, "token of [fleet.sentry]")?;
    let told = |text: &str| ui::tell(&format!("{}\n", ui::flat(text)));
    Ok(Some(Api::new(&settings.url, token, limit, told)))
}

/// What the server says of one project: asked once, however many clients share it.
struct Known {
    project: Result<Project, ApiError>,
    events: Result<Vec<Seen>, ApiError>,
}

/// Adds what the server says; what keeps it from saying anything is told once. Gives whether it could be asked.
pub fn add(app: &App, api: &Api, clients: &[&Client], list: &mut [Sentry]) -> bool {
    let mut known: BTreeMap<Whereabouts, Known> = BTreeMap::new();
    let mut troubles: Vec<ApiError> = Vec::new();
    for (client, record) in clients.iter().zip(list) {
        let Some(dsn) = &client.sentry.dsn else { continue };
        let at = Whereabouts::of(&client.sentry, dsn);
        let known = known.entry(at.clone()).or_insert_with(|| {
            let project = api.project(&at);
            let events = if project.is_ok() { api.newest(&at) } else { Ok(Vec::new()) };
            Known { project, events }
        });
        let mut server = Server { name: api.name().to_owned(), ..Server::default() };
        match &known.project {
            Ok(project) => {
                let problem = mismatch(client, dsn, project);
                if problem.is_some() && !related(dsn, api) {
                    server.note = Some(format!("the DSN is of {}, another server", dsn.host()));
                } else {
                    server.project = Some(project.slug.clone());
                    if let Some(problem) = problem {
                        record.add(problem);
                    }
                }
            }
            Err(error) if error.is_unknown() && !related(dsn, api) => {
                server.note = Some(format!("the DSN is of {}, another server", dsn.host()));
            }
            Err(error) => {
                server.note = Some(error.to_string());
                troubles.push(error.clone());
            }
        }
        match &known.events {
            Ok(events) if server.note.is_none() => {
                server.looked_through = events.len();
                server.last = last(events, &client.sentry.environment);
            }
            Ok(_) => {}
            Err(error) => {
                server.note = Some(error.to_string());
                troubles.push(error.clone());
            }
        }
        record.server = Some(server);
    }
    let mut told: Vec<&ApiError> = Vec::new();
    for trouble in &troubles {
        if !told.contains(&trouble) {
            told.push(trouble);
            app.tell(&format!("server: {}\n  hint: {}\n", ui::flat(&trouble.to_string()), trouble.hint()));
        }
    }
    troubles.is_empty()
}

/// The newest event of an environment.
pub fn last(events: &[Seen], environment: &str) -> Option<Last> {
    let of = |seen: &&Seen| seen.environment.as_deref() == Some(environment);
    let newest = events.iter().filter(of).max_by(|one, other| one.at.cmp(&other.at))?;
    Some(Last { id: newest.id.clone(), at: newest.at.clone(), release: newest.release.clone() })
}

/// Where the project of the server is not the one that the DSN opens.
fn mismatch(client: &Client, dsn: &Dsn, project: &Project) -> Option<Problem> {
    let name = client.name.as_str();
    let retake = format!("take the DSN anew from its settings: fleet sentry set {name} --dsn-from -");
    if project.number != dsn.project() {
        return Some(Problem::new(
            format!(
                "project {} has number {}, and the DSN is of number {}",
                project.slug,
                project.number,
                dsn.project()
            ),
            format!("fleet sentry set {name} --project SLUG, or --dsn-from -"),
        ));
    }
    match project.keys.iter().find(|key| key.public == dsn.key()) {
        Some(key) if key.active => None,
        Some(_) => Some(Problem::new(
            format!("the key of the DSN is switched off in project {}: its events are refused", project.slug),
            retake,
        )),
        None => Some(Problem::new(
            format!("project {} has no such key as the DSN has: its events are refused", project.slug),
            retake,
        )),
    }
}

/// Whether a DSN may be of this server: hosted Sentry takes events under names below its own.
fn related(dsn: &Dsn, api: &Api) -> bool {
    let bare = |name: &str| name.split(['/', ':']).next().unwrap_or_default().to_owned();
    let (door, api) = (bare(dsn.host()), bare(api.name()));
    door == api || door.ends_with(&format!(".{api}"))
}
