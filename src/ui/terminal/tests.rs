use std::io::Write;
use std::time::Duration;

use indicatif::{InMemoryTerm, TermLike};

use super::super::board::Who;
use super::super::demo;
use super::super::style::tests::look;
use super::*;

/// What is written beside the bars, onto the same terminal.
#[derive(Clone)]
struct Beside(InMemoryTerm);

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_str(std::str::from_utf8(bytes).unwrap())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn bars(columns: usize, rows: usize) -> (InMemoryTerm, Bars) {
    let term = InMemoryTerm::new(u16::try_from(rows).unwrap(), u16::try_from(columns).unwrap());
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(term.clone()), OWN_DRAWS);
    (term.clone(), Bars::new(target, Box::new(Beside(term))))
}

fn terminal(columns: usize, verbose: bool) -> (InMemoryTerm, Terminal) {
    let (term, bars) = bars(columns, 24);
    (term, Terminal::new(bars, move || (columns, 24), look(columns, 24), verbose))
}

/// Plays the made-up run up to a moment, drawing ten times a second as the thread does.
fn at(seconds: f64, clients: usize, look: Look, verbose: bool) -> String {
    let (term, mut bars) = bars(look.width, look.rows);
    let mut board = Board::new(verbose);
    let mut beats = demo::script(clients).into_iter().peekable();
    let end = Duration::from_secs_f64(seconds);
    let mut now = Duration::ZERO;
    while now <= end {
        let mut above = Vec::new();
        while let Some(beat) = beats.next_if(|beat| beat.at <= now) {
            above.extend(board.event(&beat.event, beat.at, &look));
        }
        let rows = board.rows(now, &look);
        bars.frame(&above, &rows, &look).unwrap();
        now += TICK;
    }
    term.contents()
}

#[test]
fn a_run_of_eight_at_four_moments() {
    insta::assert_snapshot!(at(0.5, 8, look(80, 24), false), @"
    ⠴ client-1  base 1/3  wait for cloud-init                                   0 s
    ⠼ client-2            connecting                                            0 s
    ⠸ client-3            connecting                                            0 s
    ⠹ client-4            connecting                                            0 s
    ⠹ client-5            connecting                                            0 s
    ⠙ client-6            connecting                                            0 s
    ─────────────  provision 0/8 · 6 running                                    0 s
    ");
    insta::assert_snapshot!(at(4.2, 8, look(80, 24), false), @"
    = client-4  unchanged        1.2 s
    ⠹ client-1  base 3/3    open the firewall                                   0 s
    ⠙ client-2  docker 1/2  install docker                                      0 s
    ⠋ client-3  base 2/3    install packages                                    2 s
    ⠏ client-5  base 3/3    open the firewall                                   0 s
    ⠇ client-6              connecting                                          3 s
    ⠧ client-7  base 2/3    install packages                                    2 s
    ⠧ client-8  base 2/3    install packages                                    2 s
    ━────────────  provision 1/8 · 1 unchanged · 7 running                      4 s
    ");
    insta::assert_snapshot!(at(9.0, 8, look(80, 24), false), @"
    = client-4  unchanged        1.2 s
    ✗ client-6  unreachable      6.0 s  no answer on port 22 within 10 s
    ⠋ client-1  docker 1/2  install docker                                      4 s
    ⠏ client-2  docker 2/2  start docker                                        0 s
    ⠇ client-3  docker 1/2  install docker                                      3 s
    ⠧ client-5  docker 1/2  install docker                                      4 s
    ⠴ client-7  docker 2/2  start docker                                        0 s
    ⠴ client-8  docker 1/2  install docker                                      4 s
    ━━━──────────  provision 2/8 · 1 unchanged · 1 unreachable · 6 running      9 s
    ");
    insta::assert_snapshot!(at(60.0, 8, look(80, 24), false), @r#"
    = client-4  unchanged        1.2 s
    ✗ client-6  unreachable      6.0 s  no answer on port 22 within 10 s
    ✗ client-3  failed           9.5 s  install docker: apt-get ended with status…
    ✓ client-1  changed           22 s  release 20261120-101500 serves
    ✓ client-8  changed           22 s  release 20261120-101500 serves
    ↶ client-7  rolled back       22 s  to 20261113-090000 after "wait until healt…
    ✓ client-2  changed           23 s  release 20261120-101500 serves
    ✓ client-5  changed           24 s  release 20261120-101500 serves
    "#);
}

#[test]
fn quiet_clients_fold_where_the_screen_is_low() {
    insta::assert_snapshot!(at(4.2, 120, look(80, 12), false), @"
    = client-20   unchanged        1.4 s
    = client-28   unchanged        1.2 s
    = client-36   unchanged        1.6 s
    ⠹ client-1    base 3/3    open the firewall                                 0 s
    ⠙ client-2    docker 1/2  install docker                                    0 s
    ⠋ client-3    base 2/3    install packages                                  2 s
    ⠧ client-9    base 2/3    install packages                                  2 s
    ⠏ client-5    base 3/3    open the firewall                                 0 s
    ⠇ client-6                connecting                                        3 s
    ⠧ client-7    base 2/3    install packages                                  2 s
      … and 47 more running
    ─────────────  provision 5/120 · 5 unchanged · 54 running                   4 s
    ");
}

#[test]
fn a_narrow_screen_keeps_the_title_and_a_wide_one_has_it_all() {
    insta::assert_snapshot!(at(4.2, 4, look(40, 10), false), @"
    = client-4  unchanged        1.2 s
    ⠹ client-1  open the firewall       0 s
    ⠙ client-2  install docker          0 s
    ⠋ client-3  install packages        2 s
    ━━──────  provision 1/4             4 s
    ");
    insta::assert_snapshot!(at(4.2, 4, Look { unicode: false, ..look(120, 10) }, false), @"
    = client-4  unchanged        1.2 s
    - client-1  base 3/3    open the firewall                                                                           0 s
    / client-2  docker 1/2  install docker                                                                              0 s
    | client-3  base 2/3    install packages                                                                            2 s
    #####---------------  provision 1/4, 1 unchanged, 3 running                                                         4 s
    ");
}

#[test]
fn what_hosts_print_stands_above_when_asked_for() {
    insta::assert_snapshot!(at(2.2, 2, look(60, 16), true), @"
    client-1 │ amd64
    client-2 │ Get:2 http://deb.debian.org/debian trixie/main
    client-2 │ amd64
    client-1 │ Get:4 http://deb.debian.org/debian trixie/main
    client-1 │ amd64
    client-2 │ Get:3 http://deb.debian.org/debian trixie/main
    client-2 │ amd64
    client-2 │ Get:4 http://deb.debian.org/debian trixie/main
    client-2 │ amd64
    client-1 │ Get:5 http://deb.debian.org/debian trixie/main
    client-1 │ amd64
    client-2 │ Get:5 http://deb.debian.org/debian trixie/main
    client-2 │ amd64
    ⠹ client-1  base 2/3  install packages                  1 s
    ⠙ client-2  base 2/3  install packages                  0 s
    ──────────  provision 0/2 · 2 running                   2 s
    ");
}

#[test]
fn a_line_stays_where_it_is_while_its_client_runs() {
    let look = look(80, 24);
    let mut board = Board::new(false);
    let mut place = std::collections::HashMap::new();
    let mut finished = 0;
    for beat in demo::script(16) {
        finished += board.event(&beat.event, beat.at, &look).len();
        for (at, row) in board.rows(beat.at, &look).iter().enumerate() {
            let Who::Host(client) = row.who else { continue };
            // A row only ever moves up, when one above it ends.
            if let Some((before, ended)) = place.insert(client, (at, finished)) {
                assert!(at == before || (at < before && finished > ended), "{client} from {before} to {at}");
            }
        }
    }
    assert_eq!(finished, 16);
}

#[test]
fn no_frame_is_wider_or_higher_than_the_screen() {
    for (columns, rows) in [(20, 4), (37, 6), (80, 24), (200, 50)] {
        let look = look(columns, rows);
        let (term, mut bars) = bars(columns, rows);
        let mut board = Board::new(false);
        for beat in demo::script(40) {
            let above = board.event(&beat.event, beat.at, &look);
            let block = board.rows(beat.at, &look);
            assert!(block.len() < rows, "{} lines on {rows} rows", block.len());
            bars.frame(&above, &block, &look).unwrap();
            // A row that took two lines of the screen would leave more lines than there are rows.
            let shown = term.contents();
            assert!(shown.lines().count() <= rows, "{shown}");
            let tail: Vec<&str> = shown.lines().rev().take(block.len()).collect();
            for (line, row) in tail.iter().rev().zip(&block) {
                let name = row.left.paint(&look);
                let name = name.split(' ').next().unwrap_or_default();
                assert!(matches!(row.who, Who::All | Who::More) || line.contains(name), "{line}: {name}");
            }
        }
    }
}

#[test]
fn bytes_of_a_step_are_a_bar_with_its_rate() {
    let far = |beat: &demo::Beat| matches!(beat.event.kind, EventKind::StepProgress { done: 24_600_000, .. });
    let moment = demo::script(1).into_iter().find(far).unwrap().at.as_secs_f64() + 0.1;
    for (columns, bar) in [(80, "━━━━────"), (130, "━━━━━━━━━━━━━━──────────")]
    {
        let shown = at(moment, 1, look(columns, 24), false);
        let line = shown.lines().find(|line| line.contains("push the source")).unwrap_or(&shown);
        assert!(line.contains(bar) && line.contains("25 MB/41 MB "), "{line}");
        let rate = line.split("41 MB ").nth(1).unwrap();
        assert!(rate.contains("B/s  ") && rate.ends_with(" s"), "{line}");
        assert!(text::width(line) < columns, "{line}");
    }
}

#[test]
fn the_thread_draws_and_leaves_only_what_is_for_good() {
    let (term, mut terminal) = terminal(80, false);
    for beat in demo::script(4) {
        terminal.event(&beat.event);
    }
    terminal.stop();
    let shows = term.contents();
    assert_eq!(shows.lines().count(), 4, "{shows}");
    assert!(shows.lines().all(|line| line.contains("client-")), "{shows}");
}

#[test]
fn a_pause_leaves_the_screen_to_a_question() {
    let (term, mut terminal) = terminal(80, false);
    let beats = demo::script(4);
    let (start, rest) = beats.split_at(12);
    start.iter().for_each(|beat| terminal.event(&beat.event));
    terminal.pause();
    assert_eq!(term.contents(), "");
    term.moves_since_last_check();
    rest.iter().for_each(|beat| terminal.event(&beat.event));
    std::thread::sleep(TICK * 3);
    assert_eq!(term.moves_since_last_check(), "", "something was drawn during the pause");
    terminal.resume();
    terminal.stop();
    assert_eq!(term.contents().lines().count(), 4);
}

#[test]
fn what_is_said_stands_above_and_a_glance_leaves_nothing_else() {
    let (term, terminal) = terminal(40, true);
    let mut terminal = terminal.fleeting();
    for beat in demo::script(4) {
        terminal.event(&beat.event);
    }
    terminal.say("\nno new step is started; running steps\u{1b}[2J are finished\n");
    terminal.finish(&Report::default());
    assert_eq!(term.contents(), "no new step is started; running steps\nare finished");
}

#[test]
fn a_flood_of_output_is_bounded_and_counted() {
    let look = look(80, 24);
    let mut state = State::new(Board::new(true), look);
    let beats = demo::script(2);
    let output = beats.iter().find(|beat| matches!(beat.event.kind, EventKind::Output { .. })).unwrap();
    state.event(&beats[0].event, Instant::now());
    for _ in 0..10_000 {
        state.event(&output.event, Instant::now());
    }
    let lines = state.take_above();
    assert_eq!(lines.len(), MOST_WAITING + 1);
    let last = lines.last().unwrap().paint(&look);
    assert_eq!(last, "(8000 lines not shown; the journal has them)");
    assert!(text::width(&last) < 80);
}

#[test]
fn a_terminal_that_is_gone_does_not_end_the_run() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bars = Bars::new(ProgressDrawTarget::hidden(), Box::new(Gone));
    let mut terminal = Terminal::new(bars, || (0, 0), look(80, 24), false);
    for beat in demo::script(4) {
        terminal.event(&beat.event);
    }
    terminal.stop();
}
