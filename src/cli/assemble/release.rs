//! The release of a client, as the planner takes it: rendered files, builds, health, migrations.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::super::migrations;
use super::Made;
use crate::ops::Layout;
use crate::ops::compose::Project;
use crate::ops::files::NewFile;
use crate::ops::migration::Server;
use crate::plan::{Build, DesiredRelease, SourcePush};
use crate::shell::hex;
use crate::stack;

const KEPT_RELEASES: usize = 5;
/// Longest start of a start-first service that names no deadline.
const START_LIMIT: Duration = Duration::from_secs(120);

pub(super) fn release(
    made: &Made,
    layout: &Layout,
    database: Option<Server>,
    services: &[String],
) -> anyhow::Result<DesiredRelease> {
    let stack = &made.stack;
    let id = made.release.id.clone();
    let mut env_hash = Sha256::new();
    let (mut files, mut mounts) = (Vec::new(), Vec::new());
    for file in &made.rendered.files {
        let content = file.content.to_vec();
        if file.secret {
            env_hash.update(&content);
        }
        let new = |path: String| NewFile {
            path,
            mode: format!("{:04o}", file.mode),
            content: content.clone(),
            secret: file.secret,
        };
        files.push(new(format!("{}/{}", layout.release(&id), file.destination)));
        if let Some(path) = &file.mounted {
            mounts.push(new(path.clone()));
        }
    }
    let builds = stack
        .built_services()
        .filter_map(|(service, context)| {
            let tag = made.images.get(&service.name)?.clone();
            Some(Build { service: service.name.clone(), context: context.to_owned(), tag })
        })
        .collect();
    Ok(DesiredRelease {
        digest: made.digest.clone(),
        version: made.release.version.clone(),
        env_digest: hex(&env_hash.finalize()),
        source: made.source.as_ref().map(|source| SourcePush {
            path: source.root.clone(),
            exclude: stack.source.as_ref().map(|spec| spec.exclude.clone()).unwrap_or_default(),
        }),
        files,
        mounts,
        builds,
        built_here: None,
        images: made.images.clone(),
        project: Project {
            layout: layout.clone(),
            release: id.clone(),
            file: stack.compose.clone(),
            dotenv: stack.dotenv.clone(),
        },
        health: stack
            .services
            .iter()
            .filter_map(|service| Some((service.name.clone(), service.health.clone()?)))
            .collect(),
        start_first: stack
            .services
            .iter()
            .filter(|service| service.rollout == stack::Rollout::StartFirst)
            .map(|service| {
                (service.name.clone(), service.health.as_ref().map_or(START_LIMIT, |it| it.deadline))
            })
            .collect(),
        front: stack.health.clone(),
        migrations: match &database {
            Some(_) => migrations::of(stack, made.source.as_ref().map(|source| source.root.as_path()))?,
            None => Vec::new(),
        },
        // Newest first.
        former_passwords: stack
            .password_env()
            .and_then(|name| made.former.get(name))
            .map(|values| values.iter().rev().cloned().collect())
            .unwrap_or_default(),
        password: stack
            .password_env()
            .and_then(|name| made.env.values.get(name))
            .map(|found| found.value.clone()),
        database,
        bake: Duration::ZERO,
        keep: KEPT_RELEASES,
        services: services.to_vec(),
        id,
    })
}
