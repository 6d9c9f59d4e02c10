//! How a stream may look: colour, symbols, width.
//!
//! Rule of this file: everything is decided once, from the flags, the environment and the very
//! stream that is written to, into a plain [`Look`]. Nothing else in the program asks again.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use anstyle::{AnsiColor, Style};

use crate::event::Outcome;

/// The value of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal that can show it, unless the environment says otherwise.
    #[default]
    Auto,
    Always,
    Never,
}

/// What the operator asked for on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub color: ColorChoice,
    /// For screen readers: words instead of symbols, nothing that moves.
    pub plain: bool,
}

/// How one stream may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub color: bool,
    /// Symbols beyond ASCII may be used.
    pub unicode: bool,
    pub plain: bool,
    pub terminal: bool,
    /// Lines may be redrawn in place.
    pub animate: bool,
    /// Columns; 80 when unknown.
    pub width: usize,
    /// The width is known, so that longer lines are cut rather than left to wrap.
    pub clip: bool,
    /// Lines on the screen; 50 when there is none.
    pub rows: usize,
}

const DEFAULT_WIDTH: usize = 80;
const DEFAULT_ROWS: usize = 24;
/// Length of a report that nobody reads on a screen.
const LOG_ROWS: usize = 50;
const NARROWEST: usize = 20;

impl Look {
    /// `env` is asked for variables; `size` is columns and rows of the terminal that the stream
    /// is, zero when unknown; `None` when it is not a terminal.
    pub fn resolve(
        wanted: Wanted,
        env: &dyn Fn(&str) -> Option<String>,
        size: Option<(usize, usize)>,
    ) -> Look {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let terminal = size.is_some();
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        let color = match wanted.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if wanted.plain || set("NO_COLOR").is_some() => false,
            ColorChoice::Auto if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
            ColorChoice::Auto if env("CLICOLOR").as_deref() == Some("0") => false,
            ColorChoice::Auto => terminal && !dumb,
        };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name));
        let unicode = !wanted.plain
            && locale.is_some_and(|name| {
                let name = name.to_ascii_lowercase();
                name.contains("utf-8") || name.contains("utf8")
            });
        let columns = set("COLUMNS").and_then(|text| text.parse().ok()).filter(|width| *width > 0);
        let known = |value: usize| (value > 0).then_some(value);
        let width = columns.or(size.and_then(|size| known(size.0)));
        Look {
            color,
            unicode,
            plain: wanted.plain,
            terminal,
            animate: terminal && !dumb && !wanted.plain,
            width: width.unwrap_or(DEFAULT_WIDTH).max(NARROWEST),
            clip: width.is_some(),
            rows: size.map_or(LOG_ROWS, |size| known(size.1).unwrap_or(DEFAULT_ROWS)),
        }
    }

    #[must_use]
    pub fn stdout(wanted: Wanted) -> Look {
        Look::of(wanted, &std::io::stdout())
    }

    #[must_use]
    pub fn stderr(wanted: Wanted) -> Look {
        Look::of(wanted, &std::io::stderr())
    }

    fn of(wanted: Wanted, stream: &(impl IsTerminal + AsFd)) -> Look {
        let size = stream.is_terminal().then(|| size_of(stream));
        Look::resolve(wanted, &|name| std::env::var(name).ok(), size)
    }

    /// Columns that a line may take before it is cut.
    #[must_use]
    pub fn clip_width(&self) -> usize {
        if self.clip { self.width } else { usize::MAX }
    }

    #[must_use]
    pub fn paint(&self, role: Role, text: &str) -> String {
        let style = role.style();
        if !self.color || text.is_empty() || style.is_plain() {
            return text.to_owned();
        }
        format!("{style}{text}{style:#}")
    }

    #[must_use]
    pub fn ellipsis(&self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }

    /// The symbol, or nothing where symbols would be read aloud.
    #[must_use]
    pub fn symbol(&self, symbol: Symbol) -> &'static str {
        let (fine, ascii) = symbol.forms();
        match (self.plain, self.unicode) {
            (true, _) => "",
            (false, true) => fine,
            (false, false) => ascii,
        }
    }
}

/// Columns and rows of a terminal; zeros when it does not tell.
pub(super) fn size_of(stream: &impl AsFd) -> (usize, usize) {
    rustix::termios::tcgetwinsize(stream)
        .map_or((0, 0), |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// What a piece of text is, from which its colour follows. Only the sixteen colours that the
/// operator's own theme defines are used, so that light and dark backgrounds both work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Text,
    Strong,
    Faint,
    Good,
    Bad,
    Warn,
    Note,
    /// One of [`HUES`] that tell things apart.
    Hue(u8),
}

/// Colours that tell things apart; they mean nothing, so those of good and bad are not among the first.
const HUES: [AnsiColor; 8] = [
    AnsiColor::Cyan,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Green,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
    AnsiColor::BrightGreen,
];

impl Role {
    /// A colour of its own for each of a few.
    #[must_use]
    pub fn hue(number: usize) -> Role {
        Role::Hue((number % HUES.len()) as u8)
    }

    #[must_use]
    pub fn style(self) -> Style {
        match self {
            Role::Text => Style::new(),
            Role::Strong => Style::new().bold(),
            Role::Faint => Style::new().dimmed(),
            Role::Good => AnsiColor::Green.on_default(),
            Role::Bad => AnsiColor::Red.on_default().bold(),
            Role::Warn => AnsiColor::Yellow.on_default(),
            Role::Note => AnsiColor::Cyan.on_default(),
            Role::Hue(hue) => HUES[usize::from(hue) % HUES.len()].on_default(),
        }
    }
}

/// Marks of one column each. A word always stands beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    Changed,
    Unchanged,
    Failed,
    RolledBack,
    Unreachable,
    Unknown,
    Skipped,
    Locked,
    Warning,
}

impl Symbol {
    fn forms(self) -> (&'static str, &'static str) {
        match self {
            Symbol::Changed => ("✓", "+"),
            Symbol::Unchanged => ("=", "="),
            Symbol::Failed | Symbol::Unreachable => ("✗", "x"),
            Symbol::RolledBack => ("↶", "<"),
            Symbol::Unknown => ("?", "?"),
            Symbol::Skipped => ("-", "-"),
            Symbol::Locked => ("#", "#"),
            Symbol::Warning => ("!", "!"),
        }
    }
}

/// Symbol and colour of an outcome.
#[must_use]
pub fn of_outcome(outcome: &Outcome) -> (Symbol, Role) {
    match outcome {
        Outcome::Unchanged => (Symbol::Unchanged, Role::Good),
        Outcome::Changed { .. } => (Symbol::Changed, Role::Good),
        Outcome::Failed { .. } => (Symbol::Failed, Role::Bad),
        Outcome::RolledBack { .. } => (Symbol::RolledBack, Role::Bad),
        Outcome::Unreachable { .. } => (Symbol::Unreachable, Role::Bad),
        Outcome::Unknown { .. } => (Symbol::Unknown, Role::Warn),
        Outcome::Skipped { .. } => (Symbol::Skipped, Role::Warn),
        Outcome::Locked { .. } => (Symbol::Locked, Role::Warn),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A look for tests: no colour, Unicode, so many columns and rows.
    pub fn look(width: usize, rows: usize) -> Look {
        Look {
            color: false,
            unicode: true,
            plain: false,
            terminal: true,
            animate: true,
            width,
            clip: true,
            rows,
        }
    }

    fn resolve(color: ColorChoice, env: &[(&str, &str)], terminal: bool) -> Look {
        let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Look::resolve(Wanted { color, plain: false }, &env, terminal.then_some((132, 40)))
    }

    #[test]
    fn colour_follows_the_flag_then_the_environment_then_the_stream() {
        use ColorChoice::{Always, Auto, Never};
        let term = ("TERM", "xterm-256color");
        for (choice, env, terminal, expected) in [
            (Auto, &[term][..], true, true),
            (Auto, &[term], false, false),
            (Auto, &[term, ("NO_COLOR", "1")], true, false),
            (Auto, &[term, ("NO_COLOR", "")], true, true),
            (Always, &[term, ("NO_COLOR", "1")], true, true),
            (Never, &[term, ("CLICOLOR_FORCE", "1")], true, false),
            (Auto, &[term, ("CLICOLOR_FORCE", "1")], false, true),
            (Auto, &[term, ("CLICOLOR_FORCE", "0")], false, false),
            (Auto, &[term, ("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, false),
            (Auto, &[term, ("CLICOLOR", "0")], true, false),
            (Auto, &[("TERM", "dumb")], true, false),
            (Auto, &[], true, false),
        ] {
            assert_eq!(resolve(choice, env, terminal).color, expected, "{choice:?} {env:?} {terminal}");
        }
    }

    #[test]
    fn a_dumb_terminal_is_never_redrawn() {
        assert!(resolve(ColorChoice::Always, &[("TERM", "xterm")], true).animate);
        assert!(!resolve(ColorChoice::Always, &[("TERM", "dumb")], true).animate);
        assert!(!resolve(ColorChoice::Always, &[("TERM", "xterm")], false).animate);
    }

    #[test]
    fn symbols_fall_back_to_ascii_without_a_unicode_locale() {
        let of = |env: &[(&str, &str)]| resolve(ColorChoice::Auto, env, true).symbol(Symbol::Failed);
        assert_eq!(of(&[("LANG", "fr_FR.UTF-8")]), "✗");
        assert_eq!(of(&[("LANG", "C.utf8")]), "✗");
        assert_eq!(of(&[("LANG", "fr_FR.UTF-8"), ("LC_ALL", "C")]), "x");
        assert_eq!(of(&[("LC_ALL", ""), ("LC_CTYPE", "en_US.UTF-8")]), "✗");
        assert_eq!(of(&[]), "x");
    }

    #[test]
    fn plain_has_no_symbol_no_colour_and_stands_still() {
        let env = |name: &str| match name {
            "TERM" => Some("xterm".to_owned()),
            "LANG" => Some("C.UTF-8".to_owned()),
            _ => None,
        };
        let plain = Look::resolve(Wanted { plain: true, ..Wanted::default() }, &env, Some((80, 24)));
        assert!(!plain.color && !plain.unicode && !plain.animate);
        assert_eq!(plain.symbol(Symbol::Failed), "");
    }

    #[test]
    fn the_width_is_that_of_columns_then_of_the_terminal_then_eighty() {
        let width = |env: &[(&str, &str)], terminal| {
            let look = resolve(ColorChoice::Auto, env, terminal);
            (look.width, look.clip)
        };
        assert_eq!(width(&[("COLUMNS", "60")], true), (60, true));
        assert_eq!(width(&[("COLUMNS", "60")], false), (60, true));
        assert_eq!(width(&[("COLUMNS", "wide")], true), (132, true));
        assert_eq!(width(&[("COLUMNS", "0")], false), (80, false));
        assert_eq!(width(&[], false), (80, false));
        let unknown = Look::resolve(Wanted::default(), &|_| None, Some((0, 0)));
        assert_eq!((unknown.width, unknown.rows), (80, 24));
    }

    #[test]
    fn paint_resets_what_it_sets_and_only_with_colour() {
        let painted = resolve(ColorChoice::Always, &[], false).paint(Role::Bad, "no");
        assert_eq!(painted, "\u{1b}[1m\u{1b}[31mno\u{1b}[0m");
        assert_eq!(resolve(ColorChoice::Never, &[], false).paint(Role::Bad, "no"), "no");
    }
}
