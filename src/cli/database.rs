//! The database of a client: a service of its stack, or what a variable of its environment names.

use super::context::Fleet;
use super::exit::refused;
use crate::hint::HintExt as _;
use crate::ops::migration::Server;
use crate::ops::outside::Outside;
use crate::ops::postgres::Database;
use crate::registry::Client;
use crate::stack::{self, EnvInput, ResolvedEnv, Stack};
use crate::vault::Vault;

/// The database by values that are at hand.
///
/// # Errors
/// What is no address of a PostgreSQL database.
pub fn server(client: &Client, stack: &Stack, env: &ResolvedEnv) -> anyhow::Result<Option<Server>> {
    if let Some(inside) = inside(stack) {
        return Ok(Some(inside));
    }
    let Some(stack::Database::Outside { url_env, image }) = &stack.database else { return Ok(None) };
    let address = env.values.get(url_env).map_or("", |found| found.value.reveal());
    match Outside::parse(address, image.clone()) {
        Some(outside) => Ok(Some(Server::Outside(outside))),
        None => Err(refused(format!("{url_env} of {} is no address of a PostgreSQL database", client.name))
            .hint("such as postgresql://user:password@host:5432/name?sslmode=require")),
    }
}

/// The database by what the vault has now.
///
/// # Errors
/// As [`server`], and values that are missing.
pub fn read(fleet: &Fleet, vault: &Vault, client: &Client, stack: &Stack) -> anyhow::Result<Option<Server>> {
    if let Some(inside) = inside(stack) {
        return Ok(Some(inside));
    }
    if stack.database.is_none() {
        return Ok(None);
    }
    let secrets = vault.read_optional(client.name.as_str())?;
    let secrets = secrets.iter().flat_map(|secrets| secrets.iter());
    let secrets = secrets.map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let env = stack.env.resolve(EnvInput {
        client,
        fleet: fleet.registry.fleet.name.as_str(),
        registry: &fleet.file.display().to_string(),
        secrets: &secrets,
    })?;
    server(client, stack, &env)
}

/// The one that the stack runs.
pub fn inside(stack: &Stack) -> Option<Server> {
    let (service, user, name) = stack.database_inside()?;
    Some(Server::Inside(Database { stack: stack.name.clone(), service, user, name }))
}
