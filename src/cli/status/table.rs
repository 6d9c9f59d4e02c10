//! The table of clients: what is wrong first, and below it what to do.

use jiff::Timestamp;

use super::super::App;
use super::super::looking;
use super::View;
use crate::status::{Status, Tls};
use crate::ui::{self, Cell, Column, Look, Role, Symbol, Table};

/// How the table is made.
pub struct Shown {
    pub wide: bool,
    pub now: Timestamp,
    pub look: Look,
}

/// Lines around the table: its header, the count, the prompt.
const AROUND: usize = 4;
/// Lines of what is to be done, away from a terminal.
const TO_DO: usize = 41;
/// Lines that names may take below the table.
const NAMES: usize = 3;

/// The whole table on standard output; the count and what to do on standard error. On a terminal all of it has
/// room on the screen, as far as that can be.
pub fn show(app: &App, view: &View, shown: &Shown) -> anyhow::Result<()> {
    let list = &view.list;
    let remedies = looking::remedies(list);
    let rows = if shown.look.terminal { shown.look.rows } else { usize::MAX / 2 };
    let to_do = if shown.look.terminal { (2 * remedies.len() + 1).min(rows / 3) } else { TO_DO };
    let (table, folded) = lines(list, shown, rows.saturating_sub(to_do.min(2 * remedies.len() + 1)));
    if !table.is_empty() {
        app.out(table.trim_end_matches('\n'))?;
    }
    if let Some(folded) = folded {
        app.out(&folded)?;
    }
    app.tell(&format!("{}\n", view.count));
    app.tell(&looking::what_to_do(&remedies, to_do));
    Ok(())
}

/// The table, and the clients that are well as names where not all rows have room.
pub fn lines(list: &[Status], shown: &Shown, rows: usize) -> (String, Option<String>) {
    let well: Vec<&str> =
        list.iter().filter(|status| status.well()).map(|status| status.client.as_str()).collect();
    if list.len() + AROUND <= rows || well.len() < 2 || shown.wide {
        return (table(list.iter(), shown).render(&shown.look), None);
    }
    let table = table(list.iter().filter(|status| !status.well()), shown).render(&shown.look);
    let mark = mark(Symbol::Changed, &shown.look);
    let title = format!("{mark}{} well: ", well.len());
    let room = (shown.look.width.saturating_sub(2) * NAMES).saturating_sub(title.len());
    let text = format!("{title}{}", ui::names(&well, room));
    let lines = ui::wrapped(&text, shown.look.width.saturating_sub(1));
    (table, Some(lines.iter().map(|line| shown.look.paint(Role::Good, line)).collect::<Vec<_>>().join("\n")))
}

fn mark(symbol: Symbol, look: &Look) -> String {
    match look.symbol(symbol) {
        "" => String::new(),
        mark => format!("{mark} "),
    }
}

fn state(status: &Status, look: &Look) -> Cell {
    let (symbol, word, role) = match (status.reachable, status.well()) {
        (false, _) => (Symbol::Unreachable, "unreachable", Role::Bad),
        (true, true) => (Symbol::Changed, "well", Role::Good),
        (true, false) if status.provisioned => (Symbol::Warning, "not well", Role::Bad),
        (true, false) => (Symbol::Skipped, "bare", Role::Warn),
    };
    Cell::new(role, &format!("{}{word}", mark(symbol, look)))
}

/// How much of a certificate's life is left, or that another one is served.
fn certificate(tls: &Tls) -> String {
    match (tls.current, tls.fraction_left) {
        (false, _) => "stale".to_owned(),
        (true, None) => "served".to_owned(),
        (true, Some(fraction)) => format!("{:.0}% left", fraction * 100.0),
    }
}

fn updates(status: &Status) -> String {
    let waiting = status.security_updates.filter(|count| *count > 0).map(|count| format!("{count} security"));
    let reboot = status.reboot_required.then(|| "reboot".to_owned());
    waiting.into_iter().chain(reboot).collect::<Vec<_>>().join(", ")
}

/// A time as its age: "3 h", "12 d".
fn age(at: &str, now: Timestamp) -> Option<String> {
    let seconds = now.as_second().saturating_sub(at.parse::<Timestamp>().ok()?.as_second()).max(0);
    Some(match seconds {
        0..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    })
}

fn or_nothing(text: Option<String>) -> Cell {
    text.unwrap_or_default().into()
}

/// One column: its head, and what a client has in it.
struct Field {
    column: Column,
    wide: bool,
    cell: fn(&Status, &Shown) -> Cell,
}

fn field(column: Column, cell: fn(&Status, &Shown) -> Cell) -> Field {
    Field { column, wide: false, cell }
}

fn wide(column: Column, cell: fn(&Status, &Shown) -> Cell) -> Field {
    Field { column, wide: true, cell }
}

fn fields() -> Vec<Field> {
    vec![
        field(Column::new("client").at_least(14), |status, _| Cell::new(Role::Strong, &status.client)),
        field(Column::new("state").at_least(13), |status, shown| state(status, &shown.look)),
        wide(Column::new("answer").right().droppable(9), |status, _| {
            or_nothing(status.reachable.then(|| format!("{:.1} s", status.seconds)))
        }),
        wide(Column::new("system").droppable(14), |status, _| or_nothing(status.os.clone())),
        field(Column::new("release").at_least(12).droppable(2), |status, _| {
            or_nothing(status.release.as_ref().map(|release| release.id.clone()))
        }),
        field(Column::new("age").right().droppable(7), |status, shown| {
            or_nothing(status.release.as_ref().and_then(|release| age(&release.at, shown.now)))
        }),
        wide(Column::new("by").droppable(15), |status, _| {
            or_nothing(status.release.as_ref().map(|release| release.who.clone()))
        }),
        field(Column::new("up").right(), |status, _| {
            let containers = &status.containers;
            or_nothing((containers.total > 0).then(|| format!("{}/{}", containers.well, containers.total)))
        }),
        field(Column::new("http").right(), |status, _| {
            or_nothing(
                status.http.as_ref().map(|http| format!("{} {:.0} ms", http.status, http.seconds * 1000.0)),
            )
        }),
        field(Column::new("tls").droppable(3), |status, _| or_nothing(status.tls.as_ref().map(certificate))),
        wide(Column::new("issuer").droppable(11), |status, _| {
            or_nothing(status.tls.as_ref().map(|tls| issuer(&tls.issuer)))
        }),
        wide(Column::new("serial served").at_least(13).droppable(12), |status, _| match &status.tls {
            Some(tls) if tls.current => short(&tls.serial).into(),
            Some(tls) => Cell::new(
                Role::Bad,
                &format!("{}, on disk {}", short(&tls.served_serial), short(&tls.serial)),
            ),
            None => "".into(),
        }),
        field(Column::new("disk").right().droppable(1), |status, _| percent_of(status.disk_percent)),
        field(Column::new("mem").right().droppable(4), |status, _| percent_of(status.memory_percent)),
        wide(Column::new("load").right().droppable(10), |status, _| {
            or_nothing(status.load15().map(str::to_owned))
        }),
        field(Column::new("backup").droppable(1), |status, _| match &status.backup {
            None => or_nothing(status.provisioned.then(|| "none yet".to_owned())),
            Some(backup) if backup.ok => format!("{} h ago", backup.age_hours).into(),
            Some(backup) => Cell::new(Role::Bad, &format!("{} h ago, failed", backup.age_hours)),
        }),
        field(Column::new("pulled").droppable(2), |status, _| {
            let pulled = status.pulled.as_ref().filter(|pulled| !pulled.at.is_empty());
            pulled.map_or_else(|| "never".to_owned(), |pulled| format!("{} h ago", pulled.age_hours)).into()
        }),
        field(Column::new("proved").droppable(6), |status, shown| {
            let proved = status.pulled.as_ref().and_then(|pulled| pulled.proved.as_ref());
            proved
                .and_then(|at| age(at, shown.now))
                .map_or_else(|| "never".to_owned(), |age| format!("{age} ago"))
                .into()
        }),
        field(Column::new("sentry").droppable(5), |status, _| {
            or_nothing(status.sentry.as_ref().map(|sentry| match &sentry.environment {
                Some(environment) if sentry.status == "ok" => environment.clone(),
                _ => sentry.status.clone(),
            }))
        }),
        wide(Column::new("cron").droppable(13), |status, _| match &status.cron {
            Some(cron) if !cron.active => Cell::new(Role::Bad, "stopped"),
            Some(cron) => or_nothing(cron.watch_minutes.map(|minutes| format!("looked {minutes} min ago"))),
            None => "".into(),
        }),
        wide(Column::new("clock").right().droppable(13), |status, _| {
            or_nothing(status.clock_skew.map(|skew| format!("{skew:+} s")))
        }),
        wide(Column::new("edited").droppable(10), |status, _| {
            or_nothing(match status.drift.len() {
                0 => None,
                1 => Some("1 file".to_owned()),
                count => Some(format!("{count} files")),
            })
        }),
        field(Column::new("updates").droppable(6), |status, _| updates(status).into()),
        field(Column::new("problems").at_least(30), |status, _| {
            let problems = status.error.clone().unwrap_or_else(|| status.problems.join("; "));
            Cell::new(if status.well() { Role::Text } else { Role::Bad }, &problems)
        }),
    ]
}

fn percent_of(value: Option<u64>) -> Cell {
    or_nothing(value.map(|value| format!("{value}%")))
}

/// The organisation or common name of an issuer, whatever the way openssl writes it.
fn issuer(text: &str) -> String {
    let part = |key: &str| {
        text.split([',', '/']).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        })
    };
    match (part("O"), part("CN")) {
        (Some(o), Some(cn)) => format!("{o} {cn}"),
        (one, other) => one.or(other).unwrap_or_else(|| text.to_owned()),
    }
}

/// The end of a serial number, which tells two apart.
fn short(serial: &str) -> String {
    match serial.char_indices().nth_back(7) {
        Some((at, _)) if at > 0 => format!("..{}", &serial[at..]),
        _ if serial.is_empty() => "none".to_owned(),
        _ => serial.to_owned(),
    }
}

fn table<'s>(list: impl Iterator<Item = &'s Status>, shown: &Shown) -> Table {
    let fields: Vec<Field> = fields().into_iter().filter(|field| shown.wide || !field.wide).collect();
    let mut table = Table::new(fields.iter().map(|field| field.column.clone()));
    for status in list {
        table.row(fields.iter().map(|field| (field.cell)(status, shown)));
    }
    table
}

#[cfg(test)]
mod tests;
