//! `fleet status --watch`: the table again and again in the same place.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::super::App;
use super::super::context::Fleet;
use super::super::{looking, running};
use super::table::{self, Shown};
use super::{Args, View, view};
use crate::event::ExitKind;
use crate::registry::Client;
use crate::ui::{self, Look, Screen};

/// The screen is made anew so often, for its clock and its size.
const FRAME: Duration = Duration::from_secs(1);

enum News {
    Looked(anyhow::Result<View>),
    Key(u8),
    Signal,
}

/// Looks until `q` or a signal. Away from a terminal, and with --plain, each table follows the one before.
pub fn watch(
    app: &App,
    fleet: &Fleet,
    clients: &[&Client],
    args: &Args,
    every: Duration,
) -> anyhow::Result<ExitKind> {
    // What is drawn in place is drawn by nobody else.
    let quiet =
        App { global: app.global.clone(), stdout: app.stdout, stderr: Look { animate: false, ..app.stderr } };
    let (into, news) = channel();
    let signal = into.clone();
    running::on_signal(move || drop(signal.send(News::Signal)))?;
    let screen = if app.stdout.animate { Some(Screen::enter()?) } else { None };
    if screen.is_some() {
        ui::keys(into.clone(), News::Key);
    }
    std::thread::scope(|scope| {
        let look = |into: Sender<News>| {
            let quiet = &quiet;
            scope.spawn(move || into.send(News::Looked(view(quiet, fleet, clients, args))));
        };
        look(into.clone());
        let (mut last, mut next): (Option<View>, Option<Instant>) = (None, None);
        loop {
            if let Some(screen) = &screen {
                screen.draw(&frame(app, last.as_ref(), args, next))?;
            }
            match news.recv_timeout(FRAME) {
                Ok(News::Looked(found)) => {
                    let found = found?;
                    if found.interrupted {
                        return Ok(ExitKind::Interrupted);
                    }
                    if screen.is_none() {
                        let shown = Shown { wide: args.wide, now: jiff::Timestamp::now(), look: app.stdout };
                        app.out(&format!("-- {} --", clock()))?;
                        table::show(app, &found, &shown)?;
                    }
                    last = Some(found);
                    next = Some(Instant::now() + every);
                }
                Ok(News::Key(b'q' | b'Q' | 3)) => leave(screen, last.map_or(ExitKind::Ok, |view| view.exit)),
                Ok(News::Key(b' ' | b'r')) if next.is_some() => next = Some(Instant::now()),
                Ok(News::Signal) => leave(screen, ExitKind::Interrupted),
                Ok(News::Key(_)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if next.is_some_and(|at| at <= Instant::now()) {
                next = None;
                look(into.clone());
            }
        }
    })
}

/// Ends the program: a look that still goes on is of no use any more, and changes nothing.
fn leave(screen: Option<Screen>, exit: ExitKind) -> ! {
    drop(screen);
    std::process::exit(exit as i32)
}

fn clock() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}

fn frame(app: &App, last: Option<&View>, args: &Args, next: Option<Instant>) -> Vec<String> {
    let (columns, rows) = Screen::size();
    let mut look = app.stdout;
    if columns > 0 && rows > 0 {
        (look.width, look.rows) = (columns, rows);
    }
    let wait = match next {
        Some(at) => format!("again in {} s", at.saturating_duration_since(Instant::now()).as_secs() + 1),
        None => "looking".to_owned(),
    };
    let head = format!("{}  {wait}  q: leave, space: look now", clock());
    let mut lines = vec![look.paint(ui::Role::Faint, &head), String::new()];
    let Some(view) = last else { return lines };
    let remedies = looking::remedies(&view.list);
    let shown = Shown { wide: args.wide, now: jiff::Timestamp::now(), look };
    // What to do needs no more than a third of the screen.
    let below = if remedies.is_empty() { 0 } else { (2 * remedies.len() + 1).min(rows / 3) };
    let (table, folded) = table::lines(&view.list, &shown, rows.saturating_sub(below + lines.len()));
    lines.extend(table.lines().map(str::to_owned));
    lines.extend(folded.iter().flat_map(|text| text.lines()).map(str::to_owned));
    let room = rows.saturating_sub(below + 1);
    if lines.len() > room {
        let more = lines.len() - room + 1;
        lines.truncate(room.saturating_sub(1));
        lines.push(format!("and {more} more lines: a larger window shows them"));
    }
    lines.push(view.count.clone());
    let to_do = looking::what_to_do(&remedies, below);
    lines.extend(to_do.lines().take(below).map(|line| ui::fitted(line, look.width, look.ellipsis())));
    lines
}
