//! The tables that name services and variables: database, tls, sentry, hooks, checks and the like.

use std::time::Duration;

use super::super::schema::{
    BackupSpec, Check, Database, FrontHealth, Hook, HookPlace, HookPoint, Migrations, SentryNames,
    SentrySpec, Tls,
};
use super::Names;
use super::kinds::{command, exclude, identifier, json, label, relative_path, service_name, url_path};
use crate::diagnostic::{Fault, shown};
use crate::toml_reader::{
    Table, Value, boolean, duration, entries, integer, list, one_of, parsed, placed, string, table,
};

pub fn database<'d>(database: &mut Table<'d>, names: &Names<'_, 'd>) -> Option<Database> {
    database.optional("engine", one_of(&[("postgresql", ())]));
    let url_env = database.optional("url_env", placed(string));
    let service = database.optional("service", placed(parsed(service_name)));
    let name = database.optional("name", placed(parsed(identifier)));
    let user = database.optional("user", placed(parsed(identifier)));
    let password_env = database.optional("password_env", placed(string));
    match (url_env, service) {
        (Some(url_env), None) => {
            for part in [&name, &user, &password_env].into_iter().flatten() {
                let fault = Fault::new("is part of the URL in `url_env`").hint("remove it");
                part.place.fault(fault).unwrap_or_default()
            }
            Some(Database::Outside { url_env: names.variable(&url_env)? })
        }
        (None, Some(service)) => {
            let service = names.service(&service);
            let password_env = match password_env {
                Some(found) => Some(names.variable(&found)?),
                None => None,
            };
            for key in ["name", "user"].into_iter().filter(|key| !database.has(key)) {
                database.missing::<()>(key, Fault::new("is missing")).unwrap_or_default()
            }
            let (name, user) = (name?.value, user?.value);
            Some(Database::Service { service: service?, name, user, password_env })
        }
        (url_env, service) => {
            let both = url_env.is_some() && service.is_some();
            let wrong = (database.has("url_env") || database.has("service")) && !both;
            let said = if both { "says two places" } else { "does not say where it is" };
            let fault = Fault::new(said).expected("either `service` with `name` and `user`, or `url_env`");
            // A wrong value has been reported where it stands.
            if wrong { None } else { database.place().fault(fault) }
        }
    }
}

pub fn migrations(migrations: &mut Table<'_>) -> Option<Migrations> {
    let dir = migrations.required("dir", parsed(relative_path));
    let pattern = migrations.optional("pattern", parsed(exclude)).unwrap_or_else(|| "*.sql".to_owned());
    Some(Migrations { dir: dir?, pattern })
}

pub fn backup(backup: &mut Table<'_>) -> Option<BackupSpec> {
    Some(BackupSpec {
        database: backup.optional("database", boolean).unwrap_or(false),
        volumes: backup.optional("volumes", list(parsed(service_name))).unwrap_or_default(),
        folders: backup.optional("folders", list(parsed(relative_path))).unwrap_or_default(),
    })
}

pub fn tls<'d>(tls: &mut Table<'d>, names: &Names<'_, 'd>) -> Option<Tls> {
    let service = tls.required("service", placed(parsed(service_name)));
    let reload = tls.required("reload", command);
    let certificate = tls.optional("certificate", parsed(relative_path));
    let key = tls.optional("key", parsed(relative_path));
    Some(Tls {
        service: names.service(&service?)?,
        reload: reload?,
        certificate: certificate.unwrap_or_else(|| "fullchain.pem".to_owned()),
        key: key.unwrap_or_else(|| "privkey.pem".to_owned()),
    })
}

pub fn front_health(health: &mut Table<'_>) -> Option<FrontHealth> {
    let path = health.required("path", parsed(url_path));
    let status = health.optional("status", integer(100..=599)).unwrap_or(200);
    let json = health.optional("json", json).unwrap_or_default();
    Some(FrontHealth { path: path?, status, json })
}

pub fn sentry<'d>(sentry: &mut Table<'d>, names: &Names<'_, 'd>) -> Option<SentrySpec> {
    let mut variable = |key| {
        let found = sentry.optional(key, placed(string))?;
        names.variable(&found)
    };
    let variables = SentryNames {
        dsn: variable("dsn"),
        environment: variable("environment"),
        traces_rate: variable("traces_rate"),
        release: variable("release"),
    };
    if !sentry.has("dsn") {
        let fault =
            Fault::new("is missing").expected("the variable that carries the DSN, such as \"SENTRY_DSN\"");
        sentry.missing::<()>("dsn", fault).unwrap_or_default()
    }
    let service = sentry.optional("service", placed(parsed(service_name)));
    let service = service.and_then(|service| names.service(&service));
    let health = sentry.optional("health", string);
    let log = sentry.optional("log", string);
    let test_path = sentry.optional("test", table(|test| test.required("path", parsed(url_path))));
    Some(SentrySpec { names: variables, service, health, log, test_path })
}

pub fn hooks<'d>(hooks: &mut Table<'d>, names: &Names<'_, 'd>) -> Option<Vec<Hook>> {
    let points = [
        ("pre_provision", HookPoint::PreProvision),
        ("post_provision", HookPoint::PostProvision),
        ("pre_update", HookPoint::PreUpdate),
        ("post_update", HookPoint::PostUpdate),
        ("on_failure", HookPoint::OnFailure),
        ("pre_backup", HookPoint::PreBackup),
        ("post_backup", HookPoint::PostBackup),
    ];
    let mut all = Vec::new();
    for (key, point) in points {
        let read = table(|table: &mut Table<'d>| hook(table, point, names));
        all.extend(hooks.optional(key, list(read)).unwrap_or_default());
    }
    Some(all)
}

fn hook<'d>(hook: &mut Table<'d>, point: HookPoint, names: &Names<'_, 'd>) -> Option<Hook> {
    let command = hook.required("command", command);
    let on = hook.optional("on", placed(string));
    let limits = Duration::from_secs(1)..=Duration::from_secs(86400);
    let timeout = hook.optional("timeout", duration(limits)).unwrap_or(Duration::from_secs(300));
    let place = match on {
        None => HookPlace::Host,
        Some(on) => match on.value.as_str() {
            "local" => HookPlace::Local,
            "host" => HookPlace::Host,
            other => match other.strip_prefix("service:") {
                Some(service) => {
                    let value = service.to_owned();
                    HookPlace::Service(names.service(&crate::toml_reader::Placed { value, place: on.place })?)
                }
                None => {
                    let fault = Fault::new(format!("found {}", shown(other)));
                    let fault = fault.expected("\"local\", \"host\" or \"service:NAME\"");
                    return on.place.fault(fault.suggest(other, ["local", "host"]));
                }
            },
        },
    };
    Some(Hook { point, place, command: command?, timeout })
}

pub fn checks<'d>(checks: Value<'d>, names: &Names<'_, 'd>) -> Option<Vec<Check>> {
    let read = entries(label, table(|table: &mut Table<'d>| check(table, names)))(checks)?;
    Some(read.into_iter().map(|(name, check)| Check { name, ..check }).collect())
}

fn check<'d>(check: &mut Table<'d>, names: &Names<'_, 'd>) -> Option<Check> {
    let path = check.optional("path", parsed(url_path));
    let status = check.optional("status", integer(100..=599)).unwrap_or(200);
    let service = check.optional("service", placed(parsed(service_name)));
    let service = service.and_then(|service| names.service(&service));
    let command = check.optional("command", command);
    let inside = check.has("service") && check.has("command");
    if check.has("path") == inside || check.has("service") != check.has("command") {
        let fault = Fault::new("does not say one thing to look at");
        return check.place().fault(fault.expected("either `path`, or `service` and `command`"));
    }
    Some(Check { name: String::new(), path, status, service, command: command.unwrap_or_default() })
}
