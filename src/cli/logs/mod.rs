//! `fleet logs`: what the services of clients say.

mod show;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use regex::bytes::{Regex, RegexBuilder};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Semaphore, mpsc};

use super::App;
use super::context::Fleet;
use super::exit::usage;
use super::global::Limits;
use super::running::{Run, new_run, runtime, shut_down};
use super::targets::Targets;
use crate::engine::Work;
use crate::engine::tail::{Company, Heard, ROOM, Tail, weight};
use crate::event::{ExitKind, Outcome};
use crate::hint::HintExt as _;
use crate::logs::{Merge, Next};
use crate::ops::logs::{Ask, Line, When};
use crate::ssh::Target;
use show::{Printer, Shown};

/// Show what the services of clients say, of many clients in the order of time
///
/// Without --follow the last lines of each service are shown, older ones of all clients first. With it
/// the command goes on until Ctrl-C: containers that restart or are replaced are followed, and after a
/// lost connection it goes on where it was cut, without a gap or a repeat, and says so on stderr. A client
/// that cannot be reached at the start is tried again while another is followed.
/// --grep looks at the lines that the other options leave. Known secrets are masked where the secrets
/// can be read here.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet logs ville-lyon
  fleet logs ville-lyon --service api --service worker --follow
  fleet logs --tag canary --service api --since 1h --grep 'ERROR|CRITICAL'
  fleet logs ville-lyon --since 2026-11-20T09:00 --until 2026-11-20T09:15 --timestamps
  fleet logs --all --follow --tail 0
  fleet logs --all --since 10m --json | jq -r 'select(.line | test(\"timeout\")) | .client' | sort | uniq -c")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Go on with what is said from now on, until Ctrl-C
    #[arg(short, long, conflicts_with = "until")]
    pub follow: bool,

    /// Only this service, such as api; may be repeated
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,

    /// Newest lines of each container, or `all` [default: 100; with --since all]
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_tail)]
    pub tail: Option<Newest>,

    /// Not older than this: 90s, 15m, 2h, 3d, or a time such as 2026-11-20T09:00 (here) or ...Z (UTC)
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    pub since: Option<When>,

    /// Not newer than this, written in the same way, such as 2026-11-20T09:15
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    pub until: Option<When>,

    /// Only lines in which this regular expression is found, such as 'timeout|refused' or '(?i)error'
    #[arg(long, value_name = "REGEX")]
    pub grep: Option<String>,

    /// Start each line with the time it was written, in UTC
    #[arg(short, long)]
    pub timestamps: bool,

    #[command(flatten)]
    pub limits: Limits,
}

/// `--tail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    Lines(u32),
    All,
}

const USUAL_TAIL: u32 = 100;

fn parse_tail(text: &str) -> Result<Newest, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Newest::All),
        (_, Ok(lines)) => Ok(Newest::Lines(lines)),
        _ => Err("expected a number of lines, or all".to_owned()),
    }
}

fn parse_when(text: &str) -> Result<When, String> {
    if let Ok(age) = super::global::parse_age(text) {
        return Ok(When::Ago(age));
    }
    let here = || {
        let at = text.parse::<jiff::civil::DateTime>().ok()?;
        Some(at.to_zoned(jiff::tz::TimeZone::system()).ok()?.timestamp())
    };
    let at = text.parse::<Timestamp>().ok().or_else(here);
    at.map(When::At)
        .ok_or_else(|| "expected an age such as 15m or 2h, or a time such as 2026-11-20T09:00".to_owned())
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let grep = args.grep.as_deref().map(regex).transpose()?;
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let mut asked: Vec<(Target, Ask)> = Vec::new();
    let mut services: Vec<String> = args.service.clone();
    for client in &clients {
        let stack = fleet.stack(client)?;
        for name in &args.service {
            fleet.stack_with(client, name)?;
        }
        if args.service.is_empty() {
            services.extend(stack.services.iter().map(|service| service.name.clone()));
        }
        let ask = Ask {
            stack: stack.name.clone(),
            services: args.service.clone(),
            tail: match (args.tail, args.since) {
                (Some(Newest::Lines(lines)), _) => Some(lines),
                (Some(Newest::All), _) | (None, Some(_)) => None,
                (None, None) => Some(USUAL_TAIL),
            },
            since: args.since,
            until: args.until,
            follow: args.follow,
        };
        asked.push((fleet.target(client), ask));
    }
    let shown = Shown::new(app, &fleet, &clients, &services, grep, args.timestamps);
    let mut limits = args.limits.clone();
    if args.follow {
        // Following has no end of its own, and who is not followed would never be seen.
        limits.timeout = None;
        limits.parallel = u32::try_from(clients.len()).ok();
    }
    let names = clients.iter().map(|client| client.name.to_string()).collect();
    let (printer, lines) = Printer::start();
    let mut away = false;
    let runtime = runtime()?;
    let (report, interrupted) = runtime.block_on(async {
        let mut run = Run::look(app, &fleet, &new_run(), "logs", names, &limits);
        run.hush();
        run.drive(async |engine| {
            let (into, heard) = unbounded_channel();
            let mut tails: Vec<(Target, Arc<dyn Work>)> = Vec::new();
            let mut rooms = Vec::new();
            let company = Company::of(asked.len());
            for (client, (target, ask)) in asked.into_iter().enumerate() {
                let room = Arc::new(Semaphore::new(ROOM));
                rooms.push(Arc::clone(&room));
                tails.push((target, Arc::new(Tail::new(client, ask, into.clone(), room, company.clone()))));
            }
            drop(into);
            let cancel = engine.cancel.clone();
            let order = Order { waiting: vec![0; rooms.len()], rooms, shown, lines, follow: args.follow };
            let ordered = async {
                tokio::select! {
                    on = order.run(heard) => away = !on,
                    () = cancel.abandoned() => {}
                }
                if away {
                    // Nobody is left to listen for.
                    cancel.raise();
                    cancel.raise();
                }
            };
            tokio::join!(engine.work(tails), ordered)
        })
        .await;
        run.ended()
    });
    shut_down(runtime);
    if interrupted && !away {
        // What waits to be shown may wait for ever.
        return Ok(ExitKind::Interrupted);
    }
    printer.end()?;
    if away {
        return Ok(ExitKind::Ok);
    }
    for host in &report.hosts {
        if host.outcome != Outcome::Unchanged {
            app.no_answer(&host.client, &host.outcome);
        }
    }
    Ok(report.exit())
}

/// As Unicode has it, but that `(?i)` knows ASCII letters alone.
fn regex(text: &str) -> anyhow::Result<Regex> {
    let made = |unicode| RegexBuilder::new(text).unicode(unicode).build();
    made(true).or_else(|_| made(false)).map_err(|error| {
        let error = error.to_string();
        let why = match error.lines().last().unwrap_or_default().trim_start_matches("error: ") {
            "Unicode not allowed here" => "beside (?i) a class in [ ] holds ASCII characters alone",
            why => why,
        };
        usage(format!("--grep {text:?} is no regular expression: {why}")).hint(
            "a word is searched for as it is; put \\ in front of ( [ { . * + ? | ^ $ to mean the character",
        )
    })
}

/// Brings the lines of all into one order and to the printer.
struct Order {
    rooms: Vec<Arc<Semaphore>>,
    shown: Shown,
    lines: mpsc::Sender<String>,
    follow: bool,
    /// Bytes of each client's lines that wait here.
    waiting: Vec<usize>,
}

impl Order {
    /// False when the one who reads us went away.
    async fn run(mut self, mut heard: UnboundedReceiver<(usize, Heard)>) -> bool {
        let begun = Instant::now();
        let mut merge = if self.follow { Merge::following() } else { Merge::whole() };
        let mut lanes: HashMap<(usize, String), usize> = HashMap::new();
        if !self.follow {
            // One answer a client, in the order of time.
            lanes.extend((0..self.rooms.len()).map(|client| ((client, String::new()), merge.lane())));
        }
        let mut open = true;
        loop {
            while let Ok((client, heard)) = heard.try_recv() {
                self.take(client, heard, &mut merge, &mut lanes, begun);
            }
            let pressed = self.waiting.iter().any(|bytes| *bytes > ROOM / 2);
            let wait = match merge.next(begun.elapsed(), pressed) {
                Next::Line((client, line)) => {
                    if !self.put(client, &line).await {
                        return false;
                    }
                    continue;
                }
                Next::After(time) => Some(time),
                Next::Nothing if !open => return true,
                Next::Nothing => None,
            };
            let pause = tokio::time::sleep(wait.unwrap_or_default());
            tokio::select! {
                next = heard.recv(), if open => match next {
                    Some((client, heard)) => self.take(client, heard, &mut merge, &mut lanes, begun),
                    None => open = false,
                },
                () = pause, if wait.is_some() => {}
                () = self.lines.closed() => return false,
            }
        }
    }

    fn take(
        &mut self,
        client: usize,
        heard: Heard,
        merge: &mut Merge<(usize, Line)>,
        lanes: &mut HashMap<(usize, String), usize>,
        begun: Instant,
    ) {
        match heard {
            Heard::Line(line) => {
                let lane = if self.follow { line.container.clone() } else { String::new() };
                let lane = *lanes.entry((client, lane)).or_insert_with(|| merge.lane());
                self.waiting[client] += weight(&line);
                merge.push(lane, line.at, begun.elapsed(), (client, line));
            }
            Heard::Cut(why) => self.shown.cut(client, &why),
            Heard::Again(seconds) => self.shown.again(client, seconds),
            Heard::There(seconds) => self.shown.there(client, seconds),
            Heard::End => {
                for (_, lane) in lanes.iter().filter(|((whose, _), _)| *whose == client) {
                    merge.end(*lane);
                }
            }
        }
    }

    /// False when nobody reads any more.
    async fn put(&mut self, client: usize, line: &Line) -> bool {
        let weight = weight(line);
        self.waiting[client] -= weight;
        self.rooms[client].add_permits(weight);
        match self.shown.line(client, line) {
            Some(text) => self.lines.send(text).await.is_ok(),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_an_age_or_a_time() {
        assert_eq!(parse_when("15m"), Ok(When::Ago(std::time::Duration::from_secs(900))));
        assert_eq!(parse_when("3d"), Ok(When::Ago(std::time::Duration::from_secs(259_200))));
        let at = When::At("2026-11-20T09:00:00Z".parse().unwrap());
        assert_eq!(parse_when("2026-11-20T09:00:00Z"), Ok(at));
        assert_eq!(parse_when("2026-11-20T10:00+01:00"), Ok(at));
        assert!(matches!(parse_when("2026-11-20 09:00"), Ok(When::At(_))));
        assert!(matches!(parse_when("2026-11-20"), Ok(When::At(_))));
        for bad in ["yesterday", "", "-1h", "2026-13-01"] {
            assert!(parse_when(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_search_may_ignore_case() {
        let finds = |pattern: &str, text: &str| regex(pattern).unwrap().is_match(text.as_bytes());
        assert!(
            finds("(?i)error|refusé", "an ERROR") && finds("refus[eé]$", "refusé") && finds(r"^\w+$", "été")
        );
        assert!(!finds("error", "an ERROR"));
        assert!(regex("(").is_err() && regex("(?i)[").is_err());
        let told = regex("(?i)refus[eé]").unwrap_err().to_string();
        assert!(told.ends_with("holds ASCII characters alone"), "{told}");
    }

    #[test]
    fn a_tail_is_a_number_or_all() {
        assert_eq!(parse_tail("0"), Ok(Newest::Lines(0)));
        assert_eq!(parse_tail("all"), Ok(Newest::All));
        assert!(parse_tail("-1").is_err() && parse_tail("many").is_err());
    }
}
