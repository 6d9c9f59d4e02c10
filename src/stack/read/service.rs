//! `[services.NAME]`.

use std::time::Duration;

use super::super::schema::{Health, HttpProbe, Probe, Rollout, Service};
use super::kinds::{command, json, service_name, source_path, url_path};
use crate::diagnostic::Fault;
use crate::toml_reader::{
    Place, Placed, Table, boolean, duration, integer, one_of, parsed, placed, string, table,
};

/// A service and the places that checks across the file need.
pub struct Read<'d> {
    pub service: Service,
    pub build: Option<Place<'d>>,
    pub image_from: Option<Placed<'d, String>>,
}

/// One of them.
pub fn service<'d>(name: String, service: &mut Table<'d>) -> Option<Read<'d>> {
    let build = service.optional("build", placed(parsed(source_path)));
    let image_from = service.optional("image_from", placed(parsed(service_name)));
    let mut health = service.optional("health", table(health));
    let ways = &[("start-first", Rollout::StartFirst), ("stop-first", Rollout::StopFirst)];
    let rollout = service.optional("rollout", placed(one_of(ways)));
    // A text in the log is one more thing to wait for; without another the container has to run.
    if let Some(log) = service.optional("log", parsed(line)) {
        health.get_or_insert_with(|| Health::of(Probe::Compose)).log = Some(log);
    }
    if let (Some(build), Some(from)) = (&build, &image_from) {
        let fault = Fault::new("a service has an image of its own or another's, not both");
        let line = build.place.line();
        from.place.fault(fault.hint(format!("remove it, or `build` on line {line}"))).unwrap_or_default()
    }
    if let (Some(rollout), false) = (&rollout, service.has("health"))
        && rollout.value == Rollout::StartFirst
    {
        let fault = Fault::new("nothing says when the new container may take over");
        rollout
            .place
            .fault(fault.hint("add `health`, such as health = { compose = true }"))
            .unwrap_or_default()
    }
    let read = Service {
        name,
        build: build.as_ref().map(|build| build.value.clone()),
        image_from: image_from.as_ref().map(|from| from.value.clone()),
        health,
        rollout: rollout.map(|rollout| rollout.value).unwrap_or_default(),
    };
    Some(Read { service: read, build: build.map(|build| build.place), image_from })
}

fn health(health: &mut Table<'_>) -> Option<Health> {
    let http = health.optional("http", table(http)).map(Probe::Http);
    let tcp = health.optional("tcp", table(|tcp| tcp.required("port", integer(1..=65535))));
    let command = health.optional("command", command).map(Probe::Command);
    let compose = health.optional("compose", placed(boolean));
    let second = Duration::from_secs(1);
    let interval = health.optional("interval", duration(second..=Duration::from_secs(300)));
    let deadline = health.optional("deadline", duration(second..=Duration::from_secs(3600)));
    if let Some(compose) = compose.as_ref().filter(|compose| !compose.value) {
        let fault = Fault::new("`false` says nothing");
        return compose.place.fault(fault.hint("remove it, or write compose = true"));
    }
    let named = ["http", "tcp", "command", "compose"].into_iter().filter(|key| health.has(key)).count();
    if named != 1 {
        let fault = match named {
            0 => Fault::new("says not how to find out"),
            _ => Fault::new("says more than one way to find out"),
        };
        return health.place().fault(fault.expected("exactly one of http, tcp, command and compose"));
    }
    let compose = compose.map(|_| Probe::Compose);
    let probe = http.or(tcp.map(|port| Probe::Tcp { port })).or(command).or(compose)?;
    let usual = Health::of(probe);
    let read = Health {
        interval: interval.unwrap_or(usual.interval),
        deadline: deadline.unwrap_or(usual.deadline),
        ..usual
    };
    if read.interval > read.deadline {
        return health.place().fault(Fault::new("its interval is longer than its deadline"));
    }
    Some(read)
}

/// A text that one line of a log can hold.
fn line(text: &str) -> Result<String, Fault> {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => Err(Fault::new("is no text of one line").expected("a part of a line such as \"started\"")),
        false => Ok(text.to_owned()),
    }
}

fn http(http: &mut Table<'_>) -> Option<HttpProbe> {
    let port = http.required("port", integer(1..=65535));
    let path = http.required("path", parsed(url_path));
    let status = http.optional("status", integer(100..=599)).unwrap_or(200);
    let json = http.optional("json", json).unwrap_or_default();
    let host = http.optional("host", string);
    Some(HttpProbe { port: port?, path: path?, status, json, host })
}
